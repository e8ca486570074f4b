"""What passes between an end of ranging and its UWB radio: orders to send at a tick, and what was heard at which.

The form is ours; a driver of a chip with delayed transmission and 40-bit timestamps fills it in. An SP3 packet has no
payload: its octets here are the polarities of its STS as the radio saw them, eight to an octet, the first pulse in the
highest bit.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from keywright.codec.markers import Unsigned
from keywright.codec.record import U8, U32, LittleRecord, Rest

SP0: Final = 0
"""A packet with a payload and no STS."""
SP3: Final = 3
"""A packet with an STS and no payload."""
_BIAS: Final = 1 << 31

Ticks40: TypeAlias = Annotated[int, Unsigned(5)]


class Transmission(LittleRecord, frozen=True):
    """An order: send octets so that its RMARKER leaves at that tick of the radio's counter."""

    kind: U8
    at: Ticks40
    octets: Annotated[bytes, Rest()] = b""


class Reception(LittleRecord, frozen=True):
    """What was heard, its RMARKER at that tick of the radio's counter."""

    kind: U8
    at: Ticks40
    biased_offset: U32
    """Clock offset from the carrier, in parts per billion plus 2^31: `clock_offset`."""
    octets: Annotated[bytes, Rest()] = b""

    @property
    def clock_offset(self) -> float:
        """How much faster the sender's clock runs than the receiver's, as a ratio (2e-6 for 2 ppm)."""
        return (self.biased_offset - _BIAS) * 1e-9


def biased(parts_per_billion: int) -> int:
    """A clock offset as a reception carries it. Raises ValueError beyond about two."""
    if not -_BIAS <= parts_per_billion < _BIAS:
        raise ValueError(f"a clock offset of {parts_per_billion} ppb")
    return parts_per_billion + _BIAS


def agreement(expected: bytes, heard: bytes) -> float:
    """The share of pulses that have the polarity they should, 0 to 1; 0 for another length."""
    if len(expected) != len(heard) or not expected:
        return 0.0
    wrong = (int.from_bytes(expected) ^ int.from_bytes(heard)).bit_count()
    return 1.0 - wrong / (8 * len(expected))
