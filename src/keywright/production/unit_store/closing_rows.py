"""The closing of a lot as rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from keywright.production.audit.log import AuditEvent, append, lot_entry
from keywright.production.audit.subjects import CLOSING, row_hash
from keywright.production.unit_store.handover_tables import closing
from keywright.production.unit_store.rows import Change
from keywright.production.unit_store.tables import campaign
from keywright.production.unit_store.transaction import Transaction
from keywright.production.unit_store.transitions import TransitionError, lot_sources

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
        going = campaign.c.state.in_(lot_sources("close"))
        if not transaction.execute(campaign.update().where(going).values(state=CLOSED)):
            raise TransitionError("the lot is closed, or its first article waits to be accepted")
        closed = AuditEvent(
            action="lot.close",
            object_type=CLOSING.type,
            object_id="1",
            after_hash=row_hash((1, change.counted, change.approval, float(change.at))),
            approvals=(change.approval,) if change.approval else (),
        )
        append(transaction, [lot_entry(transaction, "lot.state"), closed])
