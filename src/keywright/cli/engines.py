"""What `--engine` and `--workers` say, and what is seen of a lot while a cluster carries it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from keywright.cli.text import note
from keywright.errors import StoreError, UsageError
from keywright.production.cluster.address import parse_engine
from keywright.production.means import Means
from keywright.production.unit_store.units import UnitStore

_EVERY_S: Final = 3.0

Engine: TypeAlias = Annotated[
    str,
    typer.Option("--engine", metavar="ENGINE", help="What carries the work: local, ray://local or ray://HOST:PORT."),
]
Workers: TypeAlias = Annotated[
    int,
    typer.Option(
        "--workers",
        metavar="N",
        help="How many share the work: processes, or stations of a cluster.",
    ),
]


def carried_by(means: Means, engine: str, workers: int, store: str, trace: Path | None) -> bool:
    """Set who does the work; True when that is a cluster, so that nothing of it is seen here. Raises UsageError."""
    if workers < 0:
        raise UsageError(f"--workers {workers}: at least one has to work", hint="give 1 or more")
    means.engine = parse_engine(engine)
    if means.engine is None:
        means.workers = workers or 1
        return False
    if trace is not None:
        raise UsageError(
            "--trace: exchanges of a lot on a cluster happen at its stations, out of sight",
            hint="leave it out, or trace a unit with --engine local",
        )
    means.workers = workers
    means.meanwhile = progress(store)
    return True


def progress(store: str, clock: Callable[[], float] = time.monotonic) -> Callable[[], None]:
    """Called often, says every few seconds how many units are sealed, if more are than before."""
    looked, before = clock(), -1

    def look() -> None:
        nonlocal looked, before
        if clock() - looked < _EVERY_S:
            return
        looked = clock()
        try:
            with UnitStore.open(store, readonly=True) as units:
                counts = units.counts()
        except StoreError:
            return  # the database is away; it is looked at again
        if counts["sealed"] != before:
            before = counts["sealed"]
            note(f"{before} of {sum(counts.values())} sealed")

    return look
