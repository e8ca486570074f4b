"""The audit log: entries appended in durable transactions, and an export judged, beside SHA-256 of the same bytes."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench.figures import Figure, rate
from keywright.production.audit.export import export
from keywright.production.audit.verify import verify
from keywright.production.order import OrderRow
from keywright.production.unit_store.rows import Lot
from keywright.production.unit_store.units import Event, UnitStore

ENTRIES: Final = 60_000
GROUP: Final = 600
_LOT: Final = Lot(
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


def figures() -> list[Figure]:
    """Two rows: events with their entries written, and the export of them judged."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "export"
        with UnitStore.open(f"{folder}/bench.db", create=True) as store:
            store.import_order(_LOT, [OrderRow(1, "S1", "fob", "", {})])
            written = _timed(lambda: _write(store))
            export(store, path)
            settings = store.settings()
        judged = _timed(lambda: verify(path))
        leaves = [line[5:] for line in path.read_bytes().splitlines() if line.startswith(b"leaf ")]
    hashed = _timed(lambda: [hashlib.sha256(b"\x00" + leaf).digest() for leaf in leaves])
    where = f"{settings.journal_mode}, {settings.synchronous}, {GROUP} in a transaction"
    bare = f"SHA-256 alone {rate(len(leaves) / hashed)}"
    return [
        Figure(f"audit: events with their entries ({where})", rate(ENTRIES / written), bare, hashed / written),
        Figure("audit: entries judged, with their rows", rate(len(leaves) / judged), bare, hashed / judged),
    ]


def _write(store: UnitStore) -> None:
    for begin in range(0, ENTRIES, GROUP):
        group = range(begin, begin + GROUP)
        store.commit([Event(unit=1, step=f"s{number}", phase="note", at=1.0, facts={"kvn": 48}) for number in group])


def _timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
