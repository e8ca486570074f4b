"""The user device against readers that do as they like: states, fields, unknown readers, any bytes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.aliro import keys as key_schedule
from keywright.aliro.cache import PersistentKeys
from keywright.aliro.credential import CredentialRecord, GroupRecord, PersistentRecord
from keywright.aliro.documents.exchange import DeviceRequest
from keywright.aliro.exchange import Exchange, MailboxRequest, MailboxStatus, Read, Write
from keywright.aliro.mailbox import MOST_READ
from keywright.aliro.messages import CLASSES, EXPEDITED_AID, NAMES, STEP_UP_AID, Auth0, Ins
from keywright.aliro.profile import Profile
from keywright.aliro.reader import Opened, Plan, Reader, authenticate, request_documents, use_mailbox
from keywright.aliro.session import State
from keywright.aliro.user_device import TABLE
from keywright.aliro.user_device import Settings as DeviceSettings
from keywright.codec.ber import item, items
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.errors import KeywrightError, SequenceError
from keywright.iso7816.apdu import Command
from support.aliro import GROUP, SUB_GROUP, Device, MemoryRecords, fresh, key, reader, records

_SELECT = Command(0x00, Ins.SELECT, 0x04, 0x00, EXPEDITED_AID, 0)


def _auth0(**fields: Any) -> Command:
    values: dict[str, Any] = {
        "parameters": 0,
        "policy": 1,
        "version": 0x100,
        "ephemeral": key("ephemeral").public.point,
        "transaction_identifier": bytes(16),
        "reader_identifier": GROUP + SUB_GROUP,
        **fields,
    }
    return Command(0x80, Ins.AUTH0, 0, 0, Auth0(**values).build(), 0)


def _bring(device: Device, state: State) -> None:
    """Bring a device into a state, as a reader does."""
    if state is State.IDLE:
        return
    device(_SELECT)
    if state is State.SELECTED:
        return
    if state in (State.AUTH0, State.LOADED):
        device(_auth0(parameters=1))
        if state is State.LOADED:
            from keywright.aliro import certificates

            device(
                Command(
                    0x80,
                    Ins.LOAD_CERT,
                    0,
                    0,
                    certificates.compress(certificates.issue(key("reader"), key("x").public)),
                    0,
                )
            )
    else:
        opened = device.run(authenticate(reader(), Plan(fast=False), fresh("1"), PersistentKeys()))
        if state is State.ATOMIC:
            device.run(use_mailbox(opened, MailboxRequest((), continues=True)))
        elif state in (State.STEP_UP_SELECTED, State.STEP_UP):
            device(Command(0x00, Ins.SELECT, 0x04, 0x00, STEP_UP_AID, 0))
        elif state is State.ENDED:
            device(Command(0x80, Ins.CONTROL_FLOW, 0, 0, bytes.fromhex("410100420100")))
    if state is State.STEP_UP:
        device.session.state = State.STEP_UP
    assert device.session.state is state


# Where SELECT of the expedited phase was not the last: no AUTH0 without it.
_NOT_SELECTED = (State.IDLE, State.STEP_UP_SELECTED, State.STEP_UP)


@pytest.mark.parametrize("state", list(State))
def test_every_pair_of_state_and_command_that_is_not_listed_is_refused(state: State) -> None:
    for ins in NAMES:
        if ins in TABLE[state] or ins == Ins.SELECT:
            continue
        device = Device(records())
        _bring(device, state)
        kept = dict(device.records.kept)
        le = None if ins == Ins.CONTROL_FLOW else 0
        answer = device(Command(CLASSES[ins], ins, 0, 0, b"", le))
        assert (answer.sw, answer.data) == (0x6900 if state is State.ATOMIC else 0x6985, b""), NAMES[ins]
        assert device.session.state is (State.IDLE if state in _NOT_SELECTED else State.SELECTED)
        assert device.session.to_reader is None
        assert device.session.survivors is None
        assert device.records.kept == kept


@pytest.mark.parametrize(
    ("command", "sw"),
    [
        (Command(0x80, 0x55, 0, 0, b"", 0), 0x6D00),
        (Command(0x00, Ins.AUTH0, 0, 0, b"", 0), 0x6E00),
        (Command(0x80, Ins.ENVELOPE, 0, 0, b"", 0), 0x6E00),
        (Command(0x80, Ins.AUTH0, 1, 0, b"", 0), 0x6A86),
        (Command(0x80, Ins.AUTH0, 0, 1, b"", 0), 0x6A86),
        (Command(0x80, Ins.AUTH0, 0, 0, b""), 0x6700),
        (Command(0x00, Ins.SELECT, 0x04, 0, bytes(7), 0), 0x6A82),
    ],
)
def test_headers_that_are_wrong_are_named(command: Command, sw: int) -> None:
    device = Device(records())
    device(_SELECT)
    assert device(command).sw == sw


_GOOD = items(_auth0().data)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        *[(f"without {tag:02X}", [one for one in _GOOD if one[0] != tag]) for tag, _ in _GOOD],
        *[(f"{tag:02X} twice", [*_GOOD, (tag, value)]) for tag, value in _GOOD],
        *[(f"{tag:02X} longer", [(t, v + b"\0" if t == tag else v) for t, v in _GOOD]) for tag, _ in _GOOD],
        *[(f"{tag:02X} shorter", [(t, v[:-1] if t == tag else v) for t, v in _GOOD]) for tag, _ in _GOOD],
        ("out of order", _GOOD[::-1]),
        ("unknown tag", [*_GOOD, (0x99, b"")]),
        ("long vendor field", [*_GOOD, (0xB1, bytes(128))]),
        ("policy 0", [(t, b"\0" if t == 0x42 else v) for t, v in _GOOD]),
        ("policy 4", [(t, b"\4" if t == 0x42 else v) for t, v in _GOOD]),
        ("version 2.0", [(t, b"\2\0" if t == 0x5C else v) for t, v in _GOOD]),
        ("not on the curve", [(t, v[:-1] + bytes((v[-1] ^ 1,)) if t == 0x87 else v) for t, v in _GOOD]),
        ("compressed point", [(t, b"\2" + v[1:] if t == 0x87 else v) for t, v in _GOOD]),
        ("infinity", [(t, bytes(65) if t == 0x87 else v) for t, v in _GOOD]),
    ],
)
def test_every_wrong_field_of_auth0_is_refused_and_ends_the_transaction(
    name: str, data: list[tuple[int, bytes]]
) -> None:
    device = Device(records())
    device(_SELECT)
    raw = b"".join(item(tag, value) for tag, value in data)
    answer = device(Command(0x80, Ins.AUTH0, 0, 0, raw, 0))
    assert (answer.sw, answer.data, device.session.state) == (0x6A80, b"", State.SELECTED), name


@given(st.binary(min_size=4, max_size=300), st.sampled_from([State.SELECTED, State.AUTH0, State.OPEN, State.ATOMIC]))
def test_any_bytes_get_an_answer(raw: bytes, state: State) -> None:
    device = Device(records())
    _bring(device, state)
    try:
        command = Command.parse(raw)
    except KeywrightError:
        return
    assert device(command).sw


@given(st.sampled_from(sorted(NAMES)), st.binary(max_size=200), st.sampled_from(list(State)))
def test_any_data_of_a_known_command_get_an_answer_and_keep_nothing_wrong(ins: int, data: bytes, state: State) -> None:
    device = Device(records())
    _bring(device, state)
    answer = device(Command(CLASSES[ins], ins, 0x04 if ins == Ins.SELECT else 0, 0, data, 0))
    if answer.sw != 0x9000:
        assert device.session.from_reader is None


# ---- a reader that is not known -------------------------------------------------------------------------------


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the primitives in the order in which they are called."""
    called: list[str] = []

    def count(owner: object, name: str) -> None:
        original: Callable[..., object] = getattr(owner, name)

        def one(*args: object, **kwargs: object) -> object:
            called.append(name)
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, one)

    for name in ("hkdf", "x963", "seal_gcm", "open_gcm"):
        count(key_schedule, name)
    for owner, name in ((EcPublicKey, "verify"), (EcPrivateKey, "agree"), (EcPrivateKey, "sign")):
        count(owner, name)
    load = EcPublicKey.from_point

    def from_point(curve: str, point: bytes) -> EcPublicKey:
        called.append("from_point")
        return load(curve, point)

    monkeypatch.setattr(EcPublicKey, "from_point", from_point)
    return called


