"""The status of a lot looks at what was touched, not at all that was ordered, and says the same as the whole report."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from sqlalchemy.event import listens_for, remove

from keywright.production.reports.report import Summary, summarise
from keywright.production.unit_store.rows import Event, UnitChange
from keywright.production.unit_store.units import Leave, UnitStore
from support.lots import lot, order, quarantined, recovered, sealed

TIMED = ("unit_times", "steps", "actions")
"""What the status tells of the latest units only."""


def worked(store: UnitStore, seed: int) -> None:
    """Some units in every way that a unit may stand."""
    chance = random.Random(seed)
    kinds = (sealed, sealed, recovered, quarantined)
    for unit in store.claim(40):
        store.commit(list(chance.choice(kinds)(unit.n, 1000 + unit.n * 0.01)))
    for unit in store.claim(6):
        begun = Event(unit=unit.n, step="own_keys.put", phase="intent", at=2000.0)
        store.commit([begun, UnitChange(unit.n, {"state": "running", "started_at": 1999.0})])
        if unit.n % 2:
            note = Event(unit=unit.n, step="link", phase="note", at=2001.0)
            store.commit([note, UnitChange(unit.n, {"failure_code": "link"}), Leave(unit.n)])


@pytest.mark.parametrize("seed", range(3))
def test_the_status_says_what_the_report_says(store_url: str, seed: int) -> None:
    with UnitStore.open(store_url, create=True) as store:
        store.import_order(lot(), order(80))
        for _ in range(2):
            whole, quick = summarise(store), summarise(store, latest=300)
            assert quick == whole
            worked(store, seed)
        few = summarise(store, latest=5)
        whole = summarise(store)
        assert without_times(few) == without_times(whole)
        assert few.unit_times is not None
        assert few.unit_times.count <= 5
        assert whole.unsettled == 6
        assert whole.exceptions.total > 3


def without_times(summary: Summary) -> Summary:
    return msgspec.structs.replace(summary, **dict.fromkeys(TIMED))


def test_no_question_of_the_status_reads_units_that_nothing_happened_to(tmp_path: Path) -> None:
    asked: list[tuple[str, object]] = []

    @listens_for(sa.Engine, "before_cursor_execute")
    def _asked(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.startswith("SELECT"):
            asked.append((statement, parameters))

    try:
        with UnitStore.open(str(tmp_path / "lot.db"), create=True) as store:
            store.import_order(lot(), order(3000))
            worked(store, 1)
            asked.clear()
            summarise(store, latest=300)
            questions = list(asked)
            with store.reading() as reader:
                plans = [
                    str(row[3])
                    for statement, parameters in questions
                    if "LIMIT" not in statement  # ends by itself
                    for row in reader.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)  # type: ignore[arg-type]  # as they were
                ]
    finally:
        remove(sa.Engine, "before_cursor_execute", _asked)
    assert len(questions) > 8
    # Marks are of units that something happened to, and counted in the order of their key.
    scans = [plan for plan in plans if plan.startswith("SCAN unit") and plan != "SCAN unit_mark"]
    assert all("unit_to_recover" in plan or "unit_leased" in plan for plan in scans), scans
    assert "SCAN event" not in plans
