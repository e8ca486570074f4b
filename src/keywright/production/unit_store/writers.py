"""Which code writes which kind of Change.

To add a kind: subclass `rows.Change`, write `def write(transaction, changes)`, and name both here. A writer is called
once a batch, if the batch holds any of its kinds, with those changes in the batch's order; writers are called in the
order of the table. One that needs more than the change itself (the head of the audit log, a row that must not be there
twice) reads it through the transaction. What it raises undoes the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from keywright.production.audit.checkpoints import CheckpointMade, write_checkpoints
from keywright.production.audit.log import KINDS, append
from keywright.production.audit.log_key import KeyNamed, write_keys
from keywright.production.audit.retention import BodiesGivenUp, write_given_up
from keywright.production.handover import outbox
from keywright.production.handover.ledger import LedgerEntry, write_entries, write_moves
from keywright.production.unit_store import approval_rows
from keywright.production.unit_store.closing_rows import Closed
from keywright.production.unit_store.closing_rows import write as write_closed
from keywright.production.unit_store.control_rows import (
    LotMoved,
    Remade,
    Setback,
    write_lot_moves,
    write_remakes,
    write_setbacks,
)
from keywright.production.unit_store.label_rows import LabelPrinted
from keywright.production.unit_store.label_rows import write as write_labels
from keywright.production.unit_store.leases import Leave, write_leaves
from keywright.production.unit_store.mark_rows import UnitsMarked
from keywright.production.unit_store.mark_rows import write as write_marks
from keywright.production.unit_store.prepared_rows import PreparedChunk
from keywright.production.unit_store.prepared_rows import write as write_prepared
from keywright.production.unit_store.review_rows import Reviewed
from keywright.production.unit_store.review_rows import write as write_reviews
from keywright.production.unit_store.rows import (
    Certificate,
    Change,
    Event,
    UnitChange,
    write_certificates,
    write_events,
    write_units,
)
from keywright.production.unit_store.transaction import Transaction

__all__ = ["WRITERS", "Writer", "write"]


class Writer(NamedTuple):
    """What is called with a batch's changes of some kinds; several writers may take the same kind."""

    kinds: tuple[type[Change], ...]
    write: Callable[[Transaction, Sequence[Any]], None]


WRITERS: Final[tuple[Writer, ...]] = (
    Writer((UnitChange,), write_moves),  # before the state that a unit leaves is overwritten
    Writer((LedgerEntry,), write_entries),
    Writer((UnitChange,), write_units),
    Writer((Certificate,), write_certificates),
    Writer((Event,), write_events),
    Writer((PreparedChunk,), write_prepared),
    Writer((Leave,), write_leaves),
    Writer(approval_rows.KINDS, approval_rows.write),
    Writer(outbox.KINDS, outbox.write),
    Writer((LabelPrinted,), write_labels),
    Writer((Reviewed,), write_reviews),
    Writer((Closed,), write_closed),
    Writer((CheckpointMade,), write_checkpoints),
    Writer((BodiesGivenUp,), write_given_up),
    Writer((KeyNamed,), write_keys),
    Writer((Setback,), write_setbacks),
    Writer((Remade,), write_remakes),
    Writer((UnitsMarked,), write_marks),
    Writer((LotMoved,), write_lot_moves),
    # The last: it reads what the others wrote, and every other process waits for the row it locks.
    Writer(KINDS, append),
)

_KINDS: Final = frozenset(kind for writer in WRITERS for kind in writer.kinds)


def write(transaction: Transaction, batch: Iterable[Change], writers: Sequence[Writer] = WRITERS) -> None:
    """Write a batch inside a transaction. Raises TypeError for a change that nobody writes."""
    changes = tuple(batch)
    there = {type(change) for change in changes}
    known = _KINDS if writers is WRITERS else {kind for writer in writers for kind in writer.kinds}
    if unknown := there - known:
        raise TypeError(f"nobody writes {', '.join(sorted(kind.__name__ for kind in unknown))}")
    for kinds, write_them in writers:
        if not there.isdisjoint(kinds):
            write_them(transaction, [change for change in changes if type(change) in kinds])