Seen: TypeAlias = tuple[int, list[tuple[int, int]]]
"""A status word, and the tags of the answer with their lengths."""


def _transcript(device: Device, group: bytes, called: list[str], *, fast: bool) -> tuple[list[Seen], list[str]]:
    called.clear()
    device(_SELECT)
    seen: list[Seen] = []
    for command in (
        _auth0(parameters=int(fast), reader_identifier=group + SUB_GROUP),
        Command(0x80, Ins.AUTH1, 0, 0, bytes.fromhex("4101019E40") + bytes(range(1, 65)), 0),
    ):
        answer = device(command)
        seen.append((answer.sw, [(tag, len(value)) for tag, value in items(answer.data)]))
    return seen, list(called)


@pytest.mark.parametrize("fast", [False, True])
def test_an_unknown_reader_is_answered_as_a_known_one_whose_signature_is_wrong(
    *, fast: bool, counted: list[str]
) -> None:
    known_before = Device(records())
    known_before.run(authenticate(reader(), Plan(fast=False), fresh("1"), PersistentKeys()))
    transcripts = [
        _transcript(device, group, counted, fast=fast)
        for device, group in (
            (Device(records()), GROUP),
            (Device(records()), bytes(16)),
            (known_before, GROUP),
            (Device(records()), bytes(range(16))),
        )
    ]
    for one, other in itertools.pairwise(transcripts):
        assert one == other
    assert [sw for sw, _ in transcripts[0][0]] == [0x9000, 0x6982]
    assert transcripts[0][0][1][1] == []
    assert "verify" in transcripts[0][1]
    assert "sign" not in transcripts[0][1]


