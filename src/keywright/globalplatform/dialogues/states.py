"""Life cycles from outside: SET STATUS of the card, of domains and of applications (GPCS 11.10).

What the tables of `life_cycle` do not have is refused here, with nothing sent: a card that answered it otherwise could
not be brought back.
"""

from __future__ import annotations

from keywright.errors import PolicyError, UsageError, WireError
from keywright.globalplatform.host import Dialogue, card_state, get_status, set_card_state
from keywright.globalplatform.life_cycle import (
    LOCKED,
    CardState,
    card_path,
    may_set_application,
    may_set_card,
    may_set_domain,
    name_of,
)
from keywright.globalplatform.messages import ApplicationEntry, Ins, StatusScope
from keywright.globalplatform.privileges import Privilege
from keywright.globalplatform.remedies import demand
from keywright.iso7816.apdu import Command


def find_application(aid: bytes) -> Dialogue[ApplicationEntry]:
    """The registry entry with exactly this AID. Raises UsageError when the card lists none."""
    for entry in (yield from get_status(StatusScope.APPLICATIONS, aid)):
        if entry.aid == aid:
            return entry
    raise UsageError(f"no application {aid.hex().upper()} on the card", hint="list them with `card list`")


def is_domain(entry: ApplicationEntry) -> bool:
    """Whether a registry entry is a security domain."""
    held = (entry.privileges or b"").ljust(1, b"\0")
    return bool(held[0] & Privilege.SECURITY_DOMAIN >> 16)


def bring_card_to(state: int, *, through_states: bool = True) -> Dialogue[tuple[int, ...]]:
    """Set the card's life cycle, by the states between if need be; returns the states that were set, in order.

    Nothing is sent when the card is in that state already. Raises PolicyError, with nothing set, when no way leads
    there, or one of several steps with `through_states` off.
    """
    old = yield from card_state()
    if old == state:
        return ()
    steps = card_path(old, state)
    if not steps or (len(steps) > 1 and not through_states):
        raise PolicyError(f"a card that is {name_of(old)} does not become {name_of(state)}")
    for before, after in zip((old, *steps), steps, strict=False):
        assert may_set_card(before, after)
        yield from set_card_state(after)
    return tuple(int(step) for step in steps)


def lock_card() -> Dialogue[tuple[int, ...]]:
    """Set the card to CARD_LOCKED: only its final application can be selected until it is unlocked (GPCS 5.1.1.4)."""
    return (yield from bring_card_to(CardState.CARD_LOCKED))


def unlock_card() -> Dialogue[None]:
    """Bring a locked card back to SECURED. Raises PolicyError when it is not locked."""
    old = yield from card_state()
    if old != CardState.CARD_LOCKED:
        raise PolicyError(f"the card is {name_of(old)}, not locked")
    yield from set_card_state(CardState.SECURED)


def terminate_card() -> Dialogue[None]:
    """Set the card to TERMINATED. There is no way back: it will answer GET DATA and nothing else (GPCS 5.1.1.5)."""
    yield from bring_card_to(CardState.TERMINATED)


def set_application_state(aid: bytes, state: int) -> Dialogue[None]:
    """Set the life cycle of an application or domain to `state`, after asking the registry for the present one.

    Raises PolicyError, with nothing set, for a transition that others than the application itself may not make.
    """
    entry = yield from find_application(aid)
    _demand_legal(entry, state)
    yield from send_state(StatusScope.APPLICATIONS, state, aid)


def lock_application(aid: bytes) -> Dialogue[int]:
    """Lock an application or domain; returns the state it comes back to. Raises PolicyError when it is locked."""
    entry = yield from find_application(aid)
    _demand_legal(entry, entry.life_cycle | LOCKED)
    yield from send_state(StatusScope.APPLICATIONS, entry.life_cycle | LOCKED, aid)
    return entry.life_cycle


def unlock_application(aid: bytes) -> Dialogue[int]:
    """Unlock an application or domain, into the state it had; returns it. Raises PolicyError when it is not locked."""
    entry = yield from find_application(aid)
    state = entry.life_cycle & ~LOCKED
    _demand_legal(entry, state)
    yield from send_state(StatusScope.APPLICATIONS, state, aid)
    return state


def lock_domain_with_applications(aid: bytes, *, lock: bool = True) -> Dialogue[None]:
    """Lock or unlock a domain and every application under it, in one command (P1 60)."""
    yield from send_state(StatusScope.DOMAIN_AND_APPLICATIONS, LOCKED if lock else 0x00, aid)


def make_personalized(aid: bytes) -> Dialogue[None]:
    """Set a domain from SELECTABLE to PERSONALIZED; only then may it manage content (GPCS 5.3.2.3)."""
    entry = yield from find_application(aid)
    _demand_legal(entry, 0x0F)
    yield from send_state(StatusScope.APPLICATIONS, 0x0F, aid)


def send_state(scope: int, state: int, aid: bytes = b"") -> Dialogue[None]:
    """SET STATUS as it is, without a look at the tables."""
    command = Command(0x80, Ins.SET_STATUS, scope, state, aid)
    demand(command, (yield command), f"SET STATUS ({aid.hex().upper() or 'card'} to {state:02X})")


def _demand_legal(entry: ApplicationEntry, state: int) -> None:
    if entry.privileges is not None and len(entry.privileges) not in (1, 3):
        raise WireError(f"the card lists privileges of {len(entry.privileges)} bytes")
    domain = is_domain(entry)
    legal = may_set_domain if domain else may_set_application
    if not legal(entry.life_cycle, state):
        kind = "security domain" if domain else "application"
        raise PolicyError(
            f"the {kind} {entry.aid.hex().upper()} is in state {entry.life_cycle:02X}, which {state:02X} cannot follow"
        )
