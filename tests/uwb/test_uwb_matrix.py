"""Every shape of round that a session may have gives distances: a sample in a normal run, all in the nightly."""

from __future__ import annotations

import itertools
import random

import pytest

from keywright.uwb.grid import OVERHEAD_SLOTS, Grid, Hopping
from keywright.uwb.setup.terms import CHAPS, SLOTS_PER_ROUND, Terms
from support.faults import is_nightly
from support.uwb import QUICK, SESSION, URSK
from support.uwb_approach import EARLY_S, Approach, Session

_SAMPLE = 24


def shapes() -> list[Grid]:
    """Every grid of up to three times 96 ms, ten responders, and either no second round or one in the middle."""
    found = []
    for chaps, slots, multiplier in itertools.product(CHAPS, SLOTS_PER_ROUND, (1, 2, 3)):
        if multiplier * 288 % (chaps * slots):
            continue
        rounds = multiplier * 288 // (chaps * slots)
        found += [
            Grid(77, responders, multiplier, slots, chaps, hopping, 0xCC5DD79F, offset)
            for responders in range(1, min(10 if chaps < 24 else 7, slots - OVERHEAD_SLOTS) + 1)
            for hopping in Hopping
            for offset in {0, rounds // 2}
        ]
    return found


ALL = shapes()
CHOSEN = ALL if is_nightly() else random.Random(6).sample(ALL, _SAMPLE)


def test_there_are_many_shapes() -> None:
    assert len(ALL) > 2000


@pytest.mark.parametrize("grid", CHOSEN, ids=repr)
def test_a_round_of_this_shape_gives_a_distance_for_everybody(grid: Grid) -> None:
    session = Session(URSK, Terms(SESSION, 0, 0x11, 9, 9, grid, 1_000_000))
    places = [(float(number), 0.0, 0.0) for number in range(grid.responders)]
    one = Approach(session, session, (0.0, 3.0, 0.0), places, random=random.Random(1).random, options=QUICK)
    blocks = 2
    found = one.distances(EARLY_S + blocks * grid.ran_multiplier * 0.096 + 0.0005)
    assert len(found) == blocks * grid.responders
    for number, distance in enumerate(found):
        metres = (number % grid.responders) ** 2 + 9
        assert distance == pytest.approx(metres**0.5, abs=0.01)
