"""How long a lot took and where it needed help: one pass over its units, one over its events, or over its latest."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, Final, final

import msgspec
import sqlalchemy as sa

from keywright.production.unit_store.tables import CLOSING, FINISHED, IN_TROUBLE, STATES, event, unit


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


_TOUCHED: Final = tuple(state for state in STATES if state != "planned")
_FAILED: Final = ("failed", "mismatch")
_EVENTS_OF_A_UNIT: Final = 20
"""Or so."""
_UNITS: Final[sa.Select[*tuple[Any, ...]]] = sa.select(
    unit.c.n, unit.c.state, unit.c.started_at, unit.c.finished_at
).where(unit.c.state.in_(_TOUCHED))
_EVENTS: Final[sa.Select[*tuple[Any, ...]]] = sa.select(
    event.c.unit, event.c.step, event.c.phase, event.c.attempt, event.c.at
).order_by(event.c.seq)
_SPAN: Final = sa.select(sa.func.min(unit.c.started_at), sa.func.max(unit.c.finished_at)).where(
    unit.c.state.in_(_TOUCHED)
)
_LATER: Final = event.alias()
_SAME_ACTION: Final = (_LATER.c.unit == event.c.unit) & (_LATER.c.step == event.c.step)
_TROUBLE: Final[sa.Select[*tuple[Any, ...]]] = (
    sa.select(event.c.unit, event.c.step, event.c.phase, unit.c.state)
    .join(unit, unit.c.n == event.c.unit)
    .where(IN_TROUBLE)
)
_UNDONE_THEN_DONE: Final = (
    sa.select(event.c.unit)
    .where(IN_TROUBLE, event.c.phase.in_(_FAILED))
    .where(sa.exists().where(_SAME_ACTION, _LATER.c.phase == "done", _LATER.c.seq > event.c.seq))
)
_OPEN_INTENTS: Final[sa.Select[*tuple[Any, ...]]] = (
    sa.select(event.c.unit, event.c.step, event.c.attempt, event.c.at)
    .where(
        event.c.phase == "intent",
        event.c.unit.in_(
            sa.union(
                sa.select(unit.c.n).where(unit.c.recover == sa.literal_column("1")),
                sa.select(unit.c.n).where(unit.c.until.is_not(None)),
            )
        ),
    )
    .where(~sa.exists().where(_SAME_ACTION, _LATER.c.attempt == event.c.attempt, _LATER.c.phase.in_(CLOSING)))
)
"""Whatever was begun and is not finished is leased, or one to recover."""


def _newest(number: int) -> sa.Select[tuple[int]]:
    """Units that the newest events are about."""
    last = sa.select(event.c.unit).order_by(event.c.seq.desc()).limit(number * _EVENTS_OF_A_UNIT).subquery()
    return sa.select(last.c.unit).distinct()


@final
class History:
    """Read from the store when it is made; a few numbers for every unit stay in memory, and no text.

    A step of the recipe takes from the end of the one before it to its own; an action (`step.action`), which changes
    the unit, from its intent to its result. What was interrupted on the way is not measured.

    With `latest`, times are measured of so many units that were finished last, in a fraction of a second however large
    the lot is; everything else is of the whole lot all the same.
    """

    def __init__(self, reader: sa.Connection, *, latest: int | None = None) -> None:
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
        if latest is None:
            self._read_units(reader, _UNITS)
            self._read_events(reader, _EVENTS)
        else:
            self._read_latest(reader, latest)

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

    def _read_latest(self, reader: sa.Connection, latest: int) -> None:
        """Times of the latest units; of the whole lot what an index or a sum tells."""
        newest = sorted(reader.execute(_newest(latest)).scalars())[-latest:]
        self._read_units(reader, _UNITS.where(unit.c.n.in_(newest)))
        self._read_events(reader, _EVENTS.where(event.c.unit.in_(newest)))
        self.started, self.finished = reader.execute(_SPAN).one()
        self._intents.clear()
        for n, step, phase, state in reader.execute(_TROUBLE):
            self._trouble(n, step, phase)
            if state == "sealed":
                self._sealed.add(n)
        self.recovered |= set(reader.execute(_UNDONE_THEN_DONE).scalars())
        self._intents |= {(n, step, attempt): at for n, step, attempt, at in reader.execute(_OPEN_INTENTS)}

    def _read_units(self, reader: sa.Connection, units: sa.Select[*tuple[Any, ...]]) -> None:
        for n, state, started, finished in reader.execute(units):
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

    def _read_events(self, reader: sa.Connection, events: sa.Select[*tuple[Any, ...]]) -> None:
        for n, step, phase, attempt, at in reader.execute(events):
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
