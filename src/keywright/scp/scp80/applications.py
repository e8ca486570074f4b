"""Toolkit application references (TAR): which application a packet is for, and which format it takes (TS 101 220 D)."""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from keywright.scp.scp80.compact import Management


class Format(enum.Enum):
    """How the secured data is to be read."""

    COMPACT = "compact"
    EXPANDED = "expanded"
    OWN = "application data"


class Target(msgspec.Struct, frozen=True):
    """One row: TARs from `first` to `last`, 3 bytes each as integers."""

    first: int
    last: int
    name: str
    format: Format
    management: Management = Management.FILES


TARGETS: Final = (
    Target(0x000000, 0x000000, "issuer security domain", Format.COMPACT, Management.APPLICATIONS),
    Target(0x000001, 0x000001, "ISD-R of an eUICC", Format.EXPANDED, Management.APPLICATIONS),
    Target(0xB00000, 0xB00000, "UICC shared file system", Format.COMPACT),
    Target(0xB00001, 0xB0000F, "files of an application", Format.COMPACT),
    Target(0xB00010, 0xB00010, "SIM files", Format.COMPACT),
    Target(0xB00011, 0xB00011, "USIM files", Format.COMPACT),
    Target(0xB00120, 0xB00120, "UICC shared file system", Format.EXPANDED),
    Target(0xB00130, 0xB00130, "UICC shared file system", Format.EXPANDED),
    Target(0xB00140, 0xB0015F, "files of an application", Format.EXPANDED),
    Target(0xB20100, 0xB20100, "issuer security domain", Format.EXPANDED, Management.APPLICATIONS),
    Target(0xBFFF00, 0xBFFFFF, "proprietary toolkit application", Format.OWN),
)
"""Assigned values. Unsure: where the ranges of B00001 and B00140 end, and the format of 000001."""


def target(tar: bytes) -> Target | None:
    """The row of a TAR of 3 bytes, None where an installation gave it."""
    number = int.from_bytes(tar)
    return next((row for row in TARGETS if row.first <= number <= row.last), None)
