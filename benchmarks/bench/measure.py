"""Contenders measured against each other: short rounds in turn, and the median of what every round says."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

Clock: TypeAlias = Callable[[], float]

ROUNDS = 201
ROUND_S = 0.002
"""Shorter than what a scheduler gives at once: on a busy machine most rounds are still whole."""


@dataclass(frozen=True, slots=True)
class Contender:
    """Something to be timed. One call of `work` does `units` of what is counted."""

    name: str
    work: Callable[[], object]
    units: int = 1


@dataclass(frozen=True, slots=True)
class Race:
    """Seconds that each contender's unit took, one value for every round; the rounds of all belong together."""

    seconds: dict[str, tuple[float, ...]]

    def median(self, name: str) -> float:
        """Seconds for one unit."""
        return statistics.median(self.seconds[name])

    def speed(self, name: str, than: str) -> float:
        """How many times as fast as `than` a contender is: the median over rounds, each compared within itself."""
        pairs = zip(self.seconds[than], self.seconds[name], strict=True)
        return statistics.median(other / own for other, own in pairs)


def race(contenders: Sequence[Contender], *, rounds: int = ROUNDS, clock: Clock = time.thread_time) -> Race:
    """Time the contenders in turn, A B C A B C ..., with the collector off.

    All are warmed first, which also finds how many calls fill a round. `clock` counts this thread's processor time,
    so that what else the machine does is not counted as anybody's work.
    """
    calls = [_calls(contender, clock) for contender in contenders]
    seconds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    with _no_collection():
        for _ in range(rounds):
            for contender, count in zip(contenders, calls, strict=True):
                seconds[contender.name].append(_timed(contender.work, count, clock) / (count * contender.units))
    return Race({name: tuple(values) for name, values in seconds.items()})


def _calls(contender: Contender, clock: Clock) -> int:
    count = 1
    while (took := _timed(contender.work, count, clock)) < ROUND_S / 4:
        count *= 2
    return max(1, round(count * ROUND_S / took))


def _timed(work: Callable[[], object], count: int, clock: Clock) -> float:
    start = clock()
    for _ in range(count):
        work()
    return clock() - start


@contextmanager
def _no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
