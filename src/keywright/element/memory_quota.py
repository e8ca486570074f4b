"""What content takes of the element's memory, and what it may take (GPCS 9.7, TS 102 226 8.2.1.7.2).

Persistent memory: a load file takes its data block (`C6` when that asks for more), an application what it has reserved
(D8) or, if more, what its records hold. Volatile memory: what is reserved (D7). Quotas (C7 volatile, C8 persistent) of
an application bound itself; those of a security domain bound everything below it together.
"""

from __future__ import annotations

from typing import NamedTuple

from keywright.codec.tlv import items
from keywright.element.card import Card
from keywright.element.registry import Registry, is_domain
from keywright.element.state import Kind, RegistryEntry, Transaction, applet_name
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


def need_of(entry: RegistryEntry) -> Need:
    """What an entry takes for itself."""
    if entry.kind == Kind.LOAD_FILE:
        return Need(0, size_of(entry, CODE) or 0)
    return Need(size_of(entry, VOLATILE_RESERVED) or 0, size_of(entry, PERSISTENT_RESERVED) or 0)


def taken(registry: Registry, domain: bytes | None = None) -> Need:
    """What all content takes, or what lies at and below a security domain."""
    chosen = [entry for entry in registry if domain is None or registry.under(entry.domain or entry.aid, domain)]
    needs = [need_of(entry) for entry in chosen]
    return Need(sum(need.volatile for need in needs), sum(need.persistent for need in needs))


def check_room(card: Card, registry: Registry) -> None:
    """Refuses with 6A84 when a registry about to be written takes more than the card has, or a domain may have."""
    total = taken(registry)
    if total.volatile > card.identity.volatile or total.persistent > card.identity.persistent:
        raise Refusal(SW.NOT_ENOUGH_MEMORY)
    for entry in registry:
        if is_domain(entry) and entry.parameters:
            _check_quota(registry, entry)


def check_records(card: Card, aid: bytes, change: Transaction) -> None:
    """Refuses with 6A84 when an application with a quota is about to keep more than that in its records."""
    entry = card.registry().application(aid)
    quota = None if entry is None or not entry.parameters else size_of(entry, PERSISTENT_QUOTA)
    if quota is None:
        return
    prefix = applet_name(aid, "")
    sizes = {name: len(card.storage.read(name) or b"") for name in card.storage.names() if name.startswith(prefix)}
    sizes |= {name: len(value or b"") for name, value in change.changes.items() if name.startswith(prefix)}
    if sum(sizes.values()) > quota:
        raise Refusal(SW.NOT_ENOUGH_MEMORY)


def resources(card: Card) -> Resources:
    """Inside FF21: applications installed, and memory left."""
    registry = card.registry()
    total = taken(registry)
    count = sum(1 for entry in registry if entry.kind in (Kind.APPLICATION, Kind.DOMAIN))
    left = card.identity.persistent - total.persistent, card.identity.volatile - total.volatile
    return Resources(count, max(0, left[0]), max(0, left[1]))


def _check_quota(registry: Registry, domain: RegistryEntry) -> None:
    below = taken(registry, domain.aid)
    for tag, used in ((VOLATILE_QUOTA, below.volatile), (PERSISTENT_QUOTA, below.persistent)):
        quota = size_of(domain, tag)
        if quota is not None and used > quota:
            raise Refusal(SW.NOT_ENOUGH_MEMORY)
