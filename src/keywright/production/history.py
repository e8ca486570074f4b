"""How long a lot took and where it needed help: one pass over its units, one over its events."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Final, final

import msgspec
import sqlalchemy as sa

from keywright.production.tables import FINISHED, event, unit


class Times(msgspec.Struct, frozen=True):
    """How long `count` of something took, in seconds; `p95` by nearest rank."""

    count: int
    median: float
    p95: float
    max: float


class StepTimes(msgspec.Struct, frozen=True):
    """Time of one step of the recipe, or of one action within a step."""

    step: str
    times: Times


_FAILED: Final = ("failed", "mismatch")


@final
class History:
    """Read from the store when it is made; a few numbers for every unit stay in memory, and no text.

    A step of the recipe takes from the end of the one before it to its own; an action (`step.action`), which changes
    the unit, from its intent to its result. What was interrupted on the way is not measured.
    """

    def __init__(self, reader: sa.Connection) -> None:
        self.started: float | None = None
        self.finished: float | None = None
        self.unit_seconds: array[float] = array("d")
        self.recovered: set[int] = set()
        """Units with an action that was cut off and found, or made, complete."""
        self._steps: dict[str, array[float]] = {}
        self._actions: dict[str, array[float]] = {}
        self._boundary: dict[int, float] = {}
        self._intents: dict[tuple[int, str, int], float] = {}
        self._sealed: set[int] = set()
        self._finished: set[int] = set()
        self._interrupted: set[int] = set()
        """Units that were interrupted since their last boundary."""
        self._troubled: set[int] = set()
        self._undone: set[tuple[int, str]] = set()
        """Actions that a probe found not to have taken effect."""
        self._read_units(reader)
        self._read_events(reader)

    @property
    def duration(self) -> float | None:
        """Seconds between first start and last finish; None before anything is finished."""
        if self.started is None or self.finished is None:
            return None
        return max(self.finished - self.started, 0.0)

    @property
    def sealed_with_trouble(self) -> int:
        """Sealed units that were interrupted on the way."""
        return len(self._troubled & self._sealed)

    @property
    def unsettled(self) -> int:
        """Intents of unfinished units without a result."""
        return sum(n not in self._finished for n, _, _ in self._intents)

    def steps(self) -> tuple[StepTimes, ...]:
        """Times of the steps, in the order in which they first came to an end."""
        return _summed(self._steps)

    def actions(self) -> tuple[StepTimes, ...]:
        """Times of the actions, in the order in which they first came to an end."""
        return _summed(self._actions)

    def _read_units(self, reader: sa.Connection) -> None:
        query = sa.select(unit.c.n, unit.c.state, unit.c.started_at, unit.c.finished_at)
        for n, state, started, finished in reader.execute(query.where(unit.c.state != "planned")):
            if state == "sealed":
                self._sealed.add(n)
            if state in FINISHED:
                self._finished.add(n)
            if started is not None:
                self._boundary[n] = started
                self.started = started if self.started is None else min(self.started, started)
            if finished is not None:
                self.finished = finished if self.finished is None else max(self.finished, finished)
                if started is not None:
                    self.unit_seconds.append(max(finished - started, 0.0))

    def _read_events(self, reader: sa.Connection) -> None:
        columns = (event.c.unit, event.c.step, event.c.phase, event.c.attempt, event.c.at)
        for n, step, phase, attempt, at in reader.execute(sa.select(*columns).order_by(event.c.seq)):
            if phase == "intent":
                self._intents[n, step, attempt] = at
                continue
            begun = self._intents.pop((n, step, attempt), None)
            if phase == "done":
                self._done(n, step, begun, at)
            else:
                self._trouble(n, step, phase)

    def _done(self, n: int, step: str, begun: float | None, at: float) -> None:
        if (n, step) in self._undone:
            self.recovered.add(n)
        if begun is not None:
            self._actions.setdefault(step, array("d")).append(max(at - begun, 0.0))
            return
        boundary = self._boundary.get(n)
        if boundary is not None and at > boundary and n not in self._interrupted:
            self._steps.setdefault(step, array("d")).append(at - boundary)
        self._boundary[n] = at
        self._interrupted.discard(n)

    def _trouble(self, n: int, step: str, phase: str) -> None:
        self._troubled.add(n)
        self._interrupted.add(n)
        if phase == "recovered":
            self.recovered.add(n)
        elif phase in _FAILED:
            self._undone.add((n, step))


def _summed(seconds: dict[str, array[float]]) -> tuple[StepTimes, ...]:
    found = ((step, times_of(taken)) for step, taken in seconds.items())
    return tuple(StepTimes(step, times) for step, times in found if times is not None)


def times_of(seconds: Sequence[float]) -> Times | None:
    """Median, 95th percentile and longest; None of nothing."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    count = len(ordered)
    median = (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
    return Times(count, median, ordered[-(-count * 95 // 100) - 1], ordered[-1])
