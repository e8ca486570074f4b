"""Approvals as rows of a store: what writes them, and what finds them again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from keywright.production.people.approvals import (
    Approval,
    ApprovalChange,
    ApprovalError,
    ApprovalRequested,
    ApprovalSigned,
    ApprovalUsed,
    Operation,
    Signature,
)
from keywright.production.unit_store.handover_tables import approval, approval_signature, approval_use
from keywright.production.unit_store.transaction import Transaction, added

KINDS: Final = (ApprovalRequested, ApprovalSigned, ApprovalUsed)

_REQUESTED: Final = added(approval, ApprovalRequested.__struct_fields__)
_SIGNED: Final = added(approval_signature, ApprovalSigned.__struct_fields__)
_USED: Final = added(approval_use, ApprovalUsed.__struct_fields__)
_STATEMENTS: Final = ((ApprovalRequested, _REQUESTED), (ApprovalSigned, _SIGNED), (ApprovalUsed, _USED))


def write(transaction: Transaction, changes: Sequence[ApprovalChange]) -> None:
    """A row each. Raises ApprovalError if the store already has approvals of people of another directory."""
    for kind, statement in _STATEMENTS:
        transaction.run(statement, [msgspec.structs.astuple(change) for change in changes if type(change) is kind])
    if any(type(change) is ApprovalRequested for change in changes):
        found = transaction.all(sa.select(approval.c.directory).distinct())
        if len(found) > 1:
            raise ApprovalError(
                "the lot knows the people of another directory", hint="give the lot's own directory with --people"
            )


def found(connection: sa.Connection, approval_id: str) -> Approval | None:
    """The approval with that id."""
    return next(_read(connection, approval.c.id == approval_id), None)


def unused_for(connection: sa.Connection, operation: Operation) -> list[Approval]:
    """The approvals of exactly this operation that have not been used, newest first, whether complete or not."""
    return list(_read(connection, approval.c.digest == operation.digest, used=False))


def listed(connection: sa.Connection, *, used: bool | None = None) -> Iterator[Approval]:
    """All approvals, newest first; only those that have been used, or have not."""
    return _read(connection, sa.true(), used=used)


def is_used(connection: sa.Connection, approval_id: str) -> bool:
    """Whether the approval has allowed something."""
    query = sa.select(approval_use.c.approval).where(approval_use.c.approval == approval_id)
    return connection.execute(query).first() is not None


def _read(
    connection: sa.Connection, condition: sa.ColumnElement[bool], *, used: bool | None = None
) -> Iterator[Approval]:
    query = sa.select(approval).where(condition).order_by(approval.c.at_ms.desc(), approval.c.id)
    if used is not None:
        there = sa.exists().where(approval_use.c.approval == approval.c.id)
        query = query.where(there if used else ~there)
    for row in connection.execute(query).all():
        yield _approval(connection, row)


def _approval(connection: sa.Connection, row: sa.Row[Any]) -> Approval:
    columns = approval_signature.c
    query = sa.select(approval_signature).where(columns.approval == row.id).order_by(columns.at_ms, columns.person)
    signed = tuple(Signature(more.person, more.at_ms, bytes(more.signature)) for more in connection.execute(query))
    operation = Operation(row.action, row.object, msgspec.json.decode(row.facts))
    asked = Signature(row.person, row.at_ms, bytes(row.signature))
    return Approval(row.id, row.directory, operation, asked, signed)
