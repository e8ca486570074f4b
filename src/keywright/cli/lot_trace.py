"""Every exchange of a lot in one trace file; the link of an event says which unit it was."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import final

from keywright.iso7816.apdu import Command, Response
from keywright.link.trace import Event
from keywright.production.watch import Unwatched


@final
class LotTrace(Unwatched):
    """Gives `sink` the commands and answers of every unit as they travelled."""

    def __init__(self, sink: Callable[[Event], object], link: str, clock: Callable[[], float] = time.time) -> None:
        self._sink = sink
        self._link = link
        self._clock = clock
        self._names: dict[int, str] = {}

    def started(self, unit: int, serial: str) -> None:
        """The unit was reset."""
        name = self._names[unit] = f"{self._link}#{serial}"
        self._sink(Event(self._clock(), "host", name, "reset"))

    def exchanged(self, unit: int, sent: Command, plain: Command, got: Response, opened: Response) -> None:
        """One command and its answer."""
        del plain, opened
        name, now = self._names.get(unit, self._link), self._clock()
        self._sink(Event(now, "host", name, "command", sent.encode()))
        self._sink(Event(now, "host", name, "answer", got.encode()))

    def finished(self, unit: int, serial: str, state: str, failure: str) -> None:
        """The unit's exchange is over."""
        del serial, state, failure
        self._names.pop(unit, None)
