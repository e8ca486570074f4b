"""The registry: every load file, security domain and application of the element, and what belongs to what (GPCS 6.4.1).

A `Registry` is a value: a change makes another one, and the command that makes it writes it whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Self, final

import msgspec

from keywright.element.state import Kind, RegistryEntry, RegistryRecord

LOCKED = 0x80
"""Bit of an application's life cycle state that makes it unselectable (GPCS table 11-4)."""

_DOMAINS = (Kind.ISSUER_DOMAIN, Kind.DOMAIN)


@final
class Registry:
    """Entries by AID, in order of installation; the issuer security domain is the first."""

    __slots__ = ("_by_aid", "_by_file", "entries")

    def __init__(self, entries: Iterable[RegistryEntry]) -> None:
        """Take the entries. An application and a load file may have one AID; nothing else shares one."""
        self.entries = tuple(entries)
        self._by_aid = {entry.aid: entry for entry in self.entries if entry.kind != Kind.LOAD_FILE}
        self._by_file = {entry.aid: entry for entry in self.entries if entry.kind == Kind.LOAD_FILE}

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read the record."""
        return cls(RegistryRecord.parse(raw).entries)

    def build(self) -> bytes:
        """The record."""
        return RegistryRecord(self.entries).build()

    def __iter__(self) -> Iterator[RegistryEntry]:
        return iter(self.entries)

    @property
    def issuer(self) -> RegistryEntry:
        """The issuer security domain."""
        return self.entries[0]

    def application(self, aid: bytes) -> RegistryEntry | None:
        """The application or security domain with this AID."""
        return self._by_aid.get(aid)

    def domain(self, aid: bytes) -> RegistryEntry | None:
        """The security domain with this AID."""
        entry = self._by_aid.get(aid)
        return entry if entry is not None and entry.kind in _DOMAINS else None

    def load_file(self, aid: bytes) -> RegistryEntry | None:
        """The executable load file with this AID."""
        return self._by_file.get(aid)

    def knows(self, aid: bytes) -> bool:
        """Whether the AID is taken, by whatever it be."""
        return aid in self._by_aid or aid in self._by_file

    def module(self, load_file: bytes, module: bytes) -> bool:
        """Whether the load file is here and has this module."""
        entry = self._by_file.get(load_file)
        return entry is not None and any(one.aid == module for one in entry.modules)

    def associated(self, domain: bytes) -> tuple[RegistryEntry, ...]:
        """What is directly associated with a security domain, itself left out."""
        return tuple(entry for entry in self.entries if entry.domain == domain and entry.aid != domain)

    def made_from(self, load_file: bytes) -> tuple[RegistryEntry, ...]:
        """Applications and domains instantiated from a load file."""
        return tuple(e for e in self.entries if e.load_file == load_file and e.kind != Kind.LOAD_FILE)

    def under(self, aid: bytes, domain: bytes) -> bool:
        """Whether `aid` is `domain` or below it in the tree of associations (GPCS 7.2)."""
        seen: set[bytes] = set()
        while aid and aid not in seen:
            if aid == domain:
                return True
            seen.add(aid)
            entry = self._by_aid.get(aid)
            aid = entry.domain if entry is not None else b""
        return False

    def holder(self, byte: int, bit: int) -> RegistryEntry | None:
        """The first entry with a privilege: byte 0 to 2 and bit of it (GPCS tables 11-7 to 11-9)."""
        return next((e for e in self.entries if e.kind != Kind.LOAD_FILE and e.privileges[byte] & bit == bit), None)

    def with_entry(self, entry: RegistryEntry) -> Registry:
        """One entry more, or in place of the one of its kind and AID."""
        load_file = entry.kind == Kind.LOAD_FILE
        old = (self._by_file if load_file else self._by_aid).get(entry.aid)
        if old is None:
            return Registry((*self.entries, entry))
        return Registry(entry if one is old else one for one in self.entries)

    def without(self, gone: Iterable[RegistryEntry]) -> Registry:
        """Without these entries."""
        left = list(gone)
        return Registry(one for one in self.entries if not any(one is entry for entry in left))


def is_domain(entry: RegistryEntry) -> bool:
    """Whether the entry is a security domain, the issuer's or a supplementary one."""
    return entry.kind in _DOMAINS


def changed(entry: RegistryEntry, **fields: object) -> RegistryEntry:
    """The entry with some fields replaced."""
    return msgspec.structs.replace(entry, **fields)
