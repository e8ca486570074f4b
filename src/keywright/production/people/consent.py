"""The way of an operation through its approval: asked for now, or allowed already and used up with what it allows."""

from __future__ import annotations

import os
from collections.abc import Callable

import msgspec

from keywright.errors import PolicyError
from keywright.production.audit.log import AuditEvent
from keywright.production.people.approvals import (
    Approval,
    ApprovalChange,
    ApprovalError,
    Operation,
    Signature,
    consume,
    recorded,
    request,
)
from keywright.production.people.people import Directory
from keywright.production.people.person_key import PersonKey
from keywright.production.reports.report import reading
from keywright.production.unit_store import approval_rows
from keywright.production.unit_store.units import UnitStore


class AskedError(ApprovalError):
    """The operation has been asked for and waits for signatures; nothing else was done."""

    code = "asked"


class Consent(msgspec.Struct, frozen=True):
    """What to commit with what was allowed, and by which approval; both empty where none is needed."""

    changes: tuple[ApprovalChange, ...] = ()
    approval: str = ""
    actor: str = ""


def ask(
    store: UnitStore,
    operation: Operation,
    by: PersonKey,
    directory: Directory,
    *,
    at_ms: int,
    rng: Callable[[int], bytes] = os.urandom,
) -> Approval:
    """Ask for an operation in a lot's store; on the disk when this returns. Raises as `approvals.request`."""
    made = request(operation, by, directory, at_ms=at_ms, rng=rng)
    store.commit([*recorded(made), asked_entry(made)])
    return made


def asked_entry(approval: Approval) -> AuditEvent:
    """What the audit log says of a request."""
    return _entry("approval.ask", approval, approval.requested)


def signed_entry(approval: Approval) -> AuditEvent:
    """What the audit log says of the last signature."""
    return _entry("approval.sign", approval, approval.approved[-1])


def _entry(action: str, approval: Approval, signature: Signature) -> AuditEvent:
    return AuditEvent(
        action=action,
        object_type="approval",
        object_id=approval.id,
        actor=signature.person,
        auth="ed25519",
        reason=f"{approval.operation.action} {approval.operation.object}",
        after_hash=approval.operation.digest.hex(),
    )


def given(store: UnitStore, operation: Operation, directory: Directory, *, at_ms: int) -> Consent:
    """The approval in the store that allows exactly this, to be used up in the transaction of what it allows.

    Raises ApprovalError, with the command that asks or signs, if there is none that does.
    """
    with reading(store) as connection:
        asked = approval_rows.unused_for(connection, operation)
    if not asked:
        raise ApprovalError(
            f"{operation.action} {operation.object} has not been asked for",
            hint=f"give --by KEY of a {' or '.join(operation.rule.request)} to ask for it",
        )
    refusals: list[PolicyError] = []
    # Whoever asks once more does not undo what was signed before.
    for one in asked:
        try:
            changes = consume(one, operation, directory, at_ms=at_ms)
        except PolicyError as error:
            refusals.append(error)
        else:
            return Consent(tuple(changes), one.id, one.requested.person)
    raise refusals[0]


def given_or_asked(
    store: UnitStore,
    operation: Operation,
    directory: Directory,
    by: PersonKey | None,
    *,
    at_ms: int,
    rng: Callable[[int], bytes] = os.urandom,
) -> Consent:
    """As `given`; if there is no valid approval and `by` is given, asks for one and raises AskedError with its id."""
    try:
        return given(store, operation, directory, at_ms=at_ms)
    except ApprovalError:
        if by is None:
            raise
    made = ask(store, operation, by, directory, at_ms=at_ms, rng=rng)
    raise AskedError(
        f"asked for {operation.action} {operation.object}: approval {made.id}",
        hint=f"have it signed (keywright approve sign {made.id} ...), then give the same command again",
    )
