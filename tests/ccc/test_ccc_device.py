"""The device against vehicles that do as they like: states, fields, unknown vehicles, any bytes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keywright.aliro.exchange import MailboxRequest
from keywright.ccc import device as device_module
from keywright.ccc.device import TABLE
from keywright.ccc.messages import CLASSES, NAMES, Auth0, Ins, ScryptParameters, SpakeRequest
from keywright.ccc.profile import APPLET_AID, FRAMEWORK_AID
from keywright.ccc.session import State
from keywright.ccc.vehicle import Plan, use_mailbox
from keywright.codec.ber import item, items
from keywright.crypto import p256
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.errors import LinkError
from keywright.iso7816.apdu import Command
from support.aliro import key
from support.ccc import VEHICLE, Car, Phone, cut_at, paired

SELECT_APPLET = Command(0x00, Ins.SELECT, 0x04, 0x00, APPLET_AID.value, 0)
SELECT_FRAMEWORK = Command(0x00, Ins.SELECT, 0x04, 0x00, FRAMEWORK_AID.value, 0)
STANDARD = Plan(fast=False)

_PAIRING = {State.FRAMEWORK: 1, State.REQUESTED: 2, State.PAIRING: 3, State.CREATED: 4}
"""How many exchanges of owner pairing bring a device into a state."""


@pytest.fixture(scope="module")
def owners() -> dict[str, bytes]:
    """What a paired phone remembers."""
    return paired()[1].kept()


def _phone(kept: dict[str, bytes]) -> Phone:
    phone = Phone("again")
    phone.memory.commit(dict(kept))
    return phone


def _bring(phone: Phone, car: Car, state: State) -> None:
    """Bring a device into a state, as a vehicle does."""
    if state is State.IDLE:
        return
    if state in _PAIRING:
        phone.enter()
        car.offer()
        with pytest.raises(LinkError):
            phone_cut(phone, car, _PAIRING[state])
    elif state in (State.SELECTED, State.AUTH0):
        phone(SELECT_APPLET)
        if state is State.AUTH0:
            phone(_auth0(p1=1))
    else:
        opened = phone.run(_known(phone, car).authenticate(STANDARD))
        if state is State.ATOMIC:
            phone.run(use_mailbox(opened, "private", MailboxRequest((), continues=True)))
        elif state is State.ENDED:
            phone(SELECT_APPLET)
            phone(Command(0x80, Ins.CONTROL_FLOW, 0, 0, bytes.fromhex("410100420100")))
    assert phone.session.state is state


def phone_cut(phone: Phone, car: Car, exchanges: int) -> None:
    from keywright.sansio.dialogue import drive

    drive(car.pair(), cut_at(phone, exchanges, delivered=False))


def _known(phone: Phone, car: Car) -> Car:
    """The car that has this phone's key."""
    from keywright.ccc.memory import KnownKey
    from keywright.ccc.records import find_key

    found = find_key(phone.device.records, VEHICLE)
    assert found is not None
    car.memory.keep(found[1].slot, KnownKey(public_key=found[1].public_key, role=1, entitlements=7))
    return car


def _auth0(p1: int = 0, **fields: Any) -> Command:
    values: dict[str, Any] = {
        "version": 0x100,
        "ephemeral": key("ephemeral").public.point,
        "transaction_identifier": bytes(16),
        "vehicle": VEHICLE,
        **fields,
    }
    return Command(0x80, Ins.AUTH0, p1, 0, Auth0(**values).build(), 0)


@pytest.mark.parametrize("state", list(State))
def test_every_pair_of_state_and_command_that_is_not_listed_is_refused(state: State, owners: dict[str, bytes]) -> None:
    unlisted = [ins for ins in NAMES if ins not in TABLE[state]]
    assert unlisted or state is State.IDLE
    phone = _phone(owners)
    for ins in unlisted:
        phone.device.reset()
        _bring(phone, Car(), state)
        kept = phone.kept()
        answer = phone(Command(CLASSES[ins], ins, 0, 0, b"", 0))
        assert (answer.sw, answer.data) == (0x6985, b""), NAMES[ins]
        assert phone.session.state is State.IDLE
        assert phone.session.channel is None
        assert phone.kept() == kept


@pytest.mark.parametrize(
    ("command", "sw"),
    [
        (Command(0x80, 0x55, 0, 0, b"", 0), 0x6D00),
        (Command(0x00, Ins.AUTH0, 0, 0, b"", 0), 0x6E00),
        (Command(0x80, Ins.EXCHANGE, 0, 0, b"", 0), 0x6E00),
        (Command(0x00, Ins.SELECT, 0x04, 0, bytes(7), 0), 0x6A82),
        (Command(0x00, Ins.SELECT, 0x02, 0, APPLET_AID.value, 0), 0x6B00),
        (Command(0x80, Ins.AUTH0, 2, 0, b"", 0), 0x6B00),
        (Command(0x80, Ins.AUTH0, 0, 1, b"", 0), 0x6B00),
        (Command(0x80, Ins.CONTROL_FLOW, 1, 0, b"", 0), 0x6B00),
    ],
)
def test_headers_that_are_wrong_are_named(command: Command, sw: int) -> None:
    phone = Phone()
    phone(SELECT_APPLET)
    assert phone(command).sw == sw
    assert phone.session.state is State.IDLE


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
        ("version 2.0", [(t, b"\2\0" if t == 0x5C else v) for t, v in _GOOD]),
        ("not on the curve", [(t, v[:-1] + bytes((v[-1] ^ 1,)) if t == 0x87 else v) for t, v in _GOOD]),
        ("infinity", [(t, bytes(65) if t == 0x87 else v) for t, v in _GOOD]),
    ],
)
def test_every_wrong_field_of_auth0_is_refused_and_ends_the_session(name: str, data: list[tuple[int, bytes]]) -> None:
    phone = Phone()
    phone(SELECT_APPLET)
    answer = phone(Command(0x80, Ins.AUTH0, 0, 0, b"".join(item(tag, value) for tag, value in data), 0))
    assert (answer.sw, answer.data, phone.session.state) == (0x6A80, b"", State.IDLE), name


