"""Life cycle states and the transitions that SET STATUS may make (GPCS 5.1, 5.3, 11.1.1).

Tables, read by both ends: the card refuses what is not in them, the host does not send it.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class CardState(IntEnum):
    """Life cycle of the card, held by the issuer security domain (GPCS table 11-6)."""

    OP_READY = 0x01
    INITIALIZED = 0x07
    SECURED = 0x0F
    CARD_LOCKED = 0x7F
    TERMINATED = 0xFF


class ApplicationState(IntEnum):
    """Life cycle of an application (GPCS table 11-4); bit b8 on top of any of them means locked."""

    INSTALLED = 0x03
    SELECTABLE = 0x07


class DomainState(IntEnum):
    """Life cycle of a security domain other than the issuer's (GPCS table 11-5); b8 on top means locked."""

    INSTALLED = 0x03
    SELECTABLE = 0x07
    PERSONALIZED = 0x0F


LOADED: Final = 0x01
"""Life cycle of a load file (GPCS table 11-3), the only one it has."""
LOCKED: Final = 0x80
"""Bit of an application's or domain's state: it cannot be selected until it is unlocked (GPCS 5.3.1.3)."""
_OWN_STATE: Final = 0x07

CARD_TRANSITIONS = frozenset(
    {
        (CardState.OP_READY, CardState.INITIALIZED),
        (CardState.INITIALIZED, CardState.SECURED),
        (CardState.SECURED, CardState.CARD_LOCKED),
        (CardState.CARD_LOCKED, CardState.SECURED),
        *((state, CardState.TERMINATED) for state in CardState if state != CardState.TERMINATED),
    }
)
"""What SET STATUS may do to a card; every other pair, also a state to itself, is refused with 6985.

OP_READY goes to SECURED through INITIALIZED (figure 5-1): a host that takes both steps works on every card.
"""

DOMAIN_TRANSITIONS: Final = frozenset(
    {
        (DomainState.SELECTABLE, DomainState.PERSONALIZED),
        *((state, state | LOCKED) for state in DomainState),
        *((state | LOCKED, state) for state in DomainState),
    }
)
"""What SET STATUS may do to a security domain. INSTALLED becomes SELECTABLE by INSTALL only."""


def application_states() -> frozenset[int]:
    """Every unlocked state of an application: INSTALLED, and 07 with any bits above that it gave itself."""
    return frozenset({int(ApplicationState.INSTALLED), *(state for state in range(LOCKED) if state & 7 == _OWN_STATE)})


APPLICATION_STATES: Final = application_states()


def may_set_application(old: int, new: int, *, by_itself: bool = False) -> bool:
    """Whether SET STATUS may take an application from one state to another (GPCS 5.3.1, figure 5-2).

    Others may lock it and unlock it, into the state it had. `by_itself`: it may also go between SELECTABLE and its own
    states, and lock itself, but never unlock itself.
    """
    known = APPLICATION_STATES
    if old & ~LOCKED not in known or new & ~LOCKED not in known or old == new:
        return False
    if old ^ new == LOCKED:
        return not (by_itself and old & LOCKED)
    return by_itself and not (old | new) & LOCKED and ApplicationState.INSTALLED not in (old, new)


def may_set_domain(old: int, new: int) -> bool:
    """Whether SET STATUS may take a security domain from one state to another."""
    return (old, new) in DOMAIN_TRANSITIONS


def may_set_card(old: int, new: int) -> bool:
    """Whether SET STATUS may take the card from one state to another."""
    return (old, new) in CARD_TRANSITIONS


def card_path(old: int, new: int) -> tuple[CardState, ...]:
    """The states to set, one after the other, to come from `old` to `new`; empty when no way leads there.

    TERMINATED is only ever the whole way, never a stop on it.
    """
    paths: list[tuple[int, ...]] = [(old,)]
    while paths:
        path = paths.pop(0)
        for state in CardState:
            if (path[-1], state) not in CARD_TRANSITIONS or state in path:
                continue
            if state == new:
                return (*(CardState(step) for step in path[1:]), state)
            if state != CardState.TERMINATED:
                paths.append((*path, state))
    return ()


def name_of(state: int) -> str:
    """Name of a card state, or its number when it has none."""
    try:
        return CardState(state).name
    except ValueError:
        return f"{state:02X}"
