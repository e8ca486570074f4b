"""A small lot with a log of its own, and exports of it taken apart and put together again."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from keywright.production.audit.export import export
from keywright.production.audit.verdict import Verdict
from keywright.production.audit.verify import verify
from keywright.production.order import OrderRow
from keywright.production.unit_store.control_rows import LotMoved
from keywright.production.unit_store.rows import Change
from keywright.production.unit_store.units import Certificate, Event, Lot, UnitChange, UnitStore

LOT = Lot(
    lot="audited",
    recipe="name = 'audited'",
    recipe_digest="00" * 32,
    order_file="order.csv",
    order_digest="11" * 32,
    keystore_id="22" * 16,
    test=True,
    link="sim:",
    created_at=1_700_000_000.0,
)


def made(path: Path | str, units: int = 3, planned: int = 2, *, is_stopped: bool = True) -> UnitStore:
    """An open store with some units done and some not begun."""
    store = UnitStore.open(str(path), create=True)
    store.import_order(LOT, [OrderRow(n, f"S{n:04}", "fob", "", {}) for n in range(1, units + planned + 1)])
    for n in range(1, units + 1):
        for batch in work(n):
            store.commit(batch)
    if is_stopped:
        store.commit([LotMoved(event="stop", at=1_700_000_100.0, cause="alike", text="3 units in a row failed alike")])
    return store


def work(n: int) -> Sequence[Sequence[Change]]:
    """What one unit's way through the line writes, transaction by transaction."""
    at = 1_700_000_000.5 + n
    facts = {"kvn": 48, "kcvs": "0a" * 9}
    return [
        [UnitChange(n, {"state": "running", "started_at": at}), event(n, "own_keys.put", "intent", at, facts)],
        [
            event(n, "own_keys.put", "done", at + 0.25),
            Certificate(serial_number=f"{n:032x}", unit=n, spki_sha256=bytes([n]) * 32, der=bytes([n]) * 80, at=at),
        ],
        [UnitChange(n, {"state": "sealed", "device_uid": bytes([n]) * 8, "finished_at": at + 0.5})],
    ]


def event(n: int, step: str, phase: str, at: float, facts: Mapping[str, object] | None = None) -> Event:
    return Event(unit=n, step=step, phase=phase, at=at, facts=facts or {})  # type: ignore[arg-type]  # a phase, as text


def exported(store: UnitStore, path: Path) -> bytes:
    """The bytes of an export."""
    export(store, path)
    return path.read_bytes()


def judged(data: bytes, path: Path, **given: object) -> Verdict:
    """The verdict over the bytes of an export."""
    path.write_bytes(data)
    return verify(path, **given)  # type: ignore[arg-type]  # handed on


def altered(path: Path, *statements: str) -> None:
    """Do to a closed store what somebody with a database tool can do: triggers are taken away first."""
    with closing(sqlite3.connect(path)) as raw:
        for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            raw.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            raw.execute(statement)
        raw.commit()


__all__ = ["LOT", "altered", "event", "exported", "judged", "made", "work"]
