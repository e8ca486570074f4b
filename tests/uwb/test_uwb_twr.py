"""Two-way ranging: signed, drift-proof where it should be, and honest where it is not."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.uwb.twr import (
    COUNTER_MASK,
    METRES_PER_TICK,
    TICK_HZ,
    ds_twr,
    interval,
    metres,
    signed_interval,
    ss_twr,
    ticks,
)

MS = TICK_HZ // 1000


def measured(flight: int, reply1: int, reply2: int, offset_ppm: Fraction) -> tuple[int, int, int, int]:
    """The four intervals as two clocks read them; the responder's runs faster by `offset_ppm`."""
    faster = 1 + offset_ppm / 1_000_000
    return (
        reply1 + 2 * flight,
        round(reply1 * faster),
        round((reply2 + 2 * flight) * faster),
        reply2,
    )


def test_example_of_a_public_driver() -> None:
    assert ds_twr(0x30000, 0x10000, 0x28000, 0x18000) == 0xC000


@given(st.integers(0, 20_000), st.integers(MS, 20 * MS), st.integers(MS, 20 * MS), st.integers(-100, 100))
def test_double_sided_ranging_does_not_see_the_offset_of_clocks(
    flight: int, reply1: int, reply2: int, ppm: int
) -> None:
    found = ds_twr(*measured(flight, reply1, reply2, Fraction(ppm)))
    # What is left is half the offset of the flight itself, and the rounding of two intervals.
    assert abs(found - flight) <= 1 + flight * 100e-6


@given(st.integers(0, 20_000), st.integers(MS, 20 * MS), st.integers(-100, 100))
def test_single_sided_ranging_needs_to_know_the_offset(flight: int, reply: int, ppm: int) -> None:
    round1, reply1, _, _ = measured(flight, reply, MS, Fraction(ppm))
    assert abs(ss_twr(round1, reply1) - flight + reply * ppm / 2e6) <= 1
    assert abs(ss_twr(round1, reply1, ppm / 1e6) - flight) <= 1 + reply * (ppm / 1e6) ** 2


def test_one_ppm_of_a_millisecond_is_fifteen_centimetres() -> None:
    round1, reply1, _, _ = measured(0, MS, MS, Fraction(1))
    assert abs(metres(ss_twr(round1, reply1)) + 0.15) < 0.005


def test_small_distances_may_come_out_negative() -> None:
    assert ds_twr(1000, 1001, 1000, 1001) < 0
    assert ss_twr(1000, 1010) == -5


@pytest.mark.parametrize("intervals", [(-1, 1, 1, 1), (1, -1, 1, 1), (1, 1, -1, 1), (1, 1, 1, -1), (0, 0, 0, 0)])
def test_no_interval_is_negative(intervals: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="not negative"):
        ds_twr(*intervals)


@pytest.mark.parametrize(("round1", "reply1"), [(-1, 0), (0, -1)])
def test_no_interval_of_single_sided_ranging_is_negative(round1: int, reply1: int) -> None:
    with pytest.raises(ValueError, match="not negative"):
        ss_twr(round1, reply1)


@given(st.integers(0, COUNTER_MASK), st.integers(0, COUNTER_MASK))
def test_intervals_survive_the_wrap_of_the_counter(start: int, length: int) -> None:
    assert interval(start, start + length & COUNTER_MASK) == length


@given(st.integers(0, COUNTER_MASK), st.integers(-(1 << 39), (1 << 39) - 1))
def test_signed_intervals_survive_the_wrap_of_the_counter(start: int, length: int) -> None:
    assert signed_interval(start, start + length & COUNTER_MASK) == length


def test_a_tick_is_under_half_a_centimetre() -> None:
    assert round(METRES_PER_TICK, 6) == 0.004692
    assert ticks(metres(1234.5)) == pytest.approx(1234.5)
