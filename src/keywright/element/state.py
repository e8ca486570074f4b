"""What an element remembers without power, record by record.

| name | content | changes when |
|---|---|---|
| `element` | `ElementRecord`: what the element is; fixed at birth | never |
| `life` | 1 byte, card life cycle (GPCS table 11-6) | SET STATUS |
| `factory` | `FactoryRecord`: the first key set, where blocking all keys brings it back | never |
| `attempts` | 4 bytes, authentication commands (82) ever received | before each one is checked, alone |
| `registry` | `RegistryRecord`: all that has an AID, the issuer's domain first | INSTALL, LOAD, DELETE, SET STATUS |
| `confirmation` | 2 bytes, confirmation counter: receipts given (GPCS 11.1.6) | with what the receipt confirms |
| D`protocols` | `ProtocolsRecord`: secure channel protocols the domain offers, each with its "i" | INSTALL, at birth |
| D`keys` | key version numbers in order of creation, 1 byte each | PUT KEY, STORE DATA, DELETE |
| D`keys/KVN` | `KeySetRecord` | PUT KEY, STORE DATA, DELETE |
| D`counter/KVN` | `CounterRecord`: sessions, failures in a row | opening a session, alone |
| D`air/OWNER` | `over_the_air.AirCounterRecord`: last counter of SCP80 taken | a packet is taken, alone and first |
| D`data/TAG` | value of one data object | STORE DATA |
| D`certificates/KVNKID`, D`allow/KVNKID`, D`identifiers/SIDE` | what SCP11 needs (`scp11_objects`) | STORE DATA |
| D`tries/KVNKID`, D`oce` | failures in a row of an SCP11 key; the host remembered | opening a session, alone |
| `load/AID` | the load file data block of an executable load file | LOAD, DELETE |
| `applet/AID/NAME` | whatever the applet keeps there | its commands |

KVN, KID, TAG and AID are upper-case hex. D is nothing for the issuer security domain, `sd/AID/` for every other one:
what belongs to a domain is `Domain.name(...)`. Counters commit first and alone; everything else a command changes is
one commit, so a registry is never seen half changed. Format 1 (one domain, SCP03 alone) is upgraded in one commit when
it is opened (`element/upgrade.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Final, final

from keywright.codec.record import U8, U16, U32, Record, Rest, prefixed, raw
from keywright.store.memory import Memory

ELEMENT = "element"
LIFE = "life"
ATTEMPTS = "attempts"
KEYS = "keys"
PROTOCOLS = "protocols"
REGISTRY = "registry"
CONFIRMATION = "confirmation"
FACTORY = "factory"

FORMAT = 2
"""Version of this layout."""

_CACHED_BYTES = 512


@cache
def key_set_name(kvn: int) -> str:
    """Name of the record of a key set, in its domain."""
    return f"keys/{kvn:02X}"


@cache
def counter_name(kvn: int) -> str:
    """Name of the record of a key set's counters, in its domain."""
    return f"counter/{kvn:02X}"


def air_counter_name(owner: bytes) -> str:
    """Name of the record of an SCP80 counter, in its domain: that of a key version number, or of a TAR."""
    return f"air/{owner.hex().upper()}"


def data_name(number: int) -> str:
    """Name of the record of a data object, in its domain."""
    return f"data/{number:04X}"


def domain_prefix(aid: bytes) -> str:
    """What stands before the names of a supplementary security domain's records."""
    return f"sd/{aid.hex().upper()}/"


def load_file_name(aid: bytes) -> str:
    """Name of the record of a load file data block."""
    return f"load/{aid.hex().upper()}"


def applet_name(aid: bytes, name: str) -> str:
    """Name of a record that belongs to an applet."""
    return f"applet/{aid.hex().upper()}/{name}"


def applet_of(name: str) -> bytes | None:
    """Whose record it is, by its name; None for one that belongs to no application."""
    kind, _, rest = name.partition("/")
    return bytes.fromhex(rest.partition("/")[0]) if kind == "applet" else None


class ElementRecord(Record, frozen=True):
    """What an element is; fixed when it is made."""

    format: U8
    initial_keys_stay: U8
    try_limit: U16  # failures in a row that block a key set; 0: never
    max_data: U16  # what 9F65 tells
    page: U16  # most entries in one answer to GET STATUS; 0: as many as fit
    volatile: U32  # bytes of RAM that applications may have (FF21)
    persistent: U32  # bytes of non-volatile memory that applications and load files may have (FF21)
    kdd: Annotated[bytes, raw(10)]
    atr: Annotated[bytes, prefixed(1)]


class ProtocolRecord(Record, frozen=True):
    """One secure channel protocol and its "i" parameter; "i" of SCP11 has two bytes when the first one says so."""

    scp: U8
    i: U16


