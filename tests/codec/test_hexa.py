from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.codec import tohex, unhex
from keywright.errors import DecodeError


@pytest.mark.parametrize("text", ["A0a1ff", "A0 a1 FF", "a0:A1:ff", " A0\tA1\nFF\r\n", "A0: A1 :FF"])
def test_spaces_and_colons_may_stand_between_bytes(text: str) -> None:
    assert unhex(text) == b"\xa0\xa1\xff"


@pytest.mark.parametrize(
    ("text", "position"),
    [("0g", 1), ("00 1", 4), ("00:1", 4), ("0 0", 1), ("1:2", 1), ("00 é1", 3), ("٣٣", 0), ("00zz", 2), ("0x00", 1)],
)
def test_the_error_names_the_first_bad_position(text: str, position: int) -> None:
    with pytest.raises(DecodeError, match=f"the key: .* at position {position}$") as caught:
        unhex(text, "the key")
    assert caught.value.offset == position


def test_the_error_does_not_repeat_the_text_and_stands_alone() -> None:
    with pytest.raises(DecodeError) as caught:
        unhex("404142434445464748494A4B4C4D4E4", "KEY_ENC")
    assert "404142" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_empty_text_is_no_bytes() -> None:
    assert unhex("") == unhex(" : ") == b""


def test_hex_is_upper_case_with_an_optional_separator() -> None:
    assert tohex(b"\xa0\x0b") == "A00B"
    assert tohex(b"\xa0\x0b", " ") == "A0 0B"


@given(st.binary(max_size=40), st.sampled_from(["", " ", ":"]))
def test_what_is_printed_reads_back(data: bytes, separator: str) -> None:
    assert unhex(tohex(data, separator)) == data


@given(st.text(max_size=12) | st.text("0123456789abcdefg :", max_size=12))
def test_any_text_reads_or_is_refused_within_its_length(text: str) -> None:
    try:
        data = unhex(text)
    except DecodeError as error:
        offset = error.offset
    else:
        assert unhex(tohex(data)) == data
        return
    assert 0 <= offset <= len(text)
