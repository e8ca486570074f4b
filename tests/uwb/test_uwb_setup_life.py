"""The life of a ranging session after setup: suspend, resume, its end, and messages that do not arrive."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from keywright.errors import SequenceError
from keywright.uwb.grid import URSK_S
from keywright.uwb.keys import LAST_STS_INDEX
from keywright.uwb.setup.device import DeviceSetup
from keywright.uwb.setup.ends import (
    PHASE_S,
    Failed,
    Later,
    SetupEnd,
    State,
    Suspended,
    UrskDropped,
)
from keywright.uwb.setup.messages import (
    GeneralError,
    ResumeRequest,
    ResumeResponse,
    SuspendRequest,
    SuspendResponse,
    build_message,
    general_error,
    parse_message,
)
from keywright.uwb.setup.reader import ReaderSetup
from keywright.uwb.setup.terms import (
    Capabilities,
)
from support.ranging_setup import (
    SAMPLES,
    SESSION,
    agreed,
    device,
    device_in,
    hear,
    reader_in,
    sent,
    talk,
)

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
    for make in (reader_in, device_in):
        end = make("suspending")
        sent(end)
        end.events()
        hear(end, SuspendResponse(0))
        assert end.state == "ranging"
        assert end.events() == [Later()]


def test_a_resume_of_another_session_is_urks_unavailable() -> None:
    end = device_in("suspended")
    sent(end)
    assert hear(end, ResumeRequest(SESSION + 1)) == [general_error(GeneralError.URSK_UNAVAILABLE)]
    assert end.state == "suspended"


@pytest.mark.parametrize("index", [1000, 999, 0])
def test_a_resume_with_used_indices_is_refused(index: int) -> None:
    end = reader_in("resuming")
    sent(end)
    end.events()
    assert hear(end, ResumeResponse(index, 0)) == [general_error(GeneralError.WRONG_PARAMETERS)]
    assert end.state == "suspended"


def test_no_answer_in_time_takes_each_phase_back() -> None:
    waits: list[tuple[Callable[[State], SetupEnd], tuple[State, ...]]] = [
        (reader_in, ("m1", "m3", "suspending", "resuming")),
        (device_in, ("m2", "suspending")),
    ]
    for make, states in waits:
        for state in states:
            end = make(state)
            sent(end)
            end.events()
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
    one.events()
    other.events()
    for end in (one, other):
        assert sent(end, URSK_S) == []
        assert end.events() == [UrskDropped("age")]
        assert (end.state, end.terms, end.deadline()) == ("ended", None, None)
        assert hear(end, SuspendRequest(SESSION), now=URSK_S) == [general_error(GeneralError.URSK_UNAVAILABLE)]


def test_a_link_lost_ends_a_urks_once() -> None:
    end = reader_in("ranging")
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
    end = reader_in(state)
    with pytest.raises(SequenceError):
        end.start(0.0)
    with pytest.raises(SequenceError):
        end.resume(0.0)
    other = device_in("m2")
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
        sent(one, PHASE_S)
        sent(other, PHASE_S)
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
