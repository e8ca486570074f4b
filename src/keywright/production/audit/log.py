"""The audit log's appending end: leaves written in the transaction of what they tell of.

Each entry is chained to the one before (`prev`) and is a leaf of a Merkle tree. The row `audit_head` holds the tree's
right edge; whoever appends locks it until its transaction ends, so that the entries of several processes stand one
after another.
"""

from __future__ import annotations

import functools
import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, final

import sqlalchemy as sa
from msgspec import structs

from keywright.production.audit.events import (
    VERSION,
    Actor,
    AuditEvent,
    Body,
    Subject,
    encode_body,
    process_actor,
    this_host,
)
from keywright.production.audit.merkle import Edge
from keywright.production.audit.subjects import (
    LOT,
    LOT_EVENT,
    ORDER,
    ORDERED,
    OUTBOX,
    REMAKE,
    SETBACK,
    SUBJECTS,
    UNIT,
    UNTOUCHED,
    Rows,
    ordered_hash,
    row_hash,
)
from keywright.production.audit.told import TOLD, told
from keywright.production.handover.outbox import OutboxChange
from keywright.production.unit_store.control_rows import LotMoved, Remade, Setback
from keywright.production.unit_store.rows import Change, UnitChange
from keywright.production.unit_store.tables import audit, audit_head, unit
from keywright.production.unit_store.transaction import Prepared, Row, Transaction, added

__all__ = [
    "IMPORTED",
    "KINDS",
    "STEPPED_BACK",
    "AuditEvent",
    "Log",
    "append",
    "is_step_back",
    "lot_entry",
    "order_entries",
]

SKEW_MS: Final = 5_000
"""So far may the clock of one host lie behind another's; behind its own it may not go at all."""
STEPPED_BACK: Final = "clock.step-back"
"""The action by which the log itself says that the clock was found to have been set back."""
IMPORTED: Final = "lot.import"
"""The action that a log begins with."""
ADOPTED: Final = "adopt"
"""The verb for what was there before the log."""
ORDER_ROWS: Final = 100
"""Units whose order one entry holds."""
KINDS: Final[tuple[type[Change], ...]] = (UnitChange, LotMoved, Remade, Setback, OutboxChange, *TOLD)
"""Kinds of change that the log tells of."""

_HEAD: Final = "SELECT size, edge, last, at_ms, host FROM audit_head"
_ADD: Final = added(audit, ("seq", "body", "leaf"))
_MOVE: Final = Prepared(
    {name: audit_head.c[name].type for name in ("size", "edge", "last", "at_ms", "host")},
    lambda given: audit_head.update().ordered_values(*((audit_head.c[name], given[name]) for name in given)),
)


