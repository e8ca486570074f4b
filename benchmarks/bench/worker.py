"""One lot, or the report of one, in a process of its own: `python -m bench.worker run|report …`, answers in JSON.

What runs is the product's own code with its own settings. The one thing done here that `campaign run` does itself is
to start the tray of simulated fobs, so that its process can be asked for its memory before it ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import time
from pathlib import Path

import msgspec

from keywright.fob.pool import FobPool, Plan
from keywright.production.campaign import run
from keywright.production.means import Means
from keywright.production.reports.report import summarise
from keywright.production.reports.report_csv import write_csv
from keywright.production.reports.report_html import write_html
from keywright.production.unit_store.database import store_path
from keywright.production.unit_store.units import UnitStore
from keywright.production.watch import Unwatched


class Enough(BaseException):
    """So many units are finished; ends the run as a kill would."""


class StopAfter(Unwatched):
    """Ends the run once a number of units is finished; 0 never."""

    def __init__(self, units: int) -> None:
        self.left = units

    def finished(self, unit: int, serial: str, state: str, failure: str) -> None:
        """One unit less to go."""
        del unit, serial, state, failure
        self.left -= 1
        if not self.left:
            raise Enough


def run_lot(recipe: Path, order: Path, store: str, stop_after: int) -> dict[str, object]:
    """Run a lot and say what it took, from reading the order and making the keystore to the last commit."""
    settings: dict[str, object] = {}
    start = time.perf_counter()
    with FobPool.start(Plan(journal=f"{store_path(store)}.fobs")) as pool:
        means = Means(station=pool, watcher=StopAfter(stop_after)) if stop_after else Means(station=pool)
        with contextlib.suppress(Enough):
            settings = msgspec.structs.asdict(run(recipe, order, store, means).summary.settings)
        seconds = time.perf_counter() - start
        peaks = {"line": _peak(os.getpid()), "tray": _peak(pool.pid)}
    cpu = {"line": _cpu(resource.RUSAGE_SELF), "tray": _cpu(resource.RUSAGE_CHILDREN)}
    return {"seconds": seconds, "settings": settings, "peaks": peaks, "cpu": cpu}


def write_report(store: str, place: Path) -> dict[str, object]:
    """Summary, page and table of a lot."""
    start = time.perf_counter()
    with UnitStore.open(store, readonly=True) as units:
        summary = summarise(units)
        write_html(units, place / "report.html")
        write_csv(units, place / "units.csv")
    return {
        "seconds": time.perf_counter() - start,
        "peaks": {"report": _peak(os.getpid())},
        "ordered": summary.ordered,
        "sealed": summary.sealed,
    }


def _cpu(whose: int) -> float:
    used = resource.getrusage(whose)
    return used.ru_utime + used.ru_stime


def _peak(pid: int) -> int:
    """Most memory a process ever held, in bytes (VmHWM)."""
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"process {pid} does not say how much memory it used")


def main() -> None:
    """Do what the arguments say."""
    match sys.argv[1:]:
        case ["run", recipe, order, store, stop_after]:
            print(json.dumps(run_lot(Path(recipe), Path(order), store, int(stop_after))))
        case ["report", store, place]:
            print(json.dumps(write_report(store, Path(place))))
        case _:
            sys.exit("usage: bench.worker run RECIPE ORDER STORE STOP_AFTER | report STORE PLACE")


if __name__ == "__main__":
    main()
