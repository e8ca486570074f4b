"""Error detection codes of blocks: LRC and the CRCs of T=1 (ISO 7816-3 11.4.4), CRC_A and CRC_B (ISO 14443-3 annex B).

ISO 7816-3 points to ISO 13239 for the CRC and gives no example, so implementations differ. The variants are those seen
in the field; `CRC` is what most readers and cards do.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from functools import reduce
from operator import xor
from typing import Final, NamedTuple


class Edc(NamedTuple):
    """A code: its name, how many bytes it adds, and what computes them over all bytes before it."""

    name: str
    size: int
    compute: Callable[[bytes], bytes]

    def close(self, block: bytes) -> bytes:
        """`block` with its code behind it."""
        return block + self.compute(block)

    def holds(self, block: bytes) -> bool:
        """Whether the last `size` bytes are the code of those before."""
        return len(block) > self.size and self.compute(block[: -self.size]) == block[-self.size :]


def _reversed(value: int, bits: int) -> int:
    return int(f"{value:0{bits}b}"[::-1], 2)


_REVERSE: Final = bytes(_reversed(byte, 8) for byte in range(256))
_ARC_POLYNOMIAL: Final = 0xA001


def _arc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_ARC_POLYNOMIAL if value & 1 else 0)  # noqa: PLW2901 - a register is shifted
        table.append(value)
    return tuple(table)


_ARC: Final = _arc_table()


def lrc(block: bytes) -> bytes:
    """Exclusive-or of all bytes."""
    return bytes((reduce(xor, block, 0),))


def _ccitt(start: int, final: int, *, low_first: bool) -> Callable[[bytes], bytes]:
    """Polynomial 1021 with reflected input and output: the library's unreflected CRC over reversed bits."""
    first = _reversed(start, 16)

    def compute(block: bytes) -> bytes:
        value = binascii.crc_hqx(block.translate(_REVERSE), first)
        both = bytes((_REVERSE[value & 0xFF] ^ final >> 8, _REVERSE[value >> 8] ^ final & 0xFF))
        return both[::-1] if low_first else both

    return compute


def _arc(block: bytes) -> bytes:
    value = 0
    for byte in block:
        value = value >> 8 ^ _ARC[(value ^ byte) & 0xFF]
    return value.to_bytes(2)


LRC: Final = Edc("lrc", 1, lrc)
CRC: Final = Edc("crc", 2, _ccitt(0xFFFF, 0x0000, low_first=False))
"""8408, start FFFF, high byte first: CCID and openct drivers, read on the wire with two readers."""
CRC_ARC: Final = Edc("crc-arc", 2, _arc)
"""A001, start 0000, high byte first: the Windows 10 driver with TPDU readers."""
CRC_INVERTED: Final = Edc("crc-inverted", 2, _ccitt(0x0000, 0xFFFF, low_first=True))
"""8408, start 0000, final FFFF, low byte first: one reader firmware, a single sample."""
CRC_X25: Final = Edc("crc-x25", 2, _ccitt(0xFFFF, 0xFFFF, low_first=False))
"""8408, start FFFF, final FFFF, high byte first: the code of T=1' over I2C and SPI."""

T1_CODES: Final = {code.name: code for code in (LRC, CRC, CRC_ARC, CRC_INVERTED, CRC_X25)}
"""The codes that a T=1 profile may name."""

CRC_A: Final = Edc("crc-a", 2, _ccitt(0x6363, 0x0000, low_first=True))
"""ISO 14443-3 type A."""
CRC_B: Final = Edc("crc-b", 2, _ccitt(0xFFFF, 0xFFFF, low_first=True))
"""ISO 14443-3 type B."""
