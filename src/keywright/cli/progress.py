"""What a run has told so far: units, steps, failures. The picture and the lines are made from it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final, final

import msgspec

from keywright.production.reports.now import Now
from keywright.production.watch import Phase, Unwatched

FAILURES_SHOWN: Final = 5
NOTICES_SHOWN: Final = 3
SEALED: Final = "sealed"


class Lot(msgspec.Struct, frozen=True):
    """What the picture is of. `finished` units came to their end in an earlier run, `sealed` of them well."""

    name: str
    ordered: int
    steps: tuple[str, ...]
    finished: int = 0
    is_test: bool = False
    sealed: int = 0


EMPTY: Final = Lot("", 0, ())


@final
class Progress(Unwatched):
    """Counts what a run tells. Cheap: it is called several times for every command.

    learn: asked for the lot when the first unit is taken up; only then is it known to be on the disk.
    """

    def __init__(self, learn: Callable[[], Lot], clock: Callable[[], float] = time.monotonic) -> None:
        self.lot = EMPTY
        self.sealed = 0
        self.set_aside = 0
        self.left_open = 0
        self.passed: dict[str, int] = {}
        self.in_work: dict[int, tuple[str, str]] = {}
        self.failures: deque[tuple[str, str, str]] = deque(maxlen=FAILURES_SHOWN)
        self.failed = 0
        self.notices: deque[str] = deque(maxlen=NOTICES_SHOWN)
        self.now = Now()
        self._learn = learn
        self._clock = clock
        self._begun = 0.0
        self._order: dict[str, int] = {}
        self._reached: dict[int, int] = {}

    @property
    def done(self) -> int:
        """Units this run brought to an end."""
        return self.sealed + self.set_aside + self.left_open

    @property
    def sealed_in_all(self) -> int:
        """Units of the lot that are sealed, with those of earlier runs."""
        return self.lot.sealed + self.sealed

    @property
    def aside_in_all(self) -> int:
        """Units of the lot that came to another end, with those of earlier runs."""
        return self.lot.finished - self.lot.sealed + self.set_aside

    @property
    def seconds(self) -> float:
        """How long the run has lasted."""
        return self._clock() - self._begun if self._begun else 0.0

    @property
    def rate(self) -> float:
        """Units per second in this run."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    def started(self, unit: int, serial: str) -> None:
        """A unit is taken up."""
        if not self._begun:
            self._begin()
        self.in_work[unit] = (serial, "")

    def moment(self, phase: Phase, unit: int, step: str) -> None:
        """A unit is at a step: it has passed those before. A result that is written late takes nobody back."""
        del phase
        entry = self.in_work.get(unit)
        if entry is None or entry[1] == step or self._order.get(step, -1) <= self._order.get(entry[1], -1):
            return
        self.in_work[unit] = (entry[0], step)
        self._pass(unit, self._order[step])

    def finished(self, unit: int, serial: str, state: str, failure: str) -> None:
        """A unit has come to its end."""
        step = self.in_work.pop(unit, ("", ""))[1]
        if state == SEALED:
            self.sealed += 1
            self._pass(unit, len(self.lot.steps))
        else:
            self.set_aside += state != "open"
            self.left_open += state == "open"
            self.failed += 1
            self.failures.append((serial, step, failure or state))
        self._reached.pop(unit, None)

    def noticed(self, text: str) -> None:
        """Keep the last few."""
        self.notices.append(text)

    def _begin(self) -> None:
        self.lot = self._learn()
        self.passed = dict.fromkeys(self.lot.steps, 0)
        self._order = {step: number for number, step in enumerate(self.lot.steps)}
        self._begun = self._clock()

    def _pass(self, unit: int, reached: int) -> None:
        before = self._reached.get(unit, 0)
        for step in self.lot.steps[before:reached]:
            self.passed[step] += 1
        self._reached[unit] = max(before, reached)


def totals(progress: Progress) -> str:
    """One line of figures."""
    lot = progress.lot
    text = f"{progress.done + lot.finished} of {lot.ordered}: {progress.sealed_in_all} sealed"
    if progress.aside_in_all:
        text += f", {progress.aside_in_all} set aside"
    if progress.left_open:
        text += f", {progress.left_open} left open"
    return f"{text}, {progress.rate:.0f} a second"
