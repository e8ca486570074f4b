from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.production.untrusted import cell, visible

TEXT = st.text(st.characters(codec="utf-8"), max_size=80)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("KW-F1-000001", "KW-F1-000001"),
        ("Müller 日本", "Müller 日本"),
        ("a\u202egnp.exe", "a⟨U+202E⟩gnp.exe"),
        ("a\u2066b\u2069", "a⟨U+2066⟩b⟨U+2069⟩"),
        ("zero\u200bwidth", "zero⟨U+200B⟩width"),
        ("\x1b[31m", "⟨U+001B⟩[31m"),
        ("one\r\ntwo\nthree\tfour", "one two three four"),
        ("a\u2028b", "a⟨U+2028⟩b"),
        ("\x00", "⟨U+0000⟩"),
        ("\ufeff", "⟨U+FEFF⟩"),
    ],
)
def test_invisible_characters_are_spelled_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(TEXT)
def test_what_is_shown_has_no_control_format_or_line_character(text: str) -> None:
    assert not {unicodedata.category(character) for character in visible(text)} & {"Cc", "Cf", "Co", "Cn", "Zl", "Zp"}


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_a_cell_never_begins_like_a_formula(first: str) -> None:
    assert cell(f"{first}cmd|' /C calc'!A0") == f"'{first}cmd|' /C calc'!A0"


@pytest.mark.parametrize("text", ["", "KW-1", "a=b", " =1", "'x", "0"])
def test_other_cells_stay_as_they_are(text: str) -> None:
    assert cell(text) == text
