"""The load file that LOAD carries in blocks (GPCS 11.6): DAP blocks, then the code, plain or ciphered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

import msgspec

from keywright.codec.tlv import Template, item, items, tag
from keywright.errors import DecodeError

LAST_BLOCK: Final = 0x80
"""P1 of LOAD: the last block."""
MAX_BLOCKS: Final = 256
"""Blocks are numbered by P2, from 00 (GPCS 11.6.2.2)."""


class LoadTag:
    """Tags of a load file (GPCS 11.6.2.3)."""

    DAP_BLOCK: Final = 0xE2
    DATA_BLOCK: Final = 0xC4
    ICV: Final = 0xD3
    CIPHERED_DATA_BLOCK: Final = 0xD4


class DapBlock(Template, frozen=True):
    """Inside E2: the signature that a security domain with DAP verification checks (GPCS 11.6.2.3)."""

    security_domain: Annotated[bytes, tag(0x4F)]
    signature: Annotated[bytes, tag(0xC3)]


class LoadFile(msgspec.Struct, frozen=True):
    """A load file: its data block (LFDB), or the ciphered one with the ICV it may bring."""

    block: bytes
    daps: tuple[DapBlock, ...] = ()
    ciphered: bool = False
    icv: bytes | None = None

    def build(self) -> bytes:
        """All that LOAD carries. Raises ValueError for an ICV without ciphering."""
        if self.icv is not None and not self.ciphered:
            raise ValueError("only a ciphered load file has an ICV")
        head = b"".join(item(LoadTag.DAP_BLOCK, dap.build()) for dap in self.daps)
        if not self.ciphered:
            return head + item(LoadTag.DATA_BLOCK, self.block)
        icv = b"" if self.icv is None else item(LoadTag.ICV, self.icv)
        return head + icv + item(LoadTag.CIPHERED_DATA_BLOCK, self.block)


def parse_load_file(data: bytes) -> LoadFile:
    """Inverse of `LoadFile.build`. Raises DecodeError for another order, for an unknown tag, and without a block."""
    found = items(data)
    daps = []
    while found and found[0][0] == LoadTag.DAP_BLOCK:
        daps.append(DapBlock.parse(found.pop(0)[1]))
    match found:
        case [(LoadTag.DATA_BLOCK, block)]:
            return LoadFile(block, tuple(daps))
        case [(LoadTag.CIPHERED_DATA_BLOCK, block)]:
            return LoadFile(block, tuple(daps), ciphered=True)
        case [(LoadTag.ICV, icv), (LoadTag.CIPHERED_DATA_BLOCK, block)]:
            return LoadFile(block, tuple(daps), ciphered=True, icv=icv)
    raise DecodeError("a load file is its DAP blocks and one data block, C4 or D4")


def split_load_file(data: bytes, size: int) -> Iterator[tuple[int, int, bytes]]:
    """(P1, P2, data) of each LOAD; `size` is the most data bytes of one. Raises ValueError when 256 do not suffice."""
    pieces = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
    if len(pieces) > MAX_BLOCKS:
        raise ValueError(f"a load file of {len(data)} bytes needs more than {MAX_BLOCKS} blocks of {size}")
    for number, piece in enumerate(pieces):
        yield (LAST_BLOCK if number == len(pieces) - 1 else 0), number, piece
