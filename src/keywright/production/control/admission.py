"""May the lot begin, go on, or is it done? What is asked before units are taken up, and after the last one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final, TypeAlias

import sqlalchemy as sa

from keywright.errors import PolicyError
from keywright.production.control.brake import LotBrake
from keywright.production.means import SIM, Means
from keywright.production.people.approvals import Operation
from keywright.production.people.consent import Consent
from keywright.production.recipe import Recipe, parse_recipe
from keywright.production.reports.report import reading
from keywright.production.unit_store.control_rows import LotMoved, last_event
from keywright.production.unit_store.tables import OPEN, unit
from keywright.production.unit_store.transitions import TransitionError
from keywright.production.unit_store.units import Lot, UnitStore

AskFor: TypeAlias = Callable[[UnitStore, Operation], Consent]
"""Gets the approval of an operation, or raises ApprovalError."""

RECIPE: Final = "recipe"
"""Cause for which a new lot waits."""
FIRST_ARTICLE: Final = "first-article"
"""Cause for which a lot waits whose first units are done."""
AGAIN: Final = "it was run again"


def is_production(recipe: Recipe, *, test: bool, link: str) -> bool:
    """Whether a lot produces: real devices with keys that protect something, or because its recipe says so."""
    return recipe.environment == "production" or not (test or link.startswith(SIM))


def is_production_lot(lot: Lot) -> bool:
    """The same of a lot that has begun."""
    return is_production(recipe_of(lot), test=lot.test, link=lot.link)


def recipe_of(lot: Lot) -> Recipe:
    """The recipe that a lot is pinned to: the text in its store."""
    return parse_recipe(lot.recipe.encode(), f"{lot.lot} (as stored)")


def first_article(recipe: Recipe, *, test: bool, link: str) -> int | None:
    """Fresh units that may be taken up before the first article is accepted; None for all."""
    return recipe.control.limits(production=is_production(recipe, test=test, link=link)).first_article or None


def brake_of(units: UnitStore, lot: Lot, means: Means) -> LotBrake:
    """What stops a lot by the limits of its recipe."""
    recipe = recipe_of(lot)
    production = is_production(recipe, test=lot.test, link=lot.link)
    return LotBrake(units, recipe.control.limits(production=production), clock=means.clock)


def at_import(recipe: Recipe, *, test: bool, link: str, at: float) -> list[LotMoved]:
    """What is written with a new lot: one that produces waits for its recipe to be approved."""
    if not is_production(recipe, test=test, link=link):
        return []
    text = f"the recipe {recipe.digest[:16]} is to be approved by two persons"
    return [LotMoved(event="wait", at=at, cause=RECIPE, text=text)]


def _approve_recipe(units: UnitStore, lot: Lot, means: Means) -> None:
    """Use the approval of the very recipe, order, keystore and link. Raises ApprovalError as long as there is none."""
    facts = {"lot": lot.lot, "order": lot.order_digest, "keystore": lot.keystore_id, "link": lot.link}
    consent = asked(means.ask_for, units, Operation("recipe.approve", lot.recipe_digest, facts))
    moved = LotMoved(event="approve", at=means.clock(), cause=RECIPE, person=consent.actor, approval=consent.approval)
    units.commit([moved, *consent.changes])


def asked(ask_for: AskFor | None, units: UnitStore, operation: Operation) -> Consent:
    """The approval of an operation. Raises PolicyError if nobody was named who could give one."""
    if ask_for is None:
        raise PolicyError(
            f"{operation.rule.words}: two persons have to allow it ({operation.action})",
            hint="give the line's people with --people FILE, and who asks with --by KEY",
        )
    return ask_for(units, operation)


def admit(units: UnitStore, lot: Lot, means: Means) -> None:
    """See that the lot may go on. A stopped lot that produces nothing is released by running it again.

    Raises PolicyError for one that was stopped, that waits for its first article to be accepted, or that is closed.
    """
    if lot.state == "complete":
        return
    if lot.state == "open":
        _judge_again(units, lot, means)
        return
    if lot.state == "stopped" and not is_production_lot(lot):
        units.commit([LotMoved(event="release", at=means.clock(), cause="run", text=AGAIN)])
        return
    if lot.state == "waiting" and cause_of_waiting(units) == RECIPE:
        _approve_recipe(units, lot, means)
        return
    if lot.state == "closed":
        raise PolicyError(f"the lot {lot.lot!r} is closed", hint="begin another one, in another --store")
    raise PolicyError(
        f"the lot {lot.lot!r}: {brake_of(units, lot, means).why()}",
        hint=f"look at its units, then: keywright campaign release --store {units.name} --why TEXT",
    )


def _judge_again(units: UnitStore, lot: Lot, means: Means) -> None:
    """Stop a lot that produces for failures after which whoever recorded them was killed before it could."""
    if is_production_lot(lot) and (stopped := brake_of(units, lot, means).failed()):
        raise PolicyError(
            f"the lot {lot.lot!r}: {stopped}",
            hint=f"look at its units, then: keywright campaign release --store {units.name} --why TEXT",
        )


def cause_of_waiting(units: UnitStore) -> str:
    """What a lot that waits was last told to wait for; empty if it never was."""
    with reading(units) as connection:
        found = last_event(connection, "wait")
    return "" if found is None else found.cause


def settle(units: UnitStore, lot: Lot, means: Means) -> str:
    """Have the store say how the lot stands after a run: why it waits or was stopped, or nothing. Anyone may ask."""
    fresh = units.lot() or lot
    move = _due(units, fresh, means.clock())
    if move is not None:
        with contextlib.suppress(TransitionError):  # another worker was faster
            units.commit([move])
        fresh = units.lot() or fresh
    return brake_of(units, fresh, means).why() if fresh.state in ("stopped", "waiting") else ""


def _due(units: UnitStore, lot: Lot, at: float) -> LotMoved | None:
    """What happens to a lot by itself: the first article is done, or everything."""
    of_first_article, of_lot = _left(units, lot.allowed)
    if lot.allowed is not None and not of_first_article:
        text = f"the first article (units 1 to {lot.allowed}) is to be accepted"
        wait = LotMoved(event="wait", at=at, cause=FIRST_ARTICLE, text=text)
        return wait if lot.state == "open" else None
    if lot.state in ("open", "stopped") and not of_lot:
        return LotMoved(event="finish", at=at)
    return None


def _left(units: UnitStore, allowed: int | None) -> tuple[int, int]:
    """Units that are not done: of the first article, and of the lot."""
    query = sa.select(sa.func.count()).select_from(unit).where(unit.c.state.in_(OPEN))
    with reading(units) as connection:
        first = connection.execute(query.where(unit.c.n <= (allowed or 0))).scalar_one()
        return int(first), int(connection.execute(query).scalar_one())
