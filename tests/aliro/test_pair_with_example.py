"""Each end alone against the standard's worked example: what the other end sent is taken from the file."""

from __future__ import annotations

import pytest

from keywright.aliro.cache import PersistentKeys
from keywright.aliro.credential import CredentialRecord, GroupRecord, read_persistent
from keywright.aliro.keys import Direction, Mode
from keywright.aliro.messages import Auth1, Auth1Answer, Proprietary, parse_selected
from keywright.aliro.profile import Profile
from keywright.aliro.reader import Fresh, Plan, Reader, authenticate
from keywright.aliro.session import Session, State
from keywright.aliro.user_device import Settings, UserDevice
from keywright.crypto.aes import AesKey
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.iso7816.apdu import Command, Response
from keywright.sansio.dialogue import drive
from support.aliro import MemoryRecords
from support.vectors import Case, unhex, vectors

VECTOR = "digitalkey/aliro_expedited_standard.json"


def _private(case: Case, name: str) -> EcPrivateKey:
    return EcPrivateKey.from_scalar("P-256", unhex(case["inputs"][name]))


@vectors(VECTOR)
def test_the_reader_takes_the_recorded_device(case: Case) -> None:
    apdus = {name: unhex(value) for name, value in case["apdus"].items()}
    answers = iter([apdus["select_response"], apdus["auth0_response"], apdus["auth1_response"]])
    sent: list[Command] = []

    def exchange(command: Command) -> Response:
        sent.append(command)
        return Response.parse(next(answers))

    tid = unhex(case["inputs"]["transaction_identifier"])
    reader = Reader(_private(case, "reader_private_key"), unhex(case["inputs"]["reader_identifier"]))
    fresh = Fresh(_private(case, "reader_ephemeral_private"), tid)
    opened = drive(authenticate(reader, Plan(fast=False), fresh, PersistentKeys()), exchange)
    assert [command.encode() for command in sent[:2]] == [apdus["select_command"], apdus["auth0_command"]]
    auth1 = Auth1.parse(sent[2].data)
    reader.key.public.verify(auth1.signature, unhex(case["reader_auth_tbs"]))
    assert sent[2].encode()[:5] == apdus["auth1_command"][:5]
    assert opened.credential.point == unhex(case["inputs"]["credential_public_key"])
    assert opened.signaling == 0
    assert opened.kept is not None
    assert opened.kept.key.reveal() == unhex(case["kpersistent_for_this_credential"])
    assert opened.ursk is not None
    assert opened.ursk.reveal() == unhex(case["ursk"])


@vectors(VECTOR)
def test_the_device_takes_the_recorded_reader(case: Case) -> None:
    inputs = case["inputs"]
    apdus = {name: unhex(value) for name, value in case["apdus"].items()}
    identifier = unhex(inputs["reader_identifier"])
    group = GroupRecord(identifier[:16], unhex(inputs["reader_public_key"]))
    record = CredentialRecord(b"key", unhex(inputs["credential_public_key"]), (group,))
    records = MemoryRecords({"credential/0": record.build()})
    settings = Settings(profile=Profile(signaling_bytes=1))
    ephemeral = unhex(inputs["credential_ephemeral_private"])
    device = UserDevice(settings, lambda _: _private(case, "credential_private_key"), lambda size: ephemeral[:size])
    session = Session()
    select = Command.parse(apdus["select_command"])
    assert device.select(select.data, session) == Response.parse(apdus["select_response"]).data
    answer = device.process(Command.parse(apdus["auth0_command"]), session, records)
    assert answer.encode() == apdus["auth0_response"]
    answer = device.process(Command.parse(apdus["auth1_command"]), session, records)
    assert answer.sw == 0x9000
    plain = Direction(AesKey(unhex(case["expedited_sk_device"])), Mode.TO_READER).open(answer.data)
    ours, theirs = Auth1Answer.parse(plain), Auth1Answer.parse(unhex(case["auth1_response_plaintext"]))
    assert (ours.public_key, ours.key_slot, ours.signaling) == (theirs.public_key, None, b"\0")
    assert ours.signature is not None
    credential = EcPublicKey.from_point("P-256", unhex(inputs["credential_public_key"]))
    credential.verify(ours.signature, unhex(case["device_auth_tbs"]))
    kept = read_persistent(records, identifier)
    assert kept is not None
    assert kept.key == unhex(case["kpersistent_for_this_credential"])
    assert session.survivors is not None
    assert session.survivors.ursk.reveal() == unhex(case["ursk"])


@vectors(VECTOR)
def test_the_device_ends_as_the_recorded_reader_tells_it(case: Case) -> None:
    device = UserDevice(Settings(), lambda _: _private(case, "credential_private_key"), bytes)
    session = Session()
    found, _ = parse_selected(device.select(unhex(case["apdus"]["select_command"])[5:14], session))
    assert found.proprietary is not None
    assert Proprietary.parse(found.proprietary).kind == 0
    answer = device.process(Command.parse(unhex(case["apdus"]["control_flow_command"])), session, MemoryRecords())
    assert (answer.sw, session.state) == (0x9000, State.ENDED)


@vectors(VECTOR)
@pytest.mark.parametrize("at", range(0, 64, 7))
def test_the_recorded_signature_of_the_reader_with_one_bit_changed_is_refused(case: Case, at: int) -> None:
    inputs = case["inputs"]
    group = GroupRecord(unhex(inputs["reader_identifier"])[:16], unhex(inputs["reader_public_key"]))
    record = CredentialRecord(b"key", unhex(inputs["credential_public_key"]), (group,))
    records = MemoryRecords({"credential/0": record.build()})
    ephemeral = unhex(inputs["credential_ephemeral_private"])
    device = UserDevice(Settings(), lambda _: _private(case, "credential_private_key"), lambda size: ephemeral[:size])
    session = Session()
    device.select(unhex(case["apdus"]["select_command"])[5:14], session)
    assert device.process(Command.parse(unhex(case["apdus"]["auth0_command"])), session, records).sw == 0x9000
    raw = bytearray(unhex(case["apdus"]["auth1_command"]))
    raw[10 + at] ^= 1
    answer = device.process(Command.parse(bytes(raw)), session, records)
    assert (answer.sw, answer.data, session.state) == (0x6982, b"", State.SELECTED)
    assert not [name for name in records.pending if name.startswith("persistent")]
