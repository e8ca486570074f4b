"""The picture of a running lot, drawn from what a run tells."""

from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console

from keywright.cli.live import PlainLines, Watchers, shown
from keywright.cli.live_picture import IN_WORK_SHOWN, picture_of
from keywright.cli.progress import Lot, Progress, totals
from keywright.iso7816.apdu import Command, Response
from keywright.production.reports.now import Now
from keywright.production.watch import Phase, Unwatched

STEPS = ("identify", "own_keys", "lock_down")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def progress(ordered: int = 4, finished: int = 0) -> tuple[Progress, Clock]:
    clock = Clock()
    return Progress(lambda: Lot("fob", ordered, STEPS, finished, True, finished), clock), clock


def drawn(counted: Progress) -> str:
    out = io.StringIO()
    Console(file=out, width=80).print(picture_of(counted))
    return out.getvalue()


def test_a_unit_passes_the_steps_before_the_one_it_is_at() -> None:
    counted, _ = progress()
    counted.started(1, "A")
    counted.moment("after send", 1, "lock_down")
    assert counted.passed == {"identify": 1, "own_keys": 1, "lock_down": 0}
    counted.moment("after send", 1, "identify")
    assert counted.passed == {"identify": 1, "own_keys": 1, "lock_down": 0}
    counted.finished(1, "A", "sealed", "")
    assert counted.passed == {"identify": 1, "own_keys": 1, "lock_down": 1}
    assert (counted.sealed, counted.set_aside, counted.done) == (1, 0, 1)


def test_a_result_that_is_written_late_takes_no_unit_back() -> None:
    counted, _ = progress()
    counted.started(1, "A")
    counted.moment("after send", 1, STEPS[1])
    counted.moment("before commit", 1, STEPS[0])
    assert counted.in_work[1] == ("A", STEPS[1])


def test_what_is_not_a_step_or_not_in_work_is_passed_over() -> None:
    counted, _ = progress()
    counted.started(1, "A")
    counted.moment("before commit", 1, "link")
    counted.moment("after send", 2, "identify")
    assert sum(counted.passed.values()) == 0


def test_the_lot_is_learnt_when_the_first_unit_is_taken_up() -> None:
    asked = []

    def learn() -> Lot:
        asked.append(1)
        return Lot("fob", 2, STEPS)

    counted = Progress(learn)
    assert (counted.lot.ordered, counted.seconds, counted.rate, asked) == (0, 0.0, 0.0, [])
    counted.started(1, "A")
    counted.started(2, "B")
    assert (counted.lot.ordered, asked) == (2, [1])


def test_the_rate_counts_this_run_alone_and_the_units_the_whole_lot() -> None:
    counted, clock = progress(10, finished=6)
    counted.started(1, "A")
    clock.now += 2
    counted.finished(1, "A", "sealed", "")
    assert counted.rate == 0.5
    assert totals(counted) == "7 of 10: 7 sealed, 0 a second"


def test_the_picture_shows_totals_steps_work_and_failures() -> None:
    counted, clock = progress(300)
    for unit in range(1, 8):
        counted.started(unit, f"KW-{unit}")
        counted.moment("after send", unit, "own_keys")
    clock.now += 1
    counted.finished(1, "KW-1", "quarantined", "card-cryptogram: wrong\x1b[2J")
    counted.finished(2, "KW-2", "sealed", "")
    text = drawn(counted)
    lines = text.splitlines()
    assert lines[0].startswith("Lot fob  TEST keys   2 of 300   1 sealed   1 set aside   2/s   1.0 s")
    assert "own keys" in lines[2]
    assert lines[2].rstrip().endswith("1/300")
    assert "in work  KW-3 own keys   KW-4 own keys" in text
    assert f"and {5 - IN_WORK_SHOWN} more" in text
    assert "! KW-1 own keys: card-cryptogram: wrong\\x1b[2J" in text
    assert max(map(len, lines)) <= 80


def test_only_the_last_failures_are_shown() -> None:
    counted, _ = progress(100)
    for unit in range(8):
        counted.started(unit, f"KW-{unit}")
        counted.finished(unit, f"KW-{unit}", "quarantined", "link: gone")
    text = drawn(counted)
    assert "! 3 earlier" in text
    assert "KW-2 " not in text
    assert "KW-7 " in text


