"""What somebody without the key can do to ranging: nothing comes of it but a lost round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from keywright.crypto.aes import AesKey
from keywright.uwb.air import Arrival, Station, straight
from keywright.uwb.frames import FINAL_DATA, PRE_POLL, FinalData, PrePoll, ResponderRecord, seal_frame
from keywright.uwb.grid import Hopping
from keywright.uwb.keys import LAST_STS_INDEX, SessionKeys
from keywright.uwb.ranging.events import Measured, Missed, Refused
from keywright.uwb.ranging.initiator import Initiator
from keywright.uwb.ranging.radio import SP0, SP3, Reception, Transmission, biased
from keywright.uwb.ranging.responder import TABLE, Responder, State
from keywright.uwb.setup.terms import Terms
from keywright.uwb.sts import drbg
from keywright.uwb.twr import COUNTER_MASK, TICK_HZ, metres
from support.uwb import QUICK, SESSION, URSK, Attacker, Scene, terms_of

NOW = biased(0)
TERMS = terms_of()
SLOT = TERMS.grid.slot_ticks
BEGIN = 50_000_000


def sts_of(terms: Terms, base: int, slot: int) -> bytes:
    """The STS of a slot of the round that begins at an index, made without either end."""
    keys = SessionKeys(URSK, terms.configuration).round_keys(base)
    return drbg(keys.dursk, keys.sts_v(base + slot), QUICK.sts_blocks)


def pre_poll_of(terms: Terms, base: int, counter: int = 0, **changes: Any) -> bytes:
    """A pre-poll as the initiator would seal it, with what `changes` says."""
    block, round_, _ = terms.grid.place(base)
    payload = replace(PrePoll(SESSION, base + 1, block & 0xFFFF, 0, round_), **changes)
    keys = SessionKeys(URSK, terms.configuration)
    return seal_frame(keys.mupsk1, keys.uad, counter, PRE_POLL, payload.build())


def final_data_of(terms: Terms, base: int, counter: int = 1, **changes: Any) -> bytes:
    """Final data likewise, of a responder 5 ticks away."""
    grid = terms.grid
    block, _, _ = grid.place(base)
    records = tuple(ResponderRecord(n, (n + 1) * SLOT + 10, 0, 0) for n in range(grid.responders))
    payload = FinalData(SESSION, block & 0xFFFF, 0, 0, base + grid.final_slot, (grid.final_slot - 1) * SLOT, records)
    keys = SessionKeys(URSK, terms.configuration)
    return seal_frame(keys.round_keys(base).dudsk, keys.uad, counter, FINAL_DATA, replace(payload, **changes).build())


class Bench:
    """One responder, to which a test is air and initiator in one."""

    def __init__(self, terms: Terms = TERMS, index: int = 0) -> None:
        self.terms = terms
        self.end = Responder(URSK, terms, index, options=QUICK)
        self.begin = BEGIN

    def hear(self, slot: int, octets: bytes, *, kind: int = SP3, off: int = 0) -> None:
        at = self.begin + slot * SLOT + off
        self.end.receive(Reception(kind, at & COUNTER_MASK, NOW, octets).build(), at / TICK_HZ)

    def block(self, number: int) -> None:
        """Let that block begin."""
        self.begin = BEGIN + number * self.terms.grid.block_ticks

    def round(self, base: int, counter: int = 0, *, final_off: int = 0, **changes: Any) -> list[Any]:
        """A whole round; what the responder has to say of it."""
        grid = self.terms.grid
        self.hear(0, pre_poll_of(self.terms, base, counter), kind=SP0)
        self.hear(1, sts_of(self.terms, base, 1))
        (order,) = self.end.outgoing((self.begin + SLOT) / TICK_HZ)
        assert Transmission.parse(order).at == self.begin + (2 + self.end.index) * SLOT
        self.hear(grid.final_slot, sts_of(self.terms, base, grid.final_slot), off=final_off)
        self.hear(grid.final_slot + 1, final_data_of(self.terms, base, counter + 1, **changes), kind=SP0)
        return list(self.end.events())


def whats(events: Sequence[Any]) -> list[str]:
    return [event.what for event in events if isinstance(event, Refused)]


def test_a_round_made_by_hand_gives_its_distance() -> None:
    (event,) = Bench().round(1000)
    assert isinstance(event, Measured)
    # The hand moves nothing: the initiator says that the response took 10 ticks more than its slots.
    assert event.flight_ticks == pytest.approx(5, abs=0.01)
    assert event.distance_m == pytest.approx(metres(5), abs=1e-4)


# ---- frames ---------------------------------------------------------------------------------------------------


def test_every_prefix_and_bit_of_a_pre_poll_is_refused_and_the_true_one_still_taken() -> None:
    bench = Bench()
    good = pre_poll_of(TERMS, 1000)
    spoiled = [good[:size] for size in range(len(good))]
    spoiled += [
        good[: bit // 8] + bytes((good[bit // 8] ^ 1 << bit % 8,)) + good[bit // 8 + 1 :]
        for bit in range(len(good) * 8)
    ]
    for octets in spoiled:
        bench.hear(0, octets, kind=SP0)
        assert bench.end.state == "idle"
        assert bench.end.outgoing(0.0) == []
    assert len(whats(bench.end.events())) == len(spoiled)
    assert isinstance(bench.round(1000)[-1], Measured)


def test_every_prefix_and_bit_of_final_data_is_refused_and_the_true_one_still_taken() -> None:
    bench = Bench()
    good = final_data_of(TERMS, 1000)
    bench.hear(0, pre_poll_of(TERMS, 1000), kind=SP0)
    bench.hear(1, sts_of(TERMS, 1000, 1))
    bench.hear(3, sts_of(TERMS, 1000, 3))
    assert bench.end.state == "data"
    spoiled = [good[:size] for size in range(len(good))]
    spoiled += [
        good[: bit // 8] + bytes((good[bit // 8] ^ 1 << bit % 8,)) + good[bit // 8 + 1 :]
        for bit in range(len(good) * 8)
    ]
    for octets in spoiled:
        bench.hear(4, octets, kind=SP0)
        assert bench.end.state == "data"
    assert len(whats(bench.end.events())) == len(spoiled)
    bench.hear(4, good, kind=SP0)
    (event,) = bench.end.events()
    assert isinstance(event, Measured)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"session_id": SESSION + 1}, "session 01020305"),
        ({"session_id": 0}, "session 00000000"),
        ({"session_id": 0xFFFFFFFF}, "session FFFFFFFF"),
        ({"block": 1}, "says block 1"),
        ({"block": 0xFFFF}, "says block 65535"),
        ({"round": 1}, "round 1"),
        ({"round": 0xFFFF}, "round 65535"),
        ({"poll_sts_index": 1000}, "STS index 999, 999 is used"),
        ({"poll_sts_index": 0}, "STS index -1"),
        ({"poll_sts_index": 1002}, "slot 1"),
        ({"poll_sts_index": 0xFFFFFFFF}, "pre-poll says block 0"),
        ({"poll_sts_index": 1000 + 1 + 6}, "its STS index 1006 is that of block 0, round 1"),
    ],
)
def test_a_sealed_pre_poll_that_contradicts_the_grid_is_refused(changes: dict[str, int], why: str) -> None:
    bench = Bench()
    bench.hear(0, pre_poll_of(TERMS, 1000, **changes), kind=SP0)
    (what,) = whats(bench.end.events())
    assert why in what
    assert bench.end.state == "idle"


def test_a_round_to_which_hopping_does_not_lead_is_refused() -> None:
    for hopping, allowed in ((Hopping.NONE, {0}), (Hopping.CONTINUOUS, {12}), (Hopping.ADAPTIVE, {0, 12})):
        terms = terms_of(hopping=hopping)
        assert terms.grid.hopped(1) == 12
        for round_ in range(terms.grid.rounds):
            bench = Bench(terms)
            bench.hear(0, pre_poll_of(terms, terms.grid.sts_index(1, round_)), kind=SP0)
            assert (bench.end.state == "poll") == (round_ in allowed)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"session_id": 0}, "is not of STS index 1003"),
        ({"block": 7}, "is not of STS index 1003"),
        ({"final_sts_index": 1004}, "is not of STS index 1003"),
        ({"final_sts_index": 0xFFFFFFFF}, "is not of STS index 1003"),
        ({"records": (ResponderRecord(1, SLOT, 0, 0),)}, "a record of responder 1 of 1"),
        ({"records": (ResponderRecord(255, SLOT, 0, 0),)}, "a record of responder 255 of 1"),
        ({"records": (ResponderRecord(0, SLOT, 0, 0), ResponderRecord(0, SLOT + 5, 0, 0))}, "two records"),
    ],
)
def test_sealed_final_data_that_contradicts_its_round_is_refused(changes: dict[str, Any], why: str) -> None:
    (event,) = Bench().round(1000, **changes)
    assert isinstance(event, Refused)
    assert why in event.what


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"records": ()}, "heard no response"),
        ({"records": (ResponderRecord(0, SLOT, 0, 3),)}, "status 3"),
        ({"records": (ResponderRecord(0, 2 * SLOT + 1, 0, 0),)}, "after the final"),
        ({"poll_to_final": 2 * SLOT + SLOT // 1000}, "the clocks differ by 500 ppm"),
        ({"poll_to_final": 0}, "the clocks differ by -1000000 ppm"),
        ({"poll_to_final": 0xFFFFFFFF}, "the clocks differ by"),
    ],
)
def test_final_data_that_gives_no_distance_says_why(changes: dict[str, Any], why: str) -> None:
    (event,) = Bench().round(1000, **changes)
    assert isinstance(event, Missed)
    assert event.stage == "record"
    assert why in event.why


@pytest.mark.parametrize("counter", [0, 4, 5])
def test_final_data_counts_on_from_the_pre_poll(counter: int) -> None:
    bench = Bench()
    bench.hear(0, pre_poll_of(TERMS, 1000, 5), kind=SP0)
    bench.hear(1, sts_of(TERMS, 1000, 1))
    bench.hear(3, sts_of(TERMS, 1000, 3))
    bench.hear(4, final_data_of(TERMS, 1000, counter), kind=SP0)
    assert whats(bench.end.events()) == [f"frame counter {counter} after 5: a frame sent again"]
    assert bench.end.state == "data"


def test_an_unknown_message_or_packet_is_refused() -> None:
    bench = Bench()
    keys = SessionKeys(URSK, TERMS.configuration)
    bench.hear(0, seal_frame(keys.mupsk1, keys.uad, 0, 3, b""), kind=SP0)
    bench.hear(0, b"", kind=7)
    bench.end.receive(b"\x03", 0.0)
    assert len(whats(bench.end.events())) == 3


# ---- what is not due ------------------------------------------------------------------------------------------


NOT_DUE = [(state, kind) for state, due in TABLE.items() for kind in ("STS", "final data") if kind not in due]


@pytest.mark.parametrize(("state", "kind"), NOT_DUE)
def test_what_is_not_due_changes_nothing(state: State, kind: str) -> None:
    bench = Bench()
    steps: dict[str, int] = {"idle": 0, "poll": 1, "final": 2, "data": 3}
    for step, (slot, octets, sort) in enumerate(
        ((0, pre_poll_of(TERMS, 1000), SP0), (1, sts_of(TERMS, 1000, 1), SP3), (3, sts_of(TERMS, 1000, 3), SP3))
    ):
        if step < steps[state]:
            bench.hear(slot, octets, kind=sort)
    bench.end.outgoing(0.0)
    assert bench.end.state == state
    for slot in range(6):
        octets = final_data_of(TERMS, 1000) if kind == "final data" else sts_of(TERMS, 1000, slot)
        bench.hear(slot, octets, kind=SP0 if kind == "final data" else SP3)
    assert bench.end.state == state
    assert bench.end.outgoing(0.0) == []
    assert bench.end.events() == []


# ---- replay ---------------------------------------------------------------------------------------------------


def test_a_recorded_round_is_worth_nothing_a_second_time() -> None:
    bench = Bench()
    assert isinstance(bench.round(1000)[-1], Measured)
    block = TERMS.grid.indices_per_block
    bench.block(1)
    for octets in (pre_poll_of(TERMS, 1000, 0), pre_poll_of(TERMS, 1000, 2)):
        bench.hear(0, octets, kind=SP0)
        assert bench.end.state == "idle"
    bench.hear(0, pre_poll_of(TERMS, 1000 + block, 2), kind=SP0)
    bench.hear(1, sts_of(TERMS, 1000, 1))  # the recorded poll in a fresh round
    bench.hear(1, sts_of(TERMS, 1000 + block, 1))
    refused = whats(bench.end.events())
    assert len(refused) == 3
    assert "frame counter 0 after 1" in refused[0]
    assert "stale" in refused[1]
    assert f"not that of index {1001 + block}" in refused[2]
    assert bench.end.state == "final"


def test_a_pre_poll_held_back_is_refused_though_it_is_fresh() -> None:
    block = TERMS.grid.indices_per_block
    for off, is_taken in ((0, True), (SLOT // 9, True), (SLOT // 5, False), (-SLOT // 5, False), (20 * SLOT, False)):
        bench = Bench()
        bench.round(1000)
        bench.block(1)
        bench.hear(0, pre_poll_of(TERMS, 1000 + block, 2), kind=SP0, off=off)
        assert (bench.end.state == "poll") == is_taken, off


def test_the_stations_of_one_session_do_not_hear_another() -> None:
    other = terms_of(sts_index0=77_000)
    bench = Bench()
    bench.hear(0, pre_poll_of(other, 77_000), kind=SP0)
    assert "another session" in whats(bench.end.events())[0]
    stranger = Responder(AesKey(bytes(32), "URSK"), TERMS, 0, options=QUICK)
    stranger.receive(Reception(SP0, BEGIN, NOW, pre_poll_of(TERMS, 1000)).build(), 0.0)
    assert whats(stranger.events())


# ---- packets without a payload --------------------------------------------------------------------------------


@pytest.mark.parametrize("slot", [0, 2, 3, 4, 5])
def test_a_poll_with_the_sts_of_another_slot_is_refused(slot: int) -> None:
    bench = Bench()
    bench.hear(0, pre_poll_of(TERMS, 1000), kind=SP0)
    bench.hear(1, sts_of(TERMS, 1000, slot))
    assert "STS is not that of index 1001" in whats(bench.end.events())[0]
    assert bench.end.outgoing(0.0) == []


@pytest.mark.parametrize("off", [SLOT // 4, -SLOT // 4, 3 * SLOT, 1 << 39])
def test_a_true_sts_outside_its_slot_is_not_heard(off: int) -> None:
    bench = Bench()
    bench.hear(0, pre_poll_of(TERMS, 1000), kind=SP0)
    bench.hear(1, sts_of(TERMS, 1000, 1), off=off)
    assert bench.end.state == "poll"
    assert bench.end.outgoing(0.0) == []


def test_guessed_pulses_are_refused() -> None:
    good = int.from_bytes(sts_of(TERMS, 1000, 1))
    for wrong, is_taken in ((25, True), (26, False), (128, False), (256, False)):  # of 256; a tenth may be wrong
        bench = Bench()
        bench.hear(0, pre_poll_of(TERMS, 1000), kind=SP0)
        bench.hear(1, (good ^ (1 << wrong) - 1).to_bytes(32))
        assert (bench.end.state == "final") == is_taken, wrong


def test_a_final_that_comes_late_stretches_the_clock_and_is_refused() -> None:
    shift = int(2 * SLOT * 250e-6)
    (event,) = Bench().round(1000, final_off=shift)
    assert isinstance(event, Missed)
    assert "the clocks differ" in event.why


@pytest.mark.parametrize("off", [-2000, -40, 40, 2000])
def test_a_shifted_final_moves_the_distance_by_half_its_shift(off: int) -> None:
    """What the STS has to prevent: with the right pulses at the wrong time, the arithmetic follows the attacker."""
    (true,), (moved,) = Bench().round(1000), Bench().round(1000, final_off=off)
    assert moved.flight_ticks - true.flight_ticks == pytest.approx(off / 4, rel=0.01, abs=0.1)


# ---- both ends with somebody between them ---------------------------------------------------------------------


def with_delay(seconds: float) -> Callable[..., Sequence[Arrival]]:
    def medium(sender: Station, receiver: Station, packet: Transmission, time_s: float) -> Sequence[Arrival]:
        (way,) = straight(sender, receiver, packet, time_s)
        return (Arrival(way.delay_s + seconds, way.octets),)

    return medium


@pytest.mark.parametrize("cable_m", [40.0, 1000.0])
def test_a_relay_only_ever_adds_distance(cable_m: float) -> None:
    scene = Scene(TERMS, [(1.0, 0.0, 0.0)], medium=with_delay(cable_m / 299_792_458))
    (found,) = scene.distances(0.5)
    assert all(one >= 1.0 + cable_m - 0.01 for one in found)


def test_a_doubled_packet_counts_once() -> None:
    def echo(sender: Station, receiver: Station, packet: Transmission, time_s: float) -> Sequence[Arrival]:
        (way,) = straight(sender, receiver, packet, time_s)
        return (way, Arrival(way.delay_s + 50e-9, way.octets))

    scene = Scene(TERMS, [(5.0, 0.0, 0.0)], medium=echo)
    (events,) = scene.run(0.5)
    measured = [event for event in events if isinstance(event, Measured)]
    assert len(measured) == 5
    assert all(abs(event.distance_m - 5) < 0.01 for event in measured)
    assert {"a second response 0"} <= set(whats(scene.initiator.events()))


def test_a_jammer_in_the_response_slot_costs_no_truth() -> None:
    scene = Scene(TERMS, [(5.0, 0.0, 0.0)])
    attacker = Attacker()
    station = scene.air.join(attacker, (1.0, 0.0, 0.0))
    slot = TERMS.grid.slot_ticks
    start = TICK_HZ // 10
    for block in range(5):
        at = start + block * TERMS.grid.block_ticks + 2 * slot - 100
        attacker.orders.append(Transmission(SP3, at, bytes(32)))
    scene.air.wake(station)
    (found,) = scene.distances(0.5)
    assert len(found) == 5
    assert all(abs(one - 5) < 0.01 for one in found)
    assert len(whats(scene.initiator.events())) == 5


def test_an_initiator_hears_nothing_but_responses() -> None:
    end = Initiator(URSK, TERMS, options=QUICK)
    for kind in (SP0, SP3, 9):
        end.receive(Reception(kind, 0, NOW, bytes(32)).build(), 0.0)
    end.receive(b"\x00", 0.0)
    assert whats(end.events()) == ["Reception: 1 bytes where 10 are due"]


# ---- limits ---------------------------------------------------------------------------------------------------


def test_the_frame_counter_ends_the_session_before_it_wraps() -> None:
    scene = Scene(TERMS, [(5.0, 0.0, 0.0)])
    scene.initiator.frame_counter = 0xFFFFFFFD
    (events,) = scene.run(0.5)
    assert [type(event) for event in events[:1]] == [Measured]
    assert scene.initiator.ended == "sts-index"
    assert scene.initiator.frame_counter == 0xFFFFFFFF


@pytest.mark.parametrize("session_id", [0, 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_session_ids_at_their_limits(session_id: int) -> None:
    scene = Scene(TERMS._replace(session_id=session_id), [(5.0, 0.0, 0.0)])
    assert len(scene.distances(0.5)[0]) == 5


def test_a_block_beyond_sixteen_bits_is_known_by_its_index() -> None:
    terms = terms_of()
    base = terms.grid.sts_index(0x1_0001, 0)
    bench = Bench(terms)
    bench.hear(0, pre_poll_of(terms, base), kind=SP0)
    assert bench.end.state == "poll"


def test_the_last_index_is_used_and_none_after_it() -> None:
    terms = terms_of(sts_index0=LAST_STS_INDEX + 1 - 96)
    bench = Bench(terms)
    assert isinstance(bench.round(terms.grid.sts_index0)[-1], Measured)
    bench.block(1)
    bench.hear(0, pre_poll_of(terms, terms.grid.sts_index(1, 0), 2), kind=SP0)
    assert bench.end.ended == "sts-index"
