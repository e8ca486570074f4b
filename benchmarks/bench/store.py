"""The unit store: durable transitions in a file and on a server, a large order, and one process against two."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from bench.figures import Figure, rate
from keywright.production.order import OrderRow
from keywright.production.reports.report import summarise
from keywright.production.unit_store.rows import Change, Event, Lot, UnitChange
from keywright.production.unit_store.units import UnitStore

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

TRANSITIONS: Final = 12
"""Of one unit: six actions, each with intent and result."""
AT_ONCE: Final = 8
GROUP: Final = 4
"""Of eight units at once four wait for the next transaction on the average, as the engine groups them."""
DEVICE_S: Final = 0.020
LOT: Final = Lot(
    lot="bench",
    recipe="",
    recipe_digest="",
    order_file="",
    order_digest="",
    keystore_id="",
    test=True,
    link="sim:",
    created_at=0.0,
)


def figures(*, ordered: int = 1_000_000, worked: int = 10_000, units: int = 400) -> list[Figure]:
    """The rows; those with a server only where PostgreSQL is installed."""
    with tempfile.TemporaryDirectory() as folder, _server() as server:
        sync = _sync_s(Path(folder))
        found = [_transitions("SQLite", f"{folder}/t.db", units, sync)]
        if server is not None:
            there = _sync_s(server.folder)
            found.append(_transitions("PostgreSQL", _url(server, folder), units, there))
        found += _large(f"{folder}/large.db", ordered, worked)
        for name, url in (("SQLite", f"{folder}/p.db"), ("PostgreSQL", _url(server, folder) if server else "")):
            if url:
                found.append(_processes(name, url))
    return found


def _transitions(name: str, url: str, units: int, sync_s: float) -> Figure:
    with UnitStore.open(url, create=True) as store:
        store.import_order(LOT, _order(units))
        begun = time.perf_counter()
        while claimed := store.claim(AT_ONCE):
            numbers = [unit.n for unit in claimed]
            for transition in range(TRANSITIONS):
                for group in (numbers[:GROUP], numbers[GROUP:]):
                    store.commit([change for n in group for change in _transition(n, transition)])
        seconds = time.perf_counter() - begun
    per_s = units * TRANSITIONS / seconds
    what = f"{name}: durable transitions, {AT_ONCE} units at once, {GROUP} in a transaction"
    return Figure(what, rate(per_s), f"one sync {sync_s * 1e3:.2f} ms", per_s, 5_000, form="{:,.0f}/s")


def _transition(n: int, number: int) -> Iterator[Change]:
    step, phase = f"step.{number // 2}", ("intent", "done")[number % 2]
    yield Event(unit=n, step=step, phase=phase, at=1.0, facts={"kvn": 48})  # type: ignore[arg-type]  # two of its values
    if number == TRANSITIONS - 1:
        yield UnitChange(n, {"state": "sealed", "step": ""})
    else:
        yield UnitChange(n, {"step": step} | ({} if number else {"state": "running"}))


def _large(path: str, ordered: int, worked: int) -> list[Figure]:
    with UnitStore.open(path, create=True) as store:
        begun = time.perf_counter()
        store.import_order(LOT, _order(ordered))
        imported = time.perf_counter() - begun
    empty = _size(path)  # closed, so that the log is in the database
    with UnitStore.open(path) as store:
        for _ in range(0, worked, 100):
            numbers = [unit.n for unit in store.claim(100)]
            for transition in range(TRANSITIONS):
                store.commit([change for n in numbers for change in _transition(n, transition)])
        looks = []
        for _ in range(5):
            begun = time.perf_counter()
            summarise(store, latest=300)
            looks.append(time.perf_counter() - begun)
    size = _size(path)
    each = f"{(size - empty) / worked:,.0f} bytes for a unit that was processed"
    took = statistics.median(looks) * 1e3
    status = f"status of {ordered:,} units, {worked:,} processed"
    return [
        Figure(f"{ordered:,} units imported", rate(ordered / imported), "", ordered / imported, form="{:,.0f}/s"),
        Figure(status, f"{took:.0f} ms", "", took, 200, most=True, form="{:.0f} ms"),
        Figure("the store then", f"{size / 1e6:.0f} MB", each, size / 1e6, 2_000, most=True, form="{:,.0f} MB"),
    ]


def _processes(name: str, url: str) -> Figure:
    took = {}
    with UnitStore.open(url, create=True) as store:
        store.import_order(LOT, _order(240))
    for number, units in ((1, 80), (2, 160)):
        took[number] = units / _work_together(url, number, units)
    one, two = took[1], took[2]
    what = f"{name}: units a second of two processes against one, {DEVICE_S * 1e3:.0f} ms of device in each step"
    return Figure(what, f"{two:.1f}/s", f"{one:.1f}/s", two / one, 1.7)


def _work_together(url: str, processes: int, units: int) -> float:
    """Seconds until each process has done its share, from when all are ready."""
    command = [sys.executable, "-m", "bench.store_worker", url, str(units // processes)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    started: list[Any] = [
        subprocess.Popen([*command, f"worker {n}"], stdin=-1, stdout=-1, env=environment) for n in range(processes)
    ]
    for process in started:
        process.stdout.readline()
    begun = time.perf_counter()
    for process in started:
        process.stdin.close()
    for process in started:
        if process.wait():
            raise RuntimeError("a worker failed")
        process.stdout.close()
    return time.perf_counter() - begun


def _order(units: int) -> Iterator[OrderRow]:
    return (OrderRow(n, f"KW-B-{n:07d}", "fob-one", "north", {"colour": "black"}) for n in range(1, units + 1))


def _size(path: str) -> int:
    return sum(file.stat().st_size for file in (Path(path), Path(f"{path}-wal")) if file.exists())


def _sync_s(folder: Path) -> float:
    """Seconds of one small write and sync in that folder, the median of many."""
    looks = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(100):
            begun = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            looks.append(time.perf_counter() - begun)
    return statistics.median(looks)


@contextlib.contextmanager
def _server() -> Iterator[Any]:
    """The tests' own server, or None where there is no PostgreSQL."""
    try:
        from support.postgresql import Server, binaries  # noqa: PLC0415 - of the tests, where they are installed
    except ImportError:
        yield None
        return
    if binaries() is None:
        yield None
        return
    server = Server()
    try:
        yield server
    finally:
        server.stop()


def _url(server: Any, folder: str) -> str:
    return f"{server.url(server.create_database())}?beside={folder}"