# ---- what no reader of ours does ------------------------------------------------------------------------------


def _exchange(opened: Opened, request: Exchange) -> Command:
    assert opened.to_device is not None
    return Command(0x80, Ins.EXCHANGE, 0, 0, opened.to_device.seal(request.build()), 0)


def test_a_step_up_channel_that_begins_again_would_repeat_its_counters_and_does_not_begin() -> None:
    device = Device(records())
    opened = device.run(authenticate(reader(), Plan(fast=False), fresh("1"), PersistentKeys()))
    device.run(request_documents(opened, DeviceRequest(()).build()))
    envelope = device.commands[-1]
    select = Command(0x00, Ins.SELECT, 0x04, 0x00, STEP_UP_AID, 0)
    assert device(select).sw == 0x9000
    assert device(envelope).sw == 0x6985
    assert device(_auth0()).sw == 0x6985


def test_after_an_atomic_session_in_the_step_up_phase_its_channel_goes_on() -> None:
    device = Device(records())
    opened = device.run(authenticate(reader(), Plan(fast=False), fresh("1"), PersistentKeys()))
    request = DeviceRequest(()).build()
    device.run(request_documents(opened, request))
    device.run(use_mailbox(opened, MailboxRequest((Write(0, b"x"),), continues=True)))
    device.run(use_mailbox(opened, MailboxRequest(())))
    assert device.session.state is State.STEP_UP
    device.run(request_documents(opened, request))
    assert device.records.kept["mailbox/0"][:1] == b"x"


def test_the_fast_phase_is_not_opened_by_an_exchange_that_proves_nothing() -> None:
    device = Device(records())
    device(_SELECT)
    assert device(_auth0(parameters=1)).sw == 0x9000
    assert device(Command(0x80, Ins.EXCHANGE, 0, 0, b"", 0)).sw == 0x6A80
    assert device.session.survivors is None


def test_without_select_of_the_expedited_phase_there_is_no_auth0_not_even_after_an_error() -> None:
    device = Device(records())
    for _ in range(2):
        assert device(_auth0()).sw == 0x6985
    device(Command(0x00, Ins.SELECT, 0x04, 0x00, STEP_UP_AID, 0))
    for _ in range(2):
        assert device(_auth0()).sw == 0x6985
    device(_SELECT)
    assert device(_auth0(policy=9)).sw == 0x6A80
    assert device(_auth0()).sw == 0x9000


