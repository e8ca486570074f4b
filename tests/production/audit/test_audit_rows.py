"""Rows beside the units: a row of the outbox, a failure or a remake that was changed behind the log is named."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from keywright.production.audit.verdict import Verdict
from keywright.production.handover.outbox import Acknowledged, OutboxChange, UnitRecord
from keywright.production.unit_store.control_rows import Remade, Setback
from keywright.production.unit_store.units import UnitChange, UnitStore
from support.audited import altered, exported, judged, made


def setback(unit: int, text: str) -> Setback:
    return Setback(unit=unit, kind="link", code="link", text=text, severity="unit", ended=True, at=1.0)


def full(path: Path) -> UnitStore:
    """A lot with three records, of which one was acknowledged and one put off, two failures and a remake."""
    store = made(path)
    for n in (1, 2, 3):
        store.commit([UnitRecord(n, f"jws{n}", b"cose", 1.5)])
    store.commit([Acknowledged(1, hashlib.sha256(b"jws1").hexdigest())])
    store.commit([OutboxChange(2, "waiting", 1, 9.0, "no route")])
    store.commit([UnitChange(4, {"state": "rejected"}), setback(4, "first"), setback(5, "of 5"), setback(4, "second")])
    store.commit([Remade(instead_of=4, serial="S9", reason="lost", at=2.0)])
    return store


def verdict_of(store: UnitStore, folder: Path) -> Verdict:
    return judged(exported(store, folder / "export"), folder / "export")


def test_what_was_written_is_whole(tmp_path: Path) -> None:
    with full(tmp_path / "lot.db") as store:
        assert verdict_of(store, tmp_path).findings == ()
        store.commit([OutboxChange(2, "dead", 12, 9.0, "no route"), OutboxChange(3, "conflict", 1, 9.0, "another")])
        assert verdict_of(store, tmp_path).findings == ()


CHANGED = [
    ("UPDATE outbox SET state = 'dead' WHERE unit = 3", "edit", "outbox"),
    ("UPDATE outbox SET tries = 0 WHERE unit = 2", "edit", "outbox"),
    ("DELETE FROM outbox WHERE unit = 3", "deletion", "outbox"),
    (
        "INSERT INTO outbox (unit, hash, state, tries, next_at, last_error) VALUES (1, 'x', 'waiting', 0, 1.5, '')",
        "insertion",
        "outbox x",
    ),
    ("UPDATE setback SET text = 'nothing' WHERE text = 'first'", "edit", "setback"),
    ("UPDATE setback SET sealed = 99 WHERE text = 'second'", "edit", "setback"),
    ("DELETE FROM setback WHERE unit = 5", "deletion", "setback"),
    (
        "INSERT INTO setback (unit, kind, code, text, severity, ended, sealed, at) "  # noqa: ISC004 - one statement
        "VALUES (1, '', '', '', 'unit', 1, 3, 1)",
        "insertion",
        "row of setback",
    ),
    ("UPDATE remake SET reason = 'other'", "edit", "remake 6"),
    ("DELETE FROM remake", "deletion", "remake 6"),
]


@pytest.mark.parametrize(("statement", "kind", "what"), CHANGED, ids=[change[0][:50] for change in CHANGED])
def test_what_is_changed_in_the_database_is_named(tmp_path: Path, statement: str, kind: str, what: str) -> None:
    full(tmp_path / "lot.db").close()
    altered(tmp_path / "lot.db", statement)
    with UnitStore.open(str(tmp_path / "lot.db"), readonly=True) as store:
        verdict = verdict_of(store, tmp_path)
    assert not verdict.whole
    assert verdict.findings[0].kind == kind
    assert what in verdict.findings[0].text
