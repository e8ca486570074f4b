"""Ranging setup from each end alone, with bytes written by hand, and both against each other."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from keywright.errors import SequenceError
from keywright.uwb.grid import URSK_S, Hopping
from keywright.uwb.keys import LAST_STS_INDEX
from keywright.uwb.setup.device import LEAD_S, DeviceSetup
from keywright.uwb.setup.ends import (
    PHASE_S,
    Agreed,
    Failed,
    Later,
    SetupEnd,
    State,
    Suspended,
    Synchronized,
    UrskDropped,
)
from keywright.uwb.setup.messages import (
    M1,
    M2,
    M3,
    M4,
    MESSAGES,
    ConfigIds,
    Event,
    GeneralError,
    RangingNotice,
    ResumeRequest,
    ResumeResponse,
    SetupMessage,
    SuspendRequest,
    SuspendResponse,
    TimeSync,
    build_message,
    general_error,
    parse_message,
)
from keywright.uwb.setup.reader import ReaderSetup
from keywright.uwb.setup.terms import (
    ADAPTIVE,
    AES_SEQUENCE,
    CONTINUOUS,
    DEFAULT_SEQUENCE,
    NO_HOPPING,
    Capabilities,
    Wishes,
    mac_mode,
    round_offset,
)

SESSION = 0x01020304
SYNC = TimeSync(0, 1_000_000, 80, 0, 100, 1, 0)
OFFER = M1(ConfigIds((0,)), b"\x11", 3, SESSION)
ANSWER = M2(ConfigIds((0,)), b"\x11", 2, 0xF00, 2, 0x7F, NO_HOPPING | CONTINUOUS | ADAPTIVE | DEFAULT_SEQUENCE)
DECISION = M3(2, 3, 1, 6, 0xF00, CONTINUOUS | DEFAULT_SEQUENCE, 0)
BEGINNING = M4(1000, 5_000_000, 7, 9)
SAMPLES: dict[type[SetupMessage], SetupMessage] = {
    type(message): message
    for message in (
        OFFER,
        ANSWER,
        DECISION,
        BEGINNING,
        SuspendRequest(SESSION),
        SuspendResponse(1),
        ResumeRequest(SESSION),
        ResumeResponse(1_000_000, 9_000_000),
        RangingNotice(),
        SYNC,
    )
}


def sent(end: SetupEnd, now: float = 0.0) -> list[SetupMessage]:
    """What an end sends now."""
    return [parse_message(octets) for octets in end.outgoing(now)]


def hear(end: SetupEnd, *messages: SetupMessage, now: float = 0.0) -> list[SetupMessage]:
    """Let an end hear messages; what it sends then."""
    for message in messages:
        end.receive(build_message(message), now)
    return sent(end, now)


def reader(**options: Any) -> ReaderSetup:
    """A reader that has been asked to start, and is synchronized."""
    end = ReaderSetup(SESSION, **options)
    hear(end, SYNC)
    end.start(0.0)
    end.events()
    return end


def device(**options: Any) -> DeviceSetup:
    """A device whose chance is always the same."""
    return DeviceSetup(SESSION, random=random.Random(1).randbytes, **options)


def talk(one: SetupEnd, other: SetupEnd, now: float = 0.0) -> int:
    """Carry messages until none is left; how many there were."""
    count = 0
    while messages := [(other, octets) for octets in one.outgoing(now)] + [
        (one, octets) for octets in other.outgoing(now)
    ]:
        for end, octets in messages:
            count += 1
            end.receive(octets, now)
    return count


def agreed(**options: Any) -> tuple[ReaderSetup, DeviceSetup]:
    """Both ends after a setup."""
    one, other = ReaderSetup(SESSION), device(**options)
    other.synchronize(1_000_000, 0.0)
    other.initiate(0.0)
    talk(other, one)
    assert one.state == other.state == "ranging"
    one.events(), other.events()
    return one, other


# ---- each end alone -------------------------------------------------------------------------------------------


def test_reader_sends_m1_and_m3_for_hand_written_answers() -> None:
    end = reader()
    assert sent(end) == [OFFER]
    assert hear(end, ANSWER) == [DECISION]
    assert hear(end, BEGINNING) == []
    (event,) = end.events()
    assert isinstance(event, Agreed)
    terms = event.terms
    assert (terms.channel, terms.sync_code, terms.uwb_time0) == (9, 9, 5_000_000)
    assert (terms.grid.sts_index0, terms.grid.hop_key, terms.grid.hopping) == (1000, 7, Hopping.CONTINUOUS)
    assert terms.configuration.build().hex() == "0100000001020304000003e80102060311"


def test_device_sends_m2_and_m4_for_hand_written_offers() -> None:
    end = device()
    assert hear(end, OFFER) == [ANSWER]
    (beginning,) = hear(end, DECISION, now=1.0)
    assert isinstance(beginning, M4)
    assert beginning.sync_code == 9
    assert beginning.uwb_time0 == 1_000_000 + LEAD_S * 1e6
    assert beginning.sts_index0 < 1 << 30
    (event,) = end.events()
    assert isinstance(event, Agreed)
    assert event.terms.grid.sts_index0 == beginning.sts_index0


def test_both_ends_agree_on_the_same_terms() -> None:
    one, other = agreed()
    assert one.terms == other.terms
    assert one.terms is not None
    assert one.terms.configuration == other.terms.configuration  # type: ignore[union-attr]  # it is the same


def test_m1_waits_for_a_time_sync_that_holds_a_measurement() -> None:
    end = ReaderSetup(SESSION)
    end.start(0.0)
    assert sent(end) == []
    assert hear(end, replace(SYNC, success=0)) == []
    assert hear(end, SYNC) == [OFFER]
    assert end.events() == [Synchronized(SYNC)]


def test_a_reader_may_go_without_time_sync() -> None:
    end = ReaderSetup(SESSION, needs_time_sync=False)
    assert hear(end, RangingNotice(initiate=True)) == [OFFER]


# ---- choices --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"config_ids": ConfigIds((1,))}, "no common UWB configuration"),
        ({"config_ids": ConfigIds((0, 0))}, "2 values of config id"),
        ({"config_ids": ConfigIds(())}, "0 values of config id"),
        ({"pulse_shapes": b"\x12"}, "no common pulse shape"),
        ({"pulse_shapes": b""}, "0 values of pulse shape"),
        ({"channels": 4}, "no common channel"),
        ({"channels": 3}, "channel 0x3 is not one choice"),
        ({"channels": 0}, "channel 0x0 is not one choice"),
        ({"sync_codes": 0xFF}, "no common SYNC code"),
        ({"slots": 0x80}, "no common number of chaps"),
        ({"hopping": ADAPTIVE | DEFAULT_SEQUENCE}, "no common hopping mode"),
        ({"hopping": CONTINUOUS}, "no common hopping mode"),
        ({"hopping": 0xF8}, "AES hopping sequence"),
    ],
)
def test_reader_names_what_there_is_none_of(answer: dict[str, Any], why: str) -> None:
    end = reader()
    hear(end)
    assert hear(end, replace(ANSWER, **answer)) == [general_error(GeneralError.WRONG_PARAMETERS)]
    (event,) = end.events()
    assert isinstance(event, Failed)
    assert why in event.why
    assert end.state == "idle"


@pytest.mark.parametrize(
    ("offer", "why"),
    [
        ({"config_ids": ConfigIds((9,))}, "no common UWB configuration"),
        ({"config_ids": ConfigIds(())}, "no common UWB configuration"),
        ({"pulse_shapes": b"\x99"}, "no common pulse shape"),
        ({"channels": 0xFC}, "no common channel"),
        ({"session_id": SESSION + 1}, "session 01020305"),
        ({"session_id": 0}, "session 00000000"),
        ({"session_id": 0xFFFFFFFF}, "session FFFFFFFF"),
    ],
)
def test_device_names_what_there_is_none_of(offer: dict[str, Any], why: str) -> None:
    end = device()
    assert hear(end, replace(OFFER, **offer)) == [general_error(GeneralError.WRONG_PARAMETERS)]
    (event,) = end.events()
    assert isinstance(event, Failed)
    assert why in event.why
    assert end.state == "idle"


@pytest.mark.parametrize(
    ("decision", "why"),
    [
        ({"ran_multiplier": 1}, "RAN multiplier 1"),
        ({"chaps_per_slot": 5}, "5 chaps per slot"),
        ({"responders": 0}, "0 responders"),
        ({"responders": 3}, "too few for 3"),
        ({"responders": 255}, "255 responders"),
        ({"slots_per_round": 7}, "do not divide"),
        ({"slots_per_round": 0}, "too few"),
        ({"responders": 8, "slots_per_round": 12, "chaps_per_slot": 24}, "longer than a timestamp"),
        ({"sync_codes": 0xFF}, "no common SYNC code"),
        ({"sync_codes": 0}, "no common SYNC code"),
        ({"hopping": CONTINUOUS | AES_SEQUENCE}, "AES hopping sequence"),
        ({"hopping": NO_HOPPING | CONTINUOUS | DEFAULT_SEQUENCE}, "not one mode"),
        ({"hopping": 0}, "not one mode"),
        ({"mac_mode": 0x01}, "neither one round nor two"),
        ({"mac_mode": 0x80}, "neither one round nor two"),
        ({"mac_mode": 0xFF}, "127 apart in a block of 32"),
    ],
)
def test_device_refuses_decisions_that_it_did_not_offer(decision: dict[str, Any], why: str) -> None:
    end = device()
    hear(end, OFFER)
    assert hear(end, replace(DECISION, **decision)) == [general_error(GeneralError.WRONG_PARAMETERS)]
    (event,) = end.events()
    assert isinstance(event, Failed)
    assert why in event.why
    assert end.state == "idle"


def test_device_refuses_a_mode_that_it_cannot_do() -> None:
    end = device(capabilities=Capabilities(hopping=NO_HOPPING))
    hear(end, OFFER)
    hear(end, DECISION)
    (event,) = end.events()
    assert isinstance(event, Failed)
    assert "was not offered" in event.why


@pytest.mark.parametrize(
    ("beginning", "why"),
    [
        ({"sync_code": 8}, "SYNC code 8"),
        ({"sync_code": 0}, "SYNC code 0"),
        ({"sync_code": 255}, "SYNC code 255"),
        ({"sts_index0": LAST_STS_INDEX}, "beyond"),
        ({"sts_index0": 0xFFFFFFFF}, "beyond"),
    ],
)
def test_reader_refuses_beginnings_that_cannot_be(beginning: dict[str, Any], why: str) -> None:
    end = reader()
    hear(end, ANSWER)
    assert hear(end, replace(BEGINNING, **beginning)) == [general_error(GeneralError.WRONG_PARAMETERS)]
    (event,) = end.events()
    assert isinstance(event, Failed)
    assert why in event.why


@pytest.mark.parametrize(
    ("wishes", "grid"),
    [
        (Wishes(), (1, 6, 3, Hopping.CONTINUOUS)),
        (Wishes(responders=2), (2, 6, 3, Hopping.CONTINUOUS)),
        (Wishes(responders=3), (3, 8, 3, Hopping.CONTINUOUS)),
        (Wishes(responders=10), (10, 16, 3, Hopping.CONTINUOUS)),
        (Wishes(hopping=(Hopping.NONE,)), (1, 6, 3, Hopping.NONE)),
        (Wishes(hopping=(Hopping.ADAPTIVE,)), (1, 6, 3, Hopping.ADAPTIVE)),
    ],
)
def test_reader_gets_what_it_wishes(wishes: Wishes, grid: tuple[int, int, int, Hopping]) -> None:
    one, other = ReaderSetup(SESSION, wishes=wishes, needs_time_sync=False), device()
    one.start(0.0)
    talk(one, other)
    assert one.terms == other.terms
    assert one.terms is not None
    found = one.terms.grid
    assert (found.responders, found.slots_per_round, found.chaps_per_slot, found.hopping) == grid


def test_two_rounds_are_agreed_through_the_mac_mode() -> None:
    one, other = ReaderSetup(SESSION, wishes=Wishes(round_offset=3), needs_time_sync=False), device()
    one.start(0.0)
    talk(one, other)
    assert other.terms is not None
    assert other.terms.grid.round_offset == 3


def test_a_block_too_short_for_its_rounds_is_named() -> None:
    end = reader(wishes=Wishes(responders=10, round_offset=100))
    hear(end, ANSWER)
    (event,) = end.events()
    assert isinstance(event, Failed)
    assert "no round of 10 responders fits" in event.why


@pytest.mark.parametrize("offset", [0, 1, 127])
def test_mac_mode_and_offset_are_inverse(offset: int) -> None:
    assert round_offset(mac_mode(offset)) == offset


@pytest.mark.parametrize("offset", [-1, 128])
def test_mac_mode_has_no_room_for_more(offset: int) -> None:
    with pytest.raises(ValueError, match="round offset"):
        mac_mode(offset)


# ---- order ----------------------------------------------------------------------------------------------------

REACH: dict[type[SetupEnd], dict[State, Callable[[], SetupEnd]]] = {}


def _reader_in(state: State) -> ReaderSetup:
    end = reader() if state != "idle" else ReaderSetup(SESSION)
    if state in {"idle", "m1"}:
        return end
    hear(end, ANSWER)
    if state == "m3":
        return end
    hear(end, BEGINNING)
    if state == "ended":
        end.drop_ursk("link-lost")
    if state in {"suspending", "suspended", "resuming"}:
        end.suspend(0.0)
    if state in {"suspended", "resuming"}:
        hear(end, SuspendResponse(1))
    if state == "resuming":
        end.resume(0.0)
    return end


def _device_in(state: State) -> DeviceSetup:
    end = device()
    if state == "idle":
        return end
    hear(end, OFFER)
    if state == "m2":
        return end
    hear(end, DECISION)
    if state == "ended":
        end.drop_ursk("link-lost")
    if state in {"suspending", "suspended"}:
        end.suspend(0.0)
    if state == "suspended":
        hear(end, SuspendResponse(1))
    return end


PAIRS = [
    (make, state, kind)
    for make, cls in ((_reader_in, ReaderSetup), (_device_in, DeviceSetup))
    for state, allowed in cls.TABLE.items()
    if allowed or state == "ended"
    for kind in MESSAGES
    if kind is not Event and kind not in allowed
]


@pytest.mark.parametrize(
    ("make", "state", "kind"),
    PAIRS,
    ids=[f"{make.__name__[1:7]}-{state}-{kind.__name__}" for make, state, kind in PAIRS],
)
def test_what_is_not_due_is_refused_and_changes_nothing(
    make: Callable[[State], SetupEnd], state: State, kind: type[SetupMessage]
) -> None:
    end = make(state)
    assert end.state == state
    sent(end), end.events()
    before = (end.terms, end.deadline())
    code = GeneralError.URSK_UNAVAILABLE if state == "ended" else GeneralError.UNKNOWN
    assert hear(end, SAMPLES[kind]) == [general_error(code)]
    assert (end.state, (end.terms, end.deadline())) == (state, before)
    assert all(isinstance(event, Failed) for event in end.events())


@pytest.mark.parametrize("octets", ["", "ff", "0100", "010000ff", "0100000102", "02000001", "0909 0000"])
@pytest.mark.parametrize("state", ["idle", "ranging"])
def test_bytes_that_mean_nothing_are_answered_and_change_nothing(state: State, octets: str) -> None:
    for make in (_reader_in, _device_in):
        end = make(state)
        sent(end), end.events()
        end.receive(bytes.fromhex(octets), 0.0)
        assert sent(end) == [general_error(GeneralError.WRONG_PARAMETERS)]
        assert end.state == state


def test_a_missing_attribute_is_general_error_2() -> None:
    one, other = reader(), device()
    sent(one)
    one.receive(bytes.fromhex("0101000400020000"), 0.0)
    other.receive(bytes.fromhex("0100000c010111030103020401020304"), 0.0)
    for end in (one, other):
        assert sent(end) == [general_error(GeneralError.WRONG_PARAMETERS)]
        (event,) = end.events()
        assert isinstance(event, Failed)
        assert "missing" in event.why
        assert event.code == GeneralError.WRONG_PARAMETERS


def test_errors_about_errors_do_not_go_back_and_forth() -> None:
    makers: list[Callable[[State], SetupEnd]] = [_reader_in, _device_in]
    for make in makers:
        for event in (Event(), Event(general_error=b""), Event(general_error=b"\x01\x02"), general_error(9)):
            end = make("ranging")
            sent(end)
            assert hear(end, event) == []
            assert end.state == "ranging"


def test_a_general_error_of_the_peer_takes_setup_back() -> None:
    end = _reader_in("m3")
    sent(end)
    assert hear(end, general_error(GeneralError.RESOURCE)) == []
    assert end.state == "idle"
    (event,) = end.events()
    assert event == Failed("the other end: general error resource", GeneralError.RESOURCE, is_peers=True)


def test_a_peer_without_urks_ends_the_session() -> None:
    end = _reader_in("resuming")
    sent(end), end.events()
    hear(end, general_error(GeneralError.URSK_UNAVAILABLE))
    assert end.state == "ended"
    assert end.events()[-1] == UrskDropped("peer")


def test_busy_and_later_are_told_apart_from_failure() -> None:
    end = _reader_in("m1")
    sent(end)
    hear(end, Event(is_busy=True))
    states = [end.state]
    hear(end, RangingNotice(setup_later=True))
    assert [*states, end.state] == ["m1", "idle"]
    assert end.events() == [Later(), Later()]


# ---- suspend, resume, end -------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", [0, 1])
def test_either_end_suspends_and_the_session_resumes_with_fresh_indices(who: int) -> None:
    ends = agreed()
    one, other = ends
    before = one.terms
    ends[who].suspend(10.0)
    talk(one, other, 10.0)
    assert one.events() == other.events() == [Suspended()]
    other.initiate(30.0)
    talk(one, other, 30.0)
    assert one.state == other.state == "ranging"
    assert one.terms == other.terms
    assert before is not None
    assert one.terms is not None
    # 30 s are at least 156 blocks of 192 ms: none of their indices comes again.
    assert one.terms.grid.sts_index0 >= before.grid.sts_index(156, 0)
    assert one.terms.configuration != before.configuration


def test_both_may_suspend_at_once() -> None:
    one, other = agreed()
    one.suspend(1.0)
    other.suspend(1.0)
    talk(one, other, 1.0)
    assert one.state == other.state == "suspended"
    assert one.events() == other.events() == [Suspended()]


def test_a_peer_may_say_not_now() -> None:
    for make in (_reader_in, _device_in):
        end = make("suspending")
        sent(end), end.events()
        hear(end, SuspendResponse(0))
        assert end.state == "ranging"
        assert end.events() == [Later()]


def test_a_resume_of_another_session_is_urks_unavailable() -> None:
    end = _device_in("suspended")
    sent(end)
    assert hear(end, ResumeRequest(SESSION + 1)) == [general_error(GeneralError.URSK_UNAVAILABLE)]
    assert end.state == "suspended"


@pytest.mark.parametrize("index", [1000, 999, 0])
def test_a_resume_with_used_indices_is_refused(index: int) -> None:
    end = _reader_in("resuming")
    sent(end), end.events()
    assert hear(end, ResumeResponse(index, 0)) == [general_error(GeneralError.WRONG_PARAMETERS)]
    assert end.state == "suspended"


def test_no_answer_in_time_takes_each_phase_back() -> None:
    waits: list[tuple[Callable[[State], SetupEnd], tuple[State, ...]]] = [
        (_reader_in, ("m1", "m3", "suspending", "resuming")),
        (_device_in, ("m2", "suspending")),
    ]
    for make, states in waits:
        for state in states:
            end = make(state)
            sent(end), end.events()
            assert end.deadline() == PHASE_S
            assert sent(end, PHASE_S) == []
            assert end.state in {"idle", "ranging", "suspended"}
            assert [type(event) for event in end.events()] == [Failed]


def test_a_urks_ends_twelve_hours_after_m4_whatever_happens_meanwhile() -> None:
    one, other = agreed()
    one.suspend(100.0)
    talk(one, other, 100.0)
    one.resume(URSK_S - 1)
    talk(one, other, URSK_S - 1)
    assert one.state == "ranging"
    assert one.deadline() == other.deadline() == URSK_S
    one.events(), other.events()
    for end in (one, other):
        assert sent(end, URSK_S) == []
        assert end.events() == [UrskDropped("age")]
        assert (end.state, end.terms, end.deadline()) == ("ended", None, None)
        assert hear(end, SuspendRequest(SESSION), now=URSK_S) == [general_error(GeneralError.URSK_UNAVAILABLE)]


def test_a_link_lost_ends_a_urks_once() -> None:
    end = _reader_in("ranging")
    end.events()
    end.drop_ursk("link-lost")
    end.drop_ursk("age")
    assert end.events() == [UrskDropped("link-lost")]


def test_a_device_without_indices_left_ends_the_session() -> None:
    one, other = agreed(capabilities=Capabilities(ran_multiplier=2))
    one.suspend(1.0)
    talk(one, other, 1.0)
    assert other.terms is not None
    other.terms = other.terms._replace(grid=replace(other.terms.grid, sts_index0=LAST_STS_INDEX - 100))
    one.resume(2.0)
    talk(one, other, 2.0)
    assert other.state == one.state == "ended"


@pytest.mark.parametrize("state", ["m1", "ranging", "ended"])
def test_what_the_owner_may_not_do_now_is_a_sequence_error(state: State) -> None:
    end = _reader_in(state)
    with pytest.raises(SequenceError):
        end.start(0.0)
    with pytest.raises(SequenceError):
        end.resume(0.0)
    other = _device_in("m2")
    with pytest.raises(SequenceError):
        other.initiate(0.0)
    with pytest.raises(SequenceError):
        other.suspend(0.0)


# ---- messages that do not arrive ------------------------------------------------------------------------------


def setup_without(lost: int) -> tuple[ReaderSetup, DeviceSetup, int]:
    """A setup in which one message does not arrive: what time does to both ends, and how many messages there were."""
    one, other = ReaderSetup(SESSION), device()
    other.synchronize(1_000_000, 0.0)
    other.initiate(0.0)
    count = 0
    while messages := [(one, octets) for octets in other.outgoing(0.0)] + [
        (other, octets) for octets in one.outgoing(0.0)
    ]:
        for end, octets in messages:
            if count != lost:
                end.receive(octets, 0.0)
            count += 1
    return one, other, count


def test_whichever_message_is_lost_a_new_setup_succeeds_unless_the_device_has_begun() -> None:
    _, _, total = setup_without(-1)
    assert total == 6
    for lost in range(total):
        one, other, _ = setup_without(lost)
        sent(one, PHASE_S), sent(other, PHASE_S)
        assert one.state in {"idle", "m1"}
        if other.state == "ranging":
            # M4 was lost: the device uses its URSK, and takes no M1 for it again. The link that loses messages ends it.
            assert lost == total - 1
            one.start(PHASE_S)
            talk(one, other, PHASE_S)
            assert one.state == "idle"
            continue
        other.synchronize(2_000_000, PHASE_S)
        if one.state == "idle":
            other.initiate(PHASE_S)
        talk(other, one, PHASE_S)
        assert {one.state, other.state} == {"ranging"}, lost


def test_nothing_that_two_ends_may_hear_in_any_order_escapes_or_leaves_them_of_two_minds() -> None:
    chance = random.Random(17)
    for _ in range(150):
        ends: list[SetupEnd] = [ReaderSetup(SESSION, needs_time_sync=False), device()]
        now = 0.0
        on_air: list[tuple[int, bytes]] = []
        for _ in range(40):
            now += chance.choice([0.0, 0.1, PHASE_S])
            for number, end in enumerate(ends):
                on_air += [(1 - number, octets) for octets in end.outgoing(now)]
            match chance.randrange(6):
                case 0:
                    forged = chance.choice(list(SAMPLES.values()))
                    on_air.append((chance.randrange(2), build_message(forged)))
                case 1:
                    on_air.append((chance.randrange(2), chance.randbytes(chance.randrange(20))))
                case 2:
                    owner_does(ends, chance, now)
                case _ if on_air:
                    to, octets = on_air.pop(chance.randrange(len(on_air)) if chance.random() < 0.1 else 0)
                    ends[to].receive(octets, now)
        for end in ends:
            assert end.state in type(end).TABLE
            assert (end.terms is None) == (end.state in {"idle", "m1", "m2", "m3", "ended"})
            assert all(parse_message(octets) for octets in end.outgoing(now))


def owner_does(ends: list[SetupEnd], chance: random.Random, now: float) -> None:
    """Somebody starts, suspends or resumes, whether or not it is time."""
    one, other = ends
    assert isinstance(one, ReaderSetup)
    assert isinstance(other, DeviceSetup)
    act: Callable[[float], None] = chance.choice([one.start, one.suspend, one.resume, other.initiate, other.suspend])
    with contextlib.suppress(SequenceError):
        act(now)