@pytest.mark.parametrize(
    ("end", "survive"),
    [("0101", True), ("0182", True), ("0003", False), ("error", False), ("CONTROL FLOW", False), ("SELECT", False)],
)
def test_keys_for_ranging_survive_a_success_and_nothing_else(end: str, *, survive: bool) -> None:
    device = Device(records())
    opened = device.run(authenticate(reader(), Plan(fast=False), fresh("1"), PersistentKeys()))
    match end:
        case "error":
            assert device(Command(0x80, Ins.EXCHANGE, 0, 0, bytes(20), 0)).sw == 0x6982
        case "CONTROL FLOW":
            device(Command(0x80, Ins.CONTROL_FLOW, 0, 0, bytes.fromhex("410100420100")))
        case "SELECT":
            device(_SELECT)
        case _:
            device(_exchange(opened, Exchange(status=int(end, 16), ursk_ready=True)))
    assert (device.session.survivors is not None, device.session.ursk_ready) == (survive, survive)


def test_a_status_together_with_an_atomic_session_that_goes_on_rolls_it_back() -> None:
    device = Device(records())
    opened = device.run(authenticate(reader(), Plan(fast=False), fresh("1"), PersistentKeys()))
    mailbox = MailboxRequest((Write(0, b"lost"),), continues=True).build()
    assert device(_exchange(opened, Exchange(mailbox=mailbox, status=0x0101))).sw == 0x9000
    assert device.session.state is State.ENDED
    assert not any(device.records.kept["mailbox/0"])


def test_a_status_together_with_an_atomic_session_that_ends_keeps_it() -> None:
    device = Device(records())
    opened = device.run(authenticate(reader(), Plan(fast=False), fresh("1"), PersistentKeys()))
    mailbox = MailboxRequest((Write(0, b"kept"),)).build()
    assert device(_exchange(opened, Exchange(mailbox=mailbox, status=0x0101))).sw == 0x9000
    assert device.records.kept["mailbox/0"][:4] == b"kept"


def test_a_document_to_update_is_refused_and_not_passed_over() -> None:
    device = Device(records())
    opened = device.run(authenticate(reader(), Plan(fast=False), fresh("1"), PersistentKeys()))
    assert device(_exchange(opened, Exchange(update_document=b"new"))).sw == 0x6A81


def test_a_certificate_is_loaded_once() -> None:
    device = Device(records())
    _bring(device, State.LOADED)
    assert device(device.commands[-1]).sw == 0x6985
    assert device.session.certificate is None


def test_a_request_cannot_read_the_mailbox_more_often_than_an_answer_may_hold() -> None:
    device = Device(records())
    device.records.kept["mailbox/0"] = bytes(MOST_READ)
    opened = device.run(authenticate(reader(), Plan(fast=False), fresh("1"), PersistentKeys()))
    whole = MailboxRequest((Read(0, MOST_READ),))
    assert device.run(use_mailbox(opened, whole)).status == MailboxStatus.OK
    more = MailboxRequest((Read(0, MOST_READ), Read(0, 1)))
    assert device.run(use_mailbox(opened, more)).status == MailboxStatus.OUT_OF_RANGE


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_channel_whose_counters_are_used_up_ends_and_keeps_nothing_of_the_last_command(limit: int) -> None:
    device = Device(records(), DeviceSettings(profile=Profile(expedited_limit=limit)))
    opened = device.run(authenticate(reader(), Plan(fast=False), fresh("1"), PersistentKeys()))
    for number in range(1, limit):  # the answer to AUTH1 was the first message of the device
        mailbox = MailboxRequest((Write(0, bytes((number,))),))
        assert device(_exchange(opened, Exchange(mailbox=mailbox.build()))).sw == 0x9000
    before = device.records.kept["mailbox/0"]
    last = Exchange(mailbox=MailboxRequest((Write(0, b"\xff"),)).build())
    assert device(_exchange(opened, last)).sw == 0x6985
    assert (device.records.kept["mailbox/0"], device.session.state) == (before, State.SELECTED)


