"""Ends of ranging setup for tests: what they hear and say, and how to bring one into a state."""

from __future__ import annotations

import random
from typing import Any

from keywright.uwb.setup.device import DeviceSetup
from keywright.uwb.setup.ends import (
    SetupEnd,
    State,
)
from keywright.uwb.setup.messages import (
    M1,
    M2,
    M3,
    M4,
    ConfigIds,
    RangingNotice,
    ResumeRequest,
    ResumeResponse,
    SetupMessage,
    SuspendRequest,
    SuspendResponse,
    TimeSync,
    build_message,
    parse_message,
)
from keywright.uwb.setup.reader import ReaderSetup
from keywright.uwb.setup.terms import (
    ADAPTIVE,
    CONTINUOUS,
    DEFAULT_SEQUENCE,
    NO_HOPPING,
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
    one.events()
    other.events()
    return one, other


def reader_in(state: State) -> ReaderSetup:
    """A reader that has come to that state."""
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


def device_in(state: State) -> DeviceSetup:
    """A device that has come to that state."""
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
