"""The scrambled timestamp sequence: which pulses a slot consists of (IEEE 802.15.4z-2020 15.2.9).

A deterministic random bit generator gives 128 bits a block, block n = AES-128(key, V with its counter advanced by n);
a bit 0 is a pulse of positive polarity, 1 of negative. Where the counter lies in V and how key and V are read is
`Mapping`: it is known from one public driver only, and two ends with the same mapping cannot tell that it is wrong.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from keywright.crypto.aes import AesKey

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK_BITS: Final = 128
SEGMENT_PULSES: Final = 4096
"""Pulses of one segment of 64 units at spreading 8 (BPRF): 32768 chips, 32 blocks."""
CHIP_HZ: Final = 499_200_000
_WORD: Final = 0xFFFFFFFF


class Mapping(NamedTuple):
    """How key and STS-V become the key and V of the generator. The names of `MAPPINGS` are the ones to give."""

    reverses_key: bool = False
    """All 16 octets of the key in opposite order."""
    reverses_v: bool = False
    """All 16 octets of STS-V in opposite order, before the counter is looked for."""
    counter_word: int = 3
    """Which of the four 32-bit words of V, big-endian, counts blocks; 3 is the last."""


MAPPINGS: Final[dict[str, Mapping]] = {
    "written": Mapping(),
    "registers": Mapping(reverses_v=True),
    "registers-reversed": Mapping(reverses_key=True, reverses_v=True),
    "index-word": Mapping(counter_word=2),
}
"""Named mappings; `written` is ours unless told otherwise.

written: V as the ladder gives it, its last word the counter, so the word that holds the STS index is beside it.
registers: a DW3000 given the key reversed and STS-V not, as little-endian words, word 0 of a register being the lowest.
registers-reversed: the same, if word 0 were the highest for the key.
index-word: blocks counted in the word that holds the STS index.
"""
WRITTEN: Final = MAPPINGS["written"]


def drbg(key: AesKey, v: bytes, blocks: int, mapping: Mapping = WRITTEN) -> bytes:
    """So many blocks of 16 octets for a key of 16 octets and an STS-V of 16. The one place that knows the mapping.

    The counter wraps within its word. Raises ValueError for other sizes.
    """
    if key.size * 8 != BLOCK_BITS or len(v) * 8 != BLOCK_BITS:
        raise ValueError(f"an STS key and V have 16 octets each, not {key.size} and {len(v)}")
    if mapping.reverses_key:
        key = AesKey(key.reveal()[::-1], "STS key")
    if mapping.reverses_v:
        v = v[::-1]
    at = 4 * mapping.counter_word
    before, after = v[:at], v[at + 4 :]
    first = int.from_bytes(v[at : at + 4])
    return key.encrypt_blocks(before + (after + before).join(_counters(first, blocks)) + after)


def _counters(first: int, count: int) -> Sequence[bytes]:
    """So many numbers of a word, which wraps."""
    if not count or first + count > 1 << 32:
        return [(first + n & _WORD).to_bytes(4) for n in range(count)]
    # One call for all is three times as fast as one for each.
    numbers, octets = _packers(count)
    return octets.unpack(numbers.pack(*range(first, first + count)))


@functools.cache
def _packers(count: int) -> tuple[struct.Struct, struct.Struct]:
    return struct.Struct(f">{count}I"), struct.Struct("4s" * count)


def sts(key: AesKey, v: bytes, pulses: int = SEGMENT_PULSES, mapping: Mapping = WRITTEN) -> NDArray[np.int8]:
    """The polarities, +1 or -1, of so many pulses of one slot: `RoundKeys.dursk`, `RoundKeys.sts_v(index)`."""
    import numpy as np  # noqa: PLC0415 - loads only where signals are

    octets = drbg(key, v, -(-pulses // BLOCK_BITS), mapping)
    bits = np.unpackbits(np.frombuffer(octets, np.uint8), count=pulses)
    return (1 - 2 * bits.astype(np.int8)).astype(np.int8)
