"""Both ends of a transport on one line, in virtual time: how a device in this process is reached block by block.

Nothing waits here. The clock jumps to whatever is next: a frame that arrives, or the deadline of an end.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import Final, Literal, NamedTuple, TypeAlias, final

import msgspec

from keywright.errors import LinkError, WireError
from keywright.iso7816.transport import (
    Answered,
    CardEnd,
    CardEvent,
    Failed,
    HostEnd,
    HostEvent,
    Resynchronised,
    earliest,
)

Sender: TypeAlias = Literal["host", "card"]
MAX_FRAMES: Final = 1_000_000
"""Frames of one exchange before it is called endless: an extended APDU in the smallest blocks stays below."""


@final
class Arrival(msgspec.Struct, frozen=True):
    """How a frame reaches the other side: when, in what state; `has_parity_error` if characters stayed wrong."""

    data: bytes
    delay: float = 0.0
    has_parity_error: bool = False


Channel: TypeAlias = Callable[[Sender, bytes], Iterable[Arrival]]
"""What a line does to a frame: nothing arrives, one, or several; in each direction the order stays."""


def clean(_: Sender, frame: bytes) -> Iterable[Arrival]:
    """A line without faults."""
    return (Arrival(frame),)


class _Flight(NamedTuple):
    due: float
    number: int
    to_host: bool
    arrival: Arrival


@final
class Line:
    """Runs a host end and a card end against each other.

    channel: what happens to frames. max_frames: of one exchange; more raises WireError. `now` is the virtual time,
    `frames` counts what was sent in all, `card_events` keeps what the card's end told until someone takes it.
    """

    def __init__(self, host: HostEnd, card: CardEnd, channel: Channel = clean, *, max_frames: int = MAX_FRAMES) -> None:
        self.host, self.card, self.channel = host, card, channel
        self.now = 0.0
        self.frames = 0
        self.card_events: list[CardEvent] = []
        self._max = max_frames
        self._flights: list[_Flight] = []
        self._number = 0
        self._latest = {"host": 0.0, "card": 0.0}

    def command(self, apdu: bytes) -> list[HostEvent]:
        """Send one command; the host's events up to `Answered` or `Failed`."""
        self.host.command(apdu, self.now)
        return self.settle()

    def reset(self) -> None:
        """Reset the card and begin anew on both sides; what was on the way is gone."""
        self._flights.clear()
        self._latest = {"host": self.now, "card": self.now}
        self.card.reset(self.now)
        self.host.reset(self.now)

    def settle(self) -> list[HostEvent]:
        """Run until the host has an end: an answer, a failure, or what it had asked for. Raises WireError for none."""
        found: list[HostEvent] = []
        limit = self.frames + self._max
        while self.frames <= limit:
            self._pump()
            found += self.host.events()
            self.card_events += self.card.events()
            if found and is_end(found[-1]):
                return found
            if not self._step():
                raise WireError("both ends wait for each other, without a deadline")
        raise WireError(f"more than {self._max} frames in one exchange")

    def _pump(self) -> None:
        for sender, end in (("host", self.host), ("card", self.card)):
            for frame in end.outgoing(self.now):
                self.frames += 1
                self._fly(sender, frame)  # type: ignore[arg-type]  # a literal loses its type in the tuple

    def _fly(self, sender: Sender, frame: bytes) -> None:
        for arrival in self.channel(sender, frame):
            due = self._latest[sender] = max(self.now + arrival.delay, self._latest[sender])
            self._number += 1
            heapq.heappush(self._flights, _Flight(due, self._number, sender == "card", arrival))

    def _step(self) -> bool:
        """Go to the next moment and deliver what arrives then; False if there is none."""
        flights = self._flights
        due = earliest(self.host.deadline(), self.card.deadline(), flights[0].due if flights else None)
        if due is None:
            return False
        self.now = max(self.now, due)
        while self._flights and self._flights[0].due <= self.now:
            flight = heapq.heappop(self._flights)
            end = self.host if flight.to_host else self.card
            if flight.arrival.has_parity_error:
                end.parity_error(self.now)
            else:
                end.receive(flight.arrival.data, self.now)
        return True


def is_end(event: HostEvent) -> bool:
    """Whether a host's event ends what it was asked; RESYNCH in the middle of a command does not."""
    return not isinstance(event, Resynchronised) or event.is_over


@final
class LineExchange:
    """A line as what a host asks: bytes there, bytes back, and a failure as LinkError.

    A card that was lost is not reset behind the caller's back: every exchange fails until `reset`.
    """

    def __init__(self, line: Line, name: str = "line") -> None:
        self.line, self.name = line, name

    def exchange(self, command: bytes) -> bytes:
        """The answer APDU. Raises LinkError; its `delivered` is None where the command may have run."""
        try:
            events = self.line.command(command)
        except WireError as error:
            raise LinkError(f"{self.name}: {error}", delivered=None, hint="reset the card") from error
        lost = any(isinstance(event, Resynchronised) for event in events)
        end = events[-1]
        if isinstance(end, Answered) and not lost:
            return end.data
        if isinstance(end, Failed):
            hint = "reset the card" if end.is_down else "open a new secure session if there was one"
            raise LinkError(f"{self.name}: {end.text} ({end.failure})", end.delivered, hint=hint)
        raise LinkError(
            f"{self.name}: the card was resynchronised, and the command sent again",
            delivered=None,
            hint="it may have run twice; open a new secure session if there was one",
        )

    def reset(self) -> None:
        """Reset the card and the line."""
        self.line.reset()
