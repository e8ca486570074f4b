from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.production.untrusted import cell, file_name, visible

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


@pytest.mark.parametrize("text", ["KW-F1-000001", "a.b_c-d", "x" * 64])
def test_a_plain_serial_is_its_own_file_name(text: str) -> None:
    assert file_name(text, ".pem") == f"{text}.pem"


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "../../etc/passwd", "/etc/passwd", "a/b", "a\\b", "-rf", ".hidden", "CON", "nul.txt", "a\0b", "a."],
)
def test_a_dangerous_serial_becomes_another_name(text: str) -> None:
    name = file_name(text)
    assert name != text
    assert not {"/", "\\", "\0"} & set(name)
    assert name[0] not in ".-"
    assert name.partition(".")[0].upper() not in {"CON", "NUL"}


@given(TEXT, TEXT)
def test_two_serials_never_share_a_file_name(one: str, other: str) -> None:
    assert (file_name(one) == file_name(other)) == (one == other)


def test_a_serial_cannot_take_the_name_of_another() -> None:
    taken = file_name("a/b")
    assert file_name(taken) != taken


@given(TEXT)
def test_a_file_name_is_short_and_of_safe_characters(text: str) -> None:
    name = file_name(text)
    assert 0 < len(name) <= 81
    assert name.isascii()
    assert all(character.isalnum() or character in "._-" for character in name)