@final
class Log:
    """Appends entries on behalf of one process."""

    def __init__(
        self,
        actor: Actor,
        host: str,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`actor`: who acts where an event does not say; `clock` in seconds since 1970, UTC."""
        self._actor = actor
        self._host = host
        self._clock = clock
        self._monotonic = monotonic

    def append(self, transaction: Transaction, changes: Sequence[Change]) -> None:
        """Write the leaves of a batch whose rows are written already; the last thing that its transaction locks."""
        entries = list(told(changes))
        entries += _unit_entries(transaction, changes)
        entries += _lot_entries(transaction, changes)
        entries += _row_entries(transaction, changes)
        if not entries:
            return
        found: Any = transaction.fetch(_HEAD, lock=True)
        size, stack, before, at_ms, host = found[0]
        edge, last = Edge(size, stack), before.hex()
        if not size and not any(entry.action == IMPORTED for entry in entries):
            entries = list(_adopted(transaction))
        t, mono = int(self._clock() * 1000), int(self._monotonic() * 1000)
        if size and is_step_back(at_ms, host, t, self._host):
            entries.insert(0, _step_back(at_ms - t, self._host))
        rows: list[Row] = []
        leaf = b""
        for seq, entry in enumerate(entries, size):
            body = encode_body(self._body(entry, seq, t, mono, last))
            leaf = hashlib.sha256(b"\x00" + body).digest()
            last = leaf.hex()
            edge.append(leaf)
            rows.append((seq, body.decode(), leaf))
        transaction.run(_ADD, rows, is_change=False)
        transaction.run(_MOVE, [(edge.size, edge.stack, leaf, t, self._host)], is_change=False)

    def _body(self, entry: AuditEvent, seq: int, t: int, mono: int, prev: str) -> Body:
        actor = self._actor
        if entry.actor:
            actor = Actor(entry.auth, entry.actor, actor.session)
        return Body(
            entry.action,
            actor,
            entry.after_hash,
            entry.approvals,
            entry.before_hash,
            self._host,
            mono,
            Subject(entry.object_id, entry.object_type),
            prev,
            entry.reason,
            entry.result,
            seq,
            t,
            VERSION,
        )


def append(transaction: Transaction, changes: Sequence[Change]) -> None:
    """Append as this process does."""
    _of_process(os.getpid()).append(transaction, changes)


def lot_entry(transaction: Transaction, action: str) -> AuditEvent:
    """What is to be written of the lot after its row was changed in this transaction; `reason` is its state."""
    row = transaction.one(LOT.query())
    if row is None:
        raise AssertionError("there is no lot yet")
    return AuditEvent(
        action=action, object_type=LOT.type, object_id=row.lot, reason=row.state, after_hash=row_hash(tuple(row))
    )


def order_entries(units: Sequence[Row]) -> Iterator[AuditEvent]:
    """What is to be written of units added in this transaction, without gaps; rows begin as those of `unit`."""
    for at in range(0, len(units), ORDER_ROWS):
        chunk = units[at : at + ORDER_ROWS]
        yield AuditEvent(
            action="order.add",
            object_type=ORDER,
            object_id=f"{chunk[0][0]}-{chunk[-1][0]}",
            after_hash=ordered_hash(chunk),
        )


def is_step_back(before_ms: int, before_host: str, t_ms: int, host: str) -> bool:
    """Whether a clock went back between an entry and the next."""
    return t_ms < before_ms - (0 if host == before_host else SKEW_MS)


@functools.cache
def _of_process(_pid: int) -> Log:
    """Made anew after a fork, which has its own session."""
    return Log(process_actor(), this_host())


def _step_back(by_ms: int, host: str) -> AuditEvent:
    return AuditEvent(
        action=STEPPED_BACK,
        object_type="clock",
        object_id=host,
        result="noted",
        reason=f"{by_ms} ms behind the entry before",
    )


def _unit_entries(transaction: Transaction, changes: Sequence[Change]) -> list[AuditEvent]:
    """One entry for each unit whose row the batch changed, with the hash of the whole row as it is now."""
    numbers = {change.unit for change in changes if type(change) is UnitChange}
    if not numbers:
        return []
    return [
        AuditEvent(
            action="unit.change",
            object_type=UNIT.type,
            object_id=str(row[0]),
            reason=str(row[len(ORDERED)]),
            after_hash=row_hash(row),
        )
        for row in transaction.units(UNIT.columns, numbers)
    ]


def _lot_entries(transaction: Transaction, changes: Sequence[Change]) -> Iterator[AuditEvent]:
    """Moves of the lot, and units added to it; each with who did it, and by which approval."""
    for change in changes:
        if type(change) is Remade:
            row = transaction.one(sa.select(*(unit.c[name] for name in ORDERED)).where(unit.c.serial == change.serial))
            if row is not None:
                yield from (_by(change, entry, change.reason) for entry in order_entries([tuple(row)]))
                yield _by(change, lot_entry(transaction, "lot.remake"), "")
        elif type(change) is LotMoved:
            yield _by(change, lot_entry(transaction, f"lot.{change.event}"), f"{change.cause}: {change.text}")


_ROW_KINDS: Final = frozenset((Setback, LotMoved, Remade, OutboxChange))


def _row_entries(transaction: Transaction, changes: Sequence[Change]) -> Iterator[AuditEvent]:
    """Rows of rare changes that only the database knows whole: read back, and spoken of with their hash."""
    if _ROW_KINDS.isdisjoint(map(type, changes)):
        return
    setbacks = Counter(change.unit for change in changes if type(change) is Setback)
    for number, times in setbacks.items():
        yield from _newest(transaction, "unit.setback", SETBACK, times, SETBACK.table.c.unit == number)
    # Whoever moves the lot has its row locked, so the newest events are this transaction's.
    moves = sum(type(change) is LotMoved for change in changes)
    yield from _newest(transaction, "lot.event", LOT_EVENT, moves)
    for change in changes:
        if type(change) is Remade:
            made = sa.select(unit.c.n).where(unit.c.serial == change.serial).scalar_subquery()
            yield from _newest(transaction, "unit.remake", REMAKE, 1, REMAKE.table.c.unit == made)
        elif type(change) is OutboxChange:
            yield from _newest(transaction, "record.put-off", OUTBOX, 1, OUTBOX.table.c.seq == change.seq)


def _newest(
    transaction: Transaction, action: str, rows: Rows, number: int, which: sa.ColumnElement[bool] | None = None
) -> Iterator[AuditEvent]:
    """Entries about the last rows of a table, oldest first."""
    if not number:
        return
    query = rows.query() if which is None else rows.query().where(which)
    order = rows.table.c.seq if "seq" in rows.table.c else rows.table.c.unit
    for found in reversed(transaction.all(query.order_by(order.desc()).limit(number))):
        yield AuditEvent(
            action=action,
            object_type=rows.type,
            object_id=rows.name_of(tuple(found)),
            after_hash=row_hash(tuple(found)),
        )


def _by(change: Remade | LotMoved, entry: AuditEvent, why: str) -> AuditEvent:
    """The entry with who did it and why, after what it says itself."""
    reason = "; ".join(filter(None, (entry.reason, why.strip(": "))))
    approvals = (change.approval,) if change.approval else ()
    return structs.replace(entry, actor=change.person, reason=reason, approvals=approvals)


def _adopted(transaction: Transaction) -> Iterator[AuditEvent]:
    """What a store from before there was a log holds, this transaction's changes included: so its log begins."""
    yield lot_entry(transaction, f"{LOT.type}.{ADOPTED}")
    units = [tuple(row) for row in transaction.all(UNIT.query().order_by(unit.c.n))]
    yield from order_entries(units)
    for row in units:
        if row[len(ORDERED) :] != UNTOUCHED:
            yield _adopted_row(UNIT, row)
    for rows in SUBJECTS:
        if rows in (LOT, UNIT):
            continue
        for found in transaction.all(rows.query()):
            yield _adopted_row(rows, tuple(found))


def _adopted_row(rows: Rows, values: Row) -> AuditEvent:
    return AuditEvent(
        action=f"{rows.type}.{ADOPTED}",
        object_type=rows.type,
        object_id=rows.name_of(values),
        after_hash=row_hash(values),
    )
