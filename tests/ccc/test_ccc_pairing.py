"""Owner pairing, both ends against each other: passwords, attempts, power cuts, changed bits."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keywright.ccc import keys as key_schedule
from keywright.ccc import pairing, statements
from keywright.ccc.memory import VehicleMemory
from keywright.ccc.messages import CLASSES, Ins, KeyCreation, ScryptParameters
from keywright.ccc.pairing import BadPointError, provide
from keywright.ccc.profile import CCC_PUBLIC, Profile, Scrypt
from keywright.ccc.records import KEYS, KeyRecord, PairingRecord, Role, find_key
from keywright.ccc.session import State
from keywright.ccc.vehicle import Plan
from keywright.errors import AuthenticationError, KeywrightError, LinkError, PolicyError, StatusError, WireError
from keywright.iso7816.apdu import Command, Response
from keywright.sansio.dialogue import drive
from keywright.store.memory import Memory, RamMemory
from support.aliro import key
from support.ccc import PASSWORD, QUICK, VEHICLE, WRONG, Car, Phone, cut_at, paired
from support.power import CutMemory, PowerCut

STANDARD = Plan(fast=False)


def _left(phone: Phone) -> int:
    return PairingRecord.parse(phone.kept()["pairing"]).left


def _used(car: Car) -> int:
    return car.memory.offered().used


def test_a_pairing_makes_an_owner_on_both_sides_and_ends_the_password() -> None:
    car, phone, made = paired()
    found = find_key(phone.device.records, VEHICLE)
    assert found is not None
    record = found[1]
    assert (record.role, record.slot, record.public_key) == (Role.OWNER, made.slot, made.public_key.point)
    assert record.vehicle_key == car.vehicle.key.public.point
    owner = car.memory.owner()
    assert owner is not None
    assert (owner[0], owner[1].public_key) == (made.slot, made.public_key.point)
    assert "pairing" not in phone.kept()
    with pytest.raises(PolicyError, match="no owner pairing"):
        car.memory.offered()
    assert [command.ins for command in phone.commands] == [
        Ins.SELECT,
        Ins.SPAKE2_REQUEST,
        Ins.SPAKE2_VERIFY,
        Ins.WRITE_DATA,
        Ins.GET_DATA,
        Ins.CONTROL_FLOW,
    ]
    assert [command.cla for command in phone.commands] == [CLASSES[command.ins] for command in phone.commands]
    assert not phone.run(car.unlock()).is_fast
    assert phone.run(car.unlock()).is_fast


def test_the_default_profile_pairs_with_scrypt_at_its_full_cost() -> None:
    assert CCC_PUBLIC.scrypt == Scrypt(4096, 8, 1)
    car, phone, _ = paired(profile=CCC_PUBLIC)
    assert phone.run(car.unlock()).slot


@pytest.mark.parametrize(
    "profile",
    [
        Profile(scrypt=QUICK.scrypt, info_has_versions=False),
        Profile(scrypt=QUICK.scrypt, evidence_over_own_point=False),
        Profile(scrypt=QUICK.scrypt, password_is_packed=True),
        Profile(scrypt=QUICK.scrypt, mac_length=16),
        Profile(scrypt=QUICK.scrypt, salt=b"another", interface=0xC3, fast=0x81, counts=False),
        Profile(scrypt=QUICK.scrypt, end_p1=0x01, abort_p1=0x00),
    ],
)
def test_every_choice_works_when_both_ends_made_it_and_not_when_one_did(profile: Profile) -> None:
    car, phone, _ = paired(profile=profile)
    phone.run(car.unlock())
    assert phone.run(car.unlock()).is_fast
    car, phone = Car(), Phone(profile=profile)
    car.offer()
    phone.enter()
    if profile.counts and profile.salt == QUICK.salt:
        with pytest.raises(KeywrightError):
            phone.run(car.pair())
    else:
        phone.run(car.pair())
        with pytest.raises(KeywrightError):
            phone.run(car.unlock())


# ---- attempts -------------------------------------------------------------------------------------------------


def test_a_wrong_password_is_counted_once_by_each_end_and_not_tried_again() -> None:
    car, phone = Car(), Phone()
    car.offer()
    phone.enter(WRONG)
    with pytest.raises(StatusError, match=r"VERIFY \(6 attempts left\): status 6982"):
        phone.run(car.pair())
    assert [command.ins for command in phone.commands].count(Ins.SPAKE2_VERIFY) == 1
    assert [command.ins for command in phone.commands].count(Ins.SPAKE2_REQUEST) == 1
    assert (_used(car), _left(phone)) == (1, 6)
    assert find_key(phone.device.records, VEHICLE) is None
    assert car.memory.owner() is None


def test_after_seven_the_vehicle_stops_until_a_new_password() -> None:
    car, phone = Car(), Phone()
    car.offer()
    for _ in range(7):
        phone.enter(WRONG)
        with pytest.raises(StatusError):
            phone.run(car.pair())
    phone.enter()
    phone.commands.clear()
    with pytest.raises(PolicyError, match="tried 7 times"):
        phone.run(car.pair())
    # It says so with OP CONTROL FLOW, and asks for no point X.
    assert [command.ins for command in phone.commands] == [Ins.SELECT, Ins.CONTROL_FLOW]
    assert phone.session.state is State.ENDED
    car.offer()
    phone.run(car.pair())


def test_a_right_password_after_wrong_ones_is_good() -> None:
    car, phone = Car(), Phone()
    car.offer()
    for _ in range(6):
        phone.enter(WRONG)
        with pytest.raises(StatusError):
            phone.run(car.pair())
    phone.enter()
    phone.run(car.pair())


class Impostor:
    """A device that runs SPAKE2+ with a guess and listens to the vehicle's evidence, then is gone."""

    def __init__(self) -> None:
        self.phone = Phone()
        self.phone.enter(WRONG)
        self.evidence = 0

    def __call__(self, command: Command) -> Response:
        if command.ins == Ins.SPAKE2_VERIFY:
            self.evidence += 1
            raise LinkError("gone", delivered=True)
        return self.phone(command)


