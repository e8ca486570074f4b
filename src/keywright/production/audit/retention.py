"""What is given up after its time: the bodies of old entries. Their leaf hashes stay, and the tree with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import sqlalchemy as sa

from keywright.errors import PolicyError
from keywright.production.audit.checkpoints import Store
from keywright.production.audit.events import AuditEvent
from keywright.production.unit_store.rows import Change
from keywright.production.unit_store.tables import audit
from keywright.production.unit_store.transaction import Transaction

LEAST_DAYS: Final = 365
"""So long entries are kept at least (control R11)."""
_DAY_MS: Final = 86_400_000
_CHUNK: Final = 1000


class BodiesGivenUp(Change, frozen=True):
    """A change: the bodies of the entries before `end` are no longer kept."""

    end: int


class _Time(msgspec.Struct, frozen=True):
    t: int


def write_given_up(transaction: Transaction, changes: Sequence[BodiesGivenUp]) -> None:
    """Leave the leaf hashes alone."""
    for change in changes:
        old = (audit.c.seq < change.end) & audit.c.body.is_not(None)
        transaction.execute(audit.update().where(old).values(body=None))


def give_up(store: Store, days: int, *, at_ms: int) -> int:
    """Give up the bodies of entries older than so many days; returns how many. An entry says that it was done.

    Only the beginning of the log goes, up to the first entry that is young enough. Raises PolicyError for less than a
    year.
    """
    if days < LEAST_DAYS:
        raise PolicyError(f"entries are kept {LEAST_DAYS} days at least, not {days}", hint="give a longer time")
    begin, end = _old(store, at_ms - days * _DAY_MS)
    if begin < end:
        told = AuditEvent(
            action="log.give-up", object_type="log", object_id=f"{begin}-{end - 1}", reason=f"older than {days} days"
        )
        store.commit([BodiesGivenUp(end), told])
    return end - begin


def _old(store: Store, limit_ms: int) -> tuple[int, int]:
    """The first entry with a body, and the first that stays."""
    query = sa.select(audit.c.seq, audit.c.body).where(audit.c.body.is_not(None)).order_by(audit.c.seq)
    begin, end = -1, 0
    with store.reading() as reader:
        for row in reader.execution_options(yield_per=_CHUNK).execute(query):
            begin, end = row.seq if begin < 0 else begin, row.seq
            if msgspec.json.decode(row.body, type=_Time).t >= limit_ms:
                return begin, end
    return max(begin, 0), end + (begin >= 0)
