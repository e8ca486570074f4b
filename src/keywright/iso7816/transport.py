"""What the block protocols share: the events of both ends, the names of failures, and the box that frames wait in.

T=0, T=1 and ISO 14443-4 carry the same thing, a command APDU there and an answer back, so a host end looks the same
for all three: `HostEnd`. A card end has a `Device` behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol, TypeAlias, final

import msgspec

from keywright.sansio.endpoint import Endpoint


class Failure(StrEnum):
    """Why an exchange ended without its answer."""

    SILENCE = "silence"
    """The waiting time ran out as often as the rules allow."""
    DAMAGED = "damaged"
    """Blocks stayed invalid as often as the rules allow."""
    RESYNCHRONISED = "resynchronised"
    """T=1 began anew; the command may have run, so a secure session on top has lost count."""
    ABORTED = "aborted"
    """One side gave up a chain."""
    ILLEGAL = "illegal"
    """The card sent what no rule allows, such as an unknown procedure byte of T=0."""
    ENDLESS = "endless"
    """The card asked for time, or went on with its answer, beyond the limits of the profile."""
    UNSENDABLE = "unsendable"
    """The command has no form on this transport; nothing was sent."""
    DOWN = "down"
    """The card was lost or deselected before; it must be reset or activated first. Nothing was sent."""


@final
class Answered(msgspec.Struct, frozen=True):
    """The answer APDU to the command."""

    data: bytes


@final
class Failed(msgspec.Struct, frozen=True):
    """The exchange ended without an answer.

    delivered: False if the card cannot have run the command, True if it has, None if it may have. is_down: whether the
    card must be reset (contact) or activated anew (contactless) before the next command.
    """

    failure: Failure
    delivered: bool | None
    text: str
    is_down: bool = True


@final
class Resynchronised(msgspec.Struct, frozen=True):
    """T=1 has begun anew at the host's request. may_have_run: whether the card may have run the pending command.

    is_over: whether that was all that the host wanted; otherwise a command is pending and ends by itself.
    """

    may_have_run: bool
    is_over: bool = False


@final
class SizeAgreed(msgspec.Struct, frozen=True):
    """The other side has taken the size of blocks that this side wants."""

    size: int


@final
class Present(msgspec.Struct, frozen=True):
    """ISO 14443-4: the card answered a presence check."""


@final
class Deselected(msgspec.Struct, frozen=True):
    """ISO 14443-4: the card was deselected."""


@final
class Activated(msgspec.Struct, frozen=True):
    """ISO 14443-4: the card was activated; its answer (ATS, or answer to ATTRIB) as it came."""

    answer: bytes


@final
class Ran(msgspec.Struct, frozen=True):
    """Card end: the device behind has run this command APDU, once."""

    command: bytes


@final
class Muted(msgspec.Struct, frozen=True):
    """Card end: it is silent from here until a reset; `text` says why."""

    text: str


HostEvent: TypeAlias = Answered | Failed | Resynchronised | SizeAgreed | Present | Deselected | Activated
CardEvent: TypeAlias = Ran | Resynchronised | Deselected | Muted


class HostEnd(Endpoint[HostEvent], Protocol):
    """The host's end of a transport. One command at a time; it ends with `Answered` or `Failed`."""

    def command(self, apdu: bytes, now: float) -> None:
        """Begin one command APDU. Raises SequenceError while another one is under way."""
        ...

    def parity_error(self, now: float) -> None:
        """Take note that characters came whose parity stayed wrong."""
        ...

    def reset(self, now: float) -> None:
        """Begin anew, as after a reset of the card; what was under way is forgotten without an event."""
        ...


class CardEnd(Endpoint[CardEvent], Protocol):
    """The card's end of a transport."""

    def parity_error(self, now: float) -> None:
        """Take note that characters came whose parity stayed wrong."""
        ...

    def reset(self, now: float) -> None:
        """Reset the device behind, and begin anew."""
        ...


@final
class Outbox:
    """Frames that wait for their time: none goes out before the guard time after what came in is over."""

    __slots__ = ("_due", "_frames")

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._due = 0.0

    def put(self, frame: bytes, due: float) -> None:
        """Hold `frame` until `due` seconds."""
        self._frames.append(frame)
        self._due = due

    def replace(self, frame: bytes, due: float) -> None:
        """Hold `frame` instead of what waits: a half-duplex line carries one block, and the last word counts."""
        self._frames.clear()
        self.put(frame, due)

    def take(self, now: float) -> Sequence[bytes]:
        """The frames to send now, each given out once."""
        if not self._frames or now < self._due:
            return ()
        frames, self._frames = self._frames, []
        return frames

    def deadline(self) -> float | None:
        """When `take` has something to give, None if nothing waits."""
        return self._due if self._frames else None

    def clear(self) -> None:
        """Forget all frames."""
        self._frames.clear()


def earliest(*times: float | None) -> float | None:
    """The least of some times, None if none is set."""
    found: float | None = None
    for time in times:
        if time is not None and (found is None or time < found):
            found = time
    return found
