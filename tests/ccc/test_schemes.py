"""One set of tests for every scheme, and with it what a maker's own scheme has to pass."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from keywright.ccc import statements
from keywright.ccc.memory import OfferRecord, VehicleMemory
from keywright.ccc.messages import ScryptParameters
from keywright.ccc.profiles import example_oem
from keywright.ccc.profiles.ccc_public import CccPublic
from keywright.ccc.profiles.example_oem import TABLE_OF_STATES, ExampleOem, State
from keywright.ccc.records import InstanceRecord, PairingRecord
from keywright.ccc.scheme import Scheme
from keywright.ccc.simulated import SimulatedDigitalKey
from keywright.ccc.vehicle import Vehicle
from keywright.crypto.ec import EcPublicKey
from keywright.crypto.signing import Signer
from keywright.errors import KeywrightError, LinkError, PolicyError, WireError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.layers import transmit
from keywright.link import Loopback
from keywright.sansio.dialogue import drive
from keywright.store.memory import RamMemory
from support.aliro import key, stream
from support.ccc import MAKER, NOW, PASSWORD, QUICK, VEHICLE, WRONG, cut_at, signed_instance
from support.messages import all_messages, check_message

Result = TypeVar("Result")


def _ccc() -> Scheme:
    return CccPublic(Vehicle(VEHICLE, key("vehicle"), statements.roots([MAKER.public]), profile=QUICK))


def _example() -> Scheme:
    return ExampleOem(VEHICLE, QUICK)


SCHEMES: list[Callable[[], Scheme]] = [_ccc, _example]
every_scheme = pytest.mark.parametrize("make", SCHEMES, ids=["ccc_public", "example_oem"])


class Software:
    """An element whose private keys are `key(name)`."""

    def __init__(self, seed: str) -> None:
        self._random = stream(f"element of {seed}")

    def signer(self, name: bytes) -> Signer:
        return key(name.decode())

    def create(self) -> tuple[bytes, EcPublicKey]:
        name = self._random(8).hex()
        return name.encode(), key(name).public


class Both:
    """A device and a vehicle of one scheme."""

    def __init__(self, make: Callable[[], Scheme], seed: str = "both") -> None:
        self.scheme = make()
        self.random = stream(f"vehicle of {seed}")
        self.vehicle = RamMemory()
        instance = InstanceRecord(b"element", key("element").public.point, signed_instance())
        self.device_memory = RamMemory({"instance": instance.build()})
        self.device: SimulatedDigitalKey[Any] = SimulatedDigitalKey(
            self.scheme.applet(Software(seed), stream(seed)), self.device_memory
        )
        self.send = transmit(Loopback(self.device, "device"))

    def run(self, dialogue: Generator[Command, Response, Result]) -> Result:
        return drive(dialogue, self.send)

    def prepare(self, entered: Any = PASSWORD) -> None:
        """A password is on offer, and one was entered."""
        with contextlib.suppress(PolicyError):
            self.scheme.offer(self.vehicle, PASSWORD, self.random)
        self.enter(entered)

    def enter(self, entered: Any = PASSWORD) -> None:
        self.scheme.enter(self.device.records, entered)
        self.device.records.commit()

    def pair(self) -> Generator[Command, Response, bytes]:
        return self.scheme.pair(self.vehicle, self.random)

    def unlock(self) -> Generator[Command, Response, bytes]:
        return self.scheme.unlock(self.vehicle, self.random, NOW)

    def has_owner(self) -> bool:
        return VehicleMemory(self.vehicle).owner() is not None


@pytest.fixture(params=SCHEMES, ids=["ccc_public", "example_oem"])
def both(request: pytest.FixtureRequest) -> Both:
    """A device and a vehicle, paired."""
    pair = Both(request.param)
    pair.prepare()
    pair.run(pair.pair())
    return pair


@every_scheme
def test_it_says_what_it_is_and_where_its_constants_are_from(make: Callable[[], Scheme]) -> None:
    scheme = make()
    assert scheme.name
    assert scheme.table
    assert all(one.what and one.source for one in scheme.table)


def test_a_key_that_was_paired_opens_again_and_again(both: Both) -> None:
    assert len({both.run(both.unlock()) for _ in range(4)}) == 1
    with pytest.raises(PolicyError, match="has an owner"):
        both.scheme.offer(both.vehicle, PASSWORD, both.random)


def test_a_revoked_key_opens_nothing(both: Both) -> None:
    slot = both.run(both.unlock())
    both.scheme.revoke(both.vehicle, slot)
    with pytest.raises(KeywrightError):
        both.run(both.unlock())
    both.prepare()
    assert both.run(both.pair()) != slot
    both.run(both.unlock())


@every_scheme
def test_a_wrong_password_costs_one_attempt_on_each_side_seven_end_it_and_a_new_one_begins_anew(
    make: Callable[[], Scheme],
) -> None:
    both = Both(make)
    both.prepare()
    for used in range(1, 8):
        both.enter(WRONG)
        with pytest.raises(KeywrightError):
            both.run(both.pair())
        found = OfferRecord.parse(both.vehicle.load("pairing") or b"")
        assert found.used == used
        assert PairingRecord.parse(both.device_memory.load("pairing") or b"").left == 6
        assert not both.has_owner()
    both.enter()
    with pytest.raises(PolicyError, match="7 times"):
        both.run(both.pair())
    both.scheme.offer(both.vehicle, PASSWORD, both.random)
    both.run(both.pair())
    both.run(both.unlock())


@every_scheme
@pytest.mark.parametrize("delivered", [False, True])
def test_a_cut_at_any_exchange_of_pairing_and_of_opening(make: Callable[[], Scheme], *, delivered: bool) -> None:
    for at in range(6):
        both = Both(make, f"{at} {delivered}")
        both.prepare()
        with contextlib.suppress(LinkError):
            drive(both.pair(), cut_at(both.send, at, delivered=delivered))
        both.device.reset()
        if not both.has_owner():
            both.enter()
            both.run(both.pair())
        with contextlib.suppress(LinkError):
            drive(both.unlock(), cut_at(both.send, at, delivered=delivered))
        both.device.reset()
        both.run(both.unlock())


@settings(max_examples=max(10, settings.default.max_examples // 6) if settings.default else 15, deadline=None)
@given(st.sampled_from(SCHEMES), st.booleans(), st.integers(0, 5), st.booleans(), st.integers(0, 1 << 16))
def test_one_changed_bit_is_noticed(
    make: Callable[[], Scheme],
    is_pairing: bool,  # noqa: FBT001 - drawn by position
    at: int,
    is_command: bool,  # noqa: FBT001 - drawn by position
    bit: int,
) -> None:
    # A changed cryptogram of CCC-public is a miss, and AUTH1 follows: see `test_ccc_transactions`.
    assume(is_pairing or is_command or at != 1 or make is not _ccc)
    both = Both(make)
    both.prepare()
    if not is_pairing:
        both.run(both.pair())
    count = -1
    changed = False

    def one(command: Command) -> Response:
        nonlocal count, changed
        count += 1
        if count != at:
            return both.send(command)
        changed = True
        head = bytes((command.cla, command.ins, command.p1, command.p2))
        if is_command:
            raw = _flip(head + command.data, bit)
            return both.send(Command(raw[0], raw[1], raw[2], raw[3], raw[4:], command.le))
        answer = both.send(command)
        raw = _flip(answer.data + answer.sw.to_bytes(2), bit)
        return Response(raw[:-2], int.from_bytes(raw[-2:]))

    try:
        drive(both.pair() if is_pairing else both.unlock(), one)
    except KeywrightError:
        assert changed
    else:
        assert not changed


def _flip(data: bytes, bit: int) -> bytes:
    raw = bytearray(data)
    raw[bit // 8 % len(raw)] ^= 1 << bit % 8
    return bytes(raw)


# ---- the example alone ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", all_messages(example_oem))
def test_every_message_of_the_example_keeps_the_promises_of_a_codec(cls: Any) -> None:
    check_message(cls)


@pytest.mark.parametrize("state", list(State))
def test_every_pair_of_state_and_command_of_the_example_that_is_not_listed_is_refused(state: State) -> None:
    for ins in (example_oem.BEGIN, example_oem.CONFIRM, example_oem.CHALLENGE, example_oem.RESULT, 0x55):
        if ins in TABLE_OF_STATES[state]:
            continue
        both = Both(_example)
        both.prepare()
        both.device.session.state = state
        answer = both.send(Command(0x80, ins, 0, 0, b"", 0))
        assert (answer.sw, both.device.session.state) == (0x6985, State.IDLE)
    both = Both(_example)
    for command, sw in (
        (Command(0x80, example_oem.SELECT, 4, 0, b"", 0), 0x6E00),
        (Command(0x00, example_oem.SELECT, 0, 0, b"", 0), 0x6A86),
        (Command(0x00, example_oem.SELECT, 4, 0, b"abc", 0), 0x6A82),
    ):
        assert both.send(command).sw == sw


def test_an_answer_of_the_example_played_again_opens_nothing() -> None:
    both = Both(_example)
    both.prepare()
    both.run(both.pair())
    recorded: list[Response] = []

    def record(command: Command) -> Response:
        recorded.append(both.send(command))
        return recorded[-1]

    drive(both.unlock(), record)
    assert both.device.session.is_open
    rest = iter(recorded)
    with pytest.raises(KeywrightError):
        drive(both.unlock(), lambda _: next(rest))


def test_a_device_of_the_example_that_was_set_back_is_found() -> None:
    both = Both(_example)
    both.prepare()
    slot = both.run(both.pair())
    before = {f"oem/{slot.hex()}": both.device_memory.load(f"oem/{slot.hex()}")}
    both.run(both.unlock())
    both.device_memory.commit(before)
    with pytest.raises(WireError, match="backwards"):
        both.run(both.unlock())


def test_a_vehicle_without_the_key_does_not_open_the_example_and_learns_nothing_of_slots() -> None:
    both = Both(_example)
    both.prepare()
    slot = both.run(both.pair())
    for asked in (slot, bytes(8)):
        both.send(Command(0x00, example_oem.SELECT, 4, 0, example_oem.AID.value, 0))
        challenge = example_oem.Challenge(asked, bytes(16)).build()
        answer = both.send(Command(0x80, example_oem.CHALLENGE, 0, 0, challenge, 0))
        assert (answer.sw, len(answer.data)) == (0x9000, 36)
        assert both.send(Command(0x80, example_oem.RESULT, 0, 0, bytes(16))).sw == 0x6982
        assert not both.device.session.is_open


@pytest.mark.parametrize(
    ("ins", "answer"),
    [(example_oem.BEGIN, bytes(65)), (example_oem.CHALLENGE, b""), (example_oem.CHALLENGE, bytes(36))],
)
def test_answers_of_the_example_that_are_none(ins: int, answer: bytes) -> None:
    both = Both(_example)
    both.prepare()
    if ins == example_oem.CHALLENGE:
        with pytest.raises(PolicyError, match="no owner"):
            both.run(both.unlock())
        both.run(both.pair())
    dialogue = both.pair() if ins == example_oem.BEGIN else both.unlock()
    with pytest.raises(KeywrightError):
        drive(dialogue, lambda command: Response(answer) if command.ins == ins else both.send(command))


@pytest.mark.parametrize("n", [512, 1500, 1 << 17])
def test_the_example_takes_scrypt_within_bounds_and_counts_what_it_answers(n: int) -> None:
    both = Both(_example)
    begin = Command(
        0x80, example_oem.BEGIN, 0, 0, example_oem.Begin(bytes(8), ScryptParameters(bytes(16), n, 8, 1)).build(), 0
    )
    for entered, sw in ((False, 0x6985), (True, 0x6A80)):
        if entered:
            both.prepare()
        both.send(Command(0x00, example_oem.SELECT, 4, 0, example_oem.AID.value, 0))
        assert both.send(begin).sw == sw
    assert PairingRecord.parse(both.device_memory.load("pairing") or b"").left == 7