class ProtocolsRecord(Record, frozen=True):
    """What a security domain offers, in the order of preference."""

    offers: tuple[ProtocolRecord, ...] = ()


class KeyRecord(Record, frozen=True):
    """One key of a set, in clear: this is the chip's own memory.

    `value` of one component is the key itself: DES, AES, PSK, the scalar of an EC private key, the point of a public
    one. A key of several components is a `KeyComponentsRecord`: RSA modulus A1 and exponent A0. `curve` is the
    key parameter reference of an EC key (F0), 0 for every other. `usage` and `access` are those of the extended format,
    0 where a key came without.
    """

    kid: U8
    type: U8
    value: Annotated[bytes, prefixed(2)]
    curve: U8 = 0
    usage: U16 = 0
    access: U8 = 0

    def __repr__(self) -> str:
        """Without the value, which is secret more often than not."""
        return f"KeyRecord(kid={self.kid:02X}, type={self.type:02X}, {len(self.value)} bytes)"


class KeyComponentRecord(Record, frozen=True):
    """One component of a key that has several."""

    type: U8
    value: Annotated[bytes, prefixed(2)]

    def __repr__(self) -> str:
        """Without the value."""
        return f"KeyComponentRecord(type={self.type:02X}, {len(self.value)} bytes)"


class KeyComponentsRecord(Record, frozen=True):
    """Value of a key of several components."""

    parts: tuple[KeyComponentRecord, ...] = ()


class KeySetRecord(Record, frozen=True):
    """The keys that share a key version number, by ascending key identifier."""

    keys: tuple[KeyRecord, ...] = ()


class FactoryRecord(Record, frozen=True):
    """The key set that an element was made with: its version number, and a `KeySetRecord`."""

    kvn: U8
    keys: Annotated[bytes, Rest()]

    def __repr__(self) -> str:
        """Without the keys."""
        return f"FactoryRecord(kvn={self.kvn:02X}, {len(self.keys)} bytes)"


class CounterRecord(Record, frozen=True):
    """Sequence counter as last used (2 bytes of it with SCP02, 3 with SCP03), and failures in a row."""

    sequence: U32 = 0
    failures: U16 = 0


class Kind:
    """What a registry entry is."""

    ISSUER_DOMAIN: Final = 1
    DOMAIN: Final = 2
    APPLICATION: Final = 3
    LOAD_FILE: Final = 4


class ModuleRecord(Record, frozen=True):
    """One executable module of a load file."""

    aid: Annotated[bytes, prefixed(1)]


class RegistryEntry(Record, frozen=True):
    """One executable load file, security domain or application (GPCS 6.4.1).

    `domain` is the associated security domain, empty for the issuer's own entry. `load_file` and `module` tell what an
    application was made from; empty for what was there at birth. `modules` and `version` belong to a load file.
    `parameters` holds its system specific parameters as BER-TLV: quotas and reserved memory C6 C7 C8 D7 D8, implicit
    selection CF, global services CB, provider data B6.
    """

    kind: U8
    aid: Annotated[bytes, prefixed(1)]
    life_cycle: U8
    privileges: Annotated[bytes, raw(3)] = bytes(3)
    domain: Annotated[bytes, prefixed(1)] = b""
    load_file: Annotated[bytes, prefixed(1)] = b""
    module: Annotated[bytes, prefixed(1)] = b""
    version: Annotated[bytes, prefixed(1)] = b""
    modules: Annotated[tuple[ModuleRecord, ...], prefixed(2)] = ()
    parameters: Annotated[bytes, prefixed(2)] = b""


class RegistryRecord(Record, frozen=True):
    """Everything that has an AID: the issuer security domain, then all others in order of installation."""

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
        if value is None or len(value) <= _CACHED_BYTES or name == REGISTRY:
            self._cache[name] = value
        return value

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        """All or nothing. Raises StoreError with nothing changed."""
        self._memory.commit(changes)
        for name, value in changes.items():
            if value is None or len(value) <= _CACHED_BYTES or name == REGISTRY:
                self._cache[name] = value
            else:
                self._cache.pop(name, None)

    def names(self) -> list[str]:
        """The names that hold a value, sorted."""
        return self._memory.names()

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

    @property
    def is_pending(self) -> bool:
        """Whether there are changes to commit."""
        return bool(self._changes)

    @property
    def changes(self) -> Mapping[str, bytes | None]:
        """The changes so far."""
        return self._changes

    def commit(self) -> None:
        """Make the changes so far durable, all or nothing; without changes nothing happens. Raises StoreError."""
        if self._changes:
            changes, self._changes = self._changes, {}
            self._storage.commit(changes)
