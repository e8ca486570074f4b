"""Both ends against each other: phases, certificates, mailbox, power cuts, changed bits."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.aliro import certificates
from keywright.aliro.cache import Kept, PersistentKeys
from keywright.aliro.credential import PERSISTENT_KEYS, PersistentRecord, keep_persistent, read_persistent
from keywright.aliro.exchange import Exchange, MailboxRequest, MailboxStatus, Read, Set, Write
from keywright.aliro.messages import Ins, Policy, ReaderStatus, Signaling
from keywright.aliro.profile import V0_9, V1_0, Interface, Profile
from keywright.aliro.reader import (
    DeviceError,
    Opened,
    Plan,
    Reader,
    authenticate,
    exchange,
    finish,
    use_mailbox,
)
from keywright.aliro.session import State
from keywright.aliro.user_device import Settings
from keywright.crypto.ec import EcPublicKey
from keywright.errors import KeywrightError, LinkError, PolicyError, StatusError, WireError
from keywright.iso7816.apdu import Command, Response
from keywright.sansio.dialogue import drive
from support.aliro import GROUP, MAILBOX, SUB_GROUP, Device, MemoryRecords, cut_at, fresh, key, reader, records

STANDARD = Plan(fast=False)


def _kept(opened: Opened) -> Kept:
    assert opened.kept is not None
    return opened.kept


def test_after_a_standard_transaction_the_next_is_fast() -> None:
    device, keys = Device(records()), PersistentKeys()
    first = device.run(authenticate(reader(), STANDARD, fresh("1"), keys))
    keys.keep(_kept(first))
    device.run(finish(first, ReaderStatus.UNSECURED))
    assert (first.is_fast, first.credential) == (False, key("credential").public)
    assert device.session.reader_status == ReaderStatus.UNSECURED
    second = device.run(authenticate(reader(), Plan(), fresh("2"), keys))
    assert second.is_fast
    assert [command.ins for command in device.commands[-2:]] == [Ins.SELECT, Ins.AUTH0]
    device.run(finish(second, ReaderStatus.SECURED))
    assert device.session.reader_status == ReaderStatus.SECURED
    assert device.session.survivors is not None
    assert second.ursk is not None
    assert device.session.survivors.ursk == second.ursk
    assert device.session.survivors.ble == second.ble


def test_without_a_kept_key_the_same_auth0_leads_to_the_standard_phase_and_its_key_is_good_later() -> None:
    device, keys = Device(records()), PersistentKeys()
    opened = device.run(authenticate(reader(), Plan(), fresh("1"), keys))
    assert [command.ins for command in device.commands] == [Ins.SELECT, Ins.AUTH0, Ins.AUTH1]
    assert not opened.is_fast
    keys.keep(_kept(opened))
    assert device.run(authenticate(reader(), Plan(), fresh("2"), keys)).is_fast


def test_a_newer_document_takes_the_reader_from_the_fast_phase_to_the_standard_one() -> None:
    device, keys = Device(records()), PersistentKeys()
    keys.keep(_kept(device.run(authenticate(reader(), STANDARD, fresh("1"), keys))))
    device.records = MemoryRecords({**device.records.kept, **records(credential_signed=b"2026-01-01T00:00:00Z").kept})
    opened = device.run(authenticate(reader(), Plan(), fresh("2"), keys))
    assert not opened.is_fast
    assert opened.credential_signed == b"2026-01-01T00:00:00Z"
    keys.keep(_kept(opened))
    assert device.run(authenticate(reader(), Plan(), fresh("3"), keys)).is_fast


def _certified(profile: Profile = Profile()) -> Reader:  # noqa: B008 - a value
    issuer = key("issuer")
    certificate = certificates.compress(certificates.issue(issuer, key("reader").public))
    return Reader(key("reader"), GROUP + SUB_GROUP, certificate, issuer.public, profile=profile)


@pytest.mark.parametrize("in_auth1", [False, True])
@pytest.mark.parametrize("issuer_in_salt", [True, False])
def test_a_reader_shows_a_certificate_and_the_device_knows_the_issuer_alone(
    *, in_auth1: bool, issuer_in_salt: bool
) -> None:
    profile = Profile(salt_has_issuer_key=issuer_in_salt)
    device, keys = Device(records(group_key=key("issuer")), Settings(profile=profile)), PersistentKeys()
    plan = Plan(certificate_in_auth1=in_auth1)
    opened = device.run(authenticate(_certified(profile), plan, fresh("1"), keys))
    assert (Ins.LOAD_CERT in [command.ins for command in device.commands]) != in_auth1
    keys.keep(_kept(opened))
    assert device.run(authenticate(_certified(profile), plan, fresh("2"), keys)).is_fast


def test_a_certificate_of_another_issuer_is_found_at_auth1_not_before() -> None:
    device = Device(records(group_key=key("other issuer")))
    with pytest.raises(StatusError, match="6982"):
        device.run(authenticate(_certified(), STANDARD, fresh("1"), PersistentKeys()))
    assert [(command.ins, answer.sw) for command, answer in zip(device.commands, device.answers, strict=True)] == [
        (Ins.SELECT, 0x9000),
        (Ins.AUTH0, 0x9000),
        (Ins.LOAD_CERT, 0x9000),
        (Ins.AUTH1, 0x6982),
        (Ins.CONTROL_FLOW, 0x9000),
    ]


def test_a_reader_with_a_certificate_needs_its_issuer() -> None:
    with pytest.raises(ValueError, match="issuer"):
        Reader(key("reader"), GROUP + SUB_GROUP, b"certificate")


def test_the_key_slot_is_enough_where_the_credential_is_known() -> None:
    device = Device(records())
    slots = {certificates.key_slot(key("credential").public.point): key("credential").public}
    plan = Plan(fast=False, key_slot=True)
    opened = device.run(authenticate(reader(), plan, fresh("1"), PersistentKeys(), slots.get))
    assert opened.credential == key("credential").public
    with pytest.raises(DeviceError, match="key slot") as failure:
        device.run(authenticate(reader(), plan, fresh("2"), PersistentKeys()))
    assert failure.value.status == ReaderStatus.PUBLIC_KEY_NOT_FOUND
    assert device.session.reader_status == ReaderStatus.PUBLIC_KEY_NOT_FOUND


def test_versions_are_agreed_the_highest_first_and_none_in_common_is_told() -> None:
    device = Device(records(), Settings(versions=(V1_0, V0_9)))
    opened = device.run(authenticate(reader(versions=(V0_9,)), STANDARD, fresh("1"), PersistentKeys()))
    assert opened.transaction.command.version == V0_9
    with pytest.raises(PolicyError, match=r"the device has 1\.0, 0\.9, the reader 2\.0"):
        device.run(authenticate(reader(versions=(0x200,)), STANDARD, fresh("2"), PersistentKeys()))
    assert device.commands[-1].encode().hex() == "803c0000064101004201" + "27"
    assert device.session.state is State.ENDED


def test_vendor_fields_go_into_the_keys_of_both_ends() -> None:
    settings = Settings(vendor=b"acme", auth0_vendor=b"hello", extended=(2048, 2048))
    device = Device(records(), settings)
    keys = PersistentKeys()
    keys.keep(_kept(device.run(authenticate(reader(vendor=b"lock"), STANDARD, fresh("1"), keys))))
    assert device.run(authenticate(reader(vendor=b"lock"), Plan(), fresh("2"), keys)).is_fast


def test_the_interface_is_part_of_the_keys() -> None:
    device = Device(records())
    with pytest.raises(KeywrightError):
        device.run(authenticate(reader(interface=Interface.BLE), STANDARD, fresh("1"), PersistentKeys()))


@pytest.mark.parametrize("is_there", [False, True])
def test_a_policy_that_forces_user_authentication_needs_the_user(*, is_there: bool) -> None:
    device = Device(records(), user=is_there)
    plan = Plan(fast=False, policy=Policy.FORCE_USER_AUTHENTICATION)
    with contextlib.nullcontext() if is_there else pytest.raises(StatusError, match="6985"):
        device.run(authenticate(reader(), plan, fresh("1"), PersistentKeys()))


# ---- mailbox --------------------------------------------------------------------------------------------------


def _open(device: Device) -> Opened:
    return device.run(authenticate(reader(), STANDARD, fresh("open"), PersistentKeys()))


def test_the_mailbox_is_read_written_and_filled_in_the_order_of_the_request() -> None:
    device = Device(records())
    opened = _open(device)
    assert opened.signaling & Signaling.MAILBOX_READ
    assert not opened.signaling & Signaling.MAILBOX_NOT_EMPTY
    request = MailboxRequest((Write(2, b"abc"), Read(0, 6), Set(0, 3, 0x7A), Read(0, 6)))
    answer = device.run(use_mailbox(opened, request))
    assert answer.reads == (b"\0\0abc\0", b"zzzbc\0")
    assert device.records.kept["mailbox/0"][:6] == b"zzzbc\0"
    device.reset()
    assert _open(device).signaling & Signaling.MAILBOX_NOT_EMPTY


def test_an_atomic_session_is_kept_as_a_whole_when_it_ends() -> None:
    device = Device(records())
    opened = _open(device)
    device.run(use_mailbox(opened, MailboxRequest((Write(0, b"one"),), continues=True)))
    assert device.records.kept["mailbox/0"] == bytes(MAILBOX)
    answer = device.run(use_mailbox(opened, MailboxRequest((Read(0, 3), Write(3, b"two")))))
    assert answer.reads == (b"one",)
    assert device.records.kept["mailbox/0"][:6] == b"onetwo"


@pytest.mark.parametrize("loss", ["field", "select", "error", "status", "range"])
def test_an_atomic_session_that_does_not_end_leaves_nothing(loss: str) -> None:
    device = Device(records())
    opened = _open(device)
    device.run(use_mailbox(opened, MailboxRequest((Write(0, b"one"),), continues=True)))
    assert device(Command(0x80, Ins.AUTH1, 0, 0, b"", 0)).sw == 0x6900 if loss == "error" else True
    if loss == "field":
        device.reset()
    elif loss == "status":
        device.run(finish(opened, ReaderStatus.UNKNOWN_STATE))
    elif loss == "range":
        request = MailboxRequest((Write(0, b"two"), Write(MAILBOX, b"x")))
        assert device.run(use_mailbox(opened, request)).status == MailboxStatus.OUT_OF_RANGE
    assert device.run(use_mailbox(_open(device), MailboxRequest((Read(0, 3),)))).reads == (bytes(3),)


@pytest.mark.parametrize("raw", ["", "8C0102", "8C0100 8400", "870400000001", "8C0100 8703000000"])
def test_a_malformed_request_to_the_mailbox_is_answered_and_changes_nothing(raw: str) -> None:
    device = Device(records())
    opened = _open(device)
    answer = device.run(exchange(opened, Exchange(mailbox=bytes.fromhex(raw))))
    assert answer.status == MailboxStatus.MALFORMED
    assert device.records.kept["mailbox/0"] == bytes(MAILBOX)


def test_what_auth1_gives_of_the_mailbox_unasked() -> None:
    device = Device(records(given_mailbox=bytes.fromhex("00020003")))
    device.records.kept["mailbox/0"] = b"abcdefgh"
    assert _open(device).mailbox == b"cde"


# ---- kept keys ------------------------------------------------------------------------------------------------


def test_a_device_keeps_keys_of_so_many_readers_and_forgets_the_oldest() -> None:
    memory = MemoryRecords()
    names = [bytes((number,)) * 32 for number in range(PERSISTENT_KEYS + 2)]
    for name in names:
        keep_persistent(memory, name, PersistentRecord(b"\0", name, bytes(32)))
        memory.commit()
    assert [read_persistent(memory, name) is not None for name in names] == [False] * 2 + [True] * PERSISTENT_KEYS


def test_a_reader_keeps_one_key_of_each_credential_and_tries_the_last_used_first() -> None:
    keys = PersistentKeys(capacity=3)
    device = Device(records())
    one = _kept(device.run(authenticate(reader(), STANDARD, fresh("1"), keys)))
    for name in ("a", "b", "c"):
        keys.keep(Kept(key(name).public, one.key))
    assert [kept.credential for kept in keys] == [key(name).public for name in ("c", "b", "a")]
    keys.keep(one)
    keys.keep(one)
    assert [kept.credential for kept in keys] == [key(name).public for name in ("credential", "c", "b")]
    keys.keep(next(kept for kept in keys if kept.credential == key("b").public))
    assert device.run(authenticate(reader(), Plan(), fresh("2"), keys)).is_fast
    assert next(iter(keys)).credential == key("credential").public
    assert keys.drop(key("credential").public)
    assert not keys.drop(key("credential").public)
    assert not device.run(authenticate(reader(), Plan(), fresh("3"), keys)).is_fast


# ---- what can go wrong ----------------------------------------------------------------------------------------


def _whole(device: Device, keys: PersistentKeys, seed: str) -> Generator[Command, Response, Opened]:
    opened = yield from authenticate(reader(), Plan(), fresh(seed), keys)
    yield from use_mailbox(opened, MailboxRequest((Write(0, b"one"),), continues=True))
    yield from use_mailbox(opened, MailboxRequest((Write(3, b"two"),)))
    yield from finish(opened, ReaderStatus.UNSECURED)
    return opened


@pytest.mark.parametrize("delivered", [False, True])
@pytest.mark.parametrize("at", range(6))
def test_a_cut_at_any_exchange_leaves_a_device_that_opens_the_next_time(*, at: int, delivered: bool) -> None:
    device, keys = Device(records()), PersistentKeys()
    before = device.records.kept["mailbox/0"]
    with pytest.raises(LinkError):
        drive(_whole(device, keys, "1"), cut_at(device, at, delivered=delivered))
    assert device.records.kept["mailbox/0"] in (before, b"onetwo" + before[6:])
    device.reset()
    keys.keep(_kept(device.run(_whole(device, keys, "2"))))
    assert device.run(_whole(device, keys, "3")).is_fast


@given(st.integers(1, 2), st.integers(0, 4000))
def test_one_changed_bit_of_an_answer_ends_the_transaction_at_the_reader(which: int, bit: int) -> None:
    """Of AUTH0 or AUTH1; in SELECT's the keys differ, and AUTH1 fails."""
    device = Device(records())

    def exchange_changed(command: Command) -> Response:
        answer = device(command)
        if command.ins == (Ins.AUTH0, Ins.AUTH1)[which - 1]:
            data = bytearray(answer.data)
            data[bit // 8 % len(data)] ^= 1 << bit % 8
            return Response(bytes(data), answer.sw)
        return answer

    with pytest.raises(KeywrightError):
        drive(authenticate(reader(), STANDARD, fresh("1"), PersistentKeys()), exchange_changed)


def test_another_a5_between_the_ends_is_found() -> None:
    device = Device(records(), Settings(versions=(V1_0, V0_9)))

    def exchange_changed(command: Command) -> Response:
        answer = device(command)
        return Response(answer.data.replace(b"\x00\x09", b"\x00\x08")) if command.ins == Ins.SELECT else answer

    with pytest.raises(KeywrightError):
        drive(authenticate(reader(), STANDARD, fresh("1"), PersistentKeys()), exchange_changed)
    assert [answer.sw for answer in device.answers[:3]] == [0x9000] * 3


def test_a_cryptogram_that_nobody_asked_for_and_one_that_is_missing() -> None:
    device = Device(records())

    def swapped(command: Command) -> Response:
        if command.ins == Ins.AUTH0:
            flag = command.data[2] ^ 1
            command = Command(command.cla, command.ins, 0, 0, command.data[:2] + bytes((flag,)) + command.data[3:], 0)
        return device(command)

    for plan, what in ((Plan(), "no cryptogram"), (STANDARD, "nobody asked for")):
        with pytest.raises(WireError, match=what):
            drive(authenticate(reader(), plan, fresh("1"), PersistentKeys()), swapped)
        assert device.session.state is State.ENDED


def test_a_device_with_another_private_key_than_it_says_is_told_so() -> None:
    memory = records()
    record = memory.kept["credential/0"].replace(key("credential").public.point, key("stolen").public.point)
    device = Device(MemoryRecords({**memory.kept, "credential/0": record}))
    with pytest.raises(DeviceError, match="signature") as failure:
        device.run(authenticate(reader(), STANDARD, fresh("1"), PersistentKeys()))
    assert failure.value.status == ReaderStatus.WRONG_SIGNATURE
    assert device.session.reader_status == ReaderStatus.WRONG_SIGNATURE


def test_two_credentials_each_answer_their_group() -> None:
    memory = records()
    other = records("second", key("second reader"), group=bytes(16))
    device = Device(MemoryRecords({**memory.kept, "credential/3": other.kept["credential/0"]}))
    second = Reader(key("second reader"), bytes(16) + SUB_GROUP)
    for one, name in ((reader(), "credential"), (second, "second")):
        opened = device.run(authenticate(one, STANDARD, fresh("1"), PersistentKeys()))
        assert opened.credential == EcPublicKey.from_point("P-256", key(name).public.point)
