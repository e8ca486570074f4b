"""Times of the contact and contactless interfaces, in seconds (ISO 7816-3 8.1, 10.2, 11.4.3; ISO 14443-4 5.2.5).

Clock frequencies are in hertz. Every time runs from leading edge to leading edge of characters.
"""

from __future__ import annotations

from typing import Final

import msgspec

CLOCK_HZ: Final = 3_571_200.0
"""The clock that makes 9600 bit/s at the default factors; readers use about this."""
CARRIER_HZ: Final = 13_560_000.0
"""Carrier of ISO 14443-2."""

FI: Final = {0: 372, 1: 372, 2: 558, 3: 744, 4: 1116, 5: 1488, 6: 1860, 9: 512, 10: 768, 11: 1024, 12: 1536, 13: 2048}
"""Clock rate conversion integer by the high nibble of TA1 (ISO 7816-3 table 7); the others are reserved."""
FMAX_HZ: Final = {
    0: 4e6, 1: 5e6, 2: 6e6, 3: 8e6, 4: 12e6, 5: 16e6, 6: 20e6, 9: 5e6, 10: 7.5e6, 11: 10e6, 12: 15e6, 13: 20e6,
}  # fmt: skip  # one row of the standard's table
"""Highest clock by the high nibble of TA1."""
DI: Final = {1: 1, 2: 2, 3: 4, 4: 8, 5: 16, 6: 32, 7: 64, 8: 12, 9: 20}
"""Baud rate adjustment integer by the low nibble of TA1 (ISO 7816-3 table 8); the others are reserved."""

INITIAL_WAIT_ETU: Final = 9600
"""Longest gap inside an ATR, and longest wait for the answer to a PPS."""
BLOCK_GUARD_ETU: Final = 22
"""T=1: least time between blocks in opposite directions (ISO 7816-3 11.4.3)."""
FWT_UNIT_S: Final = 4096 / CARRIER_HZ
FWT_TOLERANCE_S: Final = 49_152 / CARRIER_HZ
MAX_FWI: Final = 14


class Speed(msgspec.Struct, frozen=True):
    """How fast a contact interface runs: the two integers and the clock."""

    fi: int = 372
    di: int = 1
    clock_hz: float = CLOCK_HZ

    @property
    def etu(self) -> float:
        """Elementary time unit."""
        return self.fi / (self.di * self.clock_hz)

    def guard_time(self, n: int, *, t1: bool = False) -> float:
        """Least time between characters from host to card; `n` is TC1 (FF: 12 etu, 11 under T=1)."""
        if n == 0xFF:
            return (11 if t1 else 12) * self.etu
        return 12 * self.etu + n * self.fi / (self.di * self.clock_hz)

    def waiting_time(self, wi: int) -> float:
        """WT of T=0: longest gap before any character of the card; `wi` is TC2."""
        return wi * 960 * self.fi / self.clock_hz

    def character_waiting_time(self, cwi: int) -> float:
        """CWT of T=1: longest gap inside a block."""
        return (11 + (1 << cwi)) * self.etu

    def block_waiting_time(self, bwi: int) -> float:
        """BWT of T=1: longest wait for the first character of the card's block."""
        return 11 * self.etu + (1 << bwi) * 960 * 372 / self.clock_hz


def frame_waiting_time(fwi: int) -> float:
    """FWT of ISO 14443-4, tolerance included. Raises ValueError for the reserved 15 and beyond."""
    if not 0 <= fwi <= MAX_FWI:
        raise ValueError(f"FWI is 0 to {MAX_FWI}, not {fwi}")
    return (1 << fwi) * FWT_UNIT_S + FWT_TOLERANCE_S


def start_up_guard_time(sfgi: int) -> float:
    """SFGT of ISO 14443-4: what a card needs after its ATS; 0 for the default SFGI 0. Raises ValueError as above."""
    if not 0 <= sfgi <= MAX_FWI:
        raise ValueError(f"SFGI is 0 to {MAX_FWI}, not {sfgi}")
    return (1 << sfgi) * FWT_UNIT_S if sfgi else 0.0
