"""The key schedule against the worked examples of the standard, and one direction of a channel."""

from __future__ import annotations

import msgspec
import pytest

from keywright.aliro.keys import (
    DerivationKey,
    Direction,
    Kdh,
    Kpersistent,
    Mode,
    Transaction,
    ble_keys,
    cryptogram_key,
    fast_keys,
    key_agreement,
    open_cryptogram,
    persistent_key,
    seal_cryptogram,
    volatile_keys,
    x_of,
)
from keywright.aliro.messages import Auth0, Auth0Answer, FastStatus
from keywright.aliro.profile import DEFAULT, Interface, Profile
from keywright.crypto.aes import AesKey
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.errors import AuthenticationError, SequenceError
from keywright.iso7816.apdu import Command, Response
from support.vectors import Case, unhex, vectors


def _transaction(case: Case, profile: Profile = DEFAULT, *, vendor: bytes | None = None) -> Transaction:
    inputs = case["inputs"]
    command = Auth0.parse(Command.parse(unhex(case["apdus"]["auth0_command"])).data)
    answer = Auth0Answer.parse(Response.parse(unhex(case["apdus"]["auth0_response"])).data)
    command = msgspec.structs.replace(command, vendor=vendor)
    return Transaction(
        x_of(unhex(inputs["reader_public_key"])),
        Interface.NFC,
        unhex(inputs["proprietary_information_tlv_A5"]),
        command,
        answer,
        profile,
    )


def _kdh(case: Case) -> Kdh:
    inputs = case["inputs"]
    reader = EcPrivateKey.from_scalar("P-256", unhex(inputs["reader_ephemeral_private"]))
    device = EcPrivateKey.from_scalar("P-256", unhex(inputs["credential_ephemeral_private"]))
    tid = unhex(inputs["transaction_identifier"])
    kdh = key_agreement(reader.agree(device.public), tid)
    assert kdh == key_agreement(device.agree(reader.public), tid)
    return kdh


@vectors("digitalkey/aliro_expedited_standard.json")
def test_the_standard_phase_gives_the_keys_of_the_worked_example(case: Case) -> None:
    transaction, kdh = _transaction(case), _kdh(case)
    assert kdh.reveal() == unhex(case["kdh"])
    assert transaction.salt(b"Volatile****") == unhex(case["salt_volatile"])
    keys = volatile_keys(kdh, transaction)
    names = {"reader": "expedited_sk_reader", "device": "expedited_sk_device", "step_up": "step_up_sk"}
    for name, told in {**names, "ble": "ble_sk", "ursk": "ursk"}.items():
        assert getattr(keys, name).reveal() == unhex(case[told]), name
    credential = EcPublicKey.from_point("P-256", unhex(case["inputs"]["credential_public_key"]))
    kpersistent = persistent_key(kdh, transaction, credential)
    assert kpersistent.reveal() == unhex(case["kpersistent_for_this_credential"])
    opened = Direction(keys.device, Mode.TO_READER).open(Response.parse(unhex(case["apdus"]["auth1_response"])).data)
    assert opened == unhex(case["auth1_response_plaintext"])
    sealed = Direction(keys.device, Mode.TO_READER).seal(opened)
    assert sealed == Response.parse(unhex(case["apdus"]["auth1_response"])).data


