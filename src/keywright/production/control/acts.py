"""What persons decide about a lot and its units: let it go on, work on a unit again, make one anew, change the recipe.

In a production lot each needs an approval, used up in the transaction of what it allows. A unit is never taken up again
blindly: whoever works on one that was set aside reads its history and asks its probes, and attempts go on counting.
"""

from __future__ import annotations

from typing import Any

from keywright.errors import PolicyError, UsageError
from keywright.production.audit.events import AuditEvent
from keywright.production.control.admission import (
    FIRST_ARTICLE,
    RECIPE,
    AskFor,
    asked,
    cause_of_waiting,
    first_article,
    is_production,
    is_production_lot,
)
from keywright.production.means import SIM
from keywright.production.order import fault_of_serial
from keywright.production.people.approvals import Operation
from keywright.production.people.consent import Consent
from keywright.production.readiness import lot_in
from keywright.production.recipe import Recipe
from keywright.production.reports.report import reading
from keywright.production.unit_store.control_rows import LotMoved, Remade, last_event
from keywright.production.unit_store.rows import Change, Event, UnitChange
from keywright.production.unit_store.tables import FINISHED
from keywright.production.unit_store.transitions import LotMove, TransitionError
from keywright.production.unit_store.units import Lot, Unit, UnitStore


def release(units: UnitStore, reason: str, ask_for: AskFor | None, *, at: float) -> str:
    """Let a lot go on that was stopped, or whose first article waits; what it was stopped for.

    Raises TransitionError if it neither was stopped nor waits, ApprovalError as long as it is not allowed.
    """
    lot = lot_in(units, units.name)
    with reading(units) as connection:
        stood = last_event(connection, "stop", "wait")
    if stood is None or lot.state not in ("stopped", "waiting"):
        raise TransitionError(f"the lot {lot.lot!r} is {lot.state}: there is nothing to release", hint="go on with it")
    if stood.cause == RECIPE and lot.state == "waiting":
        raise TransitionError(f"the lot {lot.lot!r}: {stood.text}", hint="keywright campaign run … --people --by KEY")
    move: LotMove = "accept" if lot.state == "waiting" else "release"
    if move == "accept":
        _check_article(units)
    action = "campaign.first-article" if move == "accept" else "campaign.resume"
    counts = {state: number for state, number in units.counts().items() if number}
    facts = {
        "stop": stood.seq,
        "cause": stood.cause,
        "text": stood.text,
        "reason": given_reason(reason),
        "units": counts,
    }
    consent = consent_of(units, lot, ask_for, Operation(action, lot.lot, facts))
    moved = LotMoved(event=move, at=at, cause=stood.cause, text=reason, person=consent.actor, approval=consent.approval)
    units.commit([moved, *consent.changes])
    return stood.text


def _check_article(units: UnitStore) -> None:
    """Raise PolicyError if there is no good unit that could be accepted as first article."""
    if not units.counts()["sealed"]:
        raise PolicyError(
            "no unit of the first article is sealed: there is nothing to accept",
            hint="rework one that is quarantined (campaign rework), or make one anew (campaign remake)",
        )


def rework(units: UnitStore, serial: str, reason: str, ask_for: AskFor | None, *, at: float) -> Unit:
    """Have a quarantined unit taken up again by the next run: its probes first, its history kept.

    Raises UsageError for a serial that the lot does not have, TransitionError for a unit in another state.
    """
    lot, unit = lot_in(units, units.name), _unit(units, serial)
    if unit.state != "quarantined":
        raise TransitionError(
            f"{serial} is {unit.state}: only a quarantined unit is worked on again",
            hint="one that was rejected or scrapped is made anew: keywright campaign remake",
        )
    number = sum(event.step == "rework" for event in units.events(unit.n)) + 1
    facts: dict[str, Any] = {
        "failure": unit.failure_code,
        "step": unit.step,
        "reason": given_reason(reason),
        "rework": number,
    }
    consent = consent_of(units, lot, ask_for, Operation("unit.rework", serial, {"lot": lot.lot, **facts}))
    told = facts | {"text": unit.failure_text, "person": consent.actor, "approval": consent.approval}
    state = {"state": "rework", "failure_code": "", "failure_text": "", "finished_at": None}
    units.commit(
        [
            UnitChange(unit.n, state),
            Event(unit=unit.n, step="rework", phase="note", attempt=number, facts=told, at=at),
            *_reopened(units, lot, at, f"{serial} is worked on again", consent),
            *consent.changes,
        ]
    )
    return unit


