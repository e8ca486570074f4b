"""The key of a log, named in the log itself: one that is missing or another is seen, and an entry changes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from keywright.production.audit.checkpoints import Store
from keywright.production.audit.events import AuditEvent
from keywright.production.audit.note import NoteKey
from keywright.production.unit_store.rows import Change
from keywright.production.unit_store.tables import audit_checkpoint, audit_head
from keywright.production.unit_store.transaction import Transaction

KEY: Final = "log.key"
"""The action of an entry that names the log's key: the first, and every one after it."""


class KeyNamed(Change, frozen=True):
    """A change: from now on this key signs the log; `vkey` as `NoteKey` writes it."""

    vkey: str


def write_keys(transaction: Transaction, changes: Sequence[KeyNamed]) -> None:
    """Beside the head of the log, where it is found without a look through the entries."""
    for change in changes:
        transaction.execute(audit_head.update().values(vkey=change.vkey))


def key_changes(key: NoteKey, reason: str, *, actor: str = "", approval: str = "") -> tuple[Change, ...]:
    """What to commit when a log gets its first key, or another."""
    told = AuditEvent(
        action=KEY,
        object_type="log-key",
        object_id=str(key),
        reason=reason,
        actor=actor,
        approvals=(approval,) if approval else (),
    )
    return KeyNamed(str(key)), told


def key_of(store: Store) -> NoteKey | None:
    """The key that the log says it has, or, of one from before logs said so, that signed it last."""
    last = sa.select(audit_checkpoint.c.vkey).order_by(audit_checkpoint.c.size.desc()).limit(1)
    with store.reading() as reader:
        found = reader.execute(sa.select(audit_head.c.vkey)).scalar_one() or reader.execute(last).scalar()
    return NoteKey.parse(found) if found else None