def test_evidence_that_left_the_vehicle_was_counted_before_also_when_nobody_answers() -> None:
    car = Car()
    car.offer()
    given = 0
    for _ in range(9):
        impostor = Impostor()
        with contextlib.suppress(LinkError, PolicyError):
            drive(car.pair(), impostor)
        given += impostor.evidence
    assert given == 7


@pytest.mark.parametrize("delivered", [False, True])
def test_power_that_the_vehicle_loses_at_its_count_gives_nobody_a_free_guess(*, delivered: bool) -> None:
    """The commit of the count fails before or after it took effect: nothing leaves, or it was counted."""
    ram = RamMemory()
    Car(memory=ram).offer()
    phone = Phone()
    phone.enter(WRONG)
    cut = CutMemory(ram, cut_before=0 if delivered else 1, cut_after=1 if delivered else 0)
    car = Car(memory=cut)
    with pytest.raises(PowerCut):
        drive(car.pair(), phone)
    assert Ins.SPAKE2_VERIFY not in [command.ins for command in phone.commands]
    assert VehicleMemory(ram, QUICK).offered().used == int(delivered)


def test_the_device_counts_before_it_gives_its_point() -> None:
    phone = Phone()
    phone.enter()
    cut = CutMemory(phone.memory, cut_before=1)
    victim = Phone(memory=cut)
    car = Car()
    car.offer()
    with pytest.raises(PowerCut):
        victim.run(car.pair())
    assert victim.answers[-1].sw == 0x9000  # that of SELECT; the point did not leave
    assert len(victim.answers) == 1
    assert _left(phone) == 7


# ---- refusals -------------------------------------------------------------------------------------------------


def test_a_device_without_a_password_is_told_apart_and_costs_nothing() -> None:
    car, phone = Car(), Phone()
    car.offer()
    with pytest.raises(PolicyError, match="not in pairing mode") as error:
        phone.run(car.pair())
    assert "enter the password" in error.value.hint
    assert _used(car) == 0


def test_a_device_of_a_maker_not_trusted_gets_no_key_at_the_vehicle() -> None:
    car, phone = Car(), Phone(maker="somebody")
    car.offer()
    phone.enter()
    with pytest.raises(PolicyError, match="maker"):
        phone.run(car.pair())
    assert car.memory.owner() is None
    assert phone.commands[-1].ins == Ins.CONTROL_FLOW
    assert _used(car) == 1


