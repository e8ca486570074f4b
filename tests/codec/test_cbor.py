"""CBOR: one text for one value (RFC 8949 4.2.1), and nothing else is read."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from cbor2 import CBORTag
from hypothesis import given
from hypothesis import strategies as st

from keywright.codec.cbor import decode, encode, encode_sorted
from keywright.errors import DecodeError

KEYS = st.integers(-(2**64), 2**64 - 1) | st.text() | st.binary()
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "00"),
        (23, "17"),
        (24, "1818"),
        (1000000000000, "1B000000E8D4A51000"),
        (18446744073709551616, "C249010000000000000000"),
        (-1, "20"),
        (-1000, "3903E7"),
        (False, "F4"),
        (None, "F6"),
        (bytes.fromhex("01020304"), "4401020304"),
        ("ü", "62C3BC"),
        ([1, [2, 3], [4, 5]], "8301820203820405"),
        ({"a": 1, "b": [2, 3]}, "A26161016162820203"),
        ({24: 0, -1: 1, "a": b""}, "A31818002001616140"),
        (CBORTag(32, "http://www.example.com"), "D82076687474703A2F2F7777772E6578616D706C652E636F6D"),
    ],
)
def test_values_of_rfc_8949_appendix_a_and_the_order_of_its_4_2_1(value: Any, text: str) -> None:
    assert encode(value).hex().upper() == text
    assert decode(bytes.fromhex(text)) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A201020103",  # a key twice
        "A2616200616100",  # keys out of order
        "1801",  # a length longer than it needs to be
        "5F4101FF",  # in pieces
        "9F01FF",
        "0100",  # a byte behind the end
        "F97E00",  # not a number
        "F90000",  # a fraction
        "F7",  # undefined
        "E0",
        "A1F500",  # a boolean as key
        "D9010280",  # a set
        "C11A514B67B0",  # a date
        "D81C81D81D00",  # a list that holds itself
        "81" * 40 + "00",
        "FF",
        "61FF",  # no UTF-8
    ],
)
def test_whatever_is_not_written_so_is_not_read(text: str) -> None:
    with pytest.raises(DecodeError):
        decode(bytes.fromhex(text))


@pytest.mark.parametrize("value", [1.5, {True: 1}, {(1, 2): 1}, {1, 2}, object(), bytearray(b"x")])
def test_what_has_no_one_text_is_not_written(value: Any) -> None:
    with pytest.raises(TypeError):
        encode(value)


@given(VALUES)
def test_a_value_is_read_as_it_was_written_and_no_prefix_is_one(value: Any) -> None:
    data = encode(value)
    assert decode(data) == value
    for end in range(len(data)):
        with pytest.raises(DecodeError):
            decode(data[:end])


@given(st.binary(max_size=64))
def test_any_bytes_are_a_value_of_their_own_or_an_error(data: bytes) -> None:
    with contextlib.suppress(DecodeError):
        assert encode(decode(data)) == data


@given(VALUES)
def test_what_is_in_order_already_is_written_as_it_is(value: Any) -> None:
    assert encode_sorted(decode(encode(value))) == encode(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("C074323032342D30362D30315431333A33303A30325A", CBORTag(0, "2024-06-01T13:30:02Z")),
        ("C11A514B67B0", CBORTag(1, 1363896240)),
        ("A100C100", {0: CBORTag(1, 0)}),
    ],
)
def test_dates_are_read_for_whoever_asks_for_them(text: str, value: Any) -> None:
    assert decode(bytes.fromhex(text), dates=True) == value
    assert encode(value) == bytes.fromhex(text)
    with pytest.raises(DecodeError):
        decode(bytes.fromhex(text))


@pytest.mark.parametrize(
    "text", ["C1FB3FF8000000000000", "C1C249010000000000000000FF", "C1", "A1C10000", "C0" * 40 + "60"]
)
def test_a_date_that_is_no_value_of_ours_is_not_read(text: str) -> None:
    with pytest.raises(DecodeError):
        decode(bytes.fromhex(text), dates=True)
