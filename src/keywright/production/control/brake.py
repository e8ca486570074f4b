"""Whether a lot may go on: asked before a unit is taken up and after every failure. The store knows for all workers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol, final

from keywright.production.control.control import Breach, Limits, judge
from keywright.production.control.retry import SEVERAL
from keywright.production.reports.report import reading
from keywright.production.unit_store.control_rows import LotMoved, failures, last_event, sealed
from keywright.production.unit_store.transitions import TransitionError
from keywright.production.unit_store.units import UnitStore

LOOK_S: Final = 0.25
"""How long what the store said of the lot is believed."""
STOPPED: Final = "the lot was stopped"


class Brake(Protocol):
    """What the engine asks."""

    def reason(self) -> str:
        """Why no unit may be taken up now; empty when one may."""
        ...

    def failed(self) -> str:
        """Failures have just become durable: why the lot has to stop; empty when it may go on."""
        ...


class Unbraked:
    """Never stops."""

    def reason(self) -> str:
        """Nothing."""
        return ""

    def failed(self) -> str:
        """Nothing."""
        return ""


UNBRAKED: Final = Unbraked()


@final
class LotBrake:
    """The brake of a lot in a store: whoever opens a breaker opens it for every process that works on the lot."""

    def __init__(
        self,
        store: UnitStore,
        limits: Limits,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` dates what is written, in seconds since 1970; `monotonic` says when to look again."""
        self._store = store
        self._limits = limits
        self._clock = clock
        self._monotonic = monotonic
        self._looked: float | None = None
        self._reason = ""

    def reason(self) -> str:
        """Looks at the store once in `LOOK_S`."""
        now = self._monotonic()
        if self._looked is None or now - self._looked >= LOOK_S:
            self._looked = now
            lot = self._store.lot()
            state = "open" if lot is None else lot.state
            self._reason = "" if state == "open" else self.why()
        return self._reason

    def why(self) -> str:
        """Why the lot stands, in a line."""
        with reading(self._store) as connection:
            found = last_event(connection, "stop", "wait")
        if found is None:
            return STOPPED
        return f"{found.text}; {STOPPED}" if found.event == "stop" else found.text

    def failed(self) -> str:
        """Judge by what all workers have recorded since the lot was released, and open the breaker if it has to be."""
        breach = self.judged()
        if breach is None:
            return ""
        self._looked = None
        try:
            self._store.commit([LotMoved(event="stop", at=self._clock(), cause=breach.cause, text=breach.text)])
        except TransitionError:
            return self.why()  # another worker was faster
        return f"{breach.text}; {STOPPED}"

    def judged(self) -> Breach | None:
        """Whether the lot has to stop."""
        with reading(self._store) as connection:
            released = last_event(connection, "release", "accept")
            since, before = (0, 0) if released is None else (released.setbacks, released.sealed)
            found = failures(connection, since)
            return judge(self._limits, found, sealed(connection), since=before, several=SEVERAL)
