"""How long the command line takes to begin."""

from __future__ import annotations

import subprocess
import sys
import time

from bench.figures import Figure
from bench.measure import Contender, race

RUNS = 21


def figures() -> list[Figure]:
    """`keywright --help` against an interpreter that does nothing, as processes, by the wall clock."""
    found = race(
        [Contender("keywright", lambda: _run("-m", "keywright", "--help")), Contender("bare", lambda: _run("-c", ""))],
        rounds=RUNS,
        clock=time.perf_counter,
    )
    ours, bare = (f"{found.median(name) * 1e3:.0f} ms" for name in ("keywright", "bare"))
    times = found.speed("bare", "keywright")
    return [Figure("start of keywright --help", ours, f"bare interpreter {bare}", times, 7.0, most=True)]


def _run(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
