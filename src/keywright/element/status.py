"""GET STATUS: what is on the card, as far as the asking domain may see it (GPCS 11.4)."""

from __future__ import annotations

from typing import Final

from keywright.codec.tlv import item
from keywright.element.card import Card
from keywright.element.channel import Channel, Listing
from keywright.element.parameters import IMPLICIT_SELECTION, values
from keywright.element.registry import changed
from keywright.element.rights import Actor
from keywright.element.state import Kind, RegistryEntry, Transaction
from keywright.errors import DecodeError
from keywright.globalplatform.messages import ApplicationEntry, StatusQuery, StatusScope, Tag
from keywright.globalplatform.privileges import Privilege
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW

_TLV = 0x02
_NEXT = 0x01
_MOST_BYTES: Final = 0x7FFF
"""Data bytes of one answer, where the element was given no page size."""

_KINDS: Final = {
    StatusScope.ISSUER_DOMAIN: (Kind.ISSUER_DOMAIN,),
    StatusScope.APPLICATIONS: (Kind.DOMAIN, Kind.APPLICATION),
    StatusScope.LOAD_FILES: (Kind.LOAD_FILE,),
    StatusScope.LOAD_FILES_AND_MODULES: (Kind.LOAD_FILE,),
}
_LOAD_FILE, _PRIVILEGES, _DOMAIN, _VERSION, _MODULES, _IMPLICIT = 0xC4, 0xC5, 0xCC, 0xCE, 0x84, IMPLICIT_SELECTION


def get_status(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """GET STATUS: entries of one kind whose AID begins as asked, as TLV (P2 02) or in the old LV form (P2 00).

    A list that does not fit one answer comes in pages, 6310 while there is more; P2 b1 asks for the next page, with
    everything else as before. A domain without the global registry privilege sees itself and what is below it. Refuses
    with 6A88 when nothing matches or no list is under way, 6A86 (P1, P2), 6A80 (criteria).
    """
    listing, channel.listing = channel.listing, None
    kinds = _KINDS.get(command.p1)
    old = not command.p2 & _TLV
    if kinds is None or command.p2 & ~(_TLV | _NEXT) or (old and not card.profile.legacy_status):
        raise Refusal(SW.INCORRECT_P1P2)
    try:
        query = StatusQuery.parse(command.data)
    except DecodeError:
        raise Refusal(SW.INCORRECT_DATA) from None
    if command.p2 & _NEXT:
        asked = (command.p1, command.p2 & _TLV, command.data)
        if listing is None or asked != listing[:3]:
            raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
        entries = listing.entries
    else:
        found = [entry for entry in _visible(card, channel, change) if entry.kind in kinds]
        matching = [entry for entry in found if entry.aid.startswith(query.aid)]
        if not matching:
            raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
        entries = tuple(_old(command.p1, e) if old else _entry(command.p1, e, query.tags) for e in matching)
    return _page(card, channel, command, entries)


def _page(card: Card, channel: Channel, command: Command, entries: tuple[bytes, ...]) -> Response:
    size, count = 0, 0
    for entry in entries[: card.identity.page or None]:
        if count and size + len(entry) > _MOST_BYTES:
            break
        size, count = size + len(entry), count + 1
    data, rest = b"".join(entries[:count]), entries[count:]
    if not rest:
        return Response(data)
    channel.listing = Listing(command.p1, command.p2 & _TLV, command.data, rest)
    return Response(data, SW.MORE_DATA)


def _visible(card: Card, channel: Channel, change: Transaction) -> list[RegistryEntry]:
    actor = Actor(card, channel, change)
    registry = actor.registry
    entries = [changed(registry.issuer, life_cycle=card.life()), *registry.entries[1:]]
    if actor.entry.kind == Kind.ISSUER_DOMAIN or Privilege.GLOBAL_REGISTRY in actor.privileges:
        return entries
    return [entry for entry in entries if actor.owns(entry.domain if entry.kind == Kind.LOAD_FILE else entry.aid)]


def _entry(scope: int, entry: RegistryEntry, tags: bytes | None) -> bytes:
    """One E3 entry; with a tag list, AID and state and what else it names (GPCS 11.4.2.3)."""

    def wanted(tag: int) -> bool:
        return tags is None or tag in tags

    is_file = entry.kind == Kind.LOAD_FILE
    modules = tuple(module.aid for module in entry.modules) if scope == StatusScope.LOAD_FILES_AND_MODULES else ()
    implicit = values(entry.parameters, _IMPLICIT) if entry.parameters and wanted(_IMPLICIT) else ()
    inside = ApplicationEntry(
        entry.aid,
        entry.life_cycle,
        entry.privileges if not is_file and wanted(_PRIVILEGES) else None,
        load_file=entry.load_file or None if wanted(_LOAD_FILE) else None,
        security_domain=entry.domain or None if wanted(_DOMAIN) else None,
        version=entry.version or None if wanted(_VERSION) else None,
        modules=modules if wanted(_MODULES) else (),
        implicit_selection=implicit,
    )
    return item(Tag.APPLICATION, inside.build())


def _old(scope: int, entry: RegistryEntry) -> bytes:
    """Length, AID, state, one byte of privileges; with modules, their number and each after its length (11.4.3.1)."""
    data = bytes((len(entry.aid),)) + entry.aid + bytes((entry.life_cycle,))
    data += b"\0" if entry.kind == Kind.LOAD_FILE else entry.privileges[:1]
    if scope != StatusScope.LOAD_FILES_AND_MODULES:
        return data
    modules = [module.aid for module in entry.modules]
    return data + bytes((len(modules),)) + b"".join(bytes((len(aid),)) + aid for aid in modules)
