"""Units that leave the lot: destroyed for good, or given back. In a production lot each takes two signatures.

The ledger's entries follow from the change of state; a unit's own history says who, why and by which approval.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal

from keywright.errors import UsageError
from keywright.production.audit.log import AuditEvent
from keywright.production.people.approvals import Operation
from keywright.production.people.consent import Consent
from keywright.production.unit_store.rows import Change, Event, Lot, Unit, UnitChange
from keywright.production.unit_store.tables import State
from keywright.production.unit_store.transitions import TransitionError, unit_sources
from keywright.production.unit_store.units import UnitStore

Disposal = Literal["destroy", "return"]
STATE_AFTER: Final[dict[Disposal, State]] = {"destroy": "scrapped", "return": "returned"}


def disposable(store: UnitStore, what: Disposal, serials: Iterable[str]) -> list[Unit]:
    """The units of these serials. Raises UsageError for an unknown one or none, TransitionError where it cannot be."""
    found: list[Unit] = []
    sources = unit_sources(STATE_AFTER[what])
    for serial in dict.fromkeys(serials):
        unit = store.find(serial)
        if unit is None:
            raise UsageError(f"the lot has no unit {serial!r}", hint="keywright campaign report lists them")
        if unit.state not in sources:
            raise TransitionError(
                f"{serial} is {unit.state}: it is not to {what}", hint=f"units that are: {', '.join(sources)}"
            )
        found.append(unit)
    if not found:
        raise UsageError(f"no unit to {what} is given", hint="give the serials of the units")
    return found


def operation(lot: Lot, what: Disposal, units: Sequence[Unit], why: str) -> Operation:
    """What is asked for and allowed: these units, each in the state it has now."""
    return Operation(f"unit.{what}", lot.lot, {"units": {unit.serial: unit.state for unit in units}, "why": why})


def dispose(store: UnitStore, what: Disposal, units: Sequence[Unit], why: str, consent: Consent, *, at: float) -> None:
    """Record it of all of them, in one transaction with the use of the approval."""
    changes: list[Change] = []
    told = {"why": why, "person": consent.actor, "approval": consent.approval}
    for unit in units:
        changes += [
            UnitChange(unit.n, {"state": STATE_AFTER[what], "finished_at": at}),
            Event(unit=unit.n, step=what, phase="note", at=at, facts=told | {"state": unit.state}),
        ]
    entry = AuditEvent(
        action=f"unit.{what}",
        object_type="unit-disposal",
        object_id=" ".join(str(unit.n) for unit in units),
        actor=consent.actor,
        reason=why,
        approvals=(consent.approval,) if consent.approval else (),
    )
    store.commit([*changes, *consent.changes, entry])