def test_the_picture_can_be_drawn_before_anything_is_known() -> None:
    assert "Lot" in drawn(progress()[0])


def test_without_a_terminal_there_is_a_line_for_each_tenth_and_each_failure() -> None:
    counted, _ = progress(100)
    said: list[str] = []
    watcher = Watchers((counted, PlainLines(counted, said.append)))
    for unit in range(1, 101):
        watcher.started(unit, f"KW-{unit}")
        state = "open" if unit == 5 else "quarantined" if unit == 6 else "sealed"
        watcher.finished(unit, f"KW-{unit}", state, "" if state == "sealed" else "link: gone")
    assert len(said) == 12
    assert said[0] == "KW-5: open: link: gone"
    assert said[-1] == "100 of 100: 98 sealed, 1 set aside, 1 left open, 0 a second"


def test_several_watchers_hear_everything() -> None:
    class Heard(Unwatched):
        def __init__(self) -> None:
            self.calls: list[str] = []

        def moment(self, phase: Phase, unit: int, step: str) -> None:
            self.calls.append(f"{phase} {unit} {step}")

        def started(self, unit: int, serial: str) -> None:
            self.calls.append(f"started {unit} {serial}")

        def finished(self, unit: int, serial: str, state: str, failure: str) -> None:
            self.calls.append(f"finished {unit} {serial} {state} {failure}")

        def exchanged(self, unit: int, sent: Command, plain: Command, got: Response, opened: Response) -> None:
            self.calls.append(f"exchanged {unit} {sent.ins} {plain.ins} {got.sw} {opened.sw}")

    first, second = Heard(), Heard()
    both = Watchers((first, second))
    command, response = Command(0, 1, 2, 3), Response(b"")
    both.started(1, "A")
    both.moment("after send", 1, "x")
    both.exchanged(1, command, command, response, response)
    both.finished(1, "A", "sealed", "")
    assert first.calls == second.calls
    assert len(first.calls) == 4


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_the_picture_once_a_unit_is_taken_up(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with shown(lambda: Lot("fob", 2, STEPS)) as watchers:
        watcher = Watchers(watchers)
        assert terminal.getvalue() == ""
        watcher.started(1, "A")
        watcher.started(2, "B")
        watcher.moment("after send", 1, "own_keys")
        watcher.finished(1, "A", "sealed", "")
    assert "1 of 2" in terminal.getvalue()


def test_no_terminal_gets_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with shown(lambda: Lot("fob", 1, STEPS)) as watchers:
        watcher = Watchers(watchers)
        watcher.started(1, "A")
        watcher.finished(1, "A", "sealed", "")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("1 of 1: 1 sealed, ")


def test_the_picture_says_what_holds_the_lot_up_and_who_works_on_it() -> None:
    counted, _ = progress(100)
    counted.started(1, "A")
    counted.now = Now(first_article=3, stations=(("worker 1", 12), ("worker 2", 9)), to_recover=2, recovered=1)
    counted.noticed("worker 2: the HSM client was started again (1)")
    text = drawn(counted)
    assert "first article: units 1 to 3, then the lot waits for a person" in text
    assert "stations worker 1 12   worker 2 9" in text
    assert "cut off  1 recovered, 2 to be recovered" in text
    assert "* worker 2: the HSM client was started again (1)" in text
    why = "3 units in a row failed alike (card-cryptogram at authenticate)"
    counted.now = Now("stopped", why, stations=(("alone 7.a", 4),))
    text = drawn(counted)
    assert f"! stopped: {why}" in text
    assert "first article" not in text
    assert "stations" not in text


def test_no_failure_is_cut_off_at_the_edge_of_the_terminal() -> None:
    counted, _ = progress(100)
    counted.started(1, "KW-F1-000009")
    why = "card-cryptogram: card cryptogram wrong (KVN FF, SCP03 i=70) and so on"
    counted.finished(1, "KW-F1-000009", "quarantined", why)
    words = " ".join(drawn(counted).split())
    assert why in words
