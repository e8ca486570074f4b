from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from keywright.errors import StoreError
from keywright.production.reports.history import times_of
from keywright.production.reports.report import summarise
from keywright.production.unit_store import sqlite
from keywright.production.unit_store.rows import Change, Event, UnitChange
from keywright.production.unit_store.tables import unit
from keywright.production.unit_store.units import UnitStore
from support import lots

KINDS = {"sealed": lots.sealed, "recovered": lots.recovered, "quarantined": lots.quarantined}
KINDS |= {"rejected": lots.rejected, "begun": lots.begun}


def a_lot(path: Path, *kinds: str, planned: int = 0) -> UnitStore:
    changes = chain.from_iterable(KINDS[kind](n, lots.BEGIN + n) for n, kind in enumerate(kinds, 1))
    return lots.made_up(path / "lot.db", lots.order(len(kinds) + planned), changes)


def test_ordered_is_always_the_sum_of_the_states(tmp_path: Path) -> None:
    with a_lot(tmp_path, "sealed", "quarantined", "rejected", "begun", "recovered", planned=3) as store:
        found = summarise(store)
    assert (found.ordered, found.sealed, found.quarantined, found.rejected, found.open) == (8, 2, 1, 1, 4)
    assert found.ordered == found.sealed + found.quarantined + found.rejected + found.open
    assert (found.planned, found.running, found.complete) == (3, 1, False)


def test_a_finished_lot_is_complete_and_says_when(tmp_path: Path) -> None:
    with a_lot(tmp_path, "sealed", "sealed") as store:
        found = summarise(store)
    assert found.complete
    assert found.started_at is not None
    assert found.finished_at is not None
    assert found.duration_s == pytest.approx((found.finished_at - found.started_at).total_seconds(), abs=1e-5)
    assert found.rate_per_s == pytest.approx(2 / (found.duration_s or 0))


def test_yield_counts_finished_units_and_first_pass_only_the_undisturbed(tmp_path: Path) -> None:
    with a_lot(tmp_path, "sealed", "recovered", "quarantined", "sealed", planned=6) as store:
        found = summarise(store)
    assert found.yield_ == pytest.approx(3 / 4)
    assert found.first_pass_yield == pytest.approx(2 / 4)
    assert found.recovered == 1


def test_before_anything_is_finished_there_is_no_yield_and_no_rate(tmp_path: Path) -> None:
    with a_lot(tmp_path, planned=2) as store:
        found = summarise(store)
    assert (found.yield_, found.first_pass_yield, found.rate_per_s, found.duration_s) == (None, None, None, None)
    assert (found.unit_times, found.steps, found.actions) == (None, (), ())


def test_an_action_that_a_probe_found_undone_and_that_was_repeated_is_a_recovery(tmp_path: Path) -> None:
    at = lots.BEGIN
    changes: list[Change] = [
        Event(unit=1, step="own_keys.put", phase="intent", at=at),
        Event(unit=1, step="own_keys.put", phase="failed", at=at + 60),
        Event(unit=1, step="own_keys.put", phase="intent", at=at + 60, attempt=2),
        Event(unit=1, step="own_keys.put", phase="done", at=at + 60.25, attempt=2),
        UnitChange(1, {"state": "sealed", "started_at": at, "finished_at": at + 61}),
    ]
    with lots.made_up(tmp_path / "lot.db", lots.order(1), changes) as store:
        found = summarise(store)
    assert (found.recovered, found.first_pass_yield) == (1, 0.0)
    (entry,) = found.actions
    assert (entry.step, entry.times.count) == ("own_keys.put", 1)
    assert entry.times.max == pytest.approx(0.25)


def test_actions_take_from_intent_to_result_and_steps_from_the_end_of_the_one_before(tmp_path: Path) -> None:
    at = lots.BEGIN
    changes: list[Change] = [
        Event(unit=1, step="identify", phase="done", at=at + 1),
        Event(unit=1, step="own_keys.put", phase="intent", at=at + 3),
        Event(unit=1, step="own_keys.put", phase="done", at=at + 7),
        Event(unit=1, step="own_keys", phase="done", at=at + 11),
        UnitChange(1, {"state": "sealed", "started_at": at, "finished_at": at + 12}),
    ]
    with lots.made_up(tmp_path / "lot.db", lots.order(1), changes) as store:
        found = summarise(store)
    assert [(entry.step, entry.times.median) for entry in found.steps] == [("identify", 1.0), ("own_keys", 10.0)]
    assert [(entry.step, entry.times.median) for entry in found.actions] == [("own_keys.put", 4.0)]
    assert found.unit_times is not None
    assert found.unit_times.max == 12.0


