"""When a door opens and closes by distance."""

from __future__ import annotations

import math
import random

import pytest

from keywright.aliro.ble.approach import Approach, Approached, Distance, Left, Watch


def follow(watch: Watch, metres: list[float], start: float = 0.0, step: float = 0.2) -> list[object]:
    """What a row of secure rounds leads to."""
    return [watch.measured(Distance(one), start + number * step) for number, one in enumerate(metres)]


def test_it_opens_at_the_third_round_within_two_metres_and_closes_beyond_four() -> None:
    watch = Watch(Approach())
    assert follow(watch, [1.5, 1.6, 1.7]) == [None, None, Approached(1.6)]
    assert follow(watch, [1.0, 3.0, 3.9], 1.0) == [None] * 3
    assert follow(watch, [5.0, 5.0], 2.0) == [None, Left("5.0 m away")]
    assert not watch.is_near


def test_between_the_two_distances_nothing_changes() -> None:
    watch = Watch(Approach())
    assert follow(watch, [3.0] * 10) == [None] * 10
    follow(watch, [1.0] * 3, 3.0)
    assert watch.is_near
    assert follow(watch, [3.0] * 10, 4.0) == [None] * 10


def test_short_distances_with_a_long_one_among_them_do_not_open() -> None:
    watch = Watch(Approach())
    assert follow(watch, [0.1, 0.1, 10.0] * 5) == [None] * 15
    assert follow(watch, [0.1, 0.1, 0.1], 4.0)[-1] == Approached(0.1)
    assert follow(watch, [10.0, 0.1, 0.1, 10.0], 5.0) == [None] * 4


@pytest.mark.parametrize(
    "bad", [Distance(0.5, is_secure=False), Distance(-5.0), Distance(math.nan), Distance(math.inf)]
)
def test_an_insecure_or_impossible_round_begins_the_row_anew(bad: Distance) -> None:
    watch = Watch(Approach())
    assert follow(watch, [1.0, 1.0]) == [None, None]
    assert watch.measured(bad, 0.5) is None
    assert follow(watch, [1.0, 1.0, 1.0], 0.6) == [None, None, Approached(1.0)]


def test_insecure_rounds_alone_never_open_and_in_the_end_close() -> None:
    watch = Watch(Approach())
    assert [watch.measured(Distance(0.5, is_secure=False), at) for at in range(20)] == [None] * 20
    follow(watch, [1.0] * 3, 20.0)
    told = [watch.measured(Distance(0.5, is_secure=False), 21.0 + at) for at in range(6)]
    assert told == [None] * 5 + [Left("no secure distance for 5 s")]


def test_silence_closes_at_its_deadline() -> None:
    watch = Watch(Approach())
    assert watch.deadline() is None
    follow(watch, [1.0] * 3)
    assert watch.deadline() == pytest.approx(5.4)
    assert watch.look(5.3) is None
    assert watch.look(5.5) == Left("no secure distance for 5 s")
    assert watch.look(9.0) is None
    assert watch.deadline() is None


def test_a_round_after_a_long_silence_closes_first() -> None:
    watch = Watch(Approach())
    follow(watch, [1.0] * 3)
    assert watch.measured(Distance(1.0), 1e6) == Left("no secure distance for 5 s")


def test_a_lost_session_closes_only_what_was_open() -> None:
    watch = Watch(Approach())
    assert watch.lost("link") is None
    follow(watch, [1.0] * 3)
    assert watch.lost("link") == Left("link")
    assert watch.lost("link") is None


def test_opening_and_closing_alternate_whatever_is_measured() -> None:
    chance = random.Random(6)
    watch, near = Watch(Approach()), False
    for number in range(2000):
        distance = Distance(chance.uniform(-2.0, 8.0), is_secure=chance.random() < 0.9)
        told = watch.measured(distance, number * chance.choice((0.1, 0.1, 0.1, 6.0)))
        if told is not None:
            assert isinstance(told, Left if near else Approached)
            near = not near
        assert watch.is_near == near


@pytest.mark.parametrize(
    "wrong",
    [{"near_m": 4.0}, {"far_m": math.inf}, {"rounds": 0}, {"silence_s": 0.0}, {"floor_m": 3.0}, {"near_m": math.nan}],
)
def test_a_policy_that_makes_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="are due"):
        Approach(**wrong)  # type: ignore[arg-type]  # rounds is a whole number
