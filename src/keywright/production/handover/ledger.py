"""The ledger: where every unit and every record of a lot is, by double entry.

Two books. `units` counts devices, its accounts are the states of a unit; `records` counts prepared sets of data and
secrets. An entry takes from one account what it gives to another, so the balances of a book always add up to what came
from `supply`. Entries are made by the store, in the transaction of the change they follow from, out of the state that
the row had: no code that moves a unit can forget them. A record is used for one unit; once spoiled it stays spoiled.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import msgspec
import sqlalchemy as sa

from keywright.production.unit_store.handover_tables import ledger
from keywright.production.unit_store.rows import Change, UnitChange
from keywright.production.unit_store.tables import STATES, unit
from keywright.production.unit_store.transaction import Given, Prepared, Transaction, added

Book = Literal["units", "records"]
BOOKS: Final[tuple[Book, ...]] = ("units", "records")
SUPPLY: Final = "supply"
"""Where everything comes from; its balance is minus what came."""

RECORD_OF: Final[Mapping[str, str]] = {
    "planned": "planned",
    "running": "issued",
    "rework": "issued",
    "quarantined": "issued",
    "sealed": "used",
    "returned": "used",
    "rejected": "spoiled",
    "scrapped": "spoiled",
}
"""The account of a unit's record while the unit is in a state."""

MEANING: Final[Mapping[tuple[str, str], str]] = {
    ("units", "planned"): "blank",
    ("units", "running"): "in work",
    ("units", "rework"): "to be worked on again",
    ("units", "sealed"): "good",
    ("units", "quarantined"): "set aside, undecided",
    ("units", "rejected"): "rejected",
    ("units", "scrapped"): "destroyed",
    ("units", "returned"): "returned",
    ("records", "planned"): "prepared, not issued",
    ("records", "issued"): "issued to a unit in work",
    ("records", "used"): "in a good unit",
    ("records", "spoiled"): "spoiled, never issued again",
}
"""What the accounts are called in a factory."""

DECIDED: Final = frozenset({"sealed", "rejected", "scrapped", "returned"})
"""Accounts in which units may stand when the lot is closed."""


class LedgerEntry(Change, frozen=True):
    """A change: `quantity` goes from account `source` to account `target`; `unit` if it is one unit's."""

    book: Book
    source: str
    target: str
    quantity: int
    unit: int | None = None


class Balances(msgspec.Struct, frozen=True):
    """What stands in each account of a book, without `supply`, and how many came from there."""

    book: Book
    supplied: int
    accounts: dict[str, int]


def opening(units: int) -> list[LedgerEntry]:
    """Entries for so many units that came new into the lot, blank, each with its record."""
    return [LedgerEntry(book, SUPPLY, "planned", units) for book in BOOKS] if units else []


def write_entries(transaction: Transaction, changes: Sequence[LedgerEntry]) -> None:
    """A row each."""
    at = time.time()
    rows = [(c.book, c.unit, c.source, c.target, c.quantity, at) for c in changes]
    transaction.run(_ENTRY, rows)


def write_moves(transaction: Transaction, changes: Iterable[UnitChange]) -> None:
    """Entries for units whose state is about to change: to be called before it has."""
    states = {change.unit: str(change.values["state"]) for change in changes if "state" in change.values}
    at = time.time()
    transaction.run(_UNIT_MOVE, [(state, at, n, state) for n, state in states.items()])
    moved = [(RECORD_OF[state], at, n, RECORD_OF[state]) for n, state in states.items() if state in RECORD_OF]
    transaction.run(_RECORD_MOVE, moved)


def balances(connection: sa.Connection, book: Book) -> Balances:
    """What the entries add up to."""
    into = sa.select(ledger.c.target.label("account"), ledger.c.quantity.label("quantity"))
    out_of = sa.select(ledger.c.source.label("account"), (-ledger.c.quantity).label("quantity"))
    moves = into.where(ledger.c.book == book).union_all(out_of.where(ledger.c.book == book)).subquery()
    query = sa.select(moves.c.account, sa.func.sum(moves.c.quantity)).group_by(moves.c.account)
    found = {str(account): int(total) for account, total in connection.execute(query)}
    supplied = -found.pop(SUPPLY, 0)
    return Balances(book, supplied, {account: total for account, total in sorted(found.items()) if total})


def standing(connection: sa.Connection, book: Book) -> dict[str, int]:
    """How many units, or records, the rows of the units say stand in each account."""
    query = sa.select(unit.c.state, sa.func.count()).group_by(unit.c.state)
    found: dict[str, int] = {}
    for state, number in connection.execute(query):
        account = str(state) if book == "units" else RECORD_OF[str(state)]
        found[account] = found.get(account, 0) + int(number)
    return found


def differences(expected: Mapping[str, int], counted: Mapping[str, int]) -> dict[str, int]:
    """By how many more than expected were counted, for each account where that is not 0."""
    accounts = sorted({*expected, *counted})
    found = {account: counted.get(account, 0) - expected.get(account, 0) for account in accounts}
    return {account: difference for account, difference in found.items() if difference}


def _record_account() -> sa.Case[str]:
    return sa.case(
        *(
            (unit.c.state == sa.literal_column(f"'{state}'"), sa.literal_column(f"'{RECORD_OF[state]}'"))
            for state in STATES
            if state in RECORD_OF
        ),
        else_=unit.c.state,
    )


def _move(book: Book, source: sa.ColumnElement[str]) -> Prepared:
    def build(given: Given) -> sa.Insert:
        one: sa.ColumnElement[int] = sa.literal_column("1")
        name: sa.ColumnElement[str] = sa.literal_column(f"'{book}'")
        chosen = sa.select(name, unit.c.n, source, given["target"], one, given["at"])
        chosen = chosen.where(unit.c.n == given["n_"], source != given["other"])
        return ledger.insert().inline().from_select(_COLUMNS, chosen)

    return Prepared({"target": sa.Text(), "at": sa.Float(), "n_": sa.Integer(), "other": sa.Text()}, build)


_COLUMNS: Final = ("book", "unit", "source", "target", "quantity", "at")
_ENTRY: Final = added(ledger, _COLUMNS)
_UNIT_MOVE: Final = _move("units", unit.c.state)
_RECORD_MOVE: Final = _move("records", _record_account())
