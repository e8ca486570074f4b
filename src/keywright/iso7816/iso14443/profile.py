"""What of ISO 14443-4 differs between readers and cards, as one value for both ends."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from keywright.iso7816.ats import Limits
from keywright.iso7816.edc import CRC_A, CRC_B, Edc
from keywright.iso7816.timing import CARRIER_HZ, MAX_FWI, frame_waiting_time

ACTIVATION_WAIT_S: Final = 65_536 / CARRIER_HZ
"""Longest wait for the answer to RATS, ATTRIB or PPS."""
_BITS_OF_BYTE: Final = 10
_BIT_S: Final = 128 / CARRIER_HZ
MAX_WAIT_S: Final = frame_waiting_time(MAX_FWI)


class Iso14443Profile(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of an end of ISO 14443-4."""

    type: Literal["A", "B"] = "A"
    limits: Limits = Limits(fsd=32)
    """What holds where no activation is played; an activation settles it anew."""
    nad: int | None = None
    """Reader: node address in the first block of each chain."""
    max_retries: int = 2
    """Reader: how often in a row it asks again before it gives the card up (7.5.5.2 leaves the number open)."""
    repeated_block: Literal["drop", "run"] = "drop"
    """Card: an I-block with the number of the last one. The standard has a card take every I-block whatever its number
    (rule D), so a doubled one would run twice; "drop" sends the last answer again. No correct reader notices."""
    max_answer: int = 65_538
    """Reader: bytes of the longest answer taken."""
    max_command: int = 65_544
    """Card: bytes of the longest command taken; more is answered with 6700."""
    max_blocks: int = 70_000
    """Reader: blocks of one command; S(WTX) could go on for ever."""

    @property
    def code(self) -> Edc:
        """CRC_A or CRC_B."""
        return CRC_A if self.type == "A" else CRC_B


def duration(frame: bytes) -> float:
    """Seconds that a frame takes at 106 kbit/s."""
    return len(frame) * _BITS_OF_BYTE * _BIT_S