@vectors("digitalkey/aliro_expedited_fast.json")
def test_the_fast_phase_gives_the_keys_of_the_worked_example(case: Case) -> None:
    inputs = case["inputs"]

    def transaction(part: Case) -> Transaction:
        flag = unhex(part["flag"])
        command = Auth0(
            flag[0],
            flag[1],
            int(inputs["protocol_version"], 16),
            b"\4" + unhex(part["reader_ephemeral_x"]) + bytes(32),
            unhex(part["transaction_identifier"]),
            unhex(inputs["reader_identifier"]),
        )
        answer = Auth0Answer(b"\4" + unhex(part["credential_ephemeral_x"]) + bytes(32))
        return Transaction(
            unhex(inputs["reader_public_key_x"]),
            Interface(int(inputs["interface_byte"], 16)),
            unhex(inputs["proprietary_information_tlv_A5"]),
            command,
            answer,
        )

    credential_x = unhex(inputs["credential_public_key_x"])
    standard, fast = transaction(inputs["standard"]), transaction(inputs["fast"])
    assert standard.salt(b"Persistent**", credential_x) == unhex(case["salt_persistent"])
    assert fast.salt(b"VolatileFast", credential_x) == unhex(case["salt_fast"])
    kpersistent = Kpersistent(unhex(case["kpersistent"]))
    keys = fast_keys(kpersistent, fast, credential_x)
    for name, told in {
        "cryptogram": "cryptogram_sk",
        "reader": "expedited_sk_reader",
        "device": "expedited_sk_device",
        "ble": "ble_sk",
        "ursk": "ursk",
    }.items():
        assert getattr(keys, name).reveal() == unhex(case[told]), name
    assert cryptogram_key(kpersistent, fast.fast_salt() + credential_x, fast.info()) == keys.cryptogram
    status = FastStatus.parse(unhex(case["cryptogram_plaintext"]))
    assert seal_cryptogram(keys.cryptogram, status) == unhex(case["cryptogram"])
    assert open_cryptogram(keys.cryptogram, unhex(case["cryptogram"])) == status


@vectors("digitalkey/aliro_expedited_standard.json")
def test_each_switch_changes_what_it_names_and_nothing_else(case: Case) -> None:
    kdh = _kdh(case)
    credential = EcPublicKey.from_point("P-256", unhex(case["inputs"]["credential_public_key"]))
    without = Profile(vendor_in_persistent=False)
    plain = persistent_key(kdh, _transaction(case), credential)
    assert persistent_key(kdh, _transaction(case, without), credential) == plain
    with_vendor = _transaction(case, vendor=b"acme")
    assert persistent_key(kdh, with_vendor, credential) != plain
    assert persistent_key(kdh, _transaction(case, without, vendor=b"acme"), credential) == plain
    assert volatile_keys(kdh, with_vendor).reader != volatile_keys(kdh, _transaction(case)).reader


def test_bluetooth_keys_depend_on_published_and_selected_versions() -> None:
    key = DerivationKey(bytes(range(32)), "BleSK")
    pairs = [ble_keys(key, published, selected) for published, selected in ((b"\1\0", 0x100), (b"\1\0\0\x09", 0x100))]
    assert len({side.reveal() for pair in pairs for side in pair}) == 4


def test_a_direction_counts_from_one_ends_at_its_last_and_after_a_forgery() -> None:
    key = AesKey(bytes(32))
    sender, receiver = Direction(key, Mode.TO_DEVICE, last=2), Direction(key, Mode.TO_DEVICE, last=2)
    first, second = sender.seal(b"one"), sender.seal(b"one")
    assert first != second
    with pytest.raises(SequenceError, match="ended"):
        sender.seal(b"three")
    assert receiver.open(first) == b"one"
    with pytest.raises(AuthenticationError):
        receiver.open(first)
    with pytest.raises(SequenceError):
        receiver.open(second)


def test_an_empty_message_travels_as_nothing_unless_the_profile_seals_it() -> None:
    key = AesKey(bytes(32))
    assert Direction(key, Mode.TO_DEVICE).seal(b"") == b""
    assert Direction(key, Mode.TO_DEVICE).open(b"") == b""
    sealed = Direction(key, Mode.TO_DEVICE, seals_empty=True).seal(b"")
    assert len(sealed) == 16
    assert Direction(key, Mode.TO_DEVICE, seals_empty=True).open(sealed) == b""
    with pytest.raises(AuthenticationError):
        Direction(key, Mode.TO_DEVICE, seals_empty=True).open(b"")
