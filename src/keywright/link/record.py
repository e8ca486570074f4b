"""A link that tells what passes through it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import final

from keywright.errors import LinkError
from keywright.link.base import Exchange
from keywright.link.trace import Direction, Event

EXTENDED = "extended"
"""Note of an `open` event: the link carries extended-length APDUs."""


@final
class Recording:
    """Passes everything on to `link` and every event to `sink`, before the caller sees the answer.

    who: the asking side. clock: seconds since 1970. Secrets are not masked here: links know bytes only, so a sink
    that must mask them does.
    """

    def __init__(
        self, link: Exchange, sink: Callable[[Event], object], who: str = "host", clock: Callable[[], float] = time.time
    ) -> None:
        self._link = link
        self._sink = sink
        self._who = who
        self._clock = clock
        self._tell("open", link.atr, EXTENDED if link.extended else "")

    @property
    def link(self) -> Exchange:
        """What is recorded."""
        return self._link

    @property
    def name(self) -> str:
        """Name of the link."""
        return self._link.name

    @property
    def atr(self) -> bytes:
        """ATR of the device."""
        return self._link.atr

    @property
    def extended(self) -> bool:
        """Whether extended-length APDUs may be sent."""
        return self._link.extended

    def exchange(self, command: bytes, /) -> bytes:
        """Send a command and wait for its answer. Raises LinkError."""
        self._tell("command", command)
        try:
            answer = self._link.exchange(command)
        except LinkError as error:
            self._lost(error)
            raise
        self._tell("answer", answer)
        return answer

    def reset(self) -> bytes:
        """Reset the device and return its ATR. Raises LinkError."""
        try:
            atr = self._link.reset()
        except LinkError as error:
            self._lost(error)
            raise
        self._tell("reset", atr)
        return atr

    def close(self) -> None:
        """Give the link up."""
        self._tell("close")
        self._link.close()

    def _lost(self, error: LinkError) -> None:
        self._sink(Event(self._clock(), self._who, self._link.name, "lost", b"", str(error), error.delivered))

    def _tell(self, direction: Direction, data: bytes = b"", note: str = "") -> None:
        self._sink(Event(self._clock(), self._who, self._link.name, direction, data, note))
