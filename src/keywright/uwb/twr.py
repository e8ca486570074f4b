"""Two-way ranging: from intervals of two free-running clocks to a time of flight.

Times are ticks of 1 / (128 * 499.2 MHz), about 15.65 ps or 4.69 mm of light; counters wrap at 40 bits. Everything is
signed: noise makes small distances negative, and a bias would hide if they were cut to 0.
"""

from __future__ import annotations

from typing import Final

TICK_HZ: Final = 128 * 499_200_000
COUNTER_BITS: Final = 40
COUNTER_MASK: Final = (1 << COUNTER_BITS) - 1
LIGHT_M_PER_S: Final = 299_792_458
METRES_PER_TICK: Final = LIGHT_M_PER_S / TICK_HZ


def interval(start: int, end: int) -> int:
    """Ticks from one reading of a 40-bit counter to a later one, less than a wrap (17.2 s) away."""
    return end - start & COUNTER_MASK


def signed_interval(start: int, end: int) -> int:
    """Ticks between two readings of a 40-bit counter that are less than half a wrap apart, either way."""
    return (end - start + (1 << COUNTER_BITS - 1) & COUNTER_MASK) - (1 << COUNTER_BITS - 1)


def ds_twr(round1: int, reply1: int, round2: int, reply2: int) -> float:
    """Time of flight in ticks, asymmetric double-sided: (R1*R2 - D1*D2) / (R1 + R2 + D1 + D2).

    round1, reply2: measured by the initiator; reply1, round2: by the responder. Clock offsets cancel to first order,
    whatever the replies. Raises ValueError if an interval is negative or all are 0.
    """
    total = round1 + round2 + reply1 + reply2
    if min(round1, reply1, round2, reply2) < 0 or not total:
        raise ValueError("intervals of two-way ranging are not negative, and not all 0")
    return (round1 * round2 - reply1 * reply2) / total


def ss_twr(round1: int, reply1: float, clock_offset: float = 0.0) -> float:
    """Time of flight in ticks of the initiator, single-sided: (R - D*(1 - offset)) / 2.

    clock_offset: how much faster the responder's clock runs than the initiator's (2e-6 for 2 ppm). 1 ppm that is not
    known costs half a ppm of the reply: 150 m for a second, 15 cm for a millisecond. Raises ValueError for negative
    intervals.
    """
    if min(round1, reply1) < 0:
        raise ValueError("intervals of two-way ranging are not negative")
    return (round1 - reply1 * (1 - clock_offset)) / 2


def metres(ticks: float) -> float:
    """Ticks of flight as metres."""
    return ticks * METRES_PER_TICK


def ticks(metres_: float) -> float:
    """Metres as ticks of flight."""
    return metres_ / METRES_PER_TICK
