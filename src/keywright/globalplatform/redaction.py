"""Which commands carry keys, and how they look in a trace: with everything after their length masked.

Encrypted key blocks are masked too: what protects them is often a test key, and traces travel.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from keywright.errors import DecodeError
from keywright.globalplatform.messages import Ins
from keywright.iso7816.apdu import Command

MASKED: Final = "data masked"
"""Note of a trace event whose data are not what travelled."""

_VERIFY: Final = 0x20
_ENCRYPTED: Final = 0x60
"""P1 bits of STORE DATA: the data, or some of it, is encrypted (GPCS table 11-89)."""
_KEY_GROUPS: Final = frozenset({0x00B9, 0x8010, 0x8113, 0x8201, 0x8202, 0x8203, 0x8204, 0x8205})
"""Data groups that hold keys or PINs (GPCS 11.11, EMV CPS)."""


def is_secret(command: Command) -> bool:
    """Whether the data of a command may hold keys or PINs: PUT KEY, VERIFY, STORE DATA with key groups."""
    if command.ins in (Ins.PUT_KEY, _VERIFY):
        return bool(command.data)
    if command.ins != Ins.STORE_DATA:
        return False
    if command.p1 & _ENCRYPTED:
        return True
    return not _KEY_GROUPS.isdisjoint(_groups(command.data))


def masked(raw: bytes) -> bytes:
    """A command APDU with zeros for the data it must not show; unchanged if there is nothing to hide."""
    try:
        command = Command.parse(raw)
    except DecodeError:
        return raw
    if not is_secret(command):
        return raw
    return Command(
        command.cla, command.ins, command.p1, command.p2, bytes(len(command.data)), command.le, command.extended
    ).encode()


def _groups(data: bytes) -> Iterator[int]:
    """Identifiers of the data groups as far as the data goes: a block may be cut in the middle of one."""
    at = 0
    while at + 3 <= len(data):
        yield int.from_bytes(data[at : at + 2])
        header = 5 if data[at + 2] == 0xFF else 3
        at += header + (int.from_bytes(data[at + 3 : at + 5]) if header == 5 else data[at + 2])
