"""STORE DATA as our applets take it: data groups in one chain of blocks, written all at once (GPCS 11.11, EMV CPS)."""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from keywright.element.applet import Context
from keywright.errors import DecodeError
from keywright.globalplatform.messages import StoreData, parse_dgi
from keywright.iso7816.apdu import Command
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW
from keywright.scp.level import Level

MAX_GROUPS_BYTES: Final = 4096
"""Longest chain of STORE DATA blocks that is gathered; more is refused with 6A84."""

_BLOCKS: Final = "blocks"
_NEXT: Final = "next"


def stored_groups(command: Command, context: Context, writable: Container[int]) -> tuple[tuple[int, bytes], ...] | None:
    """Take one block; the groups of the whole chain when it is the last, None before.

    Refuses with 6982 without C-MAC, 6A86 for another form than data groups in the clear, 6985 for a block out of order,
    6A84 when they are too long, 6A80 when they cannot be read, 6A88 for a group that is not `writable`. Each drops
    what was gathered.
    """
    context.require(Level.C_MAC)
    if command.p1 & ~(StoreData.LAST | StoreData.CASE_4) != StoreData.DGI:
        drop_blocks(context)
        raise Refusal(SW.INCORRECT_P1P2)
    gathered = _gather(command, context)
    return _groups(gathered, writable) if command.p1 & StoreData.LAST else None


def drop_blocks(context: Context) -> None:
    """Forget the blocks of a chain: another command came between."""
    context.volatile.pop(_BLOCKS, None)
    context.volatile.pop(_NEXT, None)


def _gather(command: Command, context: Context) -> bytes:
    expected = context.volatile.get(_NEXT, 0)
    before = context.volatile.get(_BLOCKS, b"")
    drop_blocks(context)
    if command.p2 != expected or not isinstance(before, bytes):
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    data = before + command.data
    if len(data) > MAX_GROUPS_BYTES:
        raise Refusal(SW.NOT_ENOUGH_MEMORY)
    if not command.p1 & StoreData.LAST:
        context.volatile[_BLOCKS] = data
        context.volatile[_NEXT] = command.p2 + 1
    return data


def _groups(data: bytes, writable: Container[int]) -> tuple[tuple[int, bytes], ...]:
    try:
        groups = parse_dgi(data)
    except DecodeError:
        raise Refusal(SW.INCORRECT_DATA) from None
    if not groups or any(tag not in writable for tag, _ in groups):
        raise Refusal(SW.REFERENCED_DATA_NOT_FOUND if groups else SW.INCORRECT_DATA)
    return groups
