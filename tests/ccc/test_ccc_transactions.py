"""Standard and fast transactions, both ends against each other: keys, mailboxes, power cuts, changed bits, ranging."""

from __future__ import annotations

from collections.abc import Generator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keywright.aliro.exchange import MailboxRequest, MailboxStatus, Read, Set, Write
from keywright.aliro.messages import ReaderStatus
from keywright.ccc import statements
from keywright.ccc.memory import KnownKey
from keywright.ccc.messages import Exchange, Ins
from keywright.ccc.pairing import Paired
from keywright.ccc.records import delete_key, keys
from keywright.ccc.session import State
from keywright.ccc.vehicle import DeviceError, Opened, Plan, exchange, finish, read_mailbox, use_mailbox
from keywright.crypto.aes import AesKey
from keywright.errors import KeywrightError, LinkError, PolicyError, SequenceError, StatusError, WireError
from keywright.iso7816.apdu import Command, Response
from keywright.sansio.dialogue import drive
from keywright.store.memory import RamMemory
from keywright.uwb.keys import RangingConfiguration, SessionKeys
from support.aliro import key
from support.ccc import NOW, VEHICLE, Car, Phone, cut_at, paired
from support.power import CutMemory, PowerCut

STANDARD = Plan(fast=False)
ALWAYS = Plan(always_standard=True)


@pytest.fixture(scope="module")
def both() -> tuple[dict[str, bytes], dict[str, bytes], Paired]:
    """What a car and the owner's phone remember after pairing and one transaction."""
    car, phone, made = paired()
    phone.run(car.unlock())
    return {name: car.ram.load(name) or b"" for name in car.ram.names()}, phone.kept(), made


Both = tuple[dict[str, bytes], dict[str, bytes], Paired]


def _again(both: Both, seed: str = "again") -> tuple[Car, Phone]:
    return Car(memory=RamMemory(both[0])), Phone(seed, memory=RamMemory(both[1]))


def _key(car: Car, slot: bytes) -> KnownKey:
    found = car.memory.find(slot)
    assert found is not None
    return found


def test_after_a_standard_transaction_the_next_is_fast(both: Both) -> None:
    car, phone = _again(both)
    opened = phone.run(car.unlock())
    assert opened.is_fast
    assert [command.ins for command in phone.commands] == [Ins.SELECT, Ins.AUTH0, Ins.EXCHANGE]
    assert phone.session.status == ReaderStatus.UNSECURED
    assert phone.session.state is State.ENDED
    opened = phone.run(car.unlock(ALWAYS))
    assert not opened.is_fast
    assert [command.ins for command in phone.commands[3:]] == [Ins.SELECT, Ins.AUTH0, Ins.AUTH1, Ins.EXCHANGE]
    assert phone.run(car.unlock()).is_fast


def test_a_fast_miss_goes_on_with_the_same_auth0(both: Both) -> None:
    car, phone = _again(both)
    phone.memory.commit({"persistent/0": None})
    assert not phone.run(car.unlock()).is_fast
    assert [command.ins for command in phone.commands] == [Ins.SELECT, Ins.AUTH0, Ins.AUTH1, Ins.EXCHANGE]
    assert phone.run(car.unlock()).is_fast


def test_a_device_without_kpersistent_answers_by_one_that_nobody_has(both: Both) -> None:
    car, phone = _again(both)
    phone.memory.commit({"persistent/0": None})
    slot = both[2].slot
    guesses = [bytes(32), b"\xff" * 32, both[1]["persistent/0"]]
    shown = set()
    for guess in guesses:
        car.memory.keep(slot, msgspec.structs.replace(_key(car, slot), persistent=guess))
        assert not phone.run(car.authenticate()).is_fast
        shown.add(phone.answers[-2].data[-16:])
        phone.memory.commit({"persistent/0": None})
    assert len(shown) == 3


def test_each_transaction_has_its_own_ursk_on_both_ends_and_ranging_takes_it(both: Both) -> None:
    car, phone = _again(both)
    seen = set()
    configuration = RangingConfiguration(0x0100, 0, 1, 0, 1, 1, 6, 3, 0)
    for plan in (Plan(), STANDARD, Plan(), ALWAYS):
        opened = phone.run(car.authenticate(plan))
        phone.run(finish(opened, ReaderStatus.UNSECURED, ursk_ready=True))
        assert opened.ursk is not None
        assert phone.session.ursk is not None
        assert phone.session.ursk_ready
        assert opened.ursk == phone.session.ursk
        seen.add(opened.ursk.reveal())
        ends = [SessionKeys(AesKey(key.reveal()), configuration) for key in (opened.ursk, phone.session.ursk)]
        assert ends[0].round_keys(0).sts_v(1) == ends[1].round_keys(0).sts_v(1)
        assert ends[0].round_keys(0).dursk == ends[1].round_keys(0).dursk
    assert len(seen) == 4
    phone.device.reset()
    assert phone.session.ursk is None


