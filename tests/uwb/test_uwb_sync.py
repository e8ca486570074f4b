"""When a reader listens, from a time sync and nothing else."""

from __future__ import annotations

import pytest

from keywright.uwb.sync import Window, listen_window, sync_offset, uncertainty_code, uncertainty_us
from support.uwb import terms_of

GRID = terms_of(chaps_per_slot=6).grid


def test_the_same_event_gives_the_offset_of_the_clocks() -> None:
    assert sync_offset(5_000_000, 2_000_000.0) == 3_000_000


def test_events_that_differ_are_counted_in_connection_intervals() -> None:
    # The reader has timed the fourth event after the device's, 30 ms apart: its clock says 120 ms more than it would.
    assert sync_offset(5_000_000, 2_120_000.0, events_later=4, interval_us=30_000.0) == 3_000_000


def test_uncertainty_is_logarithmic() -> None:
    assert uncertainty_us(0) == 1
    assert uncertainty_us(80) == 1024
    assert 3600e6 < uncertainty_us(255) < 4000e6


@pytest.mark.parametrize("microseconds", [0.5, 1, 2, 1000, 1024, 1025, 3e9])
def test_a_code_covers_what_it_stands_for_and_no_smaller_one_does(microseconds: float) -> None:
    code = uncertainty_code(microseconds)
    assert uncertainty_us(code) >= microseconds
    assert not code or uncertainty_us(code - 1) < microseconds


def test_more_than_an_hour_cannot_be_said() -> None:
    with pytest.raises(ValueError, match="more than can be said"):
        uncertainty_code(1e10)


def test_the_window_is_where_the_grid_is_and_as_wide_as_what_is_not_known() -> None:
    exact = listen_window(GRID, 1_000_000, 3, 200_000.0, uncertainty=0.0, ppm=0.0, elapsed_us=0.0)
    assert exact == Window(1_000_000 + 3 * 96_000 - 200_000, 1_000_000 + 3 * 96_000 - 200_000)
    wide = listen_window(
        GRID, 1_000_000, 3, 200_000.0, uncertainty=500.0, ppm=40.0, elapsed_us=10e6, mapping_error=100.0, round_=2
    )
    middle = exact.start + 2 * GRID.round_ticks * 1e6 / 63_897_600_000
    assert wide == pytest.approx((middle - 1000, middle + 1000))