def test_a_point_that_is_none_is_answered_with_its_reason_and_costs_nothing() -> None:
    car, phone = Car(), Phone()
    car.offer()
    phone.enter()

    def bad(command: Command) -> Response:
        answer = phone(command)
        return Response(answer.data[:-1] + b"\0") if command.ins == Ins.SPAKE2_REQUEST else answer

    with pytest.raises(BadPointError):
        drive(car.pair(), bad)
    last = phone.commands[-1]
    assert (last.ins, last.p1, last.p2) == (Ins.CONTROL_FLOW, 0x12, 0x0C)
    assert _used(car) == 0


def test_a_device_that_proves_nothing_is_not_accepted() -> None:
    car, phone = Car(), Phone()
    car.offer()
    phone.enter()

    def forged(command: Command) -> Response:
        answer = phone(command)
        return Response(answer.data[:-1] + bytes((answer.data[-1] ^ 1,))) if answer.data[:1] == b"\x58" else answer

    with pytest.raises(AuthenticationError, match="6 attempts left"):
        drive(car.pair(), forged)
    assert car.memory.owner() is None


def test_a_second_owner_is_not_paired_while_there_is_one() -> None:
    car, _, made = paired()
    with pytest.raises(PolicyError, match="has an owner"):
        car.offer()
    car.memory.revoke(made.slot)
    car.offer()
    other = Phone("other")
    other.enter()
    other.run(car.pair())


def test_pairing_again_takes_the_place_of_the_old_key_and_a_full_device_says_so() -> None:
    car, phone, made = paired()
    car.memory.revoke(made.slot)
    car.offer()
    phone.enter()
    again = phone.run(car.pair())
    assert [name for name in phone.kept() if name.startswith("key/")] == ["key/0"]
    assert KeyRecord.parse(phone.kept()["key/0"]).slot == again.slot
    record = phone.kept()["key/0"]
    full = {f"key/{number}": record.replace(VEHICLE, bytes((number,)) * 8) for number in range(KEYS)}
    phone.memory.commit(full)
    car.memory.revoke(again.slot)
    car.offer()
    phone.enter()
    with pytest.raises(StatusError, match="6A84"):
        phone.run(car.pair())


def test_versions_in_common_are_needed() -> None:
    for own in ((0x0200,), (0x0100,)):
        car, phone = Car(versions=own), Phone()
        car.offer()
        phone.enter()

        def changed(command: Command, phone: Phone = phone, own: object = own) -> Response:
            answer = phone(command)
            if command.ins == Ins.SELECT and own == (0x0100,):
                return Response(b"\x5a\x02\x02\x00" + answer.data[4:])
            return answer

        with pytest.raises(PolicyError, match="no common protocol version"):
            drive(car.pair(), changed)


