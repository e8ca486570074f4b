"""What content takes of the element's memory, and what it may take (GPCS 9.7, TS 102 226 8.2.1.7.2).

Persistent memory: a load file takes its data block (`C6` when that asks for more), an application what it has reserved
(D8) or, if more, what its records hold. Volatile memory: what is reserved (D7). Quotas (C7 volatile, C8 persistent) of
an application bound itself; those of a security domain bound everything below it together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from keywright.codec.tlv import items
from keywright.element.card import Card
from keywright.element.registry import Registry, is_domain
from keywright.element.state import Kind, RegistryEntry, Transaction, applet_of
from keywright.globalplatform.card_objects import Resources
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW

CODE = 0xC6
VOLATILE_QUOTA, PERSISTENT_QUOTA = 0xC7, 0xC8
VOLATILE_RESERVED, PERSISTENT_RESERVED = 0xD7, 0xD8
_SIZES = (CODE, VOLATILE_QUOTA, PERSISTENT_QUOTA, VOLATILE_RESERVED, PERSISTENT_RESERVED)
_WIDTHS = (2, 4)


class Need(NamedTuple):
    """Bytes of both kinds of memory."""

    volatile: int = 0
    persistent: int = 0


def check_sizes(parameters: bytes) -> None:
    """Refuses with 6A80 for a quota or reservation that has not 2 or 4 bytes, or is above its own quota."""
    found = {number: value for number, value in items(parameters) if number in _SIZES}
    if any(len(value) not in _WIDTHS for value in found.values()):
        raise Refusal(SW.INCORRECT_DATA)
    for quota, reserved in ((VOLATILE_QUOTA, VOLATILE_RESERVED), (PERSISTENT_QUOTA, PERSISTENT_RESERVED)):
        if quota in found and int.from_bytes(found.get(reserved, b"")) > int.from_bytes(found[quota]):
            raise Refusal(SW.INCORRECT_DATA)


def size_of(entry: RegistryEntry, tag: int) -> int | None:
    """A quota or reservation of an entry, bytes; None when it has none."""
    value = next((value for number, value in items(entry.parameters) if number == tag), None)
    return None if value is None else int.from_bytes(value)


def need_of(entry: RegistryEntry, kept: int) -> Need:
    """What an entry takes for itself; `kept`: bytes in its records."""
    if entry.kind == Kind.LOAD_FILE:
        return Need(0, size_of(entry, CODE) or 0)
    return Need(size_of(entry, VOLATILE_RESERVED) or 0, max(size_of(entry, PERSISTENT_RESERVED) or 0, kept))


def kept_by_applications(card: Card, change: Transaction | None = None) -> dict[bytes, int]:
    """Bytes in the records of each application, as committed or as the command under way leaves them."""
    read = card.storage.read if change is None else change.read
    names = {*card.storage.names(), *(() if change is None else change.changes)}
    kept: dict[bytes, int] = {}
    for name in names:
        aid = applet_of(name)
        if aid is not None:
            kept[aid] = kept.get(aid, 0) + len(read(name) or b"")
    return kept


def taken(registry: Registry, kept: Mapping[bytes, int], domain: bytes | None = None) -> Need:
    """What all content takes, or what lies at and below a security domain."""
    chosen = [entry for entry in registry if domain is None or registry.under(entry.domain or entry.aid, domain)]
    needs = [need_of(entry, kept.get(entry.aid, 0)) for entry in chosen]
    return Need(sum(need.volatile for need in needs), sum(need.persistent for need in needs))


def check_room(card: Card, registry: Registry) -> None:
    """Refuses with 6A84 when a registry about to be written takes more than the card has, or a domain may have."""
    kept = kept_by_applications(card)
    total = taken(registry, kept)
    if total.volatile > card.identity.volatile or total.persistent > card.identity.persistent:
        raise Refusal(SW.NOT_ENOUGH_MEMORY)
    for entry in registry:
        if is_domain(entry) and entry.parameters:
            _check_quota(registry, kept, entry)


def check_records(card: Card, change: Transaction) -> None:
    """Refuses with 6A84 when an application is about to keep more than its quota, or that of a domain above it.

    Whoever keeps no more than before is never refused. Where no quota is, only a change of the registry is held against
    what the card has: then writing records costs nothing extra.
    """
    touched = {aid for aid in map(applet_of, change.changes) if aid is not None}
    if not touched:
        return
    registry = card.registry(change)
    writers = [entry for entry in map(registry.application, touched) if entry is not None]
    bound = [(entry, above) for entry in writers for above in _bounds(registry, entry)]
    if not bound:
        return
    before, after = kept_by_applications(card), kept_by_applications(card, change)
    for entry, above in bound:
        if after.get(entry.aid, 0) <= before.get(entry.aid, 0):
            continue
        if above is not entry:
            _check_quota(registry, after, above)
        elif after[entry.aid] > (size_of(entry, PERSISTENT_QUOTA) or 0):
            raise Refusal(SW.NOT_ENOUGH_MEMORY)


def resources(card: Card) -> Resources:
    """Inside FF21: applications installed, and memory left."""
    registry = card.registry()
    total = taken(registry, kept_by_applications(card))
    count = sum(1 for entry in registry if entry.kind in (Kind.APPLICATION, Kind.DOMAIN))
    left = card.identity.persistent - total.persistent, card.identity.volatile - total.volatile
    return Resources(count, max(0, left[0]), max(0, left[1]))


def _bounds(registry: Registry, entry: RegistryEntry) -> list[RegistryEntry]:
    """The entry itself and the domains above it, those of them that have a quota of persistent memory."""
    line, above = [entry], registry.domain(entry.domain)
    while above is not None and not any(above is one for one in line):
        line.append(above)
        above = registry.domain(above.domain)
    return [one for one in line if one.parameters and size_of(one, PERSISTENT_QUOTA) is not None]


def _check_quota(registry: Registry, kept: Mapping[bytes, int], domain: RegistryEntry) -> None:
    below = taken(registry, kept, domain.aid)
    for tag, used in ((VOLATILE_QUOTA, below.volatile), (PERSISTENT_QUOTA, below.persistent)):
        quota = size_of(domain, tag)
        if quota is not None and used > quota:
            raise Refusal(SW.NOT_ENOUGH_MEMORY)