def test_a_vehicle_that_the_device_does_not_know_opens_nothing(both: Both) -> None:
    car, phone = _again(both)
    other = Car(memory=car.ram)
    other.vehicle = msgspec.structs.replace(other.vehicle, identifier=bytes(8))
    impostor = Car(memory=car.ram)
    impostor.vehicle = msgspec.structs.replace(impostor.vehicle, key=key("impostor"))
    for one in (other, impostor):
        with pytest.raises(StatusError, match="AUTH1: status 6982"):
            phone.run(one.unlock(STANDARD))
        assert phone.session.state is State.IDLE


def test_a_device_with_another_private_key_than_the_slot_has_is_told_so(both: Both) -> None:
    car, phone = _again(both)
    record = next(keys(phone.device.records))[1]
    phone.memory.commit({"key/0": msgspec.structs.replace(record, key=b"stolen").build()})
    with pytest.raises(DeviceError, match="signature"):
        phone.run(car.unlock(STANDARD))
    assert phone.session.status == ReaderStatus.WRONG_SIGNATURE


def test_a_device_set_back_or_copied_is_found_by_its_counter(both: Both) -> None:
    car, phone = _again(both)
    copy = Phone("copy", memory=RamMemory(phone.kept()))
    phone.run(car.unlock(STANDARD))
    with pytest.raises(DeviceError, match="the device counts 2, and was at 2 before") as error:
        copy.run(car.unlock(STANDARD))
    assert "revoke" in error.value.hint


def test_a_deleted_key_opens_nothing_by_either_transaction(both: Both) -> None:
    car, phone = _again(both)
    phone.here(delete_key, 0)
    with pytest.raises(StatusError, match="6982"):
        phone.run(car.unlock())


@pytest.mark.parametrize("plan", [STANDARD, Plan(), ALWAYS])
def test_a_revoked_key_is_refused_also_by_the_fast_transaction(plan: Plan, both: Both) -> None:
    car, phone = _again(both)
    assert car.memory.revoke(both[2].slot) == (both[2].slot,)
    with pytest.raises(PolicyError, match="revoked"):
        phone.run(car.unlock(plan))
    assert phone.session.status == ReaderStatus.ACCESS_RIGHTS


def test_revoked_while_a_transaction_runs_it_is_not_kept_again(both: Both) -> None:
    car, phone = _again(both)
    slot = both[2].slot

    def one(command: Command) -> Response:
        answer = phone(command)
        if command.ins == Ins.AUTH1:
            car.memory.revoke(slot)
        return answer

    with pytest.raises(PolicyError, match="revoked"):
        drive(car.unlock(STANDARD), one)
    assert car.memory.find(slot) is None


def test_an_entitlement_that_the_key_has_not_is_refused(both: Both) -> None:
    car, phone = _again(both)
    slot = both[2].slot
    car.memory.keep(slot, msgspec.structs.replace(_key(car, slot), entitlements=statements.Entitlement.UNLOCK))
    phone.run(car.unlock())
    for plan in (Plan(entitlements=statements.Entitlement.DRIVE), Plan(fast=False, entitlements=3)):
        with pytest.raises(PolicyError, match="entitle"):
            phone.run(car.unlock(plan))


def test_versions_and_cryptograms_that_do_not_fit(both: Both) -> None:
    car, phone = _again(both)
    car.vehicle = msgspec.structs.replace(car.vehicle, versions=(0x0200,))
    with pytest.raises(PolicyError, match=r"the device has 1\.0, the vehicle 2\.0"):
        phone.run(car.unlock())
    assert phone.commands[-1].data.hex() == "410100420127"
    car, phone = _again(both)

    def swapped(command: Command) -> Response:
        if command.ins == Ins.AUTH0:
            command = msgspec.structs.replace(command, p1=command.p1 ^ 1)
        return phone(command)

    for plan, what in ((Plan(), "no cryptogram"), (STANDARD, "nobody asked for")):
        with pytest.raises(WireError, match=what):
            drive(car.unlock(plan), swapped)
        assert phone.session.state is State.ENDED


