"""A memory of format 1 becomes one of format 2, in one commit.

Format 1 had one security domain, which spoke SCP03, and applications of the caller's; nothing of it is lost.
"""

from __future__ import annotations

from typing import Annotated

from keywright.codec.record import U8, U16, Record, prefixed, raw
from keywright.element.state import (
    ELEMENT,
    FORMAT,
    KEYS,
    PROTOCOLS,
    REGISTRY,
    ElementRecord,
    KeyRecord,
    KeySetRecord,
    Kind,
    ProtocolRecord,
    ProtocolsRecord,
    RegistryEntry,
    RegistryRecord,
    Storage,
    key_set_name,
)
from keywright.scp.scp03.messages import SCP03

OLD_FORMAT = 1
DEFAULT_VOLATILE = 0x4000
DEFAULT_PERSISTENT = 0x4_0000


class Element1(Record, frozen=True):
    """`ElementRecord` of format 1."""

    format: U8
    i: U8
    initial_keys_stay: U8
    try_limit: U16
    max_data: U16
    kdd: Annotated[bytes, raw(10)]
    privileges: Annotated[bytes, raw(3)]
    isd_aid: Annotated[bytes, prefixed(1)]
    atr: Annotated[bytes, prefixed(1)]


class Key1(Record, frozen=True):
    """`KeyRecord` of format 1."""

    kid: U8
    type: U8
    value: Annotated[bytes, prefixed(1)]


class KeySet1(Record, frozen=True):
    """`KeySetRecord` of format 1."""

    keys: tuple[Key1, ...] = ()


class Entry1(Record, frozen=True):
    """`RegistryEntry` of format 1."""

    aid: Annotated[bytes, prefixed(1)]
    life_cycle: U8
    privileges: Annotated[bytes, raw(3)] = bytes(3)


class Registry1(Record, frozen=True):
    """`RegistryRecord` of format 1."""

    entries: tuple[Entry1, ...] = ()


def upgrade(storage: Storage) -> None:
    """Bring an element of format 1 to this version's format; nothing for any other. Raises StoreError, unchanged."""
    raw_element = storage.read(ELEMENT)
    if raw_element is None or raw_element[:1] != bytes((OLD_FORMAT,)):
        return
    old = Element1.parse(raw_element)
    changes: dict[str, bytes | None] = {
        ELEMENT: ElementRecord(
            FORMAT,
            old.initial_keys_stay,
            old.try_limit,
            old.max_data,
            0,
            DEFAULT_VOLATILE,
            DEFAULT_PERSISTENT,
            old.kdd,
            old.atr,
        ).build(),
        PROTOCOLS: ProtocolsRecord((ProtocolRecord(SCP03, old.i),)).build(),
        REGISTRY: _registry(old, storage.read(REGISTRY) or b"").build(),
    }
    for kvn in storage.read(KEYS) or b"":
        keys = KeySet1.parse(storage.read(key_set_name(kvn)) or b"").keys
        record = KeySetRecord(tuple(KeyRecord(key.kid, key.type, key.value) for key in keys))
        changes[key_set_name(kvn)] = record.build()
    storage.commit(changes)


def _registry(old: Element1, raw_registry: bytes) -> RegistryRecord:
    issuer = RegistryEntry(Kind.ISSUER_DOMAIN, old.isd_aid, 0, old.privileges)
    rest = [
        RegistryEntry(Kind.APPLICATION, one.aid, one.life_cycle, one.privileges, old.isd_aid)
        for one in Registry1.parse(raw_registry).entries
    ]
    return RegistryRecord((issuer, *rest))
