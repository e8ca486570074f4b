"""What each kind of change becomes in the log."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from keywright.production.audit.events import AuditEvent
from keywright.production.audit.subjects import (
    APPROVAL,
    APPROVAL_SIGNATURE,
    APPROVAL_USE,
    CERTIFICATE,
    EVENT,
    LABEL,
    OUTBOX,
    REVIEW,
    UNIT_RECORD,
    Rows,
    row_hash,
)
from keywright.production.handover.ledger import LedgerEntry
from keywright.production.handover.outbox import Acknowledged, UnitRecord
from keywright.production.people.approvals import ApprovalRequested, ApprovalSigned, ApprovalUsed
from keywright.production.unit_store.label_rows import LabelPrinted
from keywright.production.unit_store.review_rows import Reviewed
from keywright.production.unit_store.rows import Certificate, Change, Event, to_json

REVIEWED: Final = "log.review"
"""The action by which an auditor signs off entries."""
_NOT_OK: Final = frozenset({"failed", "mismatch"})


def told(changes: Sequence[Change]) -> Iterator[AuditEvent]:
    """The entries of a batch, in its order; of units' rows the log itself tells, once they are written."""
    for change in changes:
        how = TOLD.get(type(change))
        if how is not None:
            yield how(change)


def _event(change: Event) -> AuditEvent:
    facts = to_json(change.facts) if change.facts else "{}"
    return AuditEvent(
        action=f"unit.{change.phase}",
        object_type=EVENT.type,
        object_id=f"{change.unit}/{change.step}/{change.phase}/{change.attempt}",
        result=change.phase if change.phase in _NOT_OK else "ok",
        after_hash=row_hash((change.unit, change.step, change.phase, change.attempt, facts, float(change.at))),
    )


def _certificate(change: Certificate) -> AuditEvent:
    values = (change.serial_number, change.unit, change.spki_sha256, change.der, float(change.at))
    return AuditEvent(
        action="certificate.issue",
        object_type=CERTIFICATE.type,
        object_id=change.serial_number,
        after_hash=row_hash(values),
    )


def _record(change: UnitRecord) -> AuditEvent:
    return _as_row(change, "record.sign", UNIT_RECORD, (change.unit, change.jws, change.cose, float(change.at)))


def _ledger(change: LedgerEntry) -> AuditEvent:
    return AuditEvent(
        action="ledger.move",
        object_type="ledger",
        object_id=f"{change.book}/{change.source}/{change.target}",
        reason=f"{change.quantity}" if change.unit is None else f"{change.quantity}, unit {change.unit}",
    )


def _requested(change: ApprovalRequested) -> AuditEvent:
    return _as_row(change, "approval.request", APPROVAL, actor=change.person, reason=change.action)


def _signed(change: ApprovalSigned) -> AuditEvent:
    return _as_row(change, "approval.sign", APPROVAL_SIGNATURE, actor=change.person)


def _used(change: ApprovalUsed) -> AuditEvent:
    return _as_row(change, "approval.use", APPROVAL_USE, approvals=(change.approval,))


def _reviewed(change: Reviewed) -> AuditEvent:
    return _as_row(change, REVIEWED, REVIEW, actor=change.person, reason=f"entries {change.first} to {change.size - 1}")


def _acknowledged(change: Acknowledged) -> AuditEvent:
    return AuditEvent(action="record.acknowledge", object_type=OUTBOX.type, object_id=change.hash)


def _label(change: LabelPrinted) -> AuditEvent:
    values = (change.unit, change.number, change.approval, float(change.at))
    approvals = (change.approval,) if change.approval else ()
    return _as_row(change, "label.count", LABEL, values, approvals=approvals)


def _as_row(
    change: Change, action: str, rows: Rows, values: tuple[object, ...] = (), *, actor: str = "", **more: Any
) -> AuditEvent:
    """An entry about a row that has the change's fields."""
    values = values or msgspec.structs.astuple(change)
    return AuditEvent(
        action=action,
        object_type=rows.type,
        object_id=rows.name_of(values),
        after_hash=row_hash(values),
        actor=actor,
        auth="ed25519" if actor else "",
        **more,
    )


TOLD: Final[Mapping[type[Change], Callable[[Any], AuditEvent]]] = {
    Event: _event,
    Certificate: _certificate,
    UnitRecord: _record,
    LedgerEntry: _ledger,
    ApprovalRequested: _requested,
    ApprovalSigned: _signed,
    ApprovalUsed: _used,
    LabelPrinted: _label,
    Reviewed: _reviewed,
    Acknowledged: _acknowledged,
    AuditEvent: lambda event: event,
}
"""Every kind of change that has an entry of its own."""
