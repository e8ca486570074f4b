"""The closing of a lot as rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from keywright.production.audit.log import append, lot_entry
from keywright.production.handover_tables import closing
from keywright.production.rows import Change
from keywright.production.tables import campaign
from keywright.production.transaction import Transaction

CLOSED: Final = "closed"
"""State of a lot in which nothing is produced any more."""


class Closed(Change, frozen=True):
    """A change: the lot is closed, with what was counted (JSON text). Once."""

    counted: str
    approval: str
    at: float


def write(transaction: Transaction, changes: Sequence[Closed]) -> None:
    """The row of the closing and the state of the lot."""
    for change in changes:
        values = {"id": 1, "counted": change.counted, "approval": change.approval, "at": change.at}
        transaction.execute(closing.insert(), values)
        transaction.execute(campaign.update().values(state=CLOSED))
        append(transaction, [lot_entry(transaction, "lot.state")])
