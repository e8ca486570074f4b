"""The life of a key (NIST SP 800-57 Part 1, 7): its states, what may follow what, and what each still allows."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from keywright.production.keystores.keystore_failure import KeystoreRefusedError


class KeyState(StrEnum):
    """Where a key is in its life."""

    PRE_ACTIVE = "pre-active"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DEACTIVATED = "deactivated"
    COMPROMISED = "compromised"
    DESTROYED = "destroyed"


TRANSITIONS: Final = frozenset(
    {
        (KeyState.PRE_ACTIVE, KeyState.ACTIVE),
        (KeyState.PRE_ACTIVE, KeyState.COMPROMISED),
        (KeyState.PRE_ACTIVE, KeyState.DESTROYED),
        (KeyState.ACTIVE, KeyState.SUSPENDED),
        (KeyState.ACTIVE, KeyState.DEACTIVATED),
        (KeyState.ACTIVE, KeyState.COMPROMISED),
        (KeyState.SUSPENDED, KeyState.ACTIVE),
        (KeyState.SUSPENDED, KeyState.DEACTIVATED),
        (KeyState.SUSPENDED, KeyState.COMPROMISED),
        (KeyState.DEACTIVATED, KeyState.COMPROMISED),
        (KeyState.DEACTIVATED, KeyState.DESTROYED),
        (KeyState.COMPROMISED, KeyState.DESTROYED),
        # A copy of a key that was destroyed may still turn up.
        (KeyState.DESTROYED, KeyState.COMPROMISED),
    }
)
"""Every change of state that is allowed; a pair that is not here is refused."""

ORIGINATING: Final = frozenset({KeyState.ACTIVE})
"""States in which a key makes something new: derives keys for a card, wraps them, signs a certificate."""

USABLE: Final = frozenset({KeyState.ACTIVE, KeyState.SUSPENDED, KeyState.DEACTIVATED, KeyState.COMPROMISED})
"""States in which a key still opens and verifies what was made with it: a compromised one has to be replaced on the
cards that hold it, and only it opens them."""


class KeyStateError(KeystoreRefusedError):
    """The key may not be used so, or not be brought into that state."""

    code = "key-state"


def check_transition(name: str, state: KeyState, to: KeyState) -> None:
    """Raise KeyStateError unless a key in `state` may be brought into `to`."""
    if (state, to) not in TRANSITIONS:
        possible = ", ".join(sorted(after for before, after in TRANSITIONS if before is state))
        raise KeyStateError(f"the key {name!r} is {state} and cannot become {to}", hint=f"it can become {possible}")
