from __future__ import annotations

import sys
from typing import Annotated

import pytest

from keywright.codec import U8, U16, Others, Record, Rest, Template, counted, item, items, prefixed, raw, tag
from keywright.codec.message import Message
from keywright.errors import DecodeError
from support.messages import all_messages, check_message


class Version(Record, frozen=True):
    major: U8
    minor: U8


class AppInfo(Template, frozen=True):
    aid: Annotated[bytes, tag(0x4F)]
    life_cycle: Annotated[int, tag(0x9F70)]
    privileges: Annotated[bytes | None, tag(0xC5)] = None


class StatusList(Template, frozen=True):
    apps: Annotated[tuple[AppInfo, ...], tag(0xE3)]


class Wide(Template, frozen=True):
    number: Annotated[int, tag(0x5C, size=2)]


class Kinds(Template, frozen=True):
    wanted: Annotated[bool, tag(0x80)] = False
    number: Annotated[int, tag(0x81)] = 5
    version: Annotated[Version | None, tag(0x82)] = None
    info: Annotated[AppInfo | None, tag(0xA0)] = None
    cplc: Annotated[bytes, tag(0x9F7F), raw(4)] = b"\0\0\0\0"
    counter: Annotated[bytes, tag(0xC1), Rest(2, 3)] = b"\0\0"
    numbers: Annotated[tuple[int, ...], tag(0x83, size=2)] = ()
    blobs: Annotated[tuple[bytes, ...], tag(0x84)] = ()
    versions: Annotated[tuple[Version, ...], tag(0xCE)] = ()
    packed: Annotated[tuple[U16, ...], tag(0x85), counted(1)] = ()
    lengthy: Annotated[bytes, tag(0x86), prefixed(1)] = b""
    deep: Annotated[int, tag(0xDF8101)] = 0


class KeepsOthers(Template, frozen=True):
    aid: Annotated[bytes, tag(0x4F)]
    others: Annotated[tuple[tuple[int, bytes], ...], Others()] = ()


class Ordered(Template, frozen=True):
    strict = True
    first: Annotated[bytes, tag(0x80)]
    some: Annotated[tuple[bytes, ...], tag(0x81)] = ()
    last: Annotated[bytes, tag(0x82)] = b""


class OptionalFirst(Template, frozen=True, kw_only=True):
    maybe: Annotated[bytes | None, tag(0x73)] = None
    must: Annotated[bytes, tag(0x9F65)]


@pytest.mark.parametrize("cls", all_messages(sys.modules[__name__]))
def test_every_template_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


def test_parse_takes_the_inner_value_and_build_gives_it() -> None:
    data = bytes.fromhex("e30b 4f05a000000003 9f700107e310 4f05a000000004 9f70010f c503800000")
    assert StatusList.parse(data).apps == (
        AppInfo(bytes.fromhex("a000000003"), 7),
        AppInfo(bytes.fromhex("a000000004"), 15, b"\x80\0\0"),
    )
    assert StatusList.parse(data).build() == data


def test_an_integer_with_a_size_keeps_its_width() -> None:
    data = bytes.fromhex("5c020009")
    assert Wide.parse(data) == Wide(9)
    assert Wide.parse(data).build() == data
    for wrong in ("5c0109", "5c03000009", "5c00"):
        with pytest.raises(DecodeError, match=r"^Wide\.number: "):
            Wide.parse(bytes.fromhex(wrong))


@pytest.mark.parametrize(("number", "coded"), [(0, "00"), (1, "01"), (255, "ff"), (256, "0100"), (2**64 - 1, "ff" * 8)])
def test_an_integer_without_a_size_is_as_short_as_it_can_be(number: int, coded: str) -> None:
    assert AppInfo(b"", number).build() == item(0x4F, b"") + item(0x9F70, bytes.fromhex(coded))


@pytest.mark.parametrize("size", [0, 9])
def test_an_integer_without_a_size_takes_one_to_eight_bytes(size: int) -> None:
    with pytest.raises(DecodeError, match=f"AppInfo.life_cycle: integer of {size} bytes"):
        AppInfo.parse(item(0x4F, b"") + item(0x9F70, bytes(size)))


def test_tuples_may_be_absent_with_or_without_a_default() -> None:
    assert StatusList.parse(b"") == StatusList(())
    assert StatusList(()).build() == b""
    assert Ordered.parse(item(0x80, b"x")) == Ordered(b"x")


def test_a_field_that_has_its_default_is_not_written() -> None:
    assert Kinds().build() == b""
    assert Kinds(number=6).build() == item(0x81, b"\x06")
    assert Kinds.parse(item(0x81, b"\x05")).build() == b""


def test_presence_is_a_tag_without_a_value() -> None:
    assert Kinds.parse(b"\x80\x00").wanted is True
    assert Kinds(wanted=True).build() == b"\x80\x00"
    with pytest.raises(DecodeError, match=r"Kinds\.wanted: 1 bytes where none is due"):
        Kinds.parse(b"\x80\x01\xff")


@pytest.mark.parametrize("twice", [0x80, 0x81, 0x82, 0xA0, 0x9F7F])
def test_a_tag_twice_is_refused_also_when_the_first_equals_the_default(twice: int) -> None:
    value = {0x80: b"", 0x81: b"\x05", 0x82: b"\0\0", 0xA0: bytes.fromhex("4f009f700100"), 0x9F7F: bytes(4)}[twice]
    Kinds.parse(item(twice, value))
    with pytest.raises(DecodeError, match=f"tag {twice:X} twice"):
        Kinds.parse(item(twice, value) * 2)


