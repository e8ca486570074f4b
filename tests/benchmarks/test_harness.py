"""The benchmark's harness: ratios are what the rounds say, targets are judged the right way, tables render.

Nothing here depends on how long anything takes: the clock is a list of times.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Imports a module of the benchmarks, which are scripts and not on the path."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return lambda name: import_module(f"bench.{name}")


class Clock:
    """A clock that stands still, but for what the contenders do."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def working(clock: Clock, costs: Iterator[float], log: list[str], name: str) -> Callable[[], None]:
    def work() -> None:
        log.append(name)
        clock.now += next(costs)

    return work


def forever(cost: float) -> Iterator[float]:
    while True:
        yield cost


def test_a_ratio_is_the_median_of_rounds_each_compared_within_itself(module: Callable[[str], Any]) -> None:
    race = module("measure").Race({"slow": (4.0, 40.0, 6.0), "fast": (1.0, 10.0, 3.0)})
    assert race.speed("fast", "slow") == 4.0
    assert race.speed("slow", "fast") == 0.25
    assert (race.median("slow"), race.median("fast")) == (6.0, 3.0)


def test_contenders_take_turns_and_rounds_are_divided_by_calls_and_units(module: Callable[[str], Any]) -> None:
    measure, clock, log = module("measure"), Clock(), list[str]()
    one = measure.Contender("one", working(clock, forever(measure.ROUND_S / 2), log, "a"))
    ten = measure.Contender("ten", working(clock, forever(measure.ROUND_S), log, "b"), units=10)
    race = measure.race([one, ten], rounds=3, clock=clock)
    assert race.median("one") == pytest.approx(measure.ROUND_S / 2)
    assert race.median("ten") == pytest.approx(measure.ROUND_S / 10)
    assert race.speed("ten", "one") == pytest.approx(5)
    assert "".join(log) == "a" + "b" + "aab" * 3  # warmed, then two calls of the short one in each round


def test_a_round_has_as_many_calls_as_fill_it(module: Callable[[str], Any]) -> None:
    measure, clock, log = module("measure"), Clock(), list[str]()
    quick = measure.Contender("quick", working(clock, forever(measure.ROUND_S / 64), log, "q"))
    measure.race([quick], rounds=1, clock=clock)
    assert len(log) == 1 + 2 + 4 + 8 + 16 + 64


def test_the_collector_rests_during_rounds_and_runs_again_after_a_failure(module: Callable[[str], Any]) -> None:
    measure, clock, enabled = module("measure"), Clock(), list[bool]()

    def work() -> None:
        enabled.append(gc.isenabled())
        clock.now += measure.ROUND_S
        if len(enabled) == 4:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        measure.race([measure.Contender("work", work)], rounds=9, clock=clock)
    assert enabled == [True, False, False, False]
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("value", "target", "bound", "verdict", "share"),
    [
        (3.0, 2.0, "least", "holds", 1.5),
        (2.0, 2.0, "least", "holds", 1.0),
        (1.0, 2.0, "least", "falls short", 0.5),
        (3.5, 7.0, "most", "holds", 2.0),
        (14.0, 7.0, "most", "falls short", 0.5),
        (1.0, None, "least", "", None),
    ],
)
def test_a_target_is_judged_in_its_own_direction(
    module: Callable[[str], Any], value: float, target: float | None, bound: str, verdict: str, share: float | None
) -> None:
    figure = module("figures").Figure("what", "1", "peer 2", value, target, most=bound == "most")
    assert (figure.verdict, figure.share) == (verdict, share)


def test_the_table_is_markdown_with_columns_in_line(module: Callable[[str], Any]) -> None:
    figures = module("figures")
    text = figures.table(
        [
            figures.Figure("session open", "20.00 µs", "bare 8.00 µs", 40.0, 35.0, form="{:.0f} %"),
            figures.Figure("peak", "10 MB", "", 10.0, 300.0, most=True, form="{:.0f} MB"),
            figures.Figure("parse", "1 µs", "by hand 1 µs", 1.0),
        ]
    )
    lines = text.splitlines()
    assert len(lines) == 5
    assert len({len(line) for line in lines}) == 1
    assert {line.count("|") for line in lines} == {7}
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == [
        "session open",
        "20.00 µs",
        "bare 8.00 µs",
        "40 %",
        "at least 35 %",
        "holds",
    ]
    assert "at most 300 MB" in lines[3]
    assert [cell.strip() for cell in lines[4].split("|")[4:-1]] == ["1.00 x", "", ""]


def test_the_page_says_what_falls_short_and_names_no_place(module: Callable[[str], Any]) -> None:
    figure = module("figures").Figure
    good, bad = figure("wrap", "1 µs", "bare 2 µs", 2.0, 1.0), figure("lot", "100/s", "", 100.0, 300.0)
    page = module("page").page
    assert "Every target is met." in page([good], [])
    text = page([good, bad], ["a note beside"])
    assert "Short of the target: lot." in text
    assert "a note beside" in text
    assert str(Path.home()) not in text
    assert str(BENCHMARKS.parent) not in text


def test_the_plot_has_a_bar_for_each_target(module: Callable[[str], Any], tmp_path: Path) -> None:
    figure = module("figures").Figure
    path = tmp_path / "img" / "bench.svg"
    figures = [
        figure("wrap", "1 µs", "bare 2 µs", 2.0, 1.0),
        figure("lot (of fobs)", "9/s", "", 9.0, 300.0),
        figure("far", "9/s", "", 9000.0, 1.0),
        figure("x", "", "", 1),
    ]
    module("plot").draw(figures, path)
    text = path.read_text("utf-8")
    assert "wrap (bare)" in text
    assert ">lot<" in text
    assert text.count("and far beyond") == 1
    assert ">x<" not in text


def test_bare_ciphers_what_the_product_ciphers(module: Callable[[str], Any]) -> None:
    """The same bytes from both, or the comparison would be of two different things."""
    from keywright.element import SecureElement
    from keywright.iso7816.apdu import Command, Response
    from keywright.scp.scp03 import KeySet, open_channel

    channel, bare = module("channel"), module("bare")
    dialogue = open_channel(KeySet.gp_test(), channel.CHALLENGE, kvn=channel.KVN)
    answer = Response.parse(SecureElement().handle(next(dialogue).encode()))
    sent = dialogue.send(answer).encode()
    end = bare.BareEnd(channel.GP_TEST_KEY, channel.GP_TEST_KEY)
    made = bare.open_host(end, channel.CHALLENGE, answer.data[13:21], answer.data[21:29], sent[:5])
    assert made[:16] == sent[5:21]
    with pytest.raises(StopIteration) as done:
        dialogue.send(Response(b""))
    wrapped = done.value.value.wrap(Command(0x80, 0xE2, 0, 0, bytes(20)))
    context = channel.CHALLENGE + answer.data[13:21]
    enc, mac, rmac = end.session_keys(context)
    session = bare.BareSession(enc, mac, rmac)
    session.chaining = made[8:24]
    sealed = session.seal_command(wrapped.encode()[:5], bytes(20) + b"\x80" + bytes(11))
    assert sealed + session.chaining[:8] == wrapped.data
