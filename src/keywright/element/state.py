"""What an element remembers without power, record by record.

| name | content | changes when |
|---|---|---|
| `element` | `ElementRecord`: what the element is; fixed at birth | never |
| `life` | 1 byte, card life cycle (GPCS table 11-6) | SET STATUS |
| `attempts` | 4 bytes, EXTERNAL AUTHENTICATE commands ever received | before each one is checked, alone |
| `keys` | key version numbers in order of creation, 1 byte each | PUT KEY, DELETE |
| `keys/KVN` | `KeySetRecord` | PUT KEY, DELETE |
| `counter/KVN` | `CounterRecord`: sessions, failures in a row | INITIALIZE UPDATE, EXTERNAL AUTHENTICATE, alone |
| `data/TAG` | value of one data object | STORE DATA |
| `registry` | `RegistryRecord`: applications and their life cycles | at birth, SET STATUS |
| `applet/AID/NAME` | whatever the applet keeps there | its commands |

KVN, TAG and AID are upper-case hex. Counters commit first and alone; everything else a command changes is one commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, final

from keywright.codec.record import U8, U16, U32, Record, prefixed, raw
from keywright.store.memory import Memory

ELEMENT = "element"
LIFE = "life"
ATTEMPTS = "attempts"
KEYS = "keys"
REGISTRY = "registry"

FORMAT = 1
"""Version of this layout."""

_CACHED_BYTES = 512


@cache
def key_set_name(kvn: int) -> str:
    """Name of the record of a key set."""
    return f"keys/{kvn:02X}"


@cache
def counter_name(kvn: int) -> str:
    """Name of the record of a key set's counters."""
    return f"counter/{kvn:02X}"


def data_name(number: int) -> str:
    """Name of the record of a data object."""
    return f"data/{number:04X}"


def applet_name(aid: bytes, name: str) -> str:
    """Name of a record that belongs to an applet."""
    return f"applet/{aid.hex().upper()}/{name}"


class ElementRecord(Record, frozen=True):
    """What an element is; fixed when it is made."""

    format: U8
    i: U8
    initial_keys_stay: U8
    try_limit: U16  # failures in a row that block a key set; 0: never
    max_data: U16  # what 9F65 tells
    kdd: Annotated[bytes, raw(10)]
    privileges: Annotated[bytes, raw(3)]
    isd_aid: Annotated[bytes, prefixed(1)]
    atr: Annotated[bytes, prefixed(1)]


class KeyRecord(Record, frozen=True):
    """One key of a set, in clear: this is the chip's own memory."""

    kid: U8
    type: U8
    value: Annotated[bytes, prefixed(1)]


class KeySetRecord(Record, frozen=True):
    """The keys that share a key version number, by ascending key identifier."""

    keys: tuple[KeyRecord, ...] = ()


class CounterRecord(Record, frozen=True):
    """SCP03 sequence counter as last used, and EXTERNAL AUTHENTICATE failures in a row."""

    sequence: U32 = 0  # at most 3 bytes of it are used
    failures: U16 = 0


class RegistryEntry(Record, frozen=True):
    """One application."""

    aid: Annotated[bytes, prefixed(1)]
    life_cycle: U8
    privileges: Annotated[bytes, raw(3)] = bytes(3)


class RegistryRecord(Record, frozen=True):
    """Every application but the issuer security domain, in order of installation."""

    entries: tuple[RegistryEntry, ...] = ()


@final
class Storage:
    """A memory with its small values at hand. `forget` after anything that may have changed it behind our back."""

    __slots__ = ("_cache", "_memory")

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._cache: dict[str, bytes | None] = {}

    def read(self, name: str) -> bytes | None:
        """The committed value, None if there is none; the same object until the next commit of it."""
        try:
            return self._cache[name]
        except KeyError:
            value = self._memory.load(name)
        if value is None or len(value) <= _CACHED_BYTES:
            self._cache[name] = value
        return value

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        """All or nothing. Raises StoreError with nothing changed."""
        self._memory.commit(changes)
        for name, value in changes.items():
            if value is None or len(value) <= _CACHED_BYTES:
                self._cache[name] = value
            else:
                self._cache.pop(name, None)

    def forget(self) -> None:
        """Drop what is held in RAM."""
        self._cache = {}


@final
class Transaction:
    """Changes of one command, visible to it at once and to memory only after `commit`."""

    __slots__ = ("_changes", "_storage")

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._changes: dict[str, bytes | None] = {}

    def read(self, name: str) -> bytes | None:
        """The value as this command has left it so far."""
        if name in self._changes:
            return self._changes[name]
        return self._storage.read(name)

    def write(self, name: str, value: bytes | None) -> None:
        """Change a value; None deletes it."""
        self._changes[name] = value

    def write_first(self, name: str, value: bytes | None) -> None:
        """Commit one value now and alone, whatever becomes of the command: for counters. Raises StoreError."""
        self._storage.commit({name: value})

    def commit(self) -> None:
        """Make the changes so far durable, all or nothing; without changes nothing happens. Raises StoreError."""
        if self._changes:
            changes, self._changes = self._changes, {}
            self._storage.commit(changes)
