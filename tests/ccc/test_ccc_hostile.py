"""Peers that have the keys and do wrong all the same: what they send opens, and says nothing usable."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import msgspec
import pytest

from keywright.aliro.exchange import MailboxRequest, Read
from keywright.aliro.messages import ReaderStatus
from keywright.ccc import device as device_module
from keywright.ccc import pairing
from keywright.ccc.memory import KnownKey
from keywright.ccc.messages import Exchange, FrameworkSelected, Ins, SpakeVerify
from keywright.ccc.session import State
from keywright.ccc.vehicle import Plan, check_key, exchange, finish, use_mailbox
from keywright.errors import AuthenticationError, PolicyError, StatusError, WireError
from keywright.iso7816.apdu import Command, Response
from keywright.sansio.dialogue import drive
from keywright.scp.scp03.messaging import CardMessaging
from support.ccc import NOW, Car, Phone, paired, share

STANDARD = Plan(fast=False)


class Lying(CardMessaging):
    """The device's end of a channel that seals something else than it was given, when there is a lie."""

    lie: ClassVar[bytes | None] = None

    def wrap(self, response: Response) -> Response:
        return super().wrap(response if Lying.lie is None else Response(Lying.lie, response.sw))


@pytest.fixture
def lying(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Lying]]:
    """Devices of this test can lie."""
    monkeypatch.setattr(device_module, "CardMessaging", Lying)
    yield Lying
    Lying.lie = None


def _waiting() -> tuple[Car, Phone]:
    car, phone = Car(), Phone()
    car.offer()
    phone.enter()
    return car, phone


# ---- devices --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lie", [b"\x99\0", b"\0\0", b"\0\3abc\0\1d", bytes(200)])
def test_a_chain_that_is_none_gives_no_key(lie: bytes, lying: type[Lying]) -> None:
    car, phone = _waiting()

    def one(command: Command) -> Response:
        lying.lie = lie if command.ins == Ins.GET_DATA else None
        return phone(command)

    with pytest.raises(WireError, match="GET DATA"):
        drive(car.pair(), one)
    assert car.memory.owner() is None
    assert phone.session.state is State.ENDED


@pytest.mark.parametrize("lie", [b"junk", b"\x4e\x08slotslot", bytes(120)])
def test_an_answer_to_auth1_that_is_none_opens_nothing(lie: bytes, lying: type[Lying]) -> None:
    car, phone, _ = paired()

    def one(command: Command) -> Response:
        lying.lie = lie if command.ins == Ins.AUTH1 else None
        return phone(command)

    with pytest.raises(WireError, match="AUTH1"):
        drive(car.unlock(STANDARD), one)
    assert phone.session.state is State.ENDED


@pytest.mark.parametrize(
    ("lie", "what"),
    [(b"junk", "EXCHANGE"), (b"", "did not answer"), (b"\xba\1\0", "EXCHANGE"), (b"\xbb\0", "not answer")],
)
def test_an_answer_to_exchange_that_is_none_is_said(lie: bytes, what: str, lying: type[Lying]) -> None:
    car, phone, _ = paired()
    opened = phone.run(car.authenticate(STANDARD))
    lying.lie = lie
    with pytest.raises(WireError, match=what):
        phone.run(use_mailbox(opened, "private", MailboxRequest((Read(0, 1),))))


@pytest.mark.parametrize(
    ("ins", "answer", "what"),
    [
        (Ins.SELECT, FrameworkSelected(b"\1\0", b"\1\0", 1).build(), "pairing status is 01"),
        (Ins.SELECT, b"\x5a\1\0\x5c\2\1\0\xd4\1\2", "SELECT"),
        (Ins.SPAKE2_VERIFY, b"\x58\x0f" + bytes(15), "VERIFY"),
    ],
)
def test_answers_of_owner_pairing_in_the_clear(ins: int, answer: bytes, what: str) -> None:
    car, phone = _waiting()
    with pytest.raises(WireError, match=what):
        drive(car.pair(), lambda command: Response(answer) if command.ins == ins else phone(command))
    assert car.memory.owner() is None


@pytest.mark.parametrize(
    ("ins", "answer"), [(Ins.SELECT, b""), (Ins.AUTH0, b""), (Ins.AUTH0, b"\x86\x41\x04" + bytes(64))]
)
def test_answers_of_a_transaction_in_the_clear(ins: int, answer: bytes) -> None:
    car, phone, _ = paired()
    with pytest.raises(WireError):
        drive(car.unlock(STANDARD), lambda command: Response(answer) if command.ins == ins else phone(command))


