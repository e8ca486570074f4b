"""What a step says of itself as data: what it does, how that is found out again, and how patient the line is with it.

The declarations of our steps stand in `steps/declared.py`; a step of another package gives its own as `DECLARED` in
its module, or has `UNDECLARED`.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Kind = Literal["pure", "device", "hsm", "db"]
"""Where an action does its work: nowhere but in memory, on the unit, in the keystore, in the unit store."""

Retry = Literal["again", "probe", "proof"]
"""How an action may be repeated after an interruption.

again: as it is, for it only reads, or gives the same every time. probe: only where its probe found that it had not
taken effect. proof: only after the card cryptogram of a fresh INITIALIZE UPDATE fitted, for it may cost one of the
unit's tries.
"""


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """One thing a step does. `name` is how it stands in the store's events.

    `does` is the command or deed; `probe` what is read to find out whether it took effect; `applied` and `repair` what
    follows when it had, and when it had not; `undo` how it can be taken back on the same unit, empty when it cannot.
    """

    name: str
    kind: Kind
    does: str
    retry: Retry
    probe: str = ""
    applied: str = ""
    repair: str = ""
    undo: str = ""


class Declaration(msgspec.Struct, frozen=True, kw_only=True):
    """A step: its actions in their order, and how patient the line is unless the recipe says otherwise.

    `timeout_s`: seconds that a unit may take for the step while its answer is waited for. `retries`: how often a unit
    is reset and probed in one run after a transient failure. `backoff_s`: rest before the first of these, doubled
    before each further one. `prepares_from`: the columns of an order of which the step's `prepare` needs all, so that
    a part of its work can be done before the device is there; empty for a step that prepares nothing.
    """

    actions: tuple[Action, ...] = ()
    prepares_from: tuple[str, ...] = ()
    timeout_s: float = 60.0
    retries: int = 2
    backoff_s: float = 0.1

    def action(self, name: str) -> Action | None:
        """The action of that name, if it is declared."""
        return next((action for action in self.actions if action.name == name), None)


UNDECLARED: Final = Declaration()
"""What is assumed of a step that says nothing of itself."""

LONGEST_REST_S: Final = 60.0


class Patience(msgspec.Struct, frozen=True):
    """How patient the line is with one step of a recipe: what was declared, or what the recipe says."""

    timeout_s: float
    retries: int
    backoff_s: float

    def rest_s(self, retry: int) -> float:
        """Seconds of rest before the n-th retry, counted from 1."""
        return min(self.backoff_s * 2.0 ** (retry - 1), LONGEST_REST_S)