# ---- mailboxes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["private", "confidential"])
@pytest.mark.parametrize("fast", [False, True])
def test_mailboxes_are_read_written_and_filled_in_both_transactions(kind: str, both: Both, *, fast: bool) -> None:
    car, phone = _again(both)
    opened = phone.run(car.authenticate(Plan(fast=fast)))
    assert opened.is_fast == fast
    request = MailboxRequest((Write(2, b"abc"), Read(0, 6), Set(0, 3, 0x7A), Read(0, 6)))
    answer = phone.run(use_mailbox(opened, kind, request))
    assert answer.reads == (b"\0\0abc\0", b"zzzbc\0")
    assert phone.kept()[f"{kind}/0"][:6] == b"zzzbc\0"
    assert phone.run(read_mailbox(opened, kind, 1, 230)) == b"zzbc" + bytes(226)
    with pytest.raises(WireError, match="did not give bytes"):
        phone.run(read_mailbox(opened, kind, 1000, 100))


@pytest.mark.parametrize("loss", ["field", "select", "command", "status", "range"])
def test_an_atomic_session_that_does_not_end_leaves_nothing(loss: str, both: Both) -> None:
    car, phone = _again(both)
    opened = phone.run(car.authenticate())
    phone.run(use_mailbox(opened, "private", MailboxRequest((Write(0, b"one"),), continues=True)))
    phone.run(use_mailbox(opened, "confidential", MailboxRequest((Write(0, b"two"),), continues=True)))
    assert phone.session.state is State.ATOMIC
    if loss == "field":
        phone.device.reset()
    elif loss == "command":
        assert phone(Command(0x80, Ins.CONTROL_FLOW, 0, 0, bytes.fromhex("410100420100"))).sw == 0x6985
    elif loss == "status":
        phone.run(finish(opened, ReaderStatus.UNKNOWN_STATE))
    elif loss == "range":
        for kind in ("private", "confidential"):
            answer = phone.run(use_mailbox(opened, kind, MailboxRequest((Write(0, b"x"), Write(5000, b"x")))))
            assert answer.status == MailboxStatus.OUT_OF_RANGE
    opened = phone.run(car.authenticate())
    for kind in ("private", "confidential"):
        assert phone.run(read_mailbox(opened, kind, 0, 3)) == bytes(3)


def test_both_mailboxes_end_their_atomic_sessions_in_one_commit(both: Both) -> None:
    car, phone = _again(both)
    opened = phone.run(car.authenticate())
    begin = MailboxRequest((Write(0, b"one"),), continues=True).build()
    end = MailboxRequest((Write(3, b"two"),)).build()
    phone.run(exchange(opened, Exchange(private=begin, confidential=begin)))
    assert phone.kept()["private/0"][:3] == bytes(3)
    phone.run(exchange(opened, Exchange(private=end, confidential=end)))
    assert phone.kept()["private/0"][:6] == phone.kept()["confidential/0"][:6] == b"onetwo"


def test_a_malformed_request_to_a_mailbox_is_answered(both: Both) -> None:
    car, phone = _again(both)
    opened = phone.run(car.authenticate())
    answer = phone.run(exchange(opened, Exchange(private=b"\x8c\1\2")))
    assert answer.private == bytes.fromhex("00020002")
    assert answer.confidential is None


# ---- cuts and changed bits ------------------------------------------------------------------------------------


def _whole(car: Car, plan: Plan) -> Generator[Command, Response, Opened]:
    opened = yield from car.authenticate(plan)
    yield from use_mailbox(opened, "private", MailboxRequest((Write(0, b"one"),), continues=True))
    yield from use_mailbox(opened, "private", MailboxRequest((Write(3, b"two"),)))
    yield from finish(opened, ReaderStatus.UNSECURED)
    return opened


@pytest.mark.parametrize("delivered", [False, True])
@pytest.mark.parametrize(("plan", "at"), [(STANDARD, at) for at in range(6)] + [(Plan(), at) for at in range(5)])
def test_a_cut_at_any_exchange_leaves_both_ends_good_for_the_next(
    plan: Plan, at: int, both: Both, *, delivered: bool
) -> None:
    car, phone = _again(both)
    with pytest.raises(LinkError):
        drive(_whole(car, plan), cut_at(phone, at, delivered=delivered))
    assert phone.kept()["private/0"][:6] in (bytes(6), b"onetwo")
    phone.device.reset()
    phone.run(_whole(car, Plan()))
    assert phone.run(_whole(car, Plan())).is_fast


