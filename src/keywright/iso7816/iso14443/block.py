"""Blocks of ISO 14443-4 on the air (7.1), for both ends: control byte, card number, node address, information, CRC."""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec

from keywright.errors import DecodeError
from keywright.iso7816.edc import Edc

MAX_WTXM: Final = 59
_NUMBER, _NAD, _CID, _FLAG = 0x01, 0x04, 0x08, 0x10
_WTX_BITS: Final = 0x30
_CID_MASK: Final = 0x0F
WTXM_MASK: Final = 0x3F
"""The rest of the byte of S(WTX) is a power level, which answers leave 0."""


class Kind(Enum):
    """The five blocks there are, by their control byte without number, chaining, CID and NAD bits."""

    I = 0x02  # noqa: E741 - the standard's name of the block
    ACK = 0xA2
    NAK = 0xB2
    DESELECT = 0xC2
    WTX = 0xF2


class Block(msgspec.Struct, frozen=True):
    """One block without its CRC. `more`: the chain goes on (I-blocks). cid, nad: None where the header lacks them."""

    kind: Kind
    number: int = 0
    more: bool = False
    cid: int | None = None
    nad: int | None = None
    inf: bytes = b""

    @classmethod
    def parse(cls, raw: bytes) -> Block:
        """Read one block. Raises DecodeError for a control byte of none, and for a header or INF that does not fit."""
        if not raw:
            raise DecodeError("a block has at least a control byte", 0)
        pcb = raw[0]
        kind = _kind(pcb)
        at = 1
        cid = nad = None
        if pcb & _CID:
            cid, at = _byte(raw, at) & _CID_MASK, at + 1
        if pcb & _NAD:
            nad, at = _byte(raw, at), at + 1
        inf = raw[at:]
        if kind is Kind.WTX:
            if len(inf) != 1 or not 1 <= inf[0] & WTXM_MASK <= MAX_WTXM:
                raise DecodeError(f"S(WTX) carries one multiplier of 1 to {MAX_WTXM}", at)
        elif kind is not Kind.I and inf:
            raise DecodeError("only I-blocks and S(WTX) carry information", at)
        has_number = kind in (Kind.I, Kind.ACK, Kind.NAK)
        return cls(kind, pcb & _NUMBER if has_number else 0, kind is Kind.I and bool(pcb & _FLAG), cid, nad, inf)

    def build(self) -> bytes:
        """The bytes of this block. Raises ValueError for a field that its kind has not, or that does not fit."""
        if self.nad is not None and self.kind is not Kind.I:
            raise ValueError("only I-blocks carry a node address")
        if self.more and self.kind is not Kind.I:
            raise ValueError("only I-blocks are chained")
        if self.cid is not None and not 0 <= self.cid <= 14:
            raise ValueError("a CID is 0 to 14")
        pcb = self.kind.value | self.number | (_FLAG if self.more else 0)
        header = b""
        if self.cid is not None:
            pcb, header = pcb | _CID, bytes((self.cid,))
        if self.nad is not None:
            pcb, header = pcb | _NAD, header + bytes((self.nad,))
        raw = bytes((pcb,)) + header + self.inf
        if self.number not in (0, 1) or Block.parse(raw) != self:
            raise ValueError(f"{self.kind.name} has no such number or information")
        return raw


def _kind(pcb: int) -> Kind:
    if pcb & 0xE2 == Kind.I.value:
        return Kind.I
    if pcb & 0xE6 == Kind.ACK.value:
        return Kind.NAK if pcb & _FLAG else Kind.ACK
    if pcb & 0xC7 == Kind.DESELECT.value and pcb & _WTX_BITS in (0, _WTX_BITS):
        return Kind.WTX if pcb & _WTX_BITS else Kind.DESELECT
    raise DecodeError(f"{pcb:02X} is the control byte of no block", 0)


def _byte(raw: bytes, at: int) -> int:
    if at >= len(raw):
        raise DecodeError("the block ends inside its header", at)
    return raw[at]


def read(frame: bytes, code: Edc, largest: int) -> Block | None:
    """The block in a frame, None if it is damaged, too long (`largest` bytes with CRC), or none."""
    if len(frame) > largest or not code.holds(frame):
        return None
    try:
        return Block.parse(frame[: -code.size])
    except DecodeError:
        return None


def room(largest: int, cid: int | None, nad: int | None) -> int:
    """Bytes of INF that an I-block of `largest` bytes has room for."""
    return largest - 3 - (cid is not None) - (nad is not None)
