"""How units and lots go from state to state: two tables. What is not listed is refused, by the store itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from keywright.errors import StoreError
from keywright.production.unit_store.tables import State

UnitMove = Literal["begin", "seal", "set aside", "reject", "rework", "scrap", "return"]

UNIT: Final[Mapping[tuple[State, UnitMove], State]] = {
    ("planned", "begin"): "running",
    ("planned", "seal"): "sealed",  # a whole recipe in one commit: one that only reads
    ("planned", "set aside"): "quarantined",
    ("planned", "reject"): "rejected",
    ("planned", "return"): "returned",
    ("running", "seal"): "sealed",
    ("running", "set aside"): "quarantined",
    ("running", "reject"): "rejected",
    ("rework", "begin"): "running",
    ("rework", "seal"): "sealed",
    ("rework", "set aside"): "quarantined",
    ("rework", "reject"): "rejected",
    ("quarantined", "rework"): "rework",
    ("quarantined", "scrap"): "scrapped",
    ("quarantined", "return"): "returned",
    ("rejected", "scrap"): "scrapped",
    ("sealed", "scrap"): "scrapped",
    ("sealed", "return"): "returned",
    ("returned", "scrap"): "scrapped",
}
"""(state, what happens) -> state. A rejected unit's record is spoiled: it is scrapped, or made anew as another."""

LotState = Literal["open", "waiting", "stopped", "complete", "closed"]
LotMove = Literal["wait", "approve", "accept", "stop", "release", "finish", "reopen", "recipe", "close"]

LOT: Final[Mapping[tuple[LotState, LotMove], LotState]] = {
    ("open", "wait"): "waiting",
    ("open", "stop"): "stopped",
    ("open", "finish"): "complete",
    ("open", "recipe"): "open",
    ("waiting", "approve"): "open",
    ("waiting", "accept"): "open",
    ("waiting", "recipe"): "open",
    ("waiting", "reopen"): "open",
    ("waiting", "stop"): "stopped",
    ("stopped", "release"): "open",
    ("stopped", "finish"): "complete",
    ("complete", "reopen"): "open",
    ("open", "close"): "closed",
    ("stopped", "close"): "closed",
    ("complete", "close"): "closed",
}
"""(state, what happens) -> state.

open: units are taken up. waiting: for persons to approve the recipe, or to accept the first article. stopped: a breaker
opened. complete: no unit is left to do. closed: for good.
"""


class TransitionError(StoreError):
    """What was asked does not happen to a unit, or a lot, in the state that it is in; nothing changed."""

    code = "state"
    hint = "look at how it stands now: keywright campaign status"


def unit_sources(target: State) -> tuple[State, ...]:
    """States from which one move leads to `target`."""
    return tuple(dict.fromkeys(source for (source, _), to in UNIT.items() if to == target))


def lot_sources(move: LotMove) -> tuple[LotState, ...]:
    """States in which this may happen to a lot."""
    return tuple(source for source, by in LOT if by == move)


def lot_target(move: LotMove) -> LotState:
    """Where this leads, wherever it begins."""
    return next(to for (_, by), to in LOT.items() if by == move)