def unpin(units: UnitStore, serial: str, reason: str, ask_for: AskFor | None, *, at: float) -> str:
    """Let any station go on with a unit that stood on one station's reader; the name of that station.

    Whoever takes it up probes it first. Raises UsageError for a serial that the lot does not have, TransitionError for
    a unit that stands on no station, is finished, or that somebody works on, PolicyError for a simulated one: its
    device is in its station's memory and cannot be carried to another.
    """
    lot, unit = lot_in(units, units.name), _unit(units, serial)
    if not unit.pinned:
        raise TransitionError(f"{serial} stands on no station: any of them may take it up")
    if unit.state in FINISHED:
        raise TransitionError(f"{serial} is {unit.state}: nobody has to go on with it")
    if unit.until is not None:
        raise TransitionError(
            f"{unit.station} works on {serial}", hint="stop that station first; its lease ends by itself"
        )
    if lot.link.startswith(SIM):
        raise PolicyError(
            f"{serial} is simulated: its device is in the memory of {unit.pinned}, not on a reader",
            hint="start that station again",
        )
    number = sum(event.step == "unpin" for event in units.events(unit.n)) + 1
    facts: dict[str, Any] = {"station": unit.pinned, "reason": given_reason(reason), "unpin": number}
    consent = consent_of(units, lot, ask_for, Operation("unit.unpin", serial, {"lot": lot.lot, **facts}))
    told = facts | {"person": consent.actor, "approval": consent.approval}
    entry = AuditEvent(
        action="unit.unpin",
        object_type="unit",
        object_id=str(unit.n),
        actor=consent.actor,
        reason=reason,
        approvals=(consent.approval,) if consent.approval else (),
    )
    released = UnitChange(unit.n, {"pinned": ""})
    event = Event(unit=unit.n, step="unpin", phase="note", attempt=number, facts=told, at=at)
    units.commit([released, event, *consent.changes, entry])
    return unit.pinned


def remake(units: UnitStore, serial: str, new_serial: str, reason: str, ask_for: AskFor | None, *, at: float) -> Unit:
    """Add a unit under a new serial instead of one whose record is spoiled: new keys, new certificate, once.

    Raises UsageError for a serial that the lot does not have, TransitionError unless it is rejected or scrapped,
    ConflictError if it was made anew before or the new serial is taken.
    """
    if why := fault_of_serial(new_serial):
        raise UsageError(f"the serial {new_serial[:80]!r} {why}", hint="give another one with --serial")
    lot, old = lot_in(units, units.name), _unit(units, serial)
    facts = {"lot": lot.lot, "serial": new_serial, "state": old.state, "reason": given_reason(reason)}
    consent = consent_of(units, lot, ask_for, Operation("unit.remake", serial, facts))
    made = Remade(
        instead_of=old.n, serial=new_serial, reason=reason, at=at, person=consent.actor, approval=consent.approval
    )
    text = f"{new_serial} is made instead of {serial}"
    units.commit([made, *_reopened(units, lot, at, text, consent), *consent.changes])
    return _unit(units, new_serial)


def change_recipe(units: UnitStore, recipe: Recipe, reason: str, ask_for: AskFor | None, *, at: float) -> None:
    """Give a lot of which no unit was begun another recipe. Raises PolicyError once one was: it stays as it began."""
    lot = lot_in(units, units.name)
    if recipe.name != lot.lot:
        raise PolicyError(f"the lot is {lot.lot!r}, the recipe is for {recipe.name!r}", hint="a lot keeps its name")
    counts = units.counts()
    begun = sum(counts.values()) - counts["planned"]
    if begun or next(units.events(), None) is not None:
        raise PolicyError(
            f"{max(begun, 1)} units of lot {lot.lot!r} were begun by its recipe; it is pinned to it",
            hint="finish the lot by it, or return its blank units and begin another lot",
        )
    facts = {"lot": lot.lot, "instead_of": lot.recipe_digest, "reason": given_reason(reason)}
    operation = Operation("recipe.approve", recipe.digest, facts)
    produces = is_production_lot(lot) or is_production(recipe, test=lot.test, link=lot.link)
    consent = asked(ask_for, units, operation) if produces else Consent()
    moved = LotMoved(
        event="recipe",
        at=at,
        cause="recipe",
        text=reason,
        person=consent.actor,
        approval=consent.approval,
        recipe=(recipe.text, recipe.digest),
        allowed=first_article(recipe, test=lot.test, link=lot.link),
    )
    units.commit([moved, *consent.changes])


def _reopened(units: UnitStore, lot: Lot, at: float, text: str, consent: Consent) -> list[Change]:
    """A lot that was done, or whose first article waits, is worked on again; any other stays as it is."""
    waits = lot.state == "waiting" and cause_of_waiting(units) == FIRST_ARTICLE
    if not (waits or lot.state == "complete"):
        return []
    return [LotMoved(event="reopen", at=at, text=text, person=consent.actor, approval=consent.approval)]


def consent_of(units: UnitStore, lot: Lot, ask_for: AskFor | None, operation: Operation) -> Consent:
    """The approval that a production lot needs; any other needs none. Raises as `asked`."""
    return asked(ask_for, units, operation) if is_production_lot(lot) else Consent()


def _unit(units: UnitStore, serial: str) -> Unit:
    found = units.find(serial)
    if found is None:
        raise UsageError(f"the lot has no unit {serial!r}", hint="keywright campaign report --csv lists all of them")
    return found


def given_reason(reason: str) -> str:
    """The reason. Raises UsageError for an empty one."""
    if not reason.strip():
        raise UsageError("a reason is missing", hint="say why with --why")
    return reason
