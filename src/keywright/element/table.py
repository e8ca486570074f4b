"""What a security domain does with an instruction in each state: the table that docs and tests read."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias

from keywright.element.card import Card
from keywright.element.channel import Channel
from keywright.element.channels import manage_channel, select
from keywright.element.data_objects import get_data
from keywright.element.deletion import delete
from keywright.element.installation import install
from keywright.element.loading import load
from keywright.element.openers import begin_r_mac, end_r_mac, open_session
from keywright.element.personalization import store
from keywright.element.put_key import generate_ec_key, put_key
from keywright.element.set_status import set_status
from keywright.element.state import Transaction
from keywright.element.status import get_status
from keywright.globalplatform.life_cycle import CardState
from keywright.globalplatform.messages import Ins
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.status import SW
from keywright.scp.level import Level

Function: TypeAlias = Callable[[Card, Channel, Command, Transaction], Response]


class State(IntEnum):
    """Life of the card and phase of the channel's secure session.

    No session; one being opened; one with the owner of the security domain; one with somebody who has not proven to be
    the owner (SCP11b, and whoever is merely known).
    """

    IDLE = 0
    CHALLENGED = 1
    AUTHENTICATED = 2
    UNAUTHENTICATED = 3
    LOCKED = 4
    LOCKED_CHALLENGED = 5
    LOCKED_AUTHENTICATED = 6
    LOCKED_UNAUTHENTICATED = 7
    TERMINATED = 8


class Entry(NamedTuple):
    """What a listed pair does.

    level: bits of the session that the command needs beyond its authentication, on cards whose profile says
    `changes_need_mac`.
    """

    function: Function
    level: int = 0


class Rule(NamedTuple):
    """What holds for an instruction in every state: its classes, and what it is.

    bare: secure messaging is never for it. opens: it is a step of opening a session. optional: it exists only where a
    protocol that the security domain offers has it.
    """

    iso: bool
    gp: bool
    bare: bool = False
    opens: bool = False
    optional: bool = False


RULES: Final[dict[int, Rule]] = {
    Ins.SELECT: Rule(iso=True, gp=False, bare=True),
    Ins.MANAGE_CHANNEL: Rule(iso=True, gp=False, bare=True),
    Ins.INITIALIZE_UPDATE: Rule(iso=False, gp=True, bare=True, opens=True),
    # The ISO class of these is that of SCP10 (GPCS F.4), GlobalPlatform's that of the other protocols.
    Ins.EXTERNAL_AUTHENTICATE: Rule(iso=False, gp=True, opens=True),
    Ins.MANAGE_SECURITY_ENVIRONMENT: Rule(iso=True, gp=False, opens=True, optional=True),
    Ins.PERFORM_SECURITY_OPERATION: Rule(iso=True, gp=True, opens=True, optional=True),
    Ins.GET_CHALLENGE: Rule(iso=True, gp=False, opens=True, optional=True),
    Ins.INTERNAL_AUTHENTICATE: Rule(iso=True, gp=True, opens=True, optional=True),
    Ins.BEGIN_R_MAC_SESSION: Rule(iso=False, gp=True),
    Ins.END_R_MAC_SESSION: Rule(iso=False, gp=True),
    Ins.GET_DATA: Rule(iso=True, gp=True),
    Ins.GET_DATA_ODD: Rule(iso=True, gp=False),
    Ins.GET_STATUS: Rule(iso=False, gp=True),
    Ins.SET_STATUS: Rule(iso=False, gp=True),
    Ins.PUT_KEY: Rule(iso=False, gp=True),
    Ins.DELETE: Rule(iso=False, gp=True),
    Ins.INSTALL: Rule(iso=False, gp=True),
    Ins.LOAD: Rule(iso=False, gp=True),
    Ins.GENERATE_EC_KEY: Rule(iso=False, gp=True, optional=True),
    # GPCS 11.11 names the GlobalPlatform class alone; yubikit sends 00, and YubiKeys take it.
    Ins.STORE_DATA: Rule(iso=True, gp=True),
}
"""Every instruction a security domain knows; GET RESPONSE (any class) belongs to the delivery of answers."""

_ALWAYS: Final = {
    Ins.SELECT: Entry(select),
    Ins.MANAGE_CHANNEL: Entry(manage_channel),
    Ins.INITIALIZE_UPDATE: Entry(open_session),
    Ins.EXTERNAL_AUTHENTICATE: Entry(open_session),
    Ins.MANAGE_SECURITY_ENVIRONMENT: Entry(open_session),
    Ins.PERFORM_SECURITY_OPERATION: Entry(open_session),
    Ins.GET_CHALLENGE: Entry(open_session),
    Ins.INTERNAL_AUTHENTICATE: Entry(open_session),
    Ins.GET_DATA: Entry(get_data),
    Ins.GET_DATA_ODD: Entry(get_data),
}
_IN_SESSION: Final = {
    Ins.BEGIN_R_MAC_SESSION: Entry(begin_r_mac),
    Ins.END_R_MAC_SESSION: Entry(end_r_mac),
}
_CHANGING: Final = {
    Ins.PUT_KEY: Entry(put_key, Level.C_MAC),
    Ins.DELETE: Entry(delete, Level.C_MAC),
    Ins.INSTALL: Entry(install, Level.C_MAC),
    Ins.LOAD: Entry(load, Level.C_MAC),
    Ins.GENERATE_EC_KEY: Entry(generate_ec_key, Level.C_MAC),
    Ins.STORE_DATA: Entry(store, Level.C_MAC),
}
_MANAGED: Final = {Ins.GET_STATUS: Entry(get_status), Ins.SET_STATUS: Entry(set_status, Level.C_MAC)}

_BY_STATE: Final[dict[State, dict[int, Entry]]] = {
    State.IDLE: _ALWAYS,
    State.CHALLENGED: _ALWAYS,
    State.AUTHENTICATED: _ALWAYS | _IN_SESSION | _MANAGED | _CHANGING,
    State.UNAUTHENTICATED: _ALWAYS | _IN_SESSION,
    State.LOCKED: _ALWAYS,
    State.LOCKED_CHALLENGED: _ALWAYS,
    State.LOCKED_AUTHENTICATED: _ALWAYS | _IN_SESSION | _MANAGED,
    State.LOCKED_UNAUTHENTICATED: _ALWAYS | _IN_SESSION,
    State.TERMINATED: {Ins.GET_DATA: Entry(get_data), Ins.GET_DATA_ODD: Entry(get_data)},
}

TABLE: Final[dict[tuple[int, int], Entry]] = {
    (state, ins): entry for state, entries in _BY_STATE.items() for ins, entry in entries.items()
}
"""(state, instruction) -> what happens. Whatever is not listed is refused as `refusal` says and changes nothing."""

PHASES: Final = 4


def state_of(life: int, phase: int) -> int:
    """The state of a channel, from the life cycle of the card and the phase of its session (`Channel.phase`)."""
    if life == CardState.TERMINATED:
        return State.TERMINATED
    return phase + PHASES if life == CardState.CARD_LOCKED else phase


def refusal(state: int, ins: int) -> int:
    """Status word for a known instruction that is not listed in this state (GPCS 5.1.1, 10.2.3)."""
    if state == State.TERMINATED:
        bare = ins in (Ins.SELECT, Ins.MANAGE_CHANNEL)
        return SW.FUNCTION_NOT_SUPPORTED if bare else SW.CONDITIONS_NOT_SATISFIED
    if RULES[ins].opens:
        return SW.CONDITIONS_NOT_SATISFIED
    authenticated = State.LOCKED_AUTHENTICATED if state >= State.LOCKED else State.AUTHENTICATED
    return SW.SECURITY_STATUS_NOT_SATISFIED if (authenticated, ins) in TABLE else SW.CONDITIONS_NOT_SATISFIED
