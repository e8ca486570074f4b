"""Ranging end to end on a virtual air: distances, clocks, hopping, responders, loss, suspend, end of key."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from keywright.errors import WireError
from keywright.uwb.air import Arrival, Clock, Station, UwbAir, straight
from keywright.uwb.frames import ALIRO_OUI, CCC_OUI
from keywright.uwb.grid import URSK_S, Hopping
from keywright.uwb.keys import LAST_STS_INDEX, SessionKeys
from keywright.uwb.ranging import radio
from keywright.uwb.ranging.ends import Options
from keywright.uwb.ranging.events import Ended, Estimated, Measured, Missed, Refused
from keywright.uwb.ranging.initiator import Initiator
from keywright.uwb.ranging.radio import Reception, Transmission, agreement, biased
from keywright.uwb.ranging.responder import Responder
from keywright.uwb.setup.device import DeviceSetup
from keywright.uwb.setup.reader import ReaderSetup
from keywright.uwb.setup.terms import Wishes
from keywright.uwb.sts import MAPPINGS
from keywright.uwb.twr import TICK_HZ, metres
from support.messages import all_messages, check_message
from support.uwb import QUICK, SESSION, URSK, Attacker, Scene, terms_of

TICK_M = metres(1)


@pytest.mark.parametrize("cls", all_messages(radio))
def test_every_message_keeps_the_promises_of_a_codec(cls: Any) -> None:
    check_message(cls)


@pytest.mark.parametrize("metres_away", [0.0, 0.3, 5.0, 40.0, 300.0])
def test_distance_is_right_to_a_tick(metres_away: float) -> None:
    (found,) = Scene(terms_of(), [(metres_away, 0.0, 0.0)]).distances(0.5)
    assert len(found) == 5
    assert all(abs(one - metres_away) <= TICK_M for one in found)


@pytest.mark.parametrize("initiator_ppm", [-100, -20, 0, 20, 100])
@pytest.mark.parametrize("anchor_ppm", [-20, 20])
def test_clocks_that_differ_cost_nothing(initiator_ppm: int, anchor_ppm: int) -> None:
    scene = Scene(
        terms_of(), [(10.0, 0.0, 0.0)], clock=Clock(initiator_ppm * 1000), anchor_clocks=[Clock(anchor_ppm * 1000)]
    )
    (events,) = scene.run(0.5)
    assert len(events) >= 4
    for event in events:
        assert isinstance(event, Measured)
        assert abs(event.distance_m - 10) < 2 * TICK_M + 10 * 120e-6
        assert abs(event.clock_offset * 1e6 - (initiator_ppm - anchor_ppm)) < 0.1
        assert event.quality == 1.0


def test_single_sided_estimate_uses_the_carriers_clock_offset() -> None:
    scene = Scene(terms_of(), [(10.0, 0.0, 0.0)], clock=Clock(20_000), anchor_clocks=[Clock(-20_000)])
    scene.run(0.5)
    estimates = [event for event in scene.initiator.events() if isinstance(event, Estimated)]
    assert len(estimates) == 5
    assert all(abs(estimate.distance_m - 10) < 0.02 for estimate in estimates)


def test_counters_wrap_without_a_trace() -> None:
    wrap = (1 << 40) / TICK_HZ
    scene = Scene(
        terms_of(uwb_time0=round((wrap - 0.2) * 1e6)),
        [(3.0, 0.0, 0.0)],
        clock=Clock(ahead_s=wrap - 0.3),
        anchor_clocks=[Clock(ahead_s=wrap - 0.25)],
    )
    (found,) = scene.distances(0.5)
    assert len(found) >= 4
    assert all(abs(one - 3) <= TICK_M for one in found)


def test_an_hour_passes_in_a_moment_and_stays_exact() -> None:
    scene = Scene(terms_of(ran_multiplier=250), [(7.0, 0.0, 0.0)], clock=Clock(5_000))
    (found,) = scene.distances(3600.0)
    assert len(found) == 150
    assert all(abs(one - 7) <= 2 * TICK_M for one in found)


@pytest.mark.parametrize("responders", [1, 2, 5, 10])
def test_every_responder_has_its_slot(responders: int) -> None:
    places = [(1.0 + 3 * number, 0.0, 0.0) for number in range(responders)]
    found = Scene(terms_of(responders=responders), places).distances(0.4)
    for place, one in zip(places, found, strict=True):
        assert len(one) >= 3
        assert all(abs(distance - place[0]) <= TICK_M for distance in one)


@pytest.mark.parametrize("hopping", Hopping)
def test_both_ends_hop_alike(hopping: Hopping) -> None:
    scene = Scene(terms_of(hopping=hopping), [(5.0, 0.0, 0.0)])
    (events,) = scene.run(2.0)
    assert len(events) in {19, 20}
    rounds = [event.round for event in events]
    assert [event.block for event in events] == list(range(len(events)))
    grid = scene.initiator.grid
    expected = {
        Hopping.NONE: [0] * len(events),
        Hopping.CONTINUOUS: [grid.hopped(block) for block in range(len(events))],
        Hopping.ADAPTIVE: [0] * len(events),
    }
    assert rounds == expected[hopping]


def test_adaptive_hopping_leaves_a_round_that_gives_nothing() -> None:
    def jammed(sender: Any, receiver: Any, packet: Any, time_s: float) -> Any:
        # Whatever is sent in round 0 of a block is lost, as if something else were on the air then.
        in_block = (time_s - 0.1) % 0.096
        return () if in_block < 0.005 else straight(sender, receiver, packet, time_s)

    scene = Scene(terms_of(hopping=Hopping.ADAPTIVE), [(5.0, 0.0, 0.0)], medium=jammed)
    (events,) = scene.run(3.0)
    distances = [event for event in events if isinstance(event, Measured)]
    assert len(distances) > 25
    assert {event.round for event in distances}.isdisjoint({0})
    kinds = [type(event) for event in scene.initiator.events()]
    assert kinds[0] is Missed


def test_a_responder_that_missed_a_hop_finds_the_session_again() -> None:
    deaf_until = 0.6

    def medium(sender: Station, receiver: Station, packet: Transmission, time_s: float) -> Sequence[Arrival]:
        in_block = (time_s - 0.1) % 0.096
        # Round 0 gives nothing to anybody, so the initiator hops in block 1; one anchor is deaf at first.
        if in_block < 0.006 or (receiver.position[0] == 8.0 and time_s < deaf_until):
            return ()
        return straight(sender, receiver, packet, time_s)

    terms = terms_of(hopping=Hopping.ADAPTIVE, responders=2)
    scene = Scene(terms, [(5.0, 0.0, 0.0), (8.0, 0.0, 0.0)], medium=medium)
    one, other = scene.run(2.0)
    rounds = {event.round for event in one if isinstance(event, Measured)}
    assert len(rounds) == 1
    assert rounds != {0}
    found = [event for event in other if isinstance(event, Measured)]
    assert len(found) > 10
    assert {event.round for event in found} == rounds


@pytest.mark.parametrize("hopping", Hopping)
def test_two_rounds_of_a_block_are_two_exchanges(hopping: Hopping) -> None:
    terms = terms_of(hopping=hopping, round_offset=4)
    scene = Scene(terms, [(2.0, 0.0, 0.0), (0.0, 6.0, 0.0)], seconds=[False, True])
    front, behind = scene.run(1.0)
    assert len(front) >= 9
    assert len(behind) >= 9
    for one, other in zip(front, behind, strict=False):
        assert one.block == other.block
        assert other.round - one.round == 4
        assert abs(one.distance_m - 2) <= TICK_M
        assert abs(other.distance_m - 6) <= TICK_M


@pytest.mark.parametrize("hopping", Hopping)
def test_two_rounds_of_a_block_stand_loss(hopping: Hopping) -> None:
    terms = terms_of(hopping=hopping, round_offset=4)
    scene = Scene(terms, [(2.0, 0.0, 0.0), (0.0, 6.0, 0.0)], seconds=[False, True], loss=0.1)
    for events, away in zip(scene.run(10.0), (2.0, 6.0), strict=True):
        measured = [event for event in events if isinstance(event, Measured)]
        assert len(measured) > 35
        assert all(abs(event.distance_m - away) <= TICK_M for event in measured)
        refused = [event.what for event in events if isinstance(event, Refused)]
        assert all("cannot be told" in what for what in refused)
        assert not refused or hopping is Hopping.ADAPTIVE


def test_a_responder_of_a_second_round_needs_one() -> None:
    with pytest.raises(ValueError, match="no responder 0 of a second round"):
        Responder(URSK, terms_of(), 0, second_round=True)
    with pytest.raises(ValueError, match="no responder 1 in"):
        Responder(URSK, terms_of(), 1)


@pytest.mark.parametrize("loss", [0.05, 0.3])
def test_loss_costs_rounds_and_no_truth(loss: float) -> None:
    scene = Scene(terms_of(hopping=Hopping.CONTINUOUS), [(5.0, 0.0, 0.0)], loss=loss)
    (events,) = scene.run(20.0)
    measured = [event for event in events if isinstance(event, Measured)]
    assert len(events) > 150
    assert 0.3 * (1 - loss) ** 5 < len(measured) / 208 < 1.5 * (1 - loss) ** 5
    assert all(abs(event.distance_m - 5) <= TICK_M for event in measured)
    assert {type(event) for event in events} == {Measured, Missed}
    assert {event.stage for event in events if isinstance(event, Missed)} >= {"poll", "final", "record"}


def test_without_an_initiator_every_block_is_missed_once() -> None:
    scene = Scene(terms_of(), [(5.0, 0.0, 0.0)])
    scene.run(0.35)
    scene.air.leave(scene.station)
    (events,) = scene.run(1.0)
    blocks = [event.block for event in events if isinstance(event, Missed) and event.stage == "pre-poll"]
    assert blocks == list(range(blocks[0], blocks[0] + len(blocks)))
    assert len(blocks) >= 8


def test_an_initiator_alone_reports_every_round() -> None:
    scene = Scene(terms_of(), [])
    scene.run(0.5)
    assert [type(event) for event in scene.initiator.events()] == [Missed] * 5


@pytest.mark.parametrize(
    ("mine", "why"),
    [
        ({"mapping": MAPPINGS["registers"]}, "STS is not that of index"),
        ({"oui": CCC_OUI}, "OUI"),
    ],
)
def test_ends_that_differ_hear_nothing_of_each_other(mine: dict[str, Any], why: str) -> None:
    scene = Scene(terms_of(), [(5.0, 0.0, 0.0)], options=Options(sts_blocks=2))
    scene.initiator._options = Options(sts_blocks=2, **mine)
    (events,) = scene.run(0.5)
    assert not [event for event in events if isinstance(event, Measured)]
    refused = [event.what for event in events if isinstance(event, Refused)]
    assert refused
    assert any(part in refused[0] for part in why.split("|"))


def test_frames_are_those_of_the_options() -> None:
    assert Options().oui == ALIRO_OUI
    scene = Scene(terms_of(), [(5.0, 0.0, 0.0)], options=Options(sts_blocks=2, oui=CCC_OUI))
    assert len(scene.distances(0.5)[0]) == 5


def test_a_first_round_that_is_over_is_skipped() -> None:
    scene = Scene(terms_of(), [(5.0, 0.0, 0.0)], clock=Clock(ahead_s=3600.0))
    (events,) = scene.run(0.5)
    assert [event.block for event in events] == list(range(37_499, 37_505))
    assert scene.air.late == 0


# ---- suspend, resume, end -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rekeys", [True, False])
def test_a_resumed_session_ranges_on_with_indices_never_used(*, rekeys: bool) -> None:
    scene = Scene(terms_of(), [(5.0, 0.0, 0.0)], options=Options(sts_blocks=2, rekeys_on_resume=rekeys))
    scene.distances(0.5)
    ends: list[Any] = [scene.initiator, *scene.responders]
    for end in ends:
        end.suspend()
    assert scene.run(1.0) == [[]]
    later = terms_of(sts_index0=5_000, uwb_time0=1_600_000)
    for end in ends:
        with pytest.raises(WireError, match="used before"):
            end.resume(terms_of(sts_index0=1_001), 1.5)
        end.resume(later, 1.5)
    for station in (scene.station, *scene.anchors):
        scene.air.wake(station)
    (found,) = scene.distances(0.5)
    assert len(found) == 5
    assert scene.responders[0]._keys.uad == SessionKeys(URSK, (later if rekeys else terms_of()).configuration).uad


def test_a_key_ends_when_its_indices_do() -> None:
    last = LAST_STS_INDEX + 1 - 3 * 96
    scene = Scene(terms_of(sts_index0=last), [(5.0, 0.0, 0.0)])
    (events,) = scene.run(2.0)
    assert [(type(event), event.block) for event in events[:3]] == [(Measured, 0), (Measured, 1), (Measured, 2)]
    assert scene.initiator.events()[-1] == Ended("sts-index")
    assert scene.initiator.deadline() is None
    sent = scene.air.sent
    scene.run(2.0)
    assert scene.air.sent == sent


def test_a_key_ends_after_twelve_hours() -> None:
    scene = Scene(terms_of(ran_multiplier=250, uwb_time0=43_100_000_000), [(5.0, 0.0, 0.0)], ursk_until=URSK_S)
    (events,) = scene.run(URSK_S + 60)
    assert len([event for event in events if isinstance(event, Measured)]) == 5
    assert events[-1] == Ended("age")
    assert scene.initiator.events()[-1] == Ended("age")


def test_a_lost_link_ends_a_key_once() -> None:
    scene = Scene(terms_of(), [(5.0, 0.0, 0.0)])
    for end in (scene.initiator, scene.responders[0]):
        end.end("link-lost")
        end.end("age")
        assert end.events() == [Ended("link-lost")]
        end.receive(b"", 0.0)
        assert (end.events(), end.outgoing(1.0), end.deadline()) == ([], [], None)


# ---- from setup to distance -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wishes", [Wishes(), Wishes(responders=2, hopping=(Hopping.ADAPTIVE,)), Wishes(round_offset=5)]
)
def test_a_negotiated_session_ranges(wishes: Wishes) -> None:
    reader, device = ReaderSetup(SESSION, wishes=wishes), DeviceSetup(SESSION, random=random.Random(3).randbytes)
    device.synchronize(0, 0.0)
    device.initiate(0.0)
    while messages := [(reader, one) for one in device.outgoing(0.0)] + [(device, one) for one in reader.outgoing(0.0)]:
        for end, octets in messages:
            end.receive(octets, 0.0)
    assert reader.terms is not None
    assert device.terms is not None
    air = UwbAir(random.Random(1).random)
    responder = Responder(URSK, reader.terms, 0, options=QUICK)
    air.join(Initiator(URSK, device.terms, options=QUICK))
    air.join(responder, (4.0, 3.0, 0.0), Clock(-15_000, 12.5))
    air.run(1.0)
    events = responder.events()
    assert len(events) >= 4
    assert all(isinstance(event, Measured) and abs(event.distance_m - 5) < 2 * TICK_M for event in events)


# ---- the radio ------------------------------------------------------------------------------------------------


def test_quality_is_the_share_of_right_pulses() -> None:
    assert agreement(b"\x00\xff", b"\x00\xff") == 1.0
    assert agreement(b"\x00\xff", b"\x00\xfe") == 15 / 16
    assert agreement(b"\x00\xff", b"\xff\x00") == 0.0
    assert agreement(b"\x00\xff", b"\x00") == 0.0
    assert agreement(b"", b"") == 0.0


@pytest.mark.parametrize("ppb", [-(1 << 31), -20_000, 0, 20_000, (1 << 31) - 1])
def test_clock_offsets_are_signed(ppb: int) -> None:
    assert Reception(3, 0, biased(ppb)).clock_offset == pytest.approx(ppb * 1e-9)


@pytest.mark.parametrize("ppb", [-(1 << 31) - 1, 1 << 31])
def test_clock_offsets_have_bounds(ppb: int) -> None:
    with pytest.raises(ValueError, match="clock offset"):
        biased(ppb)


def test_an_order_that_comes_too_late_is_counted_and_not_sent() -> None:
    air = UwbAir(random.Random(1).random)
    attacker = Attacker()
    station = air.join(attacker)
    air.run(1.0)
    attacker.orders.append(radio.Transmission(0, 5, b"x"))
    air.wake(station)
    air.run(2.0)
    assert (air.sent, air.late) == (0, 1)