@pytest.mark.parametrize("field", ["brand", "private_size"])
def test_a_key_creation_that_does_not_fit_is_refused(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The brand is in the clear in SPAKE2+ REQUEST; the channel says it again."""
    car, phone = Car(), Phone()
    car.offer()
    phone.enter()

    def other(*values: Any) -> KeyCreation:
        return msgspec.structs.replace(KeyCreation(*values), **{field: 5000})

    monkeypatch.setattr(pairing, "KeyCreation", other)
    with pytest.raises(StatusError, match="6A80"):
        phone.run(car.pair())
    assert find_key(phone.device.records, VEHICLE) is None


# ---- cuts and changed bits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("delivered", [False, True])
@pytest.mark.parametrize("at", range(6))
def test_a_cut_at_any_exchange_costs_at_most_one_attempt_and_the_next_run_is_good(*, at: int, delivered: bool) -> None:
    car, phone = Car(), Phone()
    car.offer()
    phone.enter()
    with pytest.raises(LinkError):
        drive(car.pair(), cut_at(phone, at, delivered=delivered))
    phone.device.reset()
    if car.memory.owner() is not None:
        # Only the end was not heard: the key is good, and the password no more.
        assert at == 5
        with pytest.raises(PolicyError):
            car.memory.offered()
    else:
        assert _used(car) == (1 if at >= 2 else 0)
        assert _left(phone) == (6 if at > 1 or (at == 1 and delivered) else 7)
        phone.run(car.pair())
    phone.run(car.unlock())
    assert phone.run(car.unlock()).is_fast


@pytest.mark.parametrize("at", range(1, 5))
@pytest.mark.parametrize("after", [False, True])
def test_a_device_that_loses_its_power_inside_a_command_pairs_the_next_time(*, at: int, after: bool) -> None:
    ram = RamMemory()
    Phone(memory=ram).enter()
    cut = CutMemory(ram, cut_before=0 if after else at, cut_after=at if after else 0)
    car = Car()
    car.offer()
    with contextlib.suppress(PowerCut):
        Phone("phone 1", memory=cut).run(car.pair())
    again = Phone("phone 2", memory=ram)
    if car.memory.owner() is None:
        again.run(car.pair())
    again.run(car.unlock())


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 3))
def test_a_vehicle_that_loses_its_power_at_a_commit_has_counted_or_kept_the_key(*, at: int, after: bool) -> None:
    ram = RamMemory()
    Car(memory=ram).offer()
    cut = CutMemory(ram, cut_before=0 if after else at, cut_after=at if after else 0)
    phone = Phone()
    phone.enter()
    with pytest.raises(PowerCut):
        phone.run(Car(memory=cut).pair())
    phone.device.reset()
    again = Car(memory=ram)
    again.seed()
    if again.memory.owner() is None:
        phone.run(again.pair())
    phone.run(again.unlock())


@settings(max_examples=max(20, settings.default.max_examples // 4) if settings.default else 25, deadline=None)
@given(st.integers(0, 5), st.booleans(), st.integers(0, 1 << 16))
def test_one_changed_bit_of_any_command_or_answer_ends_the_run(at: int, is_command: bool, bit: int) -> None:  # noqa: FBT001 - drawn by position
    """The last answer has no data: a change of its status word is all there can be."""
    car, phone = Car(), Phone()
    car.offer()
    phone.enter()
    count = -1

    def flip(data: bytes) -> bytes:
        changed = bytearray(data)
        changed[bit // 8 % len(changed)] ^= 1 << bit % 8
        return bytes(changed)

    def one(command: Command) -> Response:
        nonlocal count
        count += 1
        if count != at:
            return phone(command)
        if is_command:
            raw = command.encode()
            body = flip(raw[:4] + command.data)  # not Lc and Le: those say where the data are
            command = Command(body[0], body[1], body[2], body[3], body[4:], command.le)
            return phone(command)
        answer = phone(command)
        raw = flip(answer.data + answer.sw.to_bytes(2))
        return Response(raw[:-2], int.from_bytes(raw[-2:]))

    with pytest.raises(KeywrightError):
        drive(car.pair(), one)
    assert phone.session.channel is None
    if at < 5:
        assert car.memory.owner() is None


# ---- the second session ---------------------------------------------------------------------------------------


def test_tokens_go_into_the_confidential_mailbox_as_a_whole() -> None:
    car, phone, _ = paired()
    opened = phone.run(car.authenticate(STANDARD))
    tokens = bytes(range(240))
    phone.run(provide(opened, tokens))
    assert phone.kept()["confidential/0"][:240] == tokens
    for at in range(2):
        opened = phone.run(car.authenticate(STANDARD))
        with pytest.raises(LinkError):
            drive(provide(opened, bytes(240)), cut_at(phone, at, delivered=at == 0))
        phone.device.reset()
        assert phone.kept()["confidential/0"][:240] == tokens
    with pytest.raises(WireError, match="does not take 300"):
        phone.run(provide(phone.run(car.authenticate(STANDARD)), bytes(300)))


def test_a_memory_that_is_full_is_answered_and_the_session_is_over() -> None:
    from keywright.errors import StoreError

    class Full:
        def __init__(self, memory: Memory) -> None:
            self.load, self.names = memory.load, memory.names

        def commit(self, changes: object) -> None:
            raise StoreError("full")

    phone = Phone()
    phone.enter()
    full = Phone(memory=Full(phone.memory))
    car = Car()
    car.offer()
    with pytest.raises(StatusError, match="6581"):
        full.run(car.pair())
    assert full.session.state is State.IDLE


def test_nothing_secret_of_a_pairing_shows_itself() -> None:
    data = key_schedule.verifier_data(PASSWORD, ScryptParameters(bytes(16), 1024, 8, 1))
    shown = f"{data!r} {PASSWORD!r}"
    assert PASSWORD.digits not in shown
    assert data.reveal()[:8].hex() not in shown


def test_a_statement_is_signed_by_the_key_it_names() -> None:
    statement = statements.Statement(kind=1, issuer=bytes(8), subject=key("a").public.point)
    with pytest.raises(ValueError, match="names the key"):
        statements.sign(key("b"), statement)
