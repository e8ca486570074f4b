"""The old format of GET STATUS, P2 bit b2 clear (GPCS 2.1 and table 11-35 of 2.3.1): entries without tags."""

from __future__ import annotations

from typing import Annotated, Final

from keywright.codec.record import U8, Record, counted, prefixed
from keywright.globalplatform.messages import ApplicationEntry, StatusScope


class LegacyEntry(Record, frozen=True):
    """One registry entry: AID, life cycle, first byte of the privileges (00 for a load file)."""

    aid: Annotated[bytes, prefixed(1)]
    life_cycle: U8
    privileges: U8


class LegacyEntries(Record, frozen=True):
    """Answer to GET STATUS for the issuer's domain, applications or load files."""

    entries: tuple[LegacyEntry, ...] = ()


class LegacyModuleAid(Record, frozen=True):
    """AID of one module."""

    aid: Annotated[bytes, prefixed(1)]


class LegacyFile(Record, frozen=True):
    """A load file with its modules."""

    aid: Annotated[bytes, prefixed(1)]
    life_cycle: U8
    privileges: U8
    modules: Annotated[tuple[LegacyModuleAid, ...], counted(1)] = ()


class LegacyFiles(Record, frozen=True):
    """Answer to GET STATUS for load files and modules."""

    files: tuple[LegacyFile, ...] = ()


_FILES: Final = (StatusScope.LOAD_FILES, StatusScope.LOAD_FILES_AND_MODULES)


def parse_legacy(data: bytes, scope: int) -> tuple[ApplicationEntry, ...]:
    """Entries of an answer in the old format; `scope` is P1 of the command. Raises DecodeError."""
    if scope == StatusScope.LOAD_FILES_AND_MODULES:
        return tuple(
            ApplicationEntry(file.aid, file.life_cycle, modules=tuple(module.aid for module in file.modules))
            for file in LegacyFiles.parse(data).files
        )
    return tuple(
        ApplicationEntry(entry.aid, entry.life_cycle, None if scope in _FILES else bytes((entry.privileges,)))
        for entry in LegacyEntries.parse(data).entries
    )


def build_legacy(entries: tuple[ApplicationEntry, ...], scope: int) -> bytes:
    """Inverse of `parse_legacy`, as far as the old format can tell. Raises ValueError for a state of two bytes."""
    if scope == StatusScope.LOAD_FILES_AND_MODULES:
        return LegacyFiles(
            tuple(
                LegacyFile(entry.aid, entry.life_cycle, 0, tuple(LegacyModuleAid(aid) for aid in entry.modules))
                for entry in entries
            )
        ).build()
    return LegacyEntries(
        tuple(LegacyEntry(entry.aid, entry.life_cycle, (entry.privileges or b"\0")[0]) for entry in entries)
    ).build()
