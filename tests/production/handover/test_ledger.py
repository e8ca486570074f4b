"""The ledger: it follows every unit by itself, always adds up, and shows what is missing."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from keywright.production.handover import ledger
from keywright.production.handover.ledger import BOOKS, MEANING, RECORD_OF, LedgerEntry, balances, differences, standing
from keywright.production.migrations.upgrade import upgrade
from keywright.production.reports.report import reading
from keywright.production.unit_store import sqlite
from keywright.production.unit_store.handover_tables import ledger as table
from keywright.production.unit_store.rows import UnitChange, UnknownUnitError
from keywright.production.unit_store.tables import STATES
from keywright.production.unit_store.transitions import UNIT, TransitionError
from keywright.production.unit_store.units import ConflictError, UnitStore
from support.lots import made_up, order

UNITS = 40


@pytest.fixture
def store(tmp_path: Path) -> Iterator[UnitStore]:
    with made_up(tmp_path / "lot.db", order(UNITS)) as opened:
        yield opened


def accounts(store: UnitStore, book: ledger.Book) -> dict[str, int]:
    with reading(store) as connection:
        return balances(connection, book).accounts


def test_an_order_comes_in_blank(store: UnitStore) -> None:
    assert accounts(store, "units") == {"planned": UNITS}
    assert accounts(store, "records") == {"planned": UNITS}


def test_a_unit_is_followed_without_being_told(store: UnitStore) -> None:
    store.commit([UnitChange(1, {"state": "running"}), UnitChange(2, {"state": "running"})])
    store.commit([UnitChange(1, {"state": "sealed"}), UnitChange(2, {"tries": 2})])
    store.commit([UnitChange(2, {"state": "rejected", "tries": 3})])
    assert accounts(store, "units") == {"planned": UNITS - 2, "rejected": 1, "sealed": 1}
    assert accounts(store, "records") == {"planned": UNITS - 2, "spoiled": 1, "used": 1}


def test_a_state_that_stays_is_no_entry(store: UnitStore) -> None:
    store.commit([UnitChange(1, {"tries": 1})])
    store.commit([UnitChange(1, {"state": "running"}), UnitChange(1, {"state": "sealed"})])
    with reading(store) as connection:
        entries = connection.execute(table.select().where(table.c.unit == 1).order_by(table.c.seq)).all()
    assert [(row.book, row.source, row.target, row.quantity) for row in entries] == [
        ("units", "planned", "sealed", 1),
        ("records", "planned", "used", 1),
    ]


def test_every_state_has_an_account_in_both_books() -> None:
    assert set(STATES) <= set(RECORD_OF)
    assert {account for book, account in MEANING if book == "records"} == set(RECORD_OF.values())
    assert {account for book, account in MEANING if book == "units"} == set(RECORD_OF)


def test_a_walk_of_ten_thousand_operations_always_adds_up(store: UnitStore) -> None:
    """Batches of any changes, good and refused ones; what is counted apart agrees with both books at the end."""
    choice = random.Random(4)
    state = dict.fromkeys(range(1, UNITS + 1), "planned")
    done = 0
    while done < 10_000:
        moved = choice.sample(range(1, UNITS + 1), choice.randrange(1, UNITS))
        batch = [UnitChange(n, {"state": _next(choice, state[n])}) for n in moved if state[n] != "scrapped"]
        done += len(batch)
        fate = choice.random()
        if fate < 0.05:
            with pytest.raises(UnknownUnitError):
                store.commit([*batch, UnitChange(UNITS + 1, {"state": "sealed"})])
        elif fate < 0.1:
            n = next(n for n in state if n not in moved)
            wrong = "rework" if state[n] != "quarantined" else "planned"
            with pytest.raises((TransitionError, ConflictError)):
                store.commit([*batch, UnitChange(n, {"state": wrong})])
        else:
            store.commit(batch)
            state |= {change.unit: str(change.values["state"]) for change in batch}
        if done % 7 == 0:
            state = _check(store, state)
    _check(store, state)
    with reading(store) as connection:
        assert balances(connection, "units").supplied == UNITS


def _next(choice: random.Random, now: str) -> str:
    """Where a unit may go; seldom to where it does not come back from."""
    ways = [to for (source, _), to in UNIT.items() if source == now]
    back = [to for to in ways if to in ("running", "quarantined", "rework")]
    return choice.choice(back if back and choice.random() < 0.999 else ways)


def _check(store: UnitStore, state: dict[int, str]) -> dict[int, str]:
    with reading(store) as connection:
        for book in BOOKS:
            held = balances(connection, book)
            assert sum(held.accounts.values()) == held.supplied == UNITS
            assert all(total > 0 for total in held.accounts.values())
            assert held.accounts == standing(connection, book)
    assert accounts(store, "units") == Counter(state.values())
    return state


def test_a_spoiled_record_is_never_issued_again(store: UnitStore) -> None:
    store.commit([UnitChange(1, {"state": "rejected"})])
    for state in ("planned", "running", "sealed"):
        with pytest.raises(ConflictError):
            store.commit([UnitChange(1, {"state": state})])
    with pytest.raises(ConflictError):
        store.commit([LedgerEntry("records", "spoiled", "planned", 1, 1)])
    assert accounts(store, "records") == {"planned": UNITS - 1, "spoiled": 1}


@pytest.mark.parametrize(
    "entry",
    [
        LedgerEntry("units", "planned", "planned", 1),
        LedgerEntry("units", "planned", "sealed", 0),
        LedgerEntry("units", "planned", "sealed", -1),
        LedgerEntry("keys", "planned", "sealed", 1),  # type: ignore[arg-type]  # what shall be refused
        LedgerEntry("units", "planned", "sealed", 1, UNITS + 1),
    ],
)
def test_an_entry_that_is_none_is_refused(store: UnitStore, entry: LedgerEntry) -> None:
    with pytest.raises(ConflictError):
        store.commit([entry])


def test_entries_are_not_changed_or_removed(store: UnitStore) -> None:
    with sqlite3.connect(store.path) as raw:
        for statement in ("UPDATE ledger SET quantity = 1", "DELETE FROM ledger"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                raw.execute(statement)


def test_a_unit_changed_behind_the_stores_back_shows(store: UnitStore) -> None:
    with sqlite3.connect(store.path) as raw:
        raw.execute("UPDATE unit SET state = 'sealed' WHERE n = 3")
    with reading(store) as connection:
        assert differences(balances(connection, "units").accounts, standing(connection, "units")) == {
            "planned": -1,
            "sealed": 1,
        }
    with sqlite3.connect(store.path) as raw:
        raw.execute("DELETE FROM unit WHERE n = 4")
    with reading(store) as connection:
        assert differences(balances(connection, "units").accounts, standing(connection, "units"))["planned"] == -2


def test_a_lot_from_before_the_ledger_begins_it_as_it_stands(tmp_path: Path) -> None:
    """A store of the first schema with units in several states; both books open with what is there."""
    path = tmp_path / "old.db"
    _first_schema(path, {"planned": 3, "running": 1, "sealed": 5, "quarantined": 2, "rejected": 1})
    with UnitStore.open(str(path)) as opened:
        assert accounts(opened, "units") == {"planned": 3, "quarantined": 2, "rejected": 1, "running": 1, "sealed": 5}
        assert accounts(opened, "records") == {"issued": 3, "planned": 3, "spoiled": 1, "used": 5}
        opened.commit([UnitChange(1, {"state": "running"})])
        with reading(opened) as connection:
            assert balances(connection, "units").accounts == standing(connection, "units")


def _first_schema(path: Path, units: dict[str, int]) -> None:
    sqlite.create_file(path)
    engine = sqlite.engine_for(path, write=True)
    with engine.connect() as connection, connection.begin():
        upgrade(connection, sqlite.SqliteFile(path), head="0001")
        connection.exec_driver_sql(
            "INSERT INTO campaign VALUES (1, 'lot', '', '', '', '', 12, '', 1, 'sim:fob', 1.5, 'open')"
        )
        for n, state in enumerate((state for state, number in units.items() for _ in range(number)), 1):
            connection.exec_driver_sql(
                "INSERT INTO unit (n, serial, model, owner_group, extra, state, step, evidence, failure_code, "
                "failure_text, tries) VALUES (?, ?, '', '', '{}', ?, '', '{}', '', '', 0)",
                (n, f"S{n}", state),
            )
    engine.dispose()
