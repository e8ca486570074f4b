"""What the issuer security domain does with an instruction in each state: the table that docs and tests read."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias

from keywright.element.card import Card
from keywright.element.channel import Channel
from keywright.element.channels import manage_channel, select
from keywright.element.data_objects import get_data, store_data
from keywright.element.key_management import delete, put_key
from keywright.element.registry import get_status, set_status
from keywright.element.security_domain import external_authenticate, initialize_update
from keywright.element.state import Transaction
from keywright.globalplatform.life_cycle import CardState
from keywright.globalplatform.messages import Ins
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.status import SW
from keywright.scp.level import Level

Function: TypeAlias = Callable[[Card, Channel, Command, Transaction], Response]


class State(IntEnum):
    """Life of the card and phase of the channel's secure session: no session, challenged, authenticated."""

    IDLE = 0
    CHALLENGED = 1
    AUTHENTICATED = 2
    LOCKED = 3
    LOCKED_CHALLENGED = 4
    LOCKED_AUTHENTICATED = 5
    TERMINATED = 6


class Entry(NamedTuple):
    """What a listed pair does. level: bits of the session that the command needs beyond its authentication."""

    function: Function
    level: int = 0


class Rule(NamedTuple):
    """What holds for an instruction in every state: its classes, and whether secure messaging is never for it."""

    iso: bool
    gp: bool
    bare: bool = False


RULES: Final[dict[int, Rule]] = {
    Ins.SELECT: Rule(iso=True, gp=False, bare=True),
    Ins.MANAGE_CHANNEL: Rule(iso=True, gp=False, bare=True),
    Ins.INITIALIZE_UPDATE: Rule(iso=False, gp=True, bare=True),
    Ins.EXTERNAL_AUTHENTICATE: Rule(iso=False, gp=True),
    Ins.GET_DATA: Rule(iso=True, gp=True),
    Ins.GET_STATUS: Rule(iso=False, gp=True),
    Ins.SET_STATUS: Rule(iso=False, gp=True),
    Ins.PUT_KEY: Rule(iso=False, gp=True),
    Ins.DELETE: Rule(iso=False, gp=True),
    # GPCS 11.11 names the GlobalPlatform class alone; yubikit sends 00, and YubiKeys take it.
    Ins.STORE_DATA: Rule(iso=True, gp=True),
}
"""Every instruction the issuer security domain knows; GET RESPONSE (any class) belongs to the delivery of answers."""

_ALWAYS: Final = {
    Ins.SELECT: Entry(select),
    Ins.MANAGE_CHANNEL: Entry(manage_channel),
    Ins.INITIALIZE_UPDATE: Entry(initialize_update),
    Ins.GET_DATA: Entry(get_data),
}
_CHALLENGED: Final = {Ins.EXTERNAL_AUTHENTICATE: Entry(external_authenticate)}
_CHANGING: Final = {
    Ins.PUT_KEY: Entry(put_key, Level.C_MAC),
    Ins.DELETE: Entry(delete, Level.C_MAC),
    Ins.STORE_DATA: Entry(store_data, Level.C_MAC),
}
_MANAGED: Final = {Ins.GET_STATUS: Entry(get_status), Ins.SET_STATUS: Entry(set_status, Level.C_MAC)}

_BY_STATE: Final[dict[State, dict[int, Entry]]] = {
    State.IDLE: _ALWAYS,
    State.CHALLENGED: _ALWAYS | _CHALLENGED,
    State.AUTHENTICATED: _ALWAYS | _MANAGED | _CHANGING,
    State.LOCKED: _ALWAYS,
    State.LOCKED_CHALLENGED: _ALWAYS | _CHALLENGED,
    State.LOCKED_AUTHENTICATED: _ALWAYS | _MANAGED,
    State.TERMINATED: {Ins.GET_DATA: Entry(get_data)},
}

TABLE: Final[dict[tuple[int, int], Entry]] = {
    (state, ins): entry for state, entries in _BY_STATE.items() for ins, entry in entries.items()
}
"""(state, instruction) -> what happens. Whatever is not listed is refused as `refusal` says and changes nothing."""


def state_of(life: int, phase: int) -> int:
    """The state of a channel: life cycle of the card, and 0 no session, 1 challenged, 2 authenticated."""
    if life == CardState.TERMINATED:
        return State.TERMINATED
    return phase + 3 if life == CardState.CARD_LOCKED else phase


def refusal(state: int, ins: int) -> int:
    """Status word for a known instruction that is not listed in this state (GPCS 5.1.1, 10.2.3)."""
    if state == State.TERMINATED:
        bare = ins in (Ins.SELECT, Ins.MANAGE_CHANNEL)
        return SW.FUNCTION_NOT_SUPPORTED if bare else SW.CONDITIONS_NOT_SATISFIED
    authenticated = State.LOCKED_AUTHENTICATED if state >= State.LOCKED else State.AUTHENTICATED
    return SW.SECURITY_STATUS_NOT_SATISFIED if (authenticated, ins) in TABLE else SW.CONDITIONS_NOT_SATISFIED