def test_a_package_whose_reading_is_disturbed_ends_the_transaction_without_a_channel() -> None:
    car, owner, _ = paired()
    friend = Phone("friend")
    share(car, owner, friend)

    def one(command: Command) -> Response:
        answer = friend(command)
        return Response(bytes(len(answer.data)), answer.sw) if command.ins == Ins.EXCHANGE else answer

    with pytest.raises(AuthenticationError):
        drive(car.unlock(), one)
    assert friend.commands[-1].ins == Ins.CONTROL_FLOW
    friend.run(car.unlock())


# ---- vehicles -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "sw"),
    [
        (Command(0x80, Ins.EXCHANGE, 1, 0, b"", 0), 0x6B00),
        (Command(0x80, Ins.EXCHANGE, 0, 0, b"junk", 0), 0x6A80),
        (Command(0x80, Ins.EXCHANGE, 0, 0, b"\x97\1\0", 0), 0x6A80),
        (Command(0x80, Ins.WRITE_DATA, 0x7F, 0x48, b"", 0), 0x6985),
    ],
)
def test_commands_of_a_known_vehicle_that_do_not_fit_end_the_session(command: Command, sw: int) -> None:
    car, phone, _ = paired()
    opened = phone.run(car.authenticate(STANDARD))
    assert phone.run(opened.channel.secure(command)).sw == sw
    assert phone.session.state is State.IDLE
    with pytest.raises(StatusError, match="6985"):
        phone.run(exchange(opened, Exchange()))


@pytest.mark.parametrize(
    ("at", "changes", "sw"),
    [
        (Ins.WRITE_DATA, {"p2": 0x49}, 0x6B00),
        (Ins.WRITE_DATA, {"data": b"junk"}, 0x6A80),
        (Ins.GET_DATA, {"p1": 0}, 0x6B00),
        (Ins.GET_DATA, {"data": b"\0"}, 0x6A80),
    ],
)
def test_commands_of_owner_pairing_that_do_not_fit(
    at: int, changes: dict[str, object], sw: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    protected = pairing._protected

    def other(ins: int, p1p2: int, data: bytes) -> Command:
        command = protected(ins, p1p2, data)
        return msgspec.structs.replace(command, **changes) if ins == at else command

    monkeypatch.setattr(pairing, "_protected", other)
    car, phone = _waiting()
    with pytest.raises(StatusError, match=f"{sw:04X}"):
        phone.run(car.pair())
    assert car.memory.owner() is None


def test_a_point_y_that_is_none_is_refused() -> None:
    car, phone = _waiting()

    def one(command: Command) -> Response:
        if command.ins == Ins.SPAKE2_VERIFY:
            command = Command(0x80, Ins.SPAKE2_VERIFY, 0, 0, SpakeVerify(bytes(65), bytes(16)).build(), 0)
        return phone(command)

    with pytest.raises(StatusError, match="6A88"):
        drive(car.pair(), one)


def test_an_end_of_owner_pairing_with_data_is_none() -> None:
    car, phone = _waiting()

    def one(command: Command) -> Response:
        if command.ins == Ins.CONTROL_FLOW:
            command = Command(0x80, Ins.CONTROL_FLOW, command.p1, command.p2, b"\0")
        return phone(command)

    with pytest.raises(StatusError, match="6A80"):
        drive(car.pair(), one)
    assert "pairing" in phone.kept()
    phone.run(car.unlock())


# ---- what is not reached over the air -------------------------------------------------------------------------


def test_a_revoked_slot_is_never_kept_and_a_key_not_proven_never_good() -> None:
    car, phone, made = paired()
    opened = phone.run(car.authenticate())
    car.memory.revoke(made.slot)
    with pytest.raises(PolicyError, match="revoked"):
        car.memory.keep(made.slot, KnownKey(public_key=made.public_key.point, role=1, entitlements=1))
    with pytest.raises(PolicyError, match="revoked"):
        check_key(car.vehicle, car.memory, Plan(), opened, NOW)
    opened.key = None
    with pytest.raises(PolicyError):
        check_key(car.vehicle, Car().memory, Plan(), opened, NOW)
    phone.run(finish(opened, ReaderStatus.ACCESS_RIGHTS))


def test_a_simulated_device_is_met_over_a_field_and_has_nothing_more_to_say() -> None:
    phone = Phone()
    assert phone.device.atr == b""
    assert phone.device.handle(bytes.fromhex("00C0000000"))[-2:] != b"\x90\0"
