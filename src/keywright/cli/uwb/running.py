"""Work done in one process or several, with the same results."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

from numpy.random import default_rng

from keywright.uwb.lab import Exchanges, Work, done, together


def run(work: Sequence[Sequence[Work]], jobs: int) -> list[Exchanges]:
    """Do the portions of several experiments; one result for each experiment, in their order."""
    flat = [one for portions in work for one in portions]
    with _progress(sum(one.count for one in flat)) as bar:
        results = []
        for one, result in zip(flat, _results(flat, jobs), strict=True):
            results.append(result)
            bar(one.count)
    parts = iter(results)
    return [together([next(parts) for _ in portions]) for portions in work]


def worked(one: Work) -> Exchanges:
    """One portion with the generator that belongs to it."""
    return done(one, default_rng(one.seed))


def _results(work: Sequence[Work], jobs: int) -> Iterator[Exchanges]:
    if jobs == 1 or len(work) == 1:
        yield from map(worked, work)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(work)), mp_context=context) as pool:
        try:
            yield from pool.map(worked, work)
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], object]]:
    """A bar on stderr if a person looks at it."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - for the bar only
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn  # noqa: PLC0415 - as above

    columns = BarColumn(), MofNCompleteColumn(), "measurements", TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda count: progress.advance(task, count)
