"""The states of a ceremony as a table. What is not listed is refused.

    drafted -> approved -> open -> loaded -> combined -> confirmed -> executing -> sealed
       |          |         |  ^______|_________|___________|____________|
       '----------'---------'---------'---------'-----------'--> aborted     (reopened: the host had to begin again)

Some moves take several persons: two approve, each custodian loads a part, two witnesses confirm. The table says where
one more of these leads, and where the last of them does.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from keywright.errors import PolicyError


class State(StrEnum):
    """Where a ceremony stands; each word is what the last step achieved."""

    NONE = "none"
    DRAFTED = "drafted"
    APPROVED = "approved"
    OPEN = "open"
    LOADED = "loaded"
    COMBINED = "combined"
    CONFIRMED = "confirmed"
    EXECUTING = "executing"
    SEALED = "sealed"
    ABORTED = "aborted"


class Event(StrEnum):
    """What somebody did. Each is one signed line of the transcript."""

    DRAFT = "draft"
    APPROVE = "approve"
    OPEN = "open"
    REOPEN = "reopen"
    ASK = "ask"
    DEAL = "deal"
    LOAD = "load"
    COMBINE = "combine"
    CONFIRM = "confirm"
    EXECUTE = "execute"
    SEAL = "seal"
    ABORT = "abort"


class Move(NamedTuple):
    """Where an event leads: `before` while more of its kind are needed, `last` with the last one."""

    before: State
    last: State


def _to(state: State) -> Move:
    return Move(state, state)


_S, _E = State, Event

TABLE: Final[Mapping[tuple[State, Event], Move]] = {
    (_S.NONE, _E.DRAFT): _to(_S.DRAFTED),
    (_S.DRAFTED, _E.APPROVE): Move(_S.DRAFTED, _S.APPROVED),
    (_S.DRAFTED, _E.ABORT): _to(_S.ABORTED),
    (_S.APPROVED, _E.OPEN): Move(_S.OPEN, _S.LOADED),
    (_S.APPROVED, _E.ABORT): _to(_S.ABORTED),
    (_S.OPEN, _E.ASK): _to(_S.OPEN),
    (_S.OPEN, _E.DEAL): _to(_S.OPEN),
    (_S.OPEN, _E.LOAD): Move(_S.OPEN, _S.LOADED),
    (_S.OPEN, _E.REOPEN): Move(_S.OPEN, _S.LOADED),
    (_S.OPEN, _E.ABORT): _to(_S.ABORTED),
    (_S.LOADED, _E.COMBINE): _to(_S.COMBINED),
    (_S.LOADED, _E.REOPEN): Move(_S.OPEN, _S.LOADED),
    (_S.LOADED, _E.ABORT): _to(_S.ABORTED),
    (_S.COMBINED, _E.CONFIRM): Move(_S.COMBINED, _S.CONFIRMED),
    (_S.COMBINED, _E.REOPEN): Move(_S.OPEN, _S.LOADED),
    (_S.COMBINED, _E.ABORT): _to(_S.ABORTED),
    (_S.CONFIRMED, _E.EXECUTE): _to(_S.EXECUTING),
    (_S.CONFIRMED, _E.REOPEN): Move(_S.OPEN, _S.LOADED),
    (_S.CONFIRMED, _E.ABORT): _to(_S.ABORTED),
    (_S.EXECUTING, _E.SEAL): _to(_S.SEALED),
    (_S.EXECUTING, _E.REOPEN): Move(_S.OPEN, _S.LOADED),
    (_S.EXECUTING, _E.ABORT): _to(_S.ABORTED),
}
"""(state, event) -> where it leads. For `open` and `reopen`, `last` is a ceremony in which nobody enters a part."""

FINAL: Final = frozenset({State.SEALED, State.ABORTED})
HELD: Final = frozenset({State.OPEN, State.LOADED, State.COMBINED, State.CONFIRMED, State.EXECUTING})
"""States in which the host process holds, or may come to hold, secrets."""


class CeremonyError(PolicyError):
    """A ceremony does not allow this now, or not to this person."""

    code = "ceremony"


def move(state: State, event: Event, *, is_last: bool) -> State:
    """The state after the event. Raises CeremonyError, naming what is possible, for a pair that is not listed."""
    found = TABLE.get((state, event))
    if found is None:
        possible = ", ".join(e for s, e in TABLE if s is state) or "nothing any more"
        raise CeremonyError(f"the ceremony is {state}: {event} is not possible", hint=f"possible: {possible}")
    return found.last if is_last else found.before
