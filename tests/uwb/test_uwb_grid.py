"""Chaps, slots, rounds, blocks: times, STS indices, hopping."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.uwb.grid import CHAP_TICKS, Grid, Hopping
from keywright.uwb.keys import LAST_STS_INDEX
from keywright.uwb.twr import TICK_HZ
from support.vectors import Case, vectors

GRID = Grid(0x1000, 2, 1, 6, 6, Hopping.CONTINUOUS, 0x12345678)


def grid_of(rounds: int, **fields: int) -> Grid:
    """A grid with so many rounds a block, of 12 slots of 3 chaps."""
    multiplier, rest = divmod(rounds, 8)
    assert not rest
    return Grid(0, 1, multiplier, 12, 3, Hopping.CONTINUOUS, **fields)


@vectors("digitalkey/ccc_uwb_key_ladder.json", "hopping")
def test_default_sequence_is_the_drivers(case: Case) -> None:
    grid = grid_of(case["n_round"], hop_key=int(case["hop_key"], 16))
    assert grid.rounds == case["n_round"]
    assert grid.hopped(case["block"]) == case["round"]


def test_schedule_of_a_public_driver() -> None:
    assert GRID.rounds == 8
    assert GRID.hopped(5) == 7
    assert GRID.sts_index(5, 7, GRID.response_slot(1)) == 0x111D


def test_a_chap_is_a_third_of_a_millisecond() -> None:
    assert CHAP_TICKS * 3000 == TICK_HZ
    assert GRID.slot_ticks * 500 == TICK_HZ
    assert GRID.block_ticks * 1000 == TICK_HZ * 96
    assert GRID.round_ticks * GRID.rounds == GRID.block_ticks


def test_slots_of_a_round_follow_each_other() -> None:
    slots = [0, 1, *map(GRID.response_slot, range(GRID.responders)), GRID.final_slot, GRID.final_slot + 1]
    assert slots == list(range(GRID.responders + 4))


@given(st.integers(0, 1 << 20), st.integers(0, 7), st.integers(0, 5))
def test_every_slot_has_an_index_of_its_own(block: int, round_: int, slot: int) -> None:
    index = GRID.sts_index(block, round_, slot)
    assert GRID.place(index) == (block, round_, slot)
    assert index - GRID.sts_index0 == GRID.start_ticks(block, round_, slot) // GRID.slot_ticks


def test_an_index_before_the_first_has_no_place() -> None:
    with pytest.raises(ValueError, match="before STS_Index0"):
        GRID.place(0xFFF)


@given(st.integers(1, 1 << 32), st.integers(0, 0xFFFFFFFF), st.integers(0, 79))
def test_hops_stay_inside_the_block(block: int, key: int, offset: int) -> None:
    grid = grid_of(80, hop_key=key, round_offset=offset)
    assert 0 <= grid.hopped(block) < 80 - offset


def test_block_0_is_not_hopped_whatever_the_key() -> None:
    assert {grid_of(80, hop_key=key).first_round(0, 0, hops=True) for key in range(100)} == {0}


def test_adaptive_hopping_stays_until_told() -> None:
    adaptive = Grid(0, 1, 10, 12, 3, Hopping.ADAPTIVE, 0xCC5DD79F)
    assert adaptive.first_round(1, 0, hops=False) == 0
    assert adaptive.first_round(1, 0, hops=True) == 62
    assert adaptive.first_round(2, 62, hops=False) == 62
    assert adaptive.first_round(2, 62, hops=True) == 37


def test_without_hopping_every_block_uses_round_0() -> None:
    still = Grid(0, 1, 10, 12, 3, Hopping.NONE, 0xCC5DD79F)
    assert {still.first_round(block, 5, hops=True) for block in range(50)} == {0}


def test_a_block_may_use_two_rounds() -> None:
    assert grid_of(80).rounds_used == 1
    assert grid_of(80, round_offset=3).rounds_used == 2


def test_long_slots_leave_seven_responders() -> None:
    assert Grid(0, 7, 1, 12, 24).final_slot == 9
    assert Grid(0, 10, 1, 16, 9).final_slot == 12


def test_the_last_index_ends_a_key() -> None:
    grid = Grid(LAST_STS_INDEX + 1 - 2 * GRID.indices_per_block, 2, 1, 6, 6)
    assert not grid.is_used_up(0)
    assert not grid.is_used_up(1)
    assert grid.is_used_up(2)
    later = Grid(grid.sts_index0 + 1, 2, 1, 6, 6)
    assert not later.is_used_up(0)
    assert later.is_used_up(1)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"responders": 0}, "0 responders"),
        ({"responders": 11, "slots_per_round": 16}, "11 responders"),
        ({"slots_per_round": 5}, "too few for 2 responders: 6"),
        ({"chaps_per_slot": 5}, "do not divide"),
        ({"chaps_per_slot": 0}, "do not divide"),
        ({"ran_multiplier": 0}, "do not divide"),
        ({"chaps_per_slot": 24, "slots_per_round": 12, "responders": 8}, "longer than a timestamp"),
        ({"round_offset": 8}, "8 apart in a block of 8"),
        ({"sts_index0": -1}, "beyond"),
        ({"sts_index0": 1 << 31}, "beyond"),
    ],
)
def test_what_cannot_be_is_no_grid(fields: dict[str, Any], why: str) -> None:
    given_: dict[str, Any] = {
        "sts_index0": 0,
        "responders": 2,
        "ran_multiplier": 1,
        "slots_per_round": 6,
        "chaps_per_slot": 6,
    }
    with pytest.raises(ValueError, match=why):
        Grid(**{**given_, **fields})
