"""Advertising data: AD structures in a row, each a length, a type and octets (Bluetooth Core 6.0, Vol 3 Part C 11)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

PB_ADV: Final = 0x29
MESH_MESSAGE: Final = 0x2A
MESH_BEACON: Final = 0x2B
URI: Final = 0x24
FLAGS: Final = 0x01
COMPLETE_UUID16: Final = 0x03
SERVICE_DATA_UUID16: Final = 0x16
LONGEST: Final = 29
"""Octets that one structure has room for in legacy advertising."""


def build_ad(kind: int, data: bytes) -> bytes:
    """One AD structure. Raises ValueError if it does not fit into 31 octets."""
    if len(data) > LONGEST:
        raise ValueError(f"an AD structure has at most {LONGEST} octets of data, not {len(data)}")
    return bytes((len(data) + 1, kind)) + data


def ad_structures(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and octets of each structure. A structure that is cut off ends the row, and so does a length of 0."""
    at = 0
    while at + 1 < len(data) and data[at]:
        end = at + 1 + data[at]
        if end > len(data):
            return
        yield data[at + 1], data[at + 2 : end]
        at = end