@pytest.mark.parametrize("after", [False, True])
def test_power_lost_at_the_commit_of_auth1_at_either_end(both: Both, *, after: bool) -> None:
    car, phone = _again(both)
    dying = Phone("dying", memory=CutMemory(phone.memory, cut_before=int(not after), cut_after=int(after)))
    with pytest.raises(PowerCut):
        dying.run(car.unlock(STANDARD))
    phone.run(car.unlock())
    dying_car = Car(memory=CutMemory(car.ram, cut_before=int(not after), cut_after=int(after)))
    dying_car._count = 50
    with pytest.raises(PowerCut):
        phone.run(dying_car.unlock(STANDARD))
    phone.device.reset()
    car._count = 100
    phone.run(car.unlock())
    assert phone.run(car.unlock()).is_fast


@settings(max_examples=max(20, settings.default.max_examples // 4) if settings.default else 25, deadline=None)
@given(st.booleans(), st.integers(0, 3), st.booleans(), st.integers(0, 1 << 16))
def test_one_changed_bit_of_any_command_or_answer_ends_the_transaction(
    both: Both,
    fast: bool,  # noqa: FBT001 - drawn by position
    at: int,
    is_command: bool,  # noqa: FBT001 - drawn by position
    bit: int,
) -> None:
    car, phone = _again(both)
    count = -1

    def flip(data: bytes) -> bytes:
        changed = bytearray(data)
        changed[bit // 8 % len(changed)] ^= 1 << bit % 8
        return bytes(changed)

    def one(command: Command) -> Response:
        nonlocal count
        count += 1
        if count != min(at, 2 if fast else 3):
            return phone(command)
        if is_command:
            body = flip(bytes((command.cla, command.ins, command.p1, command.p2)) + command.data)
            return phone(Command(body[0], body[1], body[2], body[3], body[4:], command.le))
        answer = phone(command)
        raw = flip(answer.data + answer.sw.to_bytes(2))
        return Response(raw[:-2], int.from_bytes(raw[-2:]))

    try:
        opened = drive(car.unlock(Plan(fast=fast)), one)
    except KeywrightError:
        assert phone.session.channel is None
    else:
        # A changed cryptogram is a miss: the vehicle goes on with AUTH1, which is whole.
        assert fast
        assert at == 1
        assert not is_command
        assert not opened.is_fast
        assert bit // 8 % 87 >= 69


def test_nothing_goes_over_a_channel_after_a_wrong_mac(both: Both) -> None:
    car, phone = _again(both)
    opened = phone.run(car.authenticate())

    def changed(command: Command) -> Response:
        answer = phone(command)
        return Response(bytes(len(answer.data)), answer.sw)

    with pytest.raises(KeywrightError):
        drive(finish(opened, ReaderStatus.UNSECURED), changed)
    with pytest.raises(SequenceError, match="closed"):
        phone.run(finish(opened, ReaderStatus.UNSECURED))


def test_a_transaction_recorded_and_played_again_opens_nothing(both: Both) -> None:
    car, phone = _again(both)
    phone.run(car.unlock())
    recorded = iter(phone.answers[:])
    with pytest.raises(KeywrightError):
        drive(car.unlock(), lambda _: next(recorded, Response(b"", 0x6985)))
    before = phone.session.status
    replies = [phone(command) for command in phone.commands[:3]]
    assert before == ReaderStatus.UNSECURED
    assert [reply.sw for reply in replies] == [0x9000, 0x9000, 0x6982]
    assert phone.session.status is None


def test_a_key_that_is_limited_in_time_needs_a_clock(both: Both) -> None:
    car, phone = _again(both)
    slot = both[2].slot
    limited = msgspec.structs.replace(_key(car, slot), not_before=NOW, not_after=NOW + 10)
    car.memory.keep(slot, limited)
    phone.run(car.unlock(now=NOW))
    phone.run(car.unlock(now=NOW + 10))
    for now, what in ((None, "no clock"), (NOW - 1, "not valid yet"), (NOW + 11, "not valid any more")):
        with pytest.raises(PolicyError, match=what):
            phone.run(car.unlock(now=now))
        assert phone.session.state is State.ENDED
    assert car.vehicle.identifier == VEHICLE
