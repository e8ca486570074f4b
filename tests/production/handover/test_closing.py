"""A lot closes only when every unit is decided, and only with what was really counted."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from keywright.production.handover.closing import ClosingError, close, needs_people, operation, standing_of
from keywright.production.people.approvals import ApprovalError, approve, signed
from keywright.production.people.consent import AskedError, Consent, given_or_asked
from keywright.production.people.people import Directory
from keywright.production.reports.report import reading
from keywright.production.unit_store import approval_rows
from keywright.production.unit_store.closing_rows import Closed
from keywright.production.unit_store.rows import UnitChange
from keywright.production.unit_store.units import ConflictError, UnitStore
from support.lots import lot, made_up, order
from support.people import NOW, counting, directory, key

UNITS = 5
GOOD = {"sealed": 4, "rejected": 1}


@pytest.fixture(scope="module")
def crew() -> Directory:
    return directory()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[UnitStore]:
    """A production lot: four good units, one rejected."""
    with made_up(tmp_path / "lot.db", order(UNITS), campaign=lot(test=False, link="pcsc:X")) as opened:
        opened.commit([UnitChange(n, {"state": "sealed"}) for n in range(1, UNITS)])
        opened.commit([UnitChange(UNITS, {"state": "rejected"})])
        yield opened


def test_a_lot_with_nothing_open_and_everything_counted_closes(store: UnitStore) -> None:
    assert standing_of(store, GOOD).obstacles == ()
    close(store, GOOD, Consent(), at=1.0)
    stands = standing_of(store)
    assert stands.state == "closed"
    assert stands.obstacles == ("it is closed already",)
    with pytest.raises(ClosingError, match="closed already"):
        close(store, GOOD, Consent(), at=2.0)
    with pytest.raises(ConflictError):
        store.commit([Closed("{}", "", 1.0)])


@pytest.mark.parametrize(
    ("counted", "text"),
    [
        ({"sealed": 3, "rejected": 1}, "counted -1 'good' against the ledger"),
        ({"sealed": 5, "rejected": 1}, r"counted \+1 'good' against the ledger"),
        ({"sealed": 4}, "counted -1 'rejected' against the ledger"),
        ({"sealed": 5}, "counted -1 'rejected' against the ledger; counted .1 'good'"),
        ({}, "counted -4 'good'"),
    ],
)
def test_a_difference_in_the_count_blocks_closing(store: UnitStore, counted: dict[str, int], text: str) -> None:
    with pytest.raises(ClosingError, match=text):
        close(store, counted, Consent(), at=1.0)
    assert standing_of(store).state != "closed"


@pytest.mark.parametrize(
    ("state", "text"), [("planned", "'blank'"), ("running", "'in work'"), ("quarantined", "'set aside, undecided'")]
)
def test_an_undecided_unit_blocks_closing(tmp_path: Path, state: str, text: str) -> None:
    with made_up(tmp_path / "lot.db", order(2)) as opened:
        opened.commit(
            [
                UnitChange(1, {"state": "sealed"}),
                UnitChange(2, {"state": state} if state != "planned" else {"tries": 1}),
            ]
        )
        with pytest.raises(ClosingError, match=f"1 units are {text}"):
            close(opened, {"sealed": 1, state: 1}, Consent(), at=1.0)


def test_a_missing_unit_blocks_closing(store: UnitStore) -> None:
    with sqlite3.connect(store.name) as raw:
        raw.execute("DELETE FROM unit WHERE n = 2")
    with pytest.raises(
        ClosingError, match="5 units were ordered and the store has 4; the ledger of units and the store"
    ):
        close(store, GOOD, Consent(), at=1.0)


def test_a_unit_changed_behind_the_ledgers_back_blocks_closing(store: UnitStore) -> None:
    with sqlite3.connect(store.name) as raw:
        raw.execute(f"UPDATE unit SET state = 'sealed' WHERE n = {UNITS}")
    with pytest.raises(ClosingError, match="the ledger of records and the store differ by -1 in 'spoiled'"):
        close(store, {"sealed": 5}, Consent(), at=1.0)


def test_a_production_lot_closes_with_two_who_counted_the_same(store: UnitStore, crew: Directory) -> None:
    known = store.lot()
    assert known is not None
    assert needs_people(known)
    wanted = operation(known, GOOD, standing_of(store).books)
    with pytest.raises(AskedError):
        given_or_asked(store, wanted, crew, key("sam"), at_ms=NOW, rng=counting())
    with reading(store) as connection:
        (asked,) = approval_rows.unused_for(connection, wanted)
    done = approve(asked, key("sue"), crew, at_ms=NOW)
    store.commit([signed(done, done.approved[0])])
    other = operation(known, GOOD | {"sealed": 5}, standing_of(store).books)
    with pytest.raises(ApprovalError, match="has not been asked for"):
        given_or_asked(store, other, crew, None, at_ms=NOW)
    consent = given_or_asked(store, wanted, crew, None, at_ms=NOW)
    close(store, GOOD, consent, at=1.0)
    with reading(store) as connection:
        assert approval_rows.is_used(connection, done.id)
        row = connection.exec_driver_sql("SELECT counted, approval FROM closing").one()
    assert tuple(row) == ('{"rejected": 1, "sealed": 4}', done.id)


@pytest.mark.parametrize(
    ("test", "link", "needs"),
    [(True, "sim:fob", False), (False, "sim:fob", False), (True, "pcsc:X", False), (False, "pcsc:X", True)],
)
def test_what_takes_two_persons(test: bool, link: str, needs: bool) -> None:  # noqa: FBT001 - a table
    assert needs_people(lot(test=test, link=link)) is needs