def test_time_lost_by_an_interruption_is_in_no_figure_of_a_step(tmp_path: Path) -> None:
    with a_lot(tmp_path, "sealed", "recovered") as store:
        found = summarise(store)
    counts = {entry.step: entry.times.count for entry in (*found.steps, *found.actions)}
    assert counts["own_keys.put"] == counts["own_keys"] == 1
    assert counts["personalise"] == 2


def test_intents_without_result_are_counted_for_open_units_only(tmp_path: Path) -> None:
    at = lots.BEGIN
    extra: list[Change] = [Event(unit=1, step="own_keys.put", phase="intent", at=at)]
    with lots.made_up(tmp_path / "lot.db", lots.order(2), [*extra, *lots.begun(2, at)]) as store:
        assert summarise(store).unsettled == 2
        store.commit([UnitChange(1, {"state": "quarantined", "failure_code": "uncertain"})])
        assert summarise(store).unsettled == 1


def test_exceptions_are_listed_up_to_a_limit_and_counted_without_one(tmp_path: Path) -> None:
    with a_lot(tmp_path, "quarantined", "sealed", "rejected", "quarantined") as store:
        found = summarise(store, exceptions=2)
    assert found.exceptions.total == 3
    assert [(entry.n, entry.serial, entry.state) for entry in found.exceptions.units] == [
        (1, "KW-F1-000001", "quarantined"),
        (3, "KW-F1-000003", "rejected"),
    ]
    assert [(entry.code, entry.step, entry.units) for entry in found.failures] == [
        ("card-cryptogram", "authenticate", 2),
        ("wrong-product", "identify", 1),
    ]


def test_a_unit_left_open_by_a_failure_is_an_exception(tmp_path: Path) -> None:
    with a_lot(tmp_path, "begun", "sealed", planned=1) as store:
        assert summarise(store).exceptions.total == 0
        store.commit([UnitChange(1, {"failure_code": "link", "failure_text": "card removed"})])
        (listed,) = summarise(store).exceptions.units
    assert (listed.n, listed.state, listed.text) == (1, "running", "card removed")


def test_a_unit_that_was_sealed_after_a_failure_is_no_exception(tmp_path: Path) -> None:
    with a_lot(tmp_path, "sealed") as store:
        store.commit([UnitChange(1, {"failure_code": "link", "failure_text": "card removed"})])
        assert summarise(store).exceptions.total == 0


def test_json_is_one_object_with_the_keys_that_scripts_use(tmp_path: Path) -> None:
    with a_lot(tmp_path, "sealed", "quarantined", planned=1) as store:
        found = json.loads(summarise(store).to_json())
    expected = {"ordered": 3, "sealed": 1, "quarantined": 1, "rejected": 0, "open": 1, "yield": 0.5, "test": True}
    assert expected.items() <= found.items()
    assert found["started_at"] == "2026-11-23T17:00:01Z"
    assert found["settings"]["synchronous"] == "FULL"
    assert found["certificates"] == 1


def test_a_store_without_an_order_has_no_report(tmp_path: Path) -> None:
    with UnitStore.open(str(tmp_path / "lot.db"), create=True) as store, pytest.raises(StoreError, match="no order"):
        summarise(store)


def test_a_lost_row_is_told_and_not_counted_away(tmp_path: Path) -> None:
    a_lot(tmp_path, planned=3).close()
    engine = sqlite.engine_for(tmp_path / "lot.db", write=True)
    with engine.begin() as connection:
        connection.execute(sa.delete(unit).where(unit.c.n == 2))
    engine.dispose()
    with (
        UnitStore.open(str(tmp_path / "lot.db"), readonly=True) as store,
        pytest.raises(StoreError, match="3 units were ordered, 2 are there"),
    ):
        summarise(store)


def test_another_process_may_ask_while_the_lot_is_worked_on(tmp_path: Path) -> None:
    a_lot(tmp_path, "sealed", planned=1).close()
    path = str(tmp_path / "lot.db")
    with UnitStore.open(path) as writer, UnitStore.open(path, readonly=True) as reader:
        assert summarise(reader).sealed == 1
        writer.commit(lots.sealed(2, lots.BEGIN + 9))
        assert summarise(reader).sealed == 2


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200))
def test_times_are_those_of_the_values(seconds: list[float]) -> None:
    found = times_of(seconds)
    assert found is not None
    assert found.count == len(seconds)
    assert found.max == max(seconds)
    assert found.p95 in seconds
    assert sum(value <= found.p95 for value in seconds) >= 0.95 * len(seconds)
    assert sum(value < found.p95 for value in seconds) < 0.95 * len(seconds)
    assert sum(value < found.median for value in seconds) <= len(seconds) / 2
    assert sum(value > found.median for value in seconds) <= len(seconds) / 2


def test_nothing_takes_no_time() -> None:
    assert times_of([]) is None