def test_elements_of_a_tuple_stay_in_order_between_other_tags() -> None:
    data = item(0x84, b"1") + item(0x81, b"\x06") + item(0x84, b"2")
    assert Kinds.parse(data) == Kinds(number=6, blobs=(b"1", b"2"))


def test_order_is_free_and_unknown_tags_are_skipped_unless_strict() -> None:
    aid, state, unknown = item(0x4F, b"a"), item(0x9F70, b"\x07"), item(0xDD, b"?")
    assert AppInfo.parse(unknown + state + aid + unknown) == AppInfo(b"a", 7)
    first, some, last = item(0x80, b"1"), item(0x81, b"2"), item(0x82, b"3")
    assert Ordered.parse(first + some + some + last) == Ordered(b"1", (b"2", b"2"), b"3")
    assert Ordered.parse(first + last) == Ordered(b"1", (), b"3")
    with pytest.raises(DecodeError, match=r"Ordered: tag 81 out of order") as caught:
        Ordered.parse(first + some + last + some)
    assert caught.value.offset == 11
    with pytest.raises(DecodeError, match=r"Ordered: tag 80 out of order"):
        Ordered.parse(last + first)
    with pytest.raises(DecodeError, match=r"Ordered: unknown tag DD"):
        Ordered.parse(first + unknown)


def test_a_missing_tag_is_refused_at_the_end_of_its_template() -> None:
    with pytest.raises(DecodeError, match=r"^StatusList\.apps: AppInfo\.life_cycle: tag 9F70 missing$") as caught:
        StatusList.parse(item(0xE3, item(0x4F, b"abc")) + item(0xE3, item(0x4F, b"")))
    assert caught.value.offset == 7


def test_optional_fields_may_come_before_required_ones_when_keyword_only() -> None:
    assert OptionalFirst(must=b"\xff").build() == item(0x9F65, b"\xff")
    assert OptionalFirst.parse(item(0x73, b"x") + item(0x9F65, b"")) == OptionalFirst(maybe=b"x", must=b"")


def test_others_keep_what_no_field_names() -> None:
    data = item(0x4F, b"a") + item(0xDD, b"1") + item(0xDF8102, b"") + item(0xDD, b"2")
    kept = KeepsOthers.parse(data)
    assert kept.others == ((0xDD, b"1"), (0xDF8102, b""), (0xDD, b"2"))
    assert kept.build() == data


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (((0x4F, b""),), "element 0: tag 4F has a field of its own"),
        (((0xDD, b""), (0x1F, b"")), "element 1: 0x1f is no tag"),
        (((0xDD, "x"),), "element 0: tuple where a pair"),
        (([0xDD, b"x"],), "element 0: list where a pair"),
        ([], "list where tuple is due"),
        (None, "NoneType where tuple is due"),
    ],
)
def test_others_that_cannot_be_written_are_a_value_error(others: object, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^KeepsOthers\.others: {message}"):
        KeepsOthers(b"", others).build()  # type: ignore[arg-type]  # the error under test


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("number", -1, "-1 does not fit"),
        ("number", 1 << 64, "18446744073709551616 does not fit 8 bytes"),
        ("number", "6", "str where int is due"),
        ("number", None, "NoneType where int is due"),
        ("wanted", 2, "int where bool is due"),
        ("wanted", None, "NoneType where bool is due"),
        ("version", b"\0\0", "bytes where Version is due"),
        ("version", Version(256, 0), "Version.major: 256 does not fit 1 bytes"),
        ("info", AppInfo("x", 1), "AppInfo.aid: str where bytes is due"),  # type: ignore[arg-type]  # the error under test
        ("cplc", b"\1\2\3", "3 bytes where 4 are due"),
        ("counter", b"\1", "1 bytes where 2 or 3 are due"),
        ("numbers", (1, 1 << 16), "element 1: 65536 does not fit 2 bytes"),
        ("numbers", [1], "list where tuple is due"),
        ("blobs", (b"", None), "element 1: NoneType where bytes is due"),
        ("lengthy", bytes(256), "256 does not fit 1 bytes"),
    ],
)
def test_build_of_a_wrong_value_is_a_value_error_naming_the_field(field: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^Kinds\.{field}: {message}"):
        Kinds(**{field: value}).build()  # type: ignore[arg-type]  # the error under test


def test_a_value_too_long_for_a_length_of_three_bytes_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"^KeepsOthers\.aid: 16777216 is no length"):
        KeepsOthers(bytes(1 << 24)).build()


def test_a_long_list_is_read_in_one_pass() -> None:
    data = item(0x84, b"") * 100_000
    assert len(Kinds.parse(data).blobs) == len(items(data)) == 100_000


def test_nested_offsets_count_from_the_start_of_what_was_given() -> None:
    data = bytes.fromhex("e306 4f01aa 9f7000")
    with pytest.raises(DecodeError, match="life_cycle: integer of 0 bytes") as caught:
        StatusList.parse(data)
    assert caught.value.offset == 8
    with pytest.raises(DecodeError, match="version: Version") as caught:
        Kinds.parse(bytes.fromhex("8000 8201aa"))
    assert caught.value.offset == 5


def test_an_inner_value_does_not_reach_into_its_neighbour() -> None:
    with pytest.raises(DecodeError, match=r"StatusList\.apps: tag 9F70 cut short"):
        StatusList.parse(bytes.fromhex("e306 4f01aa 9f7001 0700"))
