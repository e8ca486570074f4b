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
"""Of one unit: six actions, each with intent and result. One is an event, a unit's row and two entries of the log."""
AT_ONCE: Final = 8
"""Units in work. None has a device to wait for here, so each transaction holds a transition of all of them: the engine
writes together whatever waits.
"""
DEVICE_S: Final = 0.020
SYNC_S: Final = 0.0005
"""A server whose disk takes longer for a sync has no target."""
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


def figures(*, ordered: int = 1_000_000, worked: int = 10_000, units: int = 400, each: int = 80) -> list[Figure]:
    """The rows; those with a server only where PostgreSQL is installed. `each`: units of one of several processes."""
    with tempfile.TemporaryDirectory() as folder, postgresql() as server:
        sync = sync_s(Path(folder))
        found = [_transitions("SQLite", f"{folder}/t.db", units, sync, 5_000)]
        if server is not None:
            there = sync_s(server.folder)
            found.append(_transitions("PostgreSQL", url_of(server, folder), units, there, _target(there)))
        found += _large(f"{folder}/large.db", ordered, worked)
        found += _processes("SQLite", f"{folder}/p.db", sync, each)
        if server is not None:
            found += _processes("PostgreSQL", url_of(server, folder), there, each)
    return found


def _target(sync: float) -> float | None:
    return 5_000 if sync < SYNC_S else None


def _transitions(name: str, url: str, units: int, sync: float, target: float | None) -> Figure:
    with UnitStore.open(url, create=True) as store:
        store.import_order(LOT, _order(units))
        cpu, begun = time.process_time(), time.perf_counter()
        while claimed := store.claim(AT_ONCE):
            for number in range(TRANSITIONS):
                store.commit([change for unit in claimed for change in transition(unit.n, number)])
        seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
        settings = store.settings()
    count = units * TRANSITIONS
    where = f"{settings.journal_mode}, {settings.synchronous}, one sync {sync * 1e3:.2f} ms"
    what = f"{name}: durable transitions, {AT_ONCE} units at once ({where})"
    each = f"{cpu / count * 1e6:.0f} µs of our processor time for each"
    return Figure(what, rate(count / seconds), each, count / seconds, target, form="{:,.0f}/s")


def transition(n: int, number: int) -> Iterator[Change]:
    """The changes of one of a unit's transitions."""
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
            for number in range(TRANSITIONS):
                store.commit([change for n in numbers for change in transition(n, number)])
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


def _processes(name: str, url: str, sync: float, units: int) -> list[Figure]:
    """With the device's time in each step, and without it: then both processes want the same disk and processors."""
    found = []
    with UnitStore.open(url, create=True) as store:
        store.import_order(LOT, _order(6 * units))
    for device_s, target in ((DEVICE_S, 1.7), (0.0, None)):
        one = units / _work_together(url, 1, units, device_s)
        two = 2 * units / _work_together(url, 2, units, device_s)
        where = f"{device_s * 1e3:.0f} ms of device in each step, one sync {sync * 1e3:.2f} ms"
        what = f"{name}: units a second of two processes against one ({where})"
        found.append(Figure(what, f"{two:.1f}/s", f"{one:.1f}/s", two / one, target))
    return found


def _work_together(url: str, processes: int, units: int, device_s: float) -> float:
    """Seconds until each process has done so many units, from when all are ready."""
    command = [sys.executable, "-m", "bench.store_worker", url, str(units), str(device_s)]
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


def sync_s(folder: Path) -> float:
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
def postgresql() -> Iterator[Any]:
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


def url_of(server: Any, folder: str) -> str:
    """A new database there; what belongs beside it goes into the folder."""
    return f"{server.url(server.create_database())}?beside={folder}"
