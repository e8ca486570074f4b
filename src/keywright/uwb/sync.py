"""When to listen: the device's UWB clock, seen through an event of Bluetooth that both ends have timed.

All in microseconds. Of the two readings of the event, only the device's is sent (`setup.messages.TimeSync`). Once a
first pre-poll is heard, its arrival is a better anchor than all of this.
"""

from __future__ import annotations

from typing import NamedTuple

from keywright.uwb.grid import Grid
from keywright.uwb.twr import TICK_HZ


class Window(NamedTuple):
    """From when to when the reader listens, in microseconds of its own clock."""

    start: float
    end: float


def sync_offset(device_time: int, reader_time: float, *, events_later: int = 0, interval_us: float = 0.0) -> float:
    """How far the device's clock is ahead of the reader's.

    events_later: by how many connection events the reader's reading is later than the device's, each `interval_us`
    after the one before; 0 if both have timed the same one.
    """
    return device_time + events_later * interval_us - reader_time


def uncertainty_us(code: int) -> float:
    """What the uncertainty of a time sync stands for: 2^(n/8) microseconds, up to about an hour."""
    return float(2.0 ** (code / 8))


def uncertainty_code(microseconds: float) -> int:
    """The least code that covers an uncertainty. Raises ValueError beyond the last."""
    for code in range(256):
        if uncertainty_us(code) >= microseconds:
            return code
    raise ValueError(f"an uncertainty of {microseconds} us is more than can be said")


def listen_window(
    grid: Grid,
    uwb_time0: int,
    block: int,
    offset: float,
    *,
    uncertainty: float,
    ppm: float,
    elapsed_us: float,
    round_: int = 0,
    mapping_error: float = 0.0,
) -> Window:
    """When the pre-poll of a block can arrive. ppm: both clocks' together; elapsed_us: since the time sync."""
    centre = uwb_time0 + grid.start_ticks(block, round_) * 1e6 / TICK_HZ - offset
    margin = uncertainty + ppm * 1e-6 * elapsed_us + mapping_error
    return Window(centre - margin, centre + margin)
