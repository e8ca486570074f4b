"""When a lot stops: the judgement over failures, the two tables of moves, and the breaker that all workers share."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from keywright.errors import RecipeError
from keywright.production.control.admission import is_production
from keywright.production.control.brake import LotBrake
from keywright.production.control.control import PRODUCTION_LIMITS, TEST_LIMITS, Control, Failed, Limits, judge
from keywright.production.control.retry import SEVERAL
from keywright.production.order import OrderRow
from keywright.production.recipe import parse_recipe
from keywright.production.unit_store.control_rows import LotMoved, Setback, failures, last_event, lot_events
from keywright.production.unit_store.rows import Lot, UnitChange
from keywright.production.unit_store.tables import FINISHED, OPEN, STATES, State
from keywright.production.unit_store.transitions import (
    LOT,
    UNIT,
    LotMove,
    LotState,
    TransitionError,
    lot_target,
    unit_sources,
)
from keywright.production.unit_store.units import ConflictError, UnitStore

OFF = Limits(first_article=0, max_alike=0, max_consecutive=0, max_identical=0, min_yield_50=0, min_yield_500=0)
PUT, GET = "status 6982 at own_keys", "status 6A80 at personalise"


def limits(**some: float) -> Limits:
    return Limits(**{name: some.get(name, 0) for name in Limits.__struct_fields__})  # type: ignore[arg-type]  # every field is a number


def history(text: str) -> tuple[list[Failed], int]:
    """`s` sealed, a capital letter a unit set aside, a small one left open; the letter is the kind. Newest first."""
    found: list[Failed] = []
    sealed = 0
    for n, letter in enumerate(text, 1):
        if letter == "s":
            sealed += 1
        else:
            found.insert(0, Failed(n, f"kind {letter.upper()}", letter.upper(), "x", "unit", letter.isupper(), sealed))
    return found, sealed


def verdict(of: Limits, text: str, *, since: int = 0) -> str:
    found, sealed = history(text)
    breach = judge(of, found, sealed, since=since)
    return "" if breach is None else breach.cause


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", ""),
        ("sss", ""),
        ("AA", ""),
        ("AAA", "alike"),
        ("sAAA", "alike"),
        ("AAsA", ""),
        ("AABA", ""),
        ("ABAAA", "alike"),
        ("aaa", "alike"),
        ("AaA", "alike"),
        ("AAAs", ""),
    ],
)
def test_failures_alike_in_a_row(text: str, cause: str) -> None:
    assert verdict(limits(max_alike=3), text) == cause
    assert verdict(OFF, text) == ""


@pytest.mark.parametrize(("text", "cause"), [("AB", ""), ("ABC", "consecutive"), ("ABsC", ""), ("sABa", "consecutive")])
def test_failures_of_any_kind_in_a_row(text: str, cause: str) -> None:
    assert verdict(limits(max_consecutive=3), text) == cause


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("AsAsAsAs", ""),
        ("AsAsAsAsA", "identical"),
        ("AsBsAsAsAsA", "identical"),
        ("AsAsAsAsB", ""),
        ("A" + "s" * 499 + "AAAA", ""),
        ("A" + "s" * 495 + "AAAA", "identical"),
        ("A" + "s" * 496 + "AAAA", ""),
    ],
)
def test_identical_failures_among_the_last_five_hundred(text: str, cause: str) -> None:
    assert verdict(limits(max_identical=5), text) == cause


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("A" * 10, ""),
        ("AB" * 3 + "s" * 43 + "A", "yield"),
        ("AB" * 3 + "s" * 44 + "A", "yield"),
        ("AB" * 3 + "s" * 45 + "A", ""),
        ("AB" * 2 + "s" * 44 + "AB", "yield"),
        ("AB" * 2 + "s" * 46 + "A", ""),
        ("ab" * 20 + "s" * 45 + "A", ""),
        ("AB" * 20 + "s" * 49 + "A", ""),
    ],
)
def test_the_yield_of_the_last_fifty(text: str, cause: str) -> None:
    """At least 90 %: five of fifty may fail. Units left open have not come to an end."""
    assert verdict(limits(min_yield_50=0.9), text) == cause


def test_the_yield_of_the_last_five_hundred_counts_apart() -> None:
    text = ("s" * 18 + "AB") * 25
    assert verdict(limits(min_yield_500=0.95), text) == "yield"
    assert verdict(limits(min_yield_50=0.8, min_yield_500=0.9), text) == ""
    assert verdict(limits(min_yield_500=0.95), text, since=1) == "", "since it was released there were fewer than 500"


def test_an_error_of_the_lot_and_a_key_that_two_units_confirm_wrongly_stop_it_whatever_the_limits() -> None:
    lot = Failed(1, "store at own_keys", "store", "the keystore is locked", "lot", False, 0)
    breach = judge(OFF, [lot], 0)
    assert breach is not None
    assert (breach.cause, breach.text) == ("lot", "store: the keystore is locked")
    kcv = [Failed(n, "kcv-mismatch at own_keys", "kcv-mismatch", "x", "unit", True, n) for n in (3, 1)]
    assert judge(OFF, kcv[:1], 9, several=SEVERAL) is None
    assert judge(OFF, [kcv[0], kcv[0]], 9, several=SEVERAL) is None, "twice the same unit"
    breach = judge(OFF, kcv, 9, several=SEVERAL)
    assert breach is not None
    assert breach.cause == "several"


def test_limits_are_those_given_or_those_of_the_kind_of_lot() -> None:
    assert Control().limits(production=False) == TEST_LIMITS
    assert Control().limits(production=True) == PRODUCTION_LIMITS
    some = Control(max_alike=7, first_article=0).limits(production=True)
    assert (some.max_alike, some.first_article, some.max_identical) == (7, 0, PRODUCTION_LIMITS.max_identical)


HEAD = 'name = "r"\ndevice = "fob"\nlink = "sim:fob"\n'
STEP = '[[step]]\nname = "identify"\n'


def test_a_recipe_says_when_to_stop() -> None:
    text = HEAD + STEP + "[control]\nfirst_article = 3\nmin_yield_50 = 0.8\n"
    assert parse_recipe(text.encode()).control == Control(first_article=3, min_yield_50=0.8)
    assert parse_recipe((HEAD + STEP).encode()).control == Control()


@pytest.mark.parametrize(
    ("line", "about"),
    [
        ("max_alike = -1", "recipe:7: control: max_alike: Expected `int` >= 0"),
        ("min_yield_50 = 1.5", "recipe:7: control: min_yield_50: Expected `float` <= 1.0"),
        ("first_artikel = 1", "recipe:7: control: unknown key 'first_artikel'"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(line: str, about: str) -> None:
    with pytest.raises(RecipeError) as refused:
        parse_recipe((HEAD + STEP + "[control]\n" + line + "\n").encode())
    assert about in str(refused.value)


def test_control_is_a_table() -> None:
    with pytest.raises(RecipeError, match="recipe:4: control: expected a table"):
        parse_recipe((HEAD + "control = 1\n" + STEP).encode())


# ---- moves of units and of lots -------------------------------------------------------------------------------

LOTS: tuple[LotState, ...] = ("open", "waiting", "stopped", "complete", "closed")
MOVES: tuple[LotMove, ...] = ("wait", "approve", "accept", "stop", "release", "finish", "reopen", "recipe", "close")


@pytest.fixture
def store(tmp_path: Path) -> UnitStore:
    made = UnitStore.open(str(tmp_path / "lot.db"), create=True)
    rows = [OrderRow(n, f"K-{n}", "m", "o", {}) for n in range(1, 101)]
    lot = Lot(
        lot="lot",
        recipe=HEAD + STEP,
        recipe_digest="r",
        order_file="o",
        order_digest="d",
        keystore_id="k",
        test=True,
        link="sim:fob",
        created_at=1.0,
    )
    made.import_order(lot, rows)
    return made


def way_to(target: State) -> list[State]:
    """States that lead from planned to a state."""
    ways: dict[State, list[State]] = {"planned": []}
    while target not in ways:
        ways |= {to: [*ways[source], to] for (source, _), to in UNIT.items() if source in ways and to not in ways}
    return ways[target]


def test_every_state_of_a_unit_can_be_reached_and_open_and_finished_are_all() -> None:
    assert [way_to(state) for state in STATES if state != "planned"]
    assert {*OPEN, *FINISHED} == set(STATES)
    assert not set(OPEN) & set(FINISHED)
    assert {to for (source, _), to in UNIT.items() if source == "scrapped"} == set()


def test_every_pair_of_states_that_is_not_listed_is_refused_by_the_store(store: UnitStore) -> None:
    for n, (before, after) in enumerate(itertools.product(STATES, STATES), 1):
        for step in way_to(before):
            store.commit([UnitChange(n, {"state": step})])
        if before in unit_sources(after):
            store.commit([UnitChange(n, {"state": after})])
            expected = after
        else:
            with pytest.raises((TransitionError, ConflictError)):  # the ledger's own rule may be the first to refuse
                store.commit([UnitChange(n, {"state": after})])
            expected = before
        unit = store.unit(n)
        assert unit is not None
        assert unit.state == expected
    store.close()


def test_a_forbidden_move_undoes_its_whole_batch(store: UnitStore) -> None:
    with pytest.raises(TransitionError):
        store.commit([UnitChange(1, {"state": "sealed"}), UnitChange(2, {"state": "scrapped"})])
    assert store.counts()["planned"] == 100
    store.close()


LOT_WAYS: dict[LotState, tuple[LotMove, ...]] = {
    "open": (),
    "waiting": ("wait",),
    "stopped": ("stop",),
    "complete": ("finish",),
    "closed": ("finish", "close"),
}


@pytest.mark.parametrize(("before", "move"), list(itertools.product(LOTS, MOVES)))
def test_every_pair_of_state_and_move_of_a_lot_that_is_not_listed_is_refused(
    store: UnitStore, before: LotState, move: LotMove
) -> None:
    for step in LOT_WAYS[before]:
        store.commit([LotMoved(event=step, at=1.0)])
    if (before, move) in LOT:
        store.commit([LotMoved(event=move, at=2.0, cause="c", text="t", person="p")])
        expected = LOT[before, move]
        with store.reading() as connection:
            last = list(lot_events(connection))[-1]
        assert (last.event, last.came_from, last.state, last.person) == (move, before, expected, "p")
    else:
        with pytest.raises(TransitionError, match=f"the lot is {before}: it cannot {move}"):
            store.commit([LotMoved(event=move, at=2.0)])
        expected = before
    lot = store.lot()
    assert lot is not None
    assert lot.state == expected
    store.close()


def test_a_move_leads_to_one_state_wherever_it_begins() -> None:
    assert all(lot_target(move) == to for (_, move), to in LOT.items())


# ---- the breaker in the store ---------------------------------------------------------------------------------


def setback(unit: int, kind: str = PUT, severity: str = "unit") -> Setback:
    return Setback(unit=unit, kind=kind, code="status", text="x", severity=severity, ended=True, at=1.0)


def test_failures_stand_in_their_order_with_what_was_sealed_before_them(store: UnitStore) -> None:
    store.commit([setback(1)])
    store.commit([UnitChange(n, {"state": "sealed"}) for n in (2, 3)])
    store.commit([setback(4, GET), UnitChange(5, {"state": "sealed"})])
    with store.reading() as connection:
        assert [(one.unit, one.kind, one.sealed) for one in failures(connection)] == [(4, GET, 3), (1, PUT, 0)]
        assert [one.unit for one in failures(connection, since=1)] == [4]
    store.close()


def test_a_breaker_that_one_worker_opens_stops_the_others_and_stays_open_until_it_is_released(
    store: UnitStore, tmp_path: Path
) -> None:
    store.close()
    url = str(tmp_path / "lot.db")
    now = [0.0]
    with UnitStore.open(url, station="a") as one, UnitStore.open(url, station="b") as other:
        first = LotBrake(one, TEST_LIMITS, clock=lambda: 5.0, monotonic=lambda: now[0])
        second = LotBrake(other, TEST_LIMITS, clock=lambda: 6.0, monotonic=lambda: now[0])
        assert (first.reason(), second.reason()) == ("", "")
        assert [unit.n for unit in other.claim(2)] == [1, 2]
        one.commit([setback(3)])
        assert first.failed() == ""
        other.commit([setback(1)])
        assert second.failed() == ""
        one.commit([setback(4)])
        why = f"3 units in a row failed alike ({PUT}); the lot was stopped"
        assert first.failed() == why
        assert one.claim(5) == other.claim(5) == [], "the store itself gives no unit out"
        assert other.take(50) is None
        assert second.reason() == "", "it looked a moment ago"
        now[0] += 0.3
        assert second.reason() == why
        other.commit([setback(2)])
        assert second.failed() == why, "it was open already"
    with UnitStore.open(url) as alone:
        with alone.reading() as connection:
            (stopped,) = lot_events(connection)
        assert (stopped.event, stopped.cause, stopped.at, stopped.setbacks) == ("stop", "alike", 5.0, 3)
        alone.commit([LotMoved(event="release", at=7.0, person="sam")])
        brake = LotBrake(alone, TEST_LIMITS)
        assert brake.reason() == ""
        assert brake.judged() is None, "what failed before does not count again"
        with alone.reading() as connection:
            released = last_event(connection, "release")
        assert released is not None
        assert released.person == "sam"
        assert alone.claim(1)


def test_only_the_first_article_is_given_out_until_it_is_accepted(tmp_path: Path, store: UnitStore) -> None:
    store.close()
    url = str(tmp_path / "new.db")
    with UnitStore.open(url, create=True) as made:
        lot = Lot(
            lot="lot",
            recipe="",
            recipe_digest="",
            order_file="",
            order_digest="",
            keystore_id="",
            test=True,
            link="",
            created_at=1.0,
            allowed=2,
        )
        made.import_order(lot, [OrderRow(n, f"K-{n}", "m", "o", {}) for n in range(1, 6)])
        assert [unit.n for unit in made.claim(64)] == [1, 2]
        assert made.claim(64) == []
        assert made.take(3) is None
        made.commit([LotMoved(event="wait", at=1.0)])
        with pytest.raises(TransitionError):
            made.commit([LotMoved(event="release", at=1.0)])
        made.commit([LotMoved(event="accept", at=1.0)])
        assert [unit.n for unit in made.claim(64)] == [3, 4, 5]


def test_a_lot_produces_with_real_devices_and_keys_or_because_its_recipe_says_so() -> None:
    usual = parse_recipe((HEAD + STEP).encode())
    made = parse_recipe(('environment = "production"\n' + HEAD + STEP).encode())
    kinds = [(test, link) for test in (True, False) for link in ("sim:fob", "pcsc:Reader")]
    assert [is_production(usual, test=test, link=link) for test, link in kinds] == [False, False, False, True]
    assert all(is_production(made, test=test, link=link) for test, link in kinds)
