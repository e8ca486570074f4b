"""The line itself: a lot with durable commits in a file and on a server, and an order of 100,000 rows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.figures import Figure, rate
from bench.store import postgresql, sync_s, url_of

RECIPE = Path(__file__).parents[2] / "examples" / "fob.toml"
LOT = 3_000
ROWS = 100_000
MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Lots:
    """The rows, and what has to be said beside them."""

    figures: list[Figure]
    notes: list[str]


def figures(*, lot: int = LOT, rows: int = ROWS, worked: int = 5_000) -> Lots:
    """`worked` of the `rows` units of the large order are provisioned before it is stopped; 0 for all of them."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        speed, speed_notes = _speed(place, "SQLite", None, lot, sync_s(place))
        with postgresql() as server:
            if server is not None:
                found = _speed(place, "PostgreSQL", server, lot, sync_s(server.folder))
                speed, speed_notes = [*speed, *found[0]], [*speed_notes, *found[1]]
        memory, memory_notes = _memory(place, rows, worked)
    return Lots([*speed, *memory], [*speed_notes, *memory_notes])


def _speed(place: Path, name: str, server: Any, lot: int, sync: float) -> tuple[list[Figure], list[str]]:
    """`server` None: in a file. The target is for SQLite; the server's processes share this machine's processors."""
    warm, store = (url_of(server, str(place)) if server else str(place / f"{one}.db") for one in ("warm", "lot"))
    _worker("run", RECIPE, _order(place / "warm.csv", 50), warm, 0)
    found = _worker("run", RECIPE, _order(place / "lot.csv", lot), store, 0)
    settings, cpu = found["settings"], found["cpu"]
    per_s = lot / found["seconds"]
    note = (
        f"The lot: {lot:,} simulated fobs in {found['seconds']:.1f} s, from reading the order to the last commit; "
        f"{name} with journal mode {settings['journal_mode']}, synchronous {settings['synchronous']}, one sync "
        f"{sync * 1e3:.2f} ms: "
        f"{settings['changes']:,} rows in {settings['commits']:,} commits with {settings['syncs']:,} syncs. "
        f"Processor time for a fob: {_each(cpu['line'], lot)} in the line, "
        f"{_each(cpu['tray'], lot)} in the tray of fobs."
    )
    what = f"{name}: lot of simulated fobs, fobs a second end to end"
    target = None if server else 300
    return [Figure(what, rate(per_s), f"one sync {sync * 1e3:.2f} ms", per_s, target, form="{:.0f}/s")], [note]


def _memory(place: Path, rows: int, worked: int) -> tuple[list[Figure], list[str]]:
    order, store = _order(place / "large.csv", rows), place / "large.db"
    ran = _worker("run", RECIPE, order, store, worked)
    reported = _worker("report", store, place)
    peaks: dict[str, int] = {**ran["peaks"], **reported["peaks"]}
    peak = max(peaks.values()) / MEGABYTE
    shown = ", ".join(f"{name} {size / MEGABYTE:.0f} MB" for name, size in peaks.items())
    done = f"all {rows:,} provisioned" if not worked else f"{reported['sealed']:,} provisioned, then stopped"
    note = (
        f"The large order: {reported['ordered']:,} rows imported, {done} ({ran['seconds']:.0f} s), "
        f"and reported as page and CSV ({reported['seconds']:.1f} s). Peaks: {shown}."
    )
    what = f"{rows:,} rows, {'all' if not worked else f'{worked:,}'} provisioned: peak memory of a process"
    return [Figure(what, shown, "", peak, 300, most=True, form="{:.0f} MB")], [note]


def _order(path: Path, units: int) -> Path:
    with path.open("w", encoding="utf-8") as file:
        file.write("serial,model,owner_group,colour\n")
        file.writelines(f"KW-B-{n:06d},fob-one,north,black\n" for n in range(1, units + 1))
    return path


def _worker(*words: object) -> dict[str, Any]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "bench.worker", *map(str, words)]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def _each(seconds: float, units: int) -> str:
    return f"{seconds / units * 1e3:.2f} ms"
