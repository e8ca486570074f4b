"""Giving the audit log of a lot another key: who may, and what is signed before and after."""

from __future__ import annotations

import os
from pathlib import Path

from keywright.errors import KeywrightError
from keywright.production.audit import key_file
from keywright.production.audit.checkpoints import Notary
from keywright.production.audit.key_file import Rng
from keywright.production.audit.log_key import key_changes, key_of
from keywright.production.audit.note import NoteKey
from keywright.production.audit.witness import beside_store
from keywright.production.control.acts import consent_of, given_reason
from keywright.production.control.admission import AskFor
from keywright.production.people.approvals import Operation
from keywright.production.readiness import lot_in
from keywright.production.unit_store.units import UnitStore

ACTION = "audit.rekey"


def rekey(
    units: UnitStore, reason: str, ask_for: AskFor | None, witness: Path | None = None, *, rng: Rng = os.urandom
) -> NoteKey:
    """Give the log another key, as an entry of its own, and sign it with that; returns the key.

    If the old key is there it signs the log for the last time first. In a production lot an administrator asks and an
    auditor allows it. Raises UsageError without a reason, ApprovalError as long as it is not allowed, StoreError.
    """
    lot, known = lot_in(units, units.name), key_of(units)
    facts = {"lot": lot.lot, "key": "" if known is None else str(known), "reason": given_reason(reason)}
    consent = consent_of(units, lot, ask_for, Operation(ACTION, lot.lot, facts))
    place = witness or beside_store(units.path)
    old = None
    if known is not None:
        try:
            old = key_file.signer_for(known, units.path)
        except KeywrightError:
            old = None  # it is lost: that is what this is for
    if old is not None:
        Notary(units, old, place).make()
    signer = key_file.rekey(
        units,
        units.path,
        lot.lot,
        lambda key: [
            *key_changes(key, reason, actor=consent.actor, approval=consent.approval),
            *consent.changes,
        ],
        rng,
    )
    Notary(units, signer, place).make()
    return NoteKey(signer.name, signer.public)
