from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.codec import find, item, items, length
from keywright.errors import DecodeError

TAGS = [0x00, 0x02, 0x4F, 0xE3, 0xFE, 0x5F50, 0x9F70, 0x9F7F, 0xBF21, 0xDF8101, 0xFF818000, 0xFFFFFF7F]


@pytest.mark.parametrize("tag", TAGS)
def test_tags_of_up_to_four_bytes_round_trip(tag: int) -> None:
    assert items(item(tag, b"abc")) == [(tag, b"abc")]


@pytest.mark.parametrize(
    "tag", [-1, 0x1F, 0x5F, 0x4F01, 0x9F80, 0x9F7F01, 0xDF8180, 0xDF818081, 0xDF81818101, 0x100000000]
)
def test_an_integer_that_is_no_tag_is_a_value_error(tag: int) -> None:
    with pytest.raises(ValueError, match="is no tag"):
        item(tag, b"")


@pytest.mark.parametrize(
    ("size", "coded"),
    [(0, "00"), (127, "7f"), (128, "8180"), (255, "81ff"), (256, "820100"), (65535, "82ffff"), (65536, "83010000")],
)
def test_the_shortest_length_is_written(size: int, coded: str) -> None:
    assert length(size).hex() == coded
    assert items(b"\x04" + length(size) + bytes(size)) == [(4, bytes(size))]


def test_the_longest_length_takes_three_bytes() -> None:
    assert length((1 << 24) - 1).hex() == "83ffffff"


@pytest.mark.parametrize("size", [-1, 1 << 24])
def test_a_length_out_of_range_is_a_value_error(size: int) -> None:
    with pytest.raises(ValueError, match="is no length"):
        length(size)


@pytest.mark.parametrize("coded", ["0401aa", "048101aa", "04820001aa", "0483000001aa"])
def test_longer_lengths_than_needed_are_read(coded: str) -> None:
    assert items(bytes.fromhex(coded)) == [(4, b"\xaa")]


@pytest.mark.parametrize(
    ("coded", "offset"),
    [
        ("04", 1),  # no length
        ("040200", 2),  # value cut short
        ("0401aa04", 4),
        ("0480", 1),  # indefinite
        ("0484000000 01aa", 1),
        ("04ff", 1),
        ("0481", 1),  # length cut short
        ("048300ff", 1),
        ("9f", 1),  # tag cut short
        ("9f81", 0),
        ("9f81818101 00", 0),  # five bytes of tag
        ("9f7f", 2),
        ("e3029f70", None),  # one level only: the inside is not looked at
        ("0401aa 0401", 5),
    ],
)
def test_what_is_not_tlv_is_refused_with_its_place(coded: str, offset: int | None) -> None:
    data = bytes.fromhex(coded)
    if offset is None:
        assert items(data) == [(0xE3, data[2:])]
        return
    with pytest.raises(DecodeError) as caught:
        items(data)
    assert caught.value.offset == offset


def test_find_walks_inwards_and_takes_the_first() -> None:
    fci = item(0x6F, item(0x84, b"aid") + item(0xA5, item(0x9F65, b"\xff") + item(0x9F65, b"\x00")))
    assert find(fci, 0x6F, 0xA5, 0x9F65) == b"\xff"
    assert find(fci, 0x6F, 0x84) == b"aid"
    assert find(fci, 0x84) is None
    assert find(fci, 0x6F, 0x73, 0x9F65) is None
    assert find(b"", 0x84) is None
    assert find(item(0x84, b""), 0x84) == b""


def test_find_does_not_read_past_the_end_of_the_outer_value() -> None:
    data = bytes.fromhex("6f03 84019f  70020000")
    assert items(data)[1] == (0x70, b"\0\0")
    with pytest.raises(DecodeError):
        find(bytes.fromhex("6f02 849f 7001"), 0x6F, 0x84)
    with pytest.raises(DecodeError):
        find(bytes.fromhex("6f01 9f 7001 aa"), 0x6F, 0x9F70)
    with pytest.raises(DecodeError):
        find(bytes.fromhex("6f02 8401 7001aa"), 0x6F, 0x84)


def test_find_demands_tlv_from_start_to_end() -> None:
    with pytest.raises(DecodeError):
        find(item(0x84, b"aid") + b"\x85", 0x84)


@given(st.lists(st.tuples(st.sampled_from(TAGS), st.binary(max_size=300)), max_size=5))
def test_items_are_the_inverse_of_item(pairs: list[tuple[int, bytes]]) -> None:
    assert items(b"".join(item(tag, value) for tag, value in pairs)) == pairs


@given(
    st.binary(max_size=60)
    | st.lists(st.sampled_from(b"\x04\x9f\xe3\x00\x01\x7f\x80\x81\x82\xff"), max_size=20).map(bytes)
)
def test_any_bytes_split_or_are_refused_within_their_length(data: bytes) -> None:
    try:
        pairs = items(data)
    except DecodeError as error:
        offset = error.offset
    else:
        assert items(b"".join(item(tag, value) for tag, value in pairs)) == pairs
        return
    assert 0 <= offset <= len(data)


def test_a_hundred_thousand_items_split_in_one_pass() -> None:
    assert len(items(item(0x84, b"\x01") * 100_000)) == 100_000
