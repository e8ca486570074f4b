"""What ranging tells its owner."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from keywright.uwb.setup.ends import Why

Stage: TypeAlias = Literal["pre-poll", "poll", "response", "final", "final data", "record"]


class Measured(msgspec.Struct, frozen=True):
    """A responder has a distance, by double-sided ranging."""

    block: int
    round: int
    responder: int
    flight_ticks: float
    distance_m: float
    """Signed: noise makes small distances negative."""
    quality: float
    """The worse of poll and final: share of STS pulses of the right polarity."""
    clock_offset: float
    """How much faster the initiator's clock runs, as a ratio, from the two ends' own intervals."""


class Estimated(msgspec.Struct, frozen=True):
    """The initiator has a distance by single-sided ranging with the carrier's clock offset; nobody proves the reply."""

    block: int
    round: int
    responder: int
    distance_m: float


class Missed(msgspec.Struct, frozen=True):
    """A round gave no distance, because this part of it did not come, or came without what it should hold."""

    block: int
    round: int
    stage: Stage
    why: str = ""


class Refused(msgspec.Struct, frozen=True):
    """Something was heard and not accepted; the round goes on without it."""

    what: str


class Ended(msgspec.Struct, frozen=True):
    """The URSK is used up; nothing is sent or answered any more."""

    why: Why


InitiatorEvent: TypeAlias = Estimated | Missed | Refused | Ended
ResponderEvent: TypeAlias = Measured | Missed | Refused | Ended
