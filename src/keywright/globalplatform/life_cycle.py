"""Life cycle states and the transitions that SET STATUS may make (GPCS 5.1, 5.3, 11.1.1)."""

from __future__ import annotations

from enum import IntEnum


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


def name_of(state: int) -> str:
    """Name of a card state, or its number when it has none."""
    try:
        return CardState(state).name
    except ValueError:
        return f"{state:02X}"
