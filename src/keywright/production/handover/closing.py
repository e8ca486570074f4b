"""Closing a lot: nothing is left undecided, and what two persons counted is what the ledger says.

What stands in the way is found as a list of plain sentences; a lot closes only when there is none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import sqlalchemy as sa

from keywright.errors import PolicyError
from keywright.production.audit.log import AuditEvent
from keywright.production.canonical import digest
from keywright.production.control.admission import is_production_lot
from keywright.production.handover.ledger import BOOKS, DECIDED, MEANING, Balances, balances, differences, standing
from keywright.production.people.approvals import Operation
from keywright.production.people.consent import Consent
from keywright.production.readiness import lot_in
from keywright.production.reports.report import reading
from keywright.production.unit_store.closing_rows import CLOSED, Closed
from keywright.production.unit_store.handover_tables import outbox
from keywright.production.unit_store.mark_rows import is_marked
from keywright.production.unit_store.rows import Lot
from keywright.production.unit_store.tables import unit
from keywright.production.unit_store.transitions import lot_sources
from keywright.production.unit_store.units import UnitStore

ACTION: Final = "campaign.close"


class ClosingError(PolicyError):
    """Something stands in the way of closing the lot; nothing was changed."""

    code = "closing"


class Standing(msgspec.Struct, frozen=True):
    """Both books, and what stands in the way of closing; `unsent`: records that no receiver has acknowledged."""

    lot: str
    state: str
    books: tuple[Balances, ...]
    obstacles: tuple[str, ...]
    unsent: int


def standing_of(store: UnitStore, counted: Mapping[str, int] | None = None) -> Standing:
    """How the lot stands, and whether it could be closed with these counts (account to number of units)."""
    lot = lot_in(store, store.name)
    with reading(store) as connection:
        books = tuple(balances(connection, book) for book in BOOKS)
        found = list(_obstacles(connection, lot, books, counted))
        unsent = connection.execute(sa.select(sa.func.count()).select_from(outbox)).scalar_one()
    return Standing(lot.lot, lot.state, books, tuple(found), unsent)


def operation(lot: Lot, counted: Mapping[str, int], books: Sequence[Balances]) -> Operation:
    """What is asked for and allowed when a lot is closed: its counts and both books, to the last unit."""
    accounts = {book.book: dict(book.accounts) for book in books}
    facts = {"counted": dict(counted), "ledger": accounts, "ordered": lot.units, "recipe": lot.recipe_digest}
    return Operation(ACTION, lot.lot, facts)


def close(store: UnitStore, counted: Mapping[str, int], consent: Consent, *, at: float) -> None:
    """Close the lot, in one transaction with the use of the approval. Raises ClosingError naming what is in the way."""
    stands = standing_of(store, counted)
    if stands.obstacles:
        raise ClosingError(
            f"lot {stands.lot} cannot be closed: {'; '.join(stands.obstacles)}",
            hint="decide or find these units; keywright campaign ledger shows where each is",
        )
    text = json.dumps(dict(counted), sort_keys=True)
    entry = AuditEvent(
        action=ACTION,
        object_type="closing",
        object_id=stands.lot,
        actor=consent.actor,
        after_hash=digest(dict(counted)).hex(),
        approvals=(consent.approval,) if consent.approval else (),
    )
    store.commit([Closed(text, consent.approval, at), *consent.changes, entry])


def needs_people(lot: Lot) -> bool:
    """Whether what is done with a lot needs approvals: a production lot does."""
    return is_production_lot(lot)


def _obstacles(
    connection: sa.Connection, lot: Lot, books: Sequence[Balances], counted: Mapping[str, int] | None
) -> list[str]:
    found = []
    if lot.state == CLOSED:
        found.append("it is closed already")
    elif lot.state not in lot_sources("close"):
        found.append(f"it is {lot.state}, not complete")
    rows: int = connection.execute(sa.select(sa.func.count()).select_from(unit)).scalar_one()
    if rows != lot.units:
        found.append(f"{lot.units} units were ordered and the store has {rows}")
    for book in books:
        wrong = differences(book.accounts, standing(connection, book.book))
        found += [f"the ledger of {book.book} and the store differ by {n:+d} in {name!r}" for name, n in wrong.items()]
        if sum(book.accounts.values()) != book.supplied or book.supplied != lot.units:
            found.append(f"the ledger of {book.book} knows {book.supplied} of {lot.units}")
    units = next(book for book in books if book.book == "units")
    for account, number in units.accounts.items():
        if account not in DECIDED:
            found.append(f"{number} units are {MEANING.get(('units', account), account)!r}")
    unfit = connection.execute(
        sa.select(sa.func.count()).select_from(unit).where(unit.c.state == "sealed", is_marked())
    ).scalar_one()
    if unfit:
        found.append(f"{unfit} sealed units are marked, a key that reached them is compromised: return or destroy them")
    if counted is not None:
        wrong = differences(units.accounts, counted)
        found += [
            f"counted {n:+d} {MEANING.get(('units', name), name)!r} against the ledger" for name, n in wrong.items()
        ]
    return found
