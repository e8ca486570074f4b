"""Both ends against each other, on a line in virtual time: flows, cuts, changed bits, time, several devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keywright.aliro.ble.approach import Approached, Distance, Left
from keywright.aliro.ble.door import Door
from keywright.aliro.ble.ends import Busy, Closed, Limits, indices_last_s
from keywright.aliro.ble.gatt import Feature, Offer
from keywright.aliro.ble.line import Carried
from keywright.aliro.ble.messages import NAMES, Reporting, Source, State, StateInformation, StateReport
from keywright.aliro.ble.settings import RKE_PLAN, Authenticated, Refused, RkeRequested
from keywright.aliro.ble.user_device import Completed, DeviceSettings, ReaderRefused, StateChanged
from keywright.aliro.cache import PersistentKeys
from keywright.aliro.exchange import MailboxRequest, Read, Write
from keywright.aliro.messages import ReaderStatus
from keywright.aliro.reader import Dialogue, Opened, Plan, use_mailbox
from keywright.errors import LinkError, PolicyError, SequenceError
from keywright.uwb.grid import URSK_S, Grid
from keywright.uwb.keys import LAST_STS_INDEX
from keywright.uwb.setup.ends import Agreed, Failed, Later, Suspended, Synchronized, UrskDropped
from support.aliro import key, records
from support.aliro_ble import Session, deny, door, negotiated, simulated

STANDARD = Plan(fast=False)


def names(carried: Sequence[Carried]) -> list[str]:
    """What was said, R by the reader and D by the device."""
    return [("R " if one.from_reader else "D ") + NAMES[one.octets[0], one.octets[1]] for one in carried]


SETUP = ["D TimeSync", "D RangingNotice", "R M1", "D M2", "R M3", "D M4"]
AP = ["R ApRequest", "D ApResponse"]


# ---- flows ----------------------------------------------------------------------------------------------------


def test_from_initiating_to_a_bolt_that_moves_in_the_order_of_the_specification() -> None:
    session = Session().run()
    expected = ["D InitiateAccess", *AP * 3, "R AccessCompleted", *SETUP]
    assert names(session.line.carried) == expected
    (reader_agreed,), (device_agreed,) = session.of_reader(Agreed), session.of_device(Agreed)
    assert reader_agreed.terms == device_agreed.terms
    assert session.reader.ursk == session.device.ursk is not None
    (authenticated,) = session.of_reader(Authenticated)
    assert authenticated.opened.credential == key("credential").public
    assert session.of_device(Completed) == [Completed(StateInformation(0x20, State.SECURED))]
    for number in range(3):
        session.reader.measured(Distance(1.0), session.line.now + number / 5)
    session.take()
    assert session.of_reader(Approached) == [Approached(1.0)]
    session.door.set_state(State.UNSECURED, Source.THIS_DEVICE_RANGING, by=session.reader)
    session.run(1.0)
    assert session.of_device(StateChanged) == [StateChanged(StateReport(4, State.UNSECURED))]
    assert names(session.line.carried)[-1] == "R StatusChanged"


def test_the_second_time_the_fast_phase_is_enough() -> None:
    first = Session(seed="1").run()
    second = Session(seed="2", at=first.door, device=first.simulated).run()
    assert names(second.line.carried) == ["D InitiateAccess", *AP * 2, "R AccessCompleted", *SETUP]
    assert second.reader.ursk == second.device.ursk != first.reader.ursk
    assert [one.opened.is_fast for one in (*first.of_reader(Authenticated), *second.of_reader(Authenticated))] == [
        False,
        True,
    ]


@pytest.mark.parametrize("size", [300, 6000])
@pytest.mark.parametrize("extended", [None, (2048, 2048)])
def test_a_long_command_or_answer_is_divided_or_extended_as_the_device_can(
    extended: tuple[int, int] | None, size: int
) -> None:
    def decide(opened: Opened) -> Dialogue[int]:
        answer = yield from use_mailbox(opened, MailboxRequest((Write(0, b"w" * 300), Read(0, size))))
        assert answer.reads == ((b"w" * 300).ljust(size, b"\0"),)
        return ReaderStatus.UNSECURED

    memory = records()
    memory.kept["mailbox/0"] = bytes(size)
    session = Session(decide=decide, device=simulated(memory, extended=extended)).run()
    assert session.of_reader(Authenticated)
    longest = max(len(one.octets) for one in session.line.carried)
    assert longest > size if extended else longest < 300


@pytest.mark.parametrize("action", [0, 1])
def test_remote_keyless_entry_takes_the_standard_phase_and_no_ranging(action: int) -> None:
    kept = Session(seed="0").run()
    session = Session(is_rke=True, at=kept.door, device=kept.simulated, seed="2").run()
    assert names(session.line.carried) == ["D InitiateRke", *AP * 3, "R AccessCompleted"]
    assert RKE_PLAN.fast is False
    session.device.request_rke(action, session.line.now)
    session.run(1.0)
    assert session.of_reader(RkeRequested) == [RkeRequested(action)]
    session.door.set_state(action, Source.THIS_DEVICE_BLE, by=session.reader)
    session.run(1.0)
    assert session.of_device(StateChanged) == [StateChanged(StateReport(6, action))]
    assert session.reader.ursk is session.device.ursk is None
    # EXCHANGE says the state and nothing of a URSK.
    assert len(session.line.carried[5].octets) == 4 + 5 + 4 + 16 + 1


def test_a_session_for_remote_keyless_entry_lasts_as_long_as_it_is_used() -> None:
    session = Session(is_rke=True).run(25.0)
    session.device.request_rke(1, session.line.now)
    session.run(25.0)
    assert session.reader.phase == "open"
    session.run(6.0)
    assert session.of_reader(Closed)[-1].why == "the session has lasted too long"


def test_a_reader_without_remote_keyless_entry_refuses_it() -> None:
    session = Session(is_rke=True, reader_settings={"rke_plan": None}).run()
    assert names(session.line.carried) == ["D InitiateRke", "R Event"]
    assert session.reader.is_closed
    assert session.device.is_closed


def test_the_owner_refuses_a_credential_and_the_device_is_told_why() -> None:
    keys = PersistentKeys()
    session = Session(decide=deny, keys=keys).run()
    assert session.of_reader(Refused) == [Refused(ReaderStatus.ACCESS_RIGHTS)]
    assert session.of_device(ReaderRefused) == [ReaderRefused(ReaderStatus.ACCESS_RIGHTS)]
    assert names(session.line.carried)[-3:] == ["R ApRequest", "D ApResponse", "R Event"]
    assert (session.reader.phase, session.device.phase, session.line.is_up) == ("closed", "closed", False)
    assert len(keys) == 0
    assert not Session(at=session.door, device=session.simulated, seed="2").run().reader.setup


def test_an_owner_that_fails_ends_the_session_without_a_word_of_it_to_the_device() -> None:
    def decide(_: Opened) -> Dialogue[int]:
        raise PolicyError("the database says no")
        yield

    session = Session(decide=decide).run()
    (closed,) = session.of_reader(Closed)
    assert isinstance(closed.error, PolicyError)
    assert session.of_device(Closed)[0].why == "the other end: general error unknown"


@pytest.mark.parametrize("status_with_ursk", [True, False])
def test_the_state_beside_the_ursk_or_the_ursk_alone(*, status_with_ursk: bool) -> None:
    session = Session(reader_settings={"status_with_ursk": status_with_ursk}).run()
    assert session.of_device(Agreed)
    # 97 with its value are four octets of the sealed EXCHANGE.
    exchange = [one for one in session.line.carried if NAMES[one.octets[0], one.octets[1]] == "ApRequest"][-1]
    assert len(exchange.octets) == 4 + 5 + (6 if status_with_ursk else 2) + 16 + 1
    assert session.simulated.session.survivors is None


def test_a_device_of_another_reader_group_is_refused_and_gives_nothing_away() -> None:
    session = Session(device=simulated(records(group=bytes(16)))).run()
    assert names(session.line.carried) == ["D InitiateAccess", *AP * 2, "R Event"]
    assert session.reader.is_closed


def test_ends_that_have_no_common_version_of_the_access_protocol() -> None:
    session = Session(device=simulated(versions=(0x0200,))).run()
    assert names(session.line.carried) == ["D InitiateAccess", "R Event"]
    assert "no common protocol version" in session.of_reader(Closed)[0].why


# ---- time sync ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        (0, SETUP[1:]),
        (Feature.TIME_SYNC_0, SETUP),
        (Feature.TIME_SYNC_1, SETUP),
        (Feature.TIME_SYNC_0 | Feature.TIME_SYNC_1, SETUP),
    ],
)
def test_what_both_ends_have_of_time_sync_is_done(features: int, expected: list[str]) -> None:
    session = Session(offers=negotiated(device_offer=Offer(features=features))).run()
    assert names(session.line.carried)[-len(expected) - 1 :] == ["R AccessCompleted", *expected]


@pytest.mark.parametrize(("features", "count", "time"), [(1, 0, 100_000_000), (2, 5, 100_150_000)])
def test_procedure_0_times_the_beginning_of_the_connection_and_1_a_later_event(
    features: int, count: int, time: int
) -> None:
    session = Session(offers=negotiated(device_offer=Offer(features=features)), now=100.0).run()
    (synchronized,) = session.of_reader(Synchronized)
    assert (synchronized.message.event_count, synchronized.message.device_time) == (count, time)


def test_a_device_that_waits_is_asked_by_the_reader() -> None:
    session = Session(device_settings=DeviceSettings(initiates=False)).run()
    assert names(session.line.carried)[-1] == "D TimeSync"
    session.reader.start_ranging(session.line.now)
    assert session.run().of_device(Agreed)


# ---- suspend, resume, and the end of a URSK -------------------------------------------------------------------


def test_either_end_suspends_and_either_has_it_resumed() -> None:
    session = Session().run()
    for act in (session.reader.suspend, session.device.suspend):
        act(session.line.now)
        session.run(1.0)
        assert [end.setup and end.setup.state for end in (session.reader, session.device)] == ["suspended"] * 2
        with pytest.raises(SequenceError):
            session.reader.measured(Distance(1.0), session.line.now)
        (session.device.initiate if act == session.reader.suspend else session.reader.resume)(session.line.now)
        session.run(1.0)
        assert [end.setup and end.setup.state for end in (session.reader, session.device)] == ["ranging"] * 2
    assert len(session.of_reader(Suspended)) == len(session.of_device(Suspended)) == 2
    terms = [agreed.terms for agreed in session.of_reader(Agreed)]
    assert terms == [agreed.terms for agreed in session.of_device(Agreed)]
    assert terms[0].grid.sts_index0 < terms[1].grid.sts_index0 < terms[2].grid.sts_index0


def test_a_ursk_ends_twelve_hours_after_m4_and_the_session_with_it() -> None:
    session = Session().run()
    session.run(URSK_S - 10.0)
    assert (session.reader.phase, session.device.phase) == ("open", "open")
    session.run(20.0)
    assert UrskDropped("age") in session.of_reader(UrskDropped) + session.of_device(UrskDropped)
    assert (session.reader.ursk, session.device.ursk) == (None, None)
    assert (session.reader.is_closed, session.device.is_closed) == (True, True)


def test_a_ursk_ends_when_time_has_used_up_its_sts_indices() -> None:
    session = Session().run()
    grid = session.of_reader(Agreed)[0].terms.grid
    last = Grid(LAST_STS_INDEX - 100 * grid.indices_per_block, *_rest(grid))
    assert indices_last_s(last) == pytest.approx(100 * 0.192)
    # A resume near the end of the indices: the device's next grid.
    assert session.device.setup is not None
    session.reader.suspend(session.line.now)
    session.run(1.0)
    session.device.setup.terms = session.of_device(Agreed)[0].terms._replace(grid=last)
    session.reader.resume(session.line.now)
    session.run(15.0)
    assert (session.reader.phase, session.device.phase) == ("open", "open")
    session.run(10.0)
    assert UrskDropped("sts-index") in session.of_reader(UrskDropped) + session.of_device(UrskDropped)
    assert (session.reader.ursk, session.device.ursk) == (None, None)


def _rest(grid: Grid) -> tuple[Any, ...]:
    return (grid.responders, grid.ran_multiplier, grid.slots_per_round, grid.chaps_per_slot, grid.hopping)


def test_the_owner_says_that_the_indices_are_used_up() -> None:
    session = Session().run()
    session.reader.drop_ursk()
    session.run(1.0)
    assert session.of_reader(UrskDropped) == [UrskDropped("sts-index")]
    assert session.of_device(UrskDropped) == [UrskDropped("link-lost")]
    assert not session.line.is_up


def test_a_lost_link_drops_the_ursk_of_both_and_closes_the_door() -> None:
    session = Session().run()
    for number in range(3):
        session.reader.measured(Distance(0.5), session.line.now + number / 5)
    session.line.disconnect("out of reach")
    session.take()
    assert session.of_reader(UrskDropped) == session.of_device(UrskDropped) == [UrskDropped("link-lost")]
    assert session.of_reader(Left) == [Left("out of reach")]
    assert [session.reader.ursk, session.device.ursk] == [None, None]
    assert session.of_reader(Closed)[-1].why == session.of_device(Closed)[-1].why == "out of reach"
    session.line.disconnect("again")
    assert len(session.reader.events()) == 0


def test_a_device_that_is_not_ranged_any_more_counts_as_gone_at_its_deadline() -> None:
    session = Session().run()
    for number in range(3):
        session.reader.measured(Distance(0.5), session.line.now + number / 5)
    session.run(4.0)
    assert not session.of_reader(Left)
    session.run(4.0)
    assert session.of_reader(Left) == [Left("no secure distance for 5 s")]
    assert session.line.is_up


def test_a_revoked_credential_loses_its_live_session_and_no_other_does() -> None:
    keys = PersistentKeys()
    session = Session(keys=keys).run()
    other = Session(at=session.door, device=simulated(records("other")), seed="2").run()
    assert len(keys) == 2
    session.door.end_sessions(key("other").public)
    assert (session.reader.phase, other.reader.phase) == ("open", "closed")
    session.door.end_sessions(key("credential").public)
    session.run(1.0)
    assert session.of_reader(Closed)[-1].why == "the credential was revoked"
    assert session.device.is_closed
    assert session.reader.ursk is None


# ---- time -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("silent", range(14))
def test_an_end_that_falls_silent_is_waited_for_no_longer_than_the_limits_say(silent: int) -> None:
    """Everything from the SDU of this number on is lost; neither end waits for ever."""
    count = iter(range(1000))
    session = Session(alter=lambda carried: (carried.octets,) if next(count) < silent else ())
    session.run(40.0)
    limits = Limits()
    assert session.reader.is_closed
    assert session.device.is_closed
    assert session.line.now <= 0.4 + limits.session_s + 40.0
    for events in (session.told, session.heard):
        assert [type(event) for event in events].count(Closed) == 1


def test_the_limits_are_settings() -> None:
    short = Limits(phase_s=0.5, session_s=2.0)
    session = Session(reader_settings={"limits": short}, alter=lambda _: ())
    session.run(0.6)
    assert session.reader.is_closed
    slow = Session(reader_settings={"limits": short}, device_settings=DeviceSettings(initiates=False)).run(1.9)
    assert not slow.reader.is_over
    slow.run(0.2)
    assert slow.of_reader(Closed)[-1].why == "the session has lasted too long"


def test_a_slow_link_is_waited_for_message_by_message() -> None:
    session = Session(latency_s=1.9).run(29.0)
    assert session.of_reader(Agreed)
    assert session.line.carried[6].at > 2 * Limits().phase_s


def test_half_a_message_is_waited_for_as_long_as_a_message() -> None:
    session = Session().run()
    session.reader.receive(b"\x02\x01\x00", session.line.now)
    session.run(4.9)
    assert not session.reader.is_over
    session.run(0.2)
    assert session.of_reader(Closed)[-1].why == "the rest of a message did not come"


@pytest.mark.parametrize("jump", [6.0, 31.0, 13 * 3600.0, 1e9])
@pytest.mark.parametrize("after", [0.05, 0.15, 1.0])
def test_a_clock_that_jumps_ahead_ends_what_it_has_outlived_and_nothing_else(jump: float, after: float) -> None:
    session = Session().run(after)
    ranging = bool(session.of_reader(Agreed) and session.of_device(Agreed))
    session.line.now += jump
    session.run(1.0)
    outlived = jump > URSK_S if ranging else True
    assert session.reader.is_over == session.device.is_over == outlived
    assert (session.reader.ursk is None) == outlived


def test_a_clock_that_goes_back_makes_nothing_fail() -> None:
    session, now = Session(now=1000.0), 1000.0
    for _ in range(20):
        now -= 50.0
        for sender, receiver in ((session.device, session.reader), (session.reader, session.device)):
            for octets in sender.outgoing(now):
                receiver.receive(octets, now)
    session.take()
    assert session.of_reader(Agreed)[0].terms == session.of_device(Agreed)[0].terms


# ---- cuts and changed octets ----------------------------------------------------------------------------------


@pytest.mark.parametrize("is_rke", [False, True])
@pytest.mark.parametrize("at", range(14))
@pytest.mark.parametrize("delivered", [False, True])
def test_a_link_lost_at_any_message_leaves_ends_that_go_on_the_next_time(
    *, at: int, delivered: bool, is_rke: bool
) -> None:
    def alter(carried: Carried) -> Sequence[bytes]:
        if len(session.line.carried) <= at:
            return (carried.octets,)
        if delivered:
            receiver = session.device if carried.from_reader else session.reader
            receiver.receive(carried.octets, carried.at)
        session.line.disconnect()
        return ()

    session = Session(alter=alter, is_rke=is_rke)
    session.run()
    if session.line.is_up:
        assert at >= len(session.line.carried)
        return
    assert session.reader.is_closed
    assert session.device.is_closed
    assert [session.reader.ursk, session.device.ursk] == [None, None]
    assert (session.simulated.session.survivors, session.simulated.session.from_reader) == (None, None)
    assert [type(event) for event in session.told].count(Closed) == 1
    again = Session(at=session.door, device=session.simulated, seed="2", is_rke=is_rke).run()
    assert again.of_reader(Authenticated)
    assert again.of_device(Completed)
    assert bool(again.of_reader(Agreed)) is not is_rke


@pytest.mark.parametrize("side", ["reader", "device"])
@pytest.mark.parametrize("at", range(0, 14, 3))
def test_an_end_that_loses_power_is_replaced_by_one_that_remembers_what_it_kept(side: str, at: int) -> None:
    """The other end learns of it when its own patience ends."""

    def alter(carried: Carried) -> Sequence[bytes]:
        return (carried.octets,) if len(session.line.carried) <= at else ()

    session = Session(alter=alter)
    session.run(0.5)
    if side == "device":
        session.simulated.reset()
        session.reader.outgoing(40.0)
        assert session.reader.is_over
        at_door: Door | None = session.door
    else:
        session.device.outgoing(40.0)
        assert session.device.is_over
        at_door = None  # with its memory, kept keys too
    again = Session(at=at_door, device=session.simulated, seed="2").run()
    assert again.of_reader(Agreed)
    assert again.of_device(Agreed)


@settings(max_examples=max(40, settings.default.max_examples // 2) if settings.default else 50)
@given(st.integers(0, 12), st.integers(0, 8 * 64))
def test_a_changed_bit_anywhere_never_leaves_two_ends_that_range_on_different_terms(at: int, bit: int) -> None:
    def alter(carried: Carried) -> Sequence[bytes]:
        if len(session.line.carried) - 1 != at:
            return (carried.octets,)
        octets = bytearray(carried.octets)
        octets[bit // 8 % len(octets)] ^= 1 << bit % 8
        return (bytes(octets),)

    session = Session(alter=alter)
    session.run(45.0)
    reader, device = session.of_reader(Agreed), session.of_device(Agreed)
    if at <= 6:
        # The access protocol: found before anything is agreed, but for a bit that means nothing (reserved or policy).
        assert [one.terms for one in reader] == [one.terms for one in device]
    else:
        assert not reader
    if reader:
        assert session.reader.ursk == session.device.ursk
    else:
        assert session.reader.is_closed


def test_messages_swapped_on_the_way_are_not_taken() -> None:
    held: list[bytes] = []

    def alter(carried: Carried) -> Sequence[bytes]:
        if NAMES[carried.octets[0], carried.octets[1]] == "TimeSync":
            held.append(carried.octets)
            return ()
        return (carried.octets, *[held.pop() for _ in held])

    session = Session(alter=alter)
    session.run()
    assert session.reader.is_closed
    assert not session.of_reader(Agreed)


def test_a_whole_session_replayed_opens_nothing() -> None:
    recorded = Session().run()
    end = door(seed="another door").connect(negotiated()[0], 0.0)
    for one in recorded.line.carried:
        if not one.from_reader:
            end.receive(one.octets, 0.0)
    assert end.is_over
    assert not [event for event in end.events() if isinstance(event, Authenticated)]


def test_a_dialogue_of_the_owner_is_told_when_the_link_is_lost() -> None:
    told: list[LinkError] = []

    def decide(opened: Opened) -> Dialogue[int]:
        try:
            yield from use_mailbox(opened, MailboxRequest((Read(0, 1),)))
        except LinkError as error:
            told.append(error)
            raise
        return ReaderStatus.UNSECURED

    session = Session(decide=decide, alter=lambda carried: (carried.octets,) if len(session.line.carried) < 7 else ())
    session.run(1.0)
    session.line.disconnect()
    assert [error.delivered for error in told] == [None]


# ---- several devices ------------------------------------------------------------------------------------------


def _two(reporting: int) -> tuple[Session, Session]:
    one = door(reporting=reporting, most_sessions=2)
    return Session(at=one, seed="1"), Session(at=one, seed="2", device=simulated(seed="other"))


def _together(*sessions: Session, seconds: float = 3.0) -> None:
    for _ in range(int(seconds / 0.01)):
        for session in sessions:
            session.line.run(session.line.now + 0.01)
    for session in sessions:
        session.take()


def test_two_devices_at_once_have_sessions_of_their_own() -> None:
    one, two = _two(Reporting.TO_ALL)
    _together(one, two)
    for session in (one, two):
        assert session.of_reader(Agreed)[0].terms == session.of_device(Agreed)[0].terms
        assert session.reader.ursk == session.device.ursk
    assert one.reader.ursk != two.reader.ursk
    one.line.disconnect()
    _together(two)
    assert two.reader.phase == "open"


@pytest.mark.parametrize(
    ("reporting", "of_one", "of_two"),
    [
        (Reporting.NONE, [], []),
        (Reporting.TO_THIS, [StateReport(4, 1)], []),
        (Reporting.TO_ALL, [StateReport(4, 1)], [StateReport(0, 1)]),
    ],
)
def test_who_is_told_of_a_bolt_that_moves(reporting: int, of_one: list[StateReport], of_two: list[StateReport]) -> None:
    one, two = _two(reporting)
    _together(one, two)
    one.door.set_state(State.UNSECURED, Source.THIS_DEVICE_RANGING, by=one.reader)
    _together(one, two, seconds=0.5)
    assert [event.report for event in one.of_device(StateChanged)] == of_one
    assert [event.report for event in two.of_device(StateChanged)] == of_two
    assert one.of_device(Completed) == [Completed(StateInformation(reporting << 5, 0))]


def test_by_hand_the_bolt_is_moved_for_all() -> None:
    one, two = _two(Reporting.TO_ALL)
    _together(one, two)
    one.door.set_state(State.OBSTRUCTED, Source.MANUAL)
    _together(one, two, seconds=0.5)
    for session in (one, two):
        assert [event.report for event in session.of_device(StateChanged)] == [StateReport(1, 2)]
    third = Session(at=one.door, seed="3")
    assert third.run().of_device(Busy) == [Busy()]
    assert third.of_reader(Closed)[0].why == "too many sessions"
    one.line.disconnect()
    assert Session(at=one.door, seed="4").run().of_device(Completed) == [Completed(StateInformation(0x20, 2))]


def test_a_setup_that_fails_leaves_a_session_in_which_it_can_be_tried_again() -> None:
    session = Session(device_settings=DeviceSettings(initiates=False)).run()
    assert session.device.setup is not None
    session.device.setup.session_id ^= 1
    session.device.initiate(session.line.now)
    session.run(1.0)
    assert session.of_reader(Failed)[0].is_peers
    session.device.setup.session_id ^= 1
    session.device.initiate(session.line.now)
    assert session.run(1.0).of_reader(Agreed)
    assert not session.of_reader(Later)
