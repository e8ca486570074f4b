"""Text for people: aligned, wrapped, and safe."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.cli.text import pairs, printable, show_json, table, width, wrapped


@pytest.mark.parametrize(("columns", "expected"), [("20", 60), ("80", 80), ("300", 100), ("", 80)])
def test_the_width_stays_within_reason(monkeypatch: pytest.MonkeyPatch, columns: str, expected: int) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert width() == expected


@given(st.text())
def test_text_from_outside_stays_on_its_line_and_steers_no_terminal(text: str) -> None:
    assert printable(text).isprintable()


def test_json_is_one_line_of_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    show_json({"serial": "fob-ü\n"})
    assert capsys.readouterr().out == '{"serial": "fob-\\u00fc\\n"}\n'


def test_values_go_on_under_their_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert pairs([("a", "x " * 30), ("bbb", "y"), ("c", "")]) == [
        "  a    " + "x " * 26 + "x",
        "       x x x",
        "  bbb  y",
        "  c",
    ]


def test_a_paragraph_may_begin_with_something_else() -> None:
    assert wrapped("one", indent=4, first="  > ") == ["  > one"]
    assert wrapped("", indent=4) == ["    "]


def test_columns_are_as_wide_as_their_longest_cell() -> None:
    head, first, second = table(("a", "b"), [("1", "22"), ("333", "4")])
    assert "  a    b" in head
    assert (first, second) == ("  1    22", "  333  4")
