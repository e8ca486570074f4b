"""A link that plays a recording back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

from keywright.errors import LinkError
from keywright.link.record import EXTENDED
from keywright.link.trace import Event

_SHOWN = 32


@final
class Replay:
    """Gives the recorded answers to the recorded commands, in order; a recorded loss is lost again.

    lenient: answers by position whatever the command is, for dialogues that send random numbers. Give the events of
    one link only.
    """

    def __init__(self, events: Iterable[Event], *, lenient: bool = False, name: str = "replay") -> None:
        self.name = name
        self.atr = b""
        self.extended = True
        self._lenient = lenient
        self._events: list[Event] = []
        for event in events:
            if event.direction == "open":
                self.atr = self.atr or event.data
                self.extended = event.note == EXTENDED
            elif event.direction != "close":
                self._events.append(event)
        self._at = 0
        self._closed = False

    @property
    def remaining(self) -> int:
        """How many recorded events have not been played."""
        return len(self._events) - self._at

    def exchange(self, command: bytes, /) -> bytes:
        """The recorded answer. Raises LinkError naming index, expected and got if the recording goes on otherwise."""
        recorded = self._next("command", command)
        if recorded.data != command and not self._lenient:
            self._at -= 1
            raise self._differs(f"expected command {_show(recorded.data)}, got {_show(command)}")
        answer = self._events[self._at] if self._at < len(self._events) else None
        if answer is None or answer.direction not in ("answer", "lost"):
            raise LinkError(f"{self.name}: event {self._at}: the recording has no answer", delivered=None)
        self._at += 1
        return self._play(answer)

    def reset(self) -> bytes:
        """The recorded ATR. Raises LinkError if the recording has no reset here; a lenient one stays where it is."""
        coming = self._events[self._at] if self._at < len(self._events) else None
        if self._lenient and (coming is None or coming.direction != "reset"):
            return self.atr
        if coming is not None and coming.direction == "lost":
            self._at += 1
            return self._play(coming)
        self.atr = self._next("reset", b"").data
        return self.atr

    def close(self) -> None:
        """End the play."""
        self._closed = True

    def _next(self, direction: str, got: bytes) -> Event:
        """Step over the next event, which must be of that direction."""
        asked = f"{direction} {_show(got)}".strip()
        if self._closed:
            raise LinkError(f"{self.name}: the link is closed", delivered=False)
        if self._at >= len(self._events):
            raise self._differs(f"the recording ends here, got {asked}")
        event = self._events[self._at]
        if event.direction != direction:
            raise self._differs(f"expected {event.direction} {_show(event.data)}, got {asked}")
        self._at += 1
        return event

    def _play(self, event: Event) -> bytes:
        if event.direction == "lost":
            raise LinkError(event.note or f"{self.name}: lost", delivered=event.delivered)
        return event.data

    def _differs(self, what: str) -> LinkError:
        return LinkError(f"{self.name}: event {self._at}: {what}", delivered=False, hint="record the exchange anew")


def _show(data: bytes) -> str:
    """Hex, long data cut."""
    return data.hex().upper() if len(data) <= _SHOWN else f"{data[:_SHOWN].hex().upper()}... ({len(data)} bytes)"
