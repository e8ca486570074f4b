"""Approvals in a lot's store: asked for, signed, found for exactly one operation, and used with what they allow."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from keywright.production.people.approvals import (
    Approval,
    ApprovalError,
    Operation,
    approve,
    consume,
    recorded,
    request,
    signed,
)
from keywright.production.people.consent import AskedError, ask, given, given_or_asked
from keywright.production.people.people import Directory
from keywright.production.reports.report import reading
from keywright.production.unit_store import approval_rows
from keywright.production.unit_store.rows import UnitChange, UnknownUnitError
from keywright.production.unit_store.units import ConflictError, UnitStore
from support.lots import made_up, order
from support.people import MINUTE, NOW, counting, directory, key, person

REWORK = Operation("unit.rework", "KW-F1-000001", {"n": 1, "why": "reader was dirty"})


@pytest.fixture(scope="module")
def crew() -> Directory:
    return directory()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[UnitStore]:
    with made_up(tmp_path / "lot.db", order(3)) as opened:
        yield opened


def allowed(store: UnitStore, crew: Directory, operation: Operation = REWORK) -> Approval:
    asked = ask(store, operation, key("olga"), crew, at_ms=NOW, rng=counting())
    done = approve(asked, key("sam"), crew, at_ms=NOW + 1)
    store.commit([signed(done, done.approved[0])])
    return done


def test_an_approval_is_found_as_it_was_given(store: UnitStore, crew: Directory) -> None:
    done = allowed(store, crew)
    with reading(store) as connection:
        assert approval_rows.found(connection, done.id) == done
        assert approval_rows.found(connection, "0" * 32) is None
        assert approval_rows.unused_for(connection, REWORK) == [done]
        assert approval_rows.unused_for(connection, Operation("unit.rework", "KW-F1-000002", REWORK.facts)) == []
        assert list(approval_rows.listed(connection)) == [done]


def test_it_is_used_with_what_it_allows_and_never_again(store: UnitStore, crew: Directory) -> None:
    done = allowed(store, crew)
    consent = given(store, REWORK, crew, at_ms=NOW + MINUTE)
    assert (consent.approval, consent.actor) == (done.id, "olga")
    store.commit([UnitChange(1, {"tries": 1}), *consent.changes])
    with pytest.raises(ConflictError):
        store.commit([UnitChange(1, {"tries": 2}), *consent.changes])
    unit = store.unit(1)
    assert unit is not None
    assert unit.tries == 1
    with pytest.raises(ApprovalError, match="has not been asked for"):
        given(store, REWORK, crew, at_ms=NOW + MINUTE)
    with reading(store) as connection:
        assert approval_rows.is_used(connection, done.id)
        assert list(approval_rows.listed(connection, used=False)) == []
        assert list(approval_rows.listed(connection, used=True)) == [done]


def test_when_what_it_allows_fails_it_is_still_there(store: UnitStore, crew: Directory) -> None:
    allowed(store, crew)
    consent = given(store, REWORK, crew, at_ms=NOW + MINUTE)
    with pytest.raises(UnknownUnitError):
        store.commit([*consent.changes, UnitChange(99, {"tries": 1})])
    assert given(store, REWORK, crew, at_ms=NOW + MINUTE) == consent


def test_the_same_command_asks_first_and_does_it_when_allowed(store: UnitStore, crew: Directory) -> None:
    with pytest.raises(ApprovalError, match="has not been asked for"):
        given_or_asked(store, REWORK, crew, None, at_ms=NOW)
    with pytest.raises(AskedError) as asked:
        given_or_asked(store, REWORK, crew, key("olga"), at_ms=NOW, rng=counting())
    with pytest.raises(ApprovalError, match="0 of 1 have approved"):
        given_or_asked(store, REWORK, crew, None, at_ms=NOW)
    with reading(store) as connection:
        (found,) = approval_rows.unused_for(connection, REWORK)
    assert found.id in str(asked.value)
    done = approve(found, key("sue"), crew, at_ms=NOW)
    store.commit([signed(done, done.approved[0])])
    assert given_or_asked(store, REWORK, crew, None, at_ms=NOW).approval == found.id


def test_whoever_asks_once_more_does_not_undo_what_was_signed(store: UnitStore, crew: Directory) -> None:
    done = allowed(store, crew)
    again = ask(store, REWORK, key("olga"), crew, at_ms=NOW + MINUTE, rng=counting(7))
    assert again.id != done.id
    assert given(store, REWORK, crew, at_ms=NOW + MINUTE).approval == done.id
    # Where none holds, the newest says why.
    with pytest.raises(ApprovalError, match=f"the approval {again.id} has expired"):
        given(store, REWORK, crew, at_ms=NOW + 31 * MINUTE)


def test_a_person_signs_an_approval_once_in_the_store(store: UnitStore, crew: Directory) -> None:
    done = allowed(store, crew)
    with pytest.raises(ConflictError):
        store.commit([signed(done, done.approved[0])])
    with pytest.raises(ConflictError):
        store.commit(recorded(done))


def test_a_use_without_an_approval_cannot_be_written(store: UnitStore, crew: Directory) -> None:
    asked = request(REWORK, key("olga"), crew, at_ms=NOW, rng=counting())
    done = approve(asked, key("sam"), crew, at_ms=NOW)
    used = consume(done, REWORK, crew, at_ms=NOW)
    with pytest.raises(ConflictError):
        store.commit(used)
    store.commit([*recorded(done), *used])


def test_a_lot_knows_the_people_of_one_directory(store: UnitStore, crew: Directory) -> None:
    allowed(store, crew)
    mine = Directory.begin(person("ada"), key("ada"), at_ms=NOW + 1)
    mine = mine.changed("add", person("olga"), [key("ada")], at_ms=NOW)
    with pytest.raises(ApprovalError, match="people of another directory"):
        ask(store, REWORK, key("olga"), mine, at_ms=NOW, rng=counting(9))
    with reading(store) as connection:
        assert len(list(approval_rows.listed(connection))) == 1


@pytest.mark.parametrize("table", ["approval", "approval_signature", "approval_use"])
def test_what_was_signed_is_not_changed_or_removed(store: UnitStore, crew: Directory, table: str) -> None:
    allowed(store, crew)
    store.commit(given(store, REWORK, crew, at_ms=NOW).changes)
    with sqlite3.connect(store.path) as raw:
        for statement in (f"UPDATE {table} SET at_ms = 0", f"DELETE FROM {table}"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                raw.execute(statement)