def test_a_reader_whose_counters_are_used_up_says_what_to_do() -> None:
    limited = reader(profile=Profile(expedited_limit=1))
    device = Device(records())
    opened = device.run(authenticate(limited, Plan(fast=False), fresh("1"), PersistentKeys()))
    device(_exchange(opened, Exchange(ursk_ready=True)))
    with pytest.raises(SequenceError) as caught:
        device.run(use_mailbox(opened, MailboxRequest(())))
    assert "begin a new transaction" in caught.value.hint


# ---- records --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [b"", b"\0" * 7, bytes(64), bytes(66)])
def test_a_kept_key_that_is_damaged_counts_as_none_and_the_standard_phase_mends_it(damage: bytes) -> None:
    device, keys = Device(records()), PersistentKeys()
    first = device.run(authenticate(reader(), Plan(), fresh("1"), keys))
    assert first.kept is not None
    keys.keep(first.kept)
    device.records.kept[f"persistent/{(GROUP + SUB_GROUP).hex()}"] = damage
    second = device.run(authenticate(reader(), Plan(), fresh("2"), keys))
    assert second.kept is not None
    assert not second.is_fast
    keys.keep(second.kept)
    assert device.run(authenticate(reader(), Plan(), fresh("3"), keys)).is_fast


@pytest.mark.parametrize("number", [0, 7])
def test_a_credential_that_is_damaged_keeps_no_other_from_working(number: int) -> None:
    device = Device(records())
    good = device.records.kept.pop("credential/0")
    device.records.kept |= {"credential/3": good, f"credential/{number}": b"\x80\x05oh"}
    opened = device.run(authenticate(reader(), Plan(), fresh("1"), PersistentKeys()))
    assert opened.credential == key("credential").public
    device(_SELECT)
    assert device(_auth0(parameters=1, reader_identifier=bytes(32))).sw == 0x9000


def test_a_credential_serves_each_of_its_reader_groups_and_keeps_their_keys_apart() -> None:
    groups = [(bytes((number,)) * 16, key(f"reader {number}")) for number in range(3)]
    record = CredentialRecord(
        b"credential",
        key("credential").public.point,
        tuple(GroupRecord(identifier, one.public.point) for identifier, one in groups),
    )
    device = Device(MemoryRecords({"credential/5": record.build()}))
    caches = [PersistentKeys() for _ in groups]
    for fast in (False, True):
        for (identifier, one), keys in zip(groups, caches, strict=True):
            opened = device.run(
                authenticate(Reader(one, identifier + SUB_GROUP), Plan(), fresh(f"{identifier!r}{fast}"), keys)
            )
            assert opened.is_fast is fast
            assert opened.kept is not None
            keys.keep(opened.kept)


def test_a_credential_written_anew_within_a_transaction_leaves_no_kept_key() -> None:
    device = Device(records())
    step = authenticate(reader(), Plan(fast=False), fresh("1"), PersistentKeys())
    command = next(step)
    while command.ins != Ins.AUTH1:
        command = step.send(device(command))
    other = records(signaling=4)
    device.records.kept["credential/0"] = other.kept["credential/0"]
    assert device(command).sw == 0x6985
    assert not [name for name in device.records.kept if name.startswith("persistent")]


def test_a_mailbox_written_over_another_channel_is_not_overwritten_with_what_was_there_before() -> None:
    device = Device(records())
    opened = device.run(authenticate(reader(), Plan(fast=False), fresh("1"), PersistentKeys()))
    device.run(use_mailbox(opened, MailboxRequest((Write(0, b"a"),))))
    device.records.kept["mailbox/0"] = b"other" + bytes(59)
    device.run(use_mailbox(opened, MailboxRequest((Write(60, b"a"),))))
    assert device.records.kept["mailbox/0"] == b"other" + bytes(55) + b"a" + bytes(3)
    device.run(use_mailbox(opened, MailboxRequest((Write(0, b"lost"),), continues=True)))
    device.records.kept["mailbox/0"] = b"third" + bytes(59)
    assert device(_exchange(opened, Exchange(mailbox=MailboxRequest(()).build()))).sw == 0x6985
    assert device.records.kept["mailbox/0"] == b"third" + bytes(59)


def test_what_is_kept_prints_no_key() -> None:
    kept = PersistentRecord(b"\0", b"secret key of thirty-two bytes!!", bytes(32))
    assert "secret" not in repr(kept) + str(kept) + f"{[kept]}"
