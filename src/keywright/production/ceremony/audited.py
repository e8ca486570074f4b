"""What an audit log says of a ceremony."""

from __future__ import annotations

from keywright.production.audit.events import AuditEvent
from keywright.production.ceremony.progress import Ceremony
from keywright.production.ceremony.states import State


def audit_event(ceremony: Ceremony) -> AuditEvent:
    """What an audit log says of a ceremony that is over; `after_hash` is the transcript's."""
    return AuditEvent(
        action=f"ceremony.{ceremony.plan.kind}",
        object_type="key",
        object_id=ceremony.plan.key,
        result="ok" if ceremony.state is State.SEALED else "aborted",
        actor=ceremony.plan.host,
        reason=f"{ceremony.plan.id} {ceremony.combined.get('check', '')}".strip(),
        after_hash=ceremony.hash,
        approvals=(ceremony.approval.id,) if ceremony.approval is not None else (),
    )