def _request(*, version: int = 0x100, n: int = 1024, r: int = 8, p: int = 1, applet: bytes = b"\1\0") -> Command:
    request = SpakeRequest(version, applet, ScryptParameters(bytes(16), n, r, p), 7)
    return Command(0x80, Ins.SPAKE2_REQUEST, 0, 0, request.build(), 0)


@pytest.mark.parametrize(
    ("command", "sw", "left"),
    [
        (_request(), 0x9000, 6),
        (_request(n=512), 0x6A88, 7),
        (_request(n=1 << 17), 0x6A88, 7),
        (_request(n=1500), 0x6A88, 7),
        (_request(r=1), 0x6A88, 7),
        (_request(r=0xFFFF), 0x6A88, 7),
        (_request(p=0), 0x6A88, 7),
        (_request(p=99), 0x6A88, 7),
        (_request(version=0x200), 0x6A80, 7),
        (_request(applet=b"\2\0"), 0x6A80, 7),
        (_request(applet=b"\2"), 0x6A80, 7),
    ],
)
def test_a_request_is_counted_when_it_is_answered(command: Command, sw: int, left: int) -> None:
    phone = Phone()
    phone.enter()
    phone(SELECT_FRAMEWORK)
    assert phone(command).sw == sw
    assert _left(phone) == left
    phone(SELECT_FRAMEWORK)
    assert phone(_request()).sw == 0x9000
    assert _left(phone) == left - 1  # nothing of what was refused is left to be kept later


def _left(phone: Phone) -> int:
    from keywright.ccc.records import PairingRecord

    return PairingRecord.parse(phone.kept()["pairing"]).left


def test_a_device_whose_attempts_are_used_up_is_not_ready_until_a_password_is_entered_again() -> None:
    phone = Phone()
    assert phone(SELECT_FRAMEWORK).data[-1] == 0x00
    assert phone(_request()).sw == 0x9484
    phone.enter()
    for left in range(6, -1, -1):
        assert phone(SELECT_FRAMEWORK).data[-1] == 0x02
        assert phone(_request()).sw == 0x9000
        phone.device.reset()
        assert _left(phone) == left
    assert phone(SELECT_FRAMEWORK).data[-1] == 0x00
    assert phone(_request()).sw == 0x9484
    phone.enter()
    phone(SELECT_FRAMEWORK)
    assert phone(_request()).sw == 0x9000


@settings(max_examples=max(20, settings.default.max_examples // 4) if settings.default else 25, deadline=None)
@given(
    st.sampled_from(sorted(NAMES)),
    st.binary(max_size=120),
    st.sampled_from([State.IDLE, State.FRAMEWORK, State.SELECTED, State.AUTH0, State.OPEN, State.ATOMIC]),
    st.binary(min_size=4, max_size=80),
)
def test_any_bytes_get_an_answer_and_a_refusal_ends_the_session(
    owners: dict[str, bytes], ins: int, data: bytes, state: State, raw: bytes
) -> None:
    phone = _phone(owners)
    _bring(phone, Car(), state)
    answer = phone(Command(CLASSES[ins], ins, 0, 0, data, 0))
    if answer.sw != 0x9000:
        assert phone.session.state is State.IDLE
        assert phone.session.ursk is None
    assert len(phone.device.handle(raw)) >= 2
    assert len(phone.device.handle(raw[:3])) >= 2


# ---- a vehicle that is not known ------------------------------------------------------------------------------


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

    for name in ("fast_keys", "cryptogram", "ranging_key", "volatile_keys", "persistent_key", "key_agreement"):
        count(device_module, name)
    count(p256, "check")
    for owner, name in ((EcPublicKey, "verify"), (EcPrivateKey, "agree"), (EcPrivateKey, "sign")):
        count(owner, name)
    return called


Seen: TypeAlias = tuple[int, list[tuple[int, int]]]
"""A status word, and the tags of the answer with their lengths."""


def _transcript(phone: Phone, vehicle: bytes, called: list[str], p1: int) -> tuple[list[Seen], list[str]]:
    called.clear()
    phone(SELECT_APPLET)
    seen: list[Seen] = []
    signature = Command(0x80, Ins.AUTH1, 0, 0, bytes.fromhex("9E40") + bytes(range(1, 65)), 0)
    for command in (_auth0(p1, vehicle=vehicle), signature):
        answer = phone(command)
        seen.append((answer.sw, [(tag, len(value)) for tag, value in items(answer.data)]))
    return seen, list(called)


@pytest.mark.parametrize("p1", [0, 1])
def test_an_unknown_vehicle_is_answered_as_a_known_one_whose_signature_is_wrong(p1: int, counted: list[str]) -> None:
    car, phone, _ = paired()
    fresh_key = _transcript(phone, VEHICLE, counted, p1)
    phone.run(car.unlock())
    transcripts = [fresh_key, _transcript(phone, VEHICLE, counted, p1), _transcript(phone, bytes(8), counted, p1)]
    transcripts.append(_transcript(Phone("empty"), VEHICLE, counted, p1))
    for one, other in itertools.pairwise(transcripts):
        assert one == other
    assert [sw for sw, _ in transcripts[0][0]] == [0x9000, 0x6982]
    assert transcripts[0][0][1][1] == []
    assert "verify" in transcripts[0][1]
    assert "sign" not in transcripts[0][1]
