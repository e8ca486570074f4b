"""GET STATUS and SET STATUS: what is on the card and in which state (GPCS 11.4, 11.10)."""

from __future__ import annotations

from keywright.codec.tlv import item
from keywright.element.card import Card
from keywright.element.channel import Channel
from keywright.element.registry import LOCKED, Registry, changed
from keywright.element.state import LIFE, REGISTRY, Kind, RegistryEntry, Transaction
from keywright.errors import DecodeError
from keywright.globalplatform.life_cycle import CARD_TRANSITIONS, CardState
from keywright.globalplatform.messages import ApplicationEntry, StatusQuery, StatusScope, Tag
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW

_TLV = 0x02
_NEXT = 0x01
_PRIVILEGES, _DOMAIN = 0xC5, 0xCC
_SCOPES = (
    StatusScope.ISSUER_DOMAIN,
    StatusScope.APPLICATIONS,
    StatusScope.LOAD_FILES,
    StatusScope.LOAD_FILES_AND_MODULES,
)


def get_status(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """GET STATUS: entries of one kind whose AID begins as asked, as TLV (P2 02) or in the old LV form (P2 00).

    The answer is always complete, so a demand for the next part finds nothing. Refuses with 6A88 when nothing matches.
    """
    del channel, change
    if command.p1 not in _SCOPES or command.p2 & ~(_TLV | _NEXT):
        raise Refusal(SW.INCORRECT_P1P2)
    try:
        query = StatusQuery.parse(command.data)
    except DecodeError:
        raise Refusal(SW.INCORRECT_DATA) from None
    found = [entry for entry in _entries(card, command.p1) if entry.aid.startswith(query.aid)]
    if not found or command.p2 & _NEXT:
        raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
    if command.p2 & _TLV:
        return Response(b"".join([item(Tag.APPLICATION, _entry(card, command.p1, e, query.tags)) for e in found]))
    return Response(b"".join([_old_entry(entry) for entry in found]))


def set_status(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """SET STATUS of the card (P1 80) or, to lock and unlock it, of an application (P1 40).

    Refuses with 6985 for a transition that does not exist (also to the same state), 6A88 for an unknown application.
    """
    del channel
    if command.p1 == StatusScope.ISSUER_DOMAIN:
        if (card.life(), command.p2) not in CARD_TRANSITIONS:
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        change.write(LIFE, bytes((command.p2,)))
        if command.p2 == CardState.TERMINATED:
            change.commit()
            card.close_sessions()
        return Response(b"")
    if command.p1 != StatusScope.APPLICATIONS:
        raise Refusal(SW.INCORRECT_P1P2)
    change.write(REGISTRY, _with_lock(card, command.data, command.p2 & LOCKED).build())
    return Response(b"")


def _with_lock(card: Card, aid: bytes, lock: int) -> Registry:
    registry = card.registry()
    entry = registry.application(aid)
    if entry is None or entry.kind == Kind.ISSUER_DOMAIN:
        raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
    if entry.life_cycle & LOCKED == lock:
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    return registry.with_entry(changed(entry, life_cycle=entry.life_cycle ^ LOCKED))


def _entries(card: Card, scope: int) -> tuple[RegistryEntry, ...]:
    registry = card.registry()
    if scope == StatusScope.ISSUER_DOMAIN:
        return (changed(registry.issuer, life_cycle=card.life()),)
    if scope == StatusScope.APPLICATIONS:
        return tuple(entry for entry in registry if entry.kind in (Kind.DOMAIN, Kind.APPLICATION))
    return ()


def _entry(card: Card, scope: int, entry: RegistryEntry, tags: bytes | None) -> bytes:
    """One E3 entry; with a tag list, AID and state and what else it names (GPCS 11.4.2.3)."""
    del card
    domain = entry.domain if scope == StatusScope.APPLICATIONS else None
    return ApplicationEntry(
        entry.aid,
        entry.life_cycle,
        entry.privileges if tags is None or _PRIVILEGES in tags else None,
        security_domain=domain if tags is None or _DOMAIN in tags else None,
    ).build()


def _old_entry(entry: RegistryEntry) -> bytes:
    return bytes((len(entry.aid),)) + entry.aid + bytes((entry.life_cycle,)) + entry.privileges[:1]
