"""The user device against readers that do as they like: states, fields, unknown readers, any bytes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.aliro import keys as key_schedule
from keywright.aliro.cache import PersistentKeys
from keywright.aliro.exchange import MailboxRequest
from keywright.aliro.messages import CLASSES, EXPEDITED_AID, NAMES, STEP_UP_AID, Auth0, Ins
from keywright.aliro.reader import Plan, authenticate, use_mailbox
from keywright.aliro.session import State
from keywright.aliro.user_device import TABLE
from keywright.codec.ber import item, items
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.errors import KeywrightError
from keywright.iso7816.apdu import Command
from support.aliro import GROUP, SUB_GROUP, Device, fresh, key, reader, records

_SELECT = Command(0x00, Ins.SELECT, 0x04, 0x00, EXPEDITED_AID, 0)


def _auth0(**fields: object) -> Command:
    values = {
        "parameters": 0,
        "policy": 1,
        "version": 0x100,
        "ephemeral": key("ephemeral").public.point,
        "transaction_identifier": bytes(16),
        "reader_identifier": GROUP + SUB_GROUP,
        **fields,
    }
    return Command(0x80, Ins.AUTH0, 0, 0, Auth0(**values).build(), 0)  # type: ignore[arg-type]


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
        assert device.session.state is State.SELECTED
        assert device.session.to_reader is None
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
