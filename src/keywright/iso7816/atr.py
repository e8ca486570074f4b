"""Answer to reset (ISO 7816-3 section 8)."""

from __future__ import annotations

from functools import reduce
from operator import xor

import msgspec

from keywright.errors import DecodeError

MAX_ATR = 33


class Atr(msgspec.Struct, frozen=True):
    """A parsed answer to reset. `interface` maps names as in the standard ("TA1" ...) to their byte."""

    direct: bool
    interface: dict[str, int]
    protocols: tuple[int, ...]
    historical: bytes

    @classmethod
    def parse(cls, raw: bytes) -> Atr:
        """Read an ATR of 2 to 33 bytes. Raises DecodeError for a wrong first byte, length or check byte TCK."""
        if not 2 <= len(raw) <= MAX_ATR:
            raise DecodeError(f"an ATR has 2 to {MAX_ATR} bytes, not {len(raw)}", len(raw))
        if raw[0] not in (0x3B, 0x3F):
            raise DecodeError(f"an ATR starts with 3B or 3F, not {raw[0]:02X}", 0)
        interface, offset = _interface_bytes(raw)
        protocols = tuple(value & 0x0F for name, value in interface.items() if name.startswith("TD")) or (0,)
        end = offset + (raw[1] & 0x0F)
        has_tck = any(protocols)
        if len(raw) != end + has_tck:
            raise DecodeError(f"an ATR of this form has {end + has_tck} bytes, not {len(raw)}", min(end, len(raw)))
        if has_tck and reduce(xor, raw[1:]):
            raise DecodeError("the check byte TCK of the ATR is wrong", end)
        return cls(raw[0] == 0x3B, interface, tuple(dict.fromkeys(p for p in protocols if p != 15)), raw[offset:end])

    @property
    def default_protocol(self) -> int:
        """The protocol used when none is negotiated: the first one offered (T=0 if none is)."""
        return self.protocols[0] if self.protocols else 0


def _interface_bytes(raw: bytes) -> tuple[dict[str, int], int]:
    found: dict[str, int] = {}
    present, offset, level = raw[1] >> 4, 2, 1
    while present:
        following = 0
        for bit, letter in ((1, "A"), (2, "B"), (4, "C"), (8, "D")):
            if present & bit:
                if offset >= len(raw):
                    raise DecodeError("the ATR ends inside its interface bytes", offset)
                found[f"T{letter}{level}"] = raw[offset]
                following = raw[offset] >> 4 if letter == "D" else following
                offset += 1
        present, level = following, level + 1
    return found, offset


def build(historical: bytes = b"", protocols: tuple[int, ...] = (1,)) -> bytes:
    """An ATR at default speed naming `protocols`, with up to 15 historical bytes.

    Raises ValueError for more, and for a protocol that does not exist (0 to 14).
    """
    if len(historical) > 15:
        raise ValueError("an ATR holds at most 15 historical bytes")
    if not all(0 <= protocol <= 14 for protocol in protocols):
        raise ValueError("a transmission protocol is T=0 to T=14")
    if not any(protocols):
        return bytes((0x3B, len(historical))) + historical
    chain = [*protocols]
    head = bytes((0x3B, 0x80 | len(historical)))
    for index, protocol in enumerate(chain):
        head += bytes((protocol | (0x80 if index + 1 < len(chain) else 0),))
    body = head + historical
    return body + bytes((reduce(xor, body[1:]),))
