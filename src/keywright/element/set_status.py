"""SET STATUS: life cycles of the card, of security domains and of applications (GPCS 5, 11.10).

The tables are `globalplatform.life_cycle`'s; here stands who may use them.
"""

from __future__ import annotations

from typing import Final

from keywright.element.card import Card
from keywright.element.channel import Channel
from keywright.element.registry import LOCKED, Registry, changed, is_domain
from keywright.element.rights import Actor
from keywright.element.state import LIFE, REGISTRY, Kind, RegistryEntry, Transaction
from keywright.globalplatform.life_cycle import CARD_TRANSITIONS, CardState, DomainState, may_set_domain
from keywright.globalplatform.messages import StatusScope
from keywright.globalplatform.privileges import Privilege
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW

CARD_PRIVILEGES: Final[dict[int, Privilege]] = {
    CardState.INITIALIZED: Privilege(0),
    CardState.SECURED: Privilege(0),
    CardState.CARD_LOCKED: Privilege.CARD_LOCK,
    CardState.TERMINATED: Privilege.CARD_TERMINATE,
}
"""Privilege that setting the card to a state needs; without one, only the issuer security domain may (GPCS 11.10).

Back from CARD_LOCKED to SECURED needs the privilege that locks.
"""


def set_status(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """SET STATUS of the card (P1 80), of an application or domain (40), or of a domain with all below it (60).

    Refuses with 6A86 (P1), 6985 for a transition that does not exist or is not this domain's to make, as the profile
    says for one to the same state, 6A88 for an unknown application.
    """
    actor = Actor(card, channel, change)
    match command.p1:
        case StatusScope.ISSUER_DOMAIN:
            _set_card(card, actor, command.p2, change)
        case StatusScope.APPLICATIONS:
            change.write(REGISTRY, _one(card, actor, command.data, command.p2).build())
        case StatusScope.DOMAIN_AND_APPLICATIONS:
            change.write(REGISTRY, _all_below(card, actor, command.data, command.p2 & LOCKED).build())
        case _:
            raise Refusal(SW.INCORRECT_P1P2)
    return Response(b"")


def may_set(actor: Actor, old: int, new: int) -> bool:
    """Whether a domain may take the card from one state to another."""
    if (old, new) not in CARD_TRANSITIONS:
        return False
    needed = (
        Privilege.CARD_LOCK if old == CardState.CARD_LOCKED and new != CardState.TERMINATED else CARD_PRIVILEGES[new]
    )
    return needed in actor.privileges if needed else actor.entry.kind == Kind.ISSUER_DOMAIN


def _set_card(card: Card, actor: Actor, new: int, change: Transaction) -> None:
    if new == card.life():
        raise Refusal(card.profile.same_state_status)
    if not may_set(actor, card.life(), new):
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    change.write(LIFE, bytes((new,)))
    if new == CardState.TERMINATED:
        change.commit()
        card.close_sessions()


def _one(card: Card, actor: Actor, aid: bytes, asked: int) -> Registry:
    registry = actor.registry
    entry = registry.application(aid)
    if entry is None or entry.kind == Kind.ISSUER_DOMAIN:
        raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
    old = entry.life_cycle
    if (old ^ asked) & LOCKED:
        _demand_lock(actor, entry)
        return registry.with_entry(changed(entry, life_cycle=old ^ LOCKED))
    if old == asked:
        raise Refusal(card.profile.same_state_status)
    new = DomainState.PERSONALIZED
    if not is_domain(entry) or asked != new or not may_set_domain(old, new) or not actor.owns(entry.aid):
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    return registry.with_entry(changed(entry, life_cycle=int(new)))


def _all_below(card: Card, actor: Actor, aid: bytes, lock: int) -> Registry:
    registry = actor.registry
    domain = registry.domain(aid)
    if domain is None or domain.kind == Kind.ISSUER_DOMAIN:
        raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
    _demand_lock(actor, domain)
    if domain.life_cycle & LOCKED == lock:
        raise Refusal(card.profile.same_state_status)
    for entry in registry:
        meant = entry.kind != Kind.LOAD_FILE and registry.under(entry.aid, aid)
        if meant and entry.life_cycle & LOCKED != lock:
            registry = registry.with_entry(changed(entry, life_cycle=entry.life_cycle ^ LOCKED))
    return registry


def _demand_lock(actor: Actor, entry: RegistryEntry) -> None:
    """Whoever is above an application, and the global lock privilege, lock and unlock; none unlocks itself."""
    above = actor.owns(entry.domain) or Privilege.GLOBAL_LOCK in actor.privileges
    itself = entry.aid == actor.aid and not entry.life_cycle & LOCKED
    if not (above or itself):
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
