from __future__ import annotations

import sys
from typing import Annotated, Any

import pytest

from keywright.codec import (
    U8,
    U16,
    U24,
    U32,
    U64,
    LittleRecord,
    Record,
    Rest,
    Template,
    counted,
    prefixed,
    raw,
    tag,
)
from keywright.codec.message import Message
from keywright.errors import DecodeError
from support.messages import all_messages, check_message


class Answer(Record, frozen=True):
    """Fixed fields and a tail of one of two lengths."""

    diversification: Annotated[bytes, raw(10)]
    kvn: U8
    scp: U8
    i: U8
    challenge: Annotated[bytes, raw(8)]
    cryptogram: Annotated[bytes, raw(8)]
    counter: Annotated[bytes, Rest(0, 3)] = b""


class Widths(Record, frozen=True):
    a: U8
    b: U16
    c: U24
    d: U32
    e: U64


class Plain(Record, frozen=True):
    a: U16
    b: Annotated[bytes, raw(2)]
    c: U8


class LittleWidths(LittleRecord, frozen=True):
    a: U8
    b: U16
    c: U24
    d: U32
    e: U64
    f: Annotated[bytes, prefixed(2)]
    g: Annotated[tuple[U16, ...], counted(2)]


class KeyData(Record, frozen=True):
    kind: U8
    block: Annotated[bytes, prefixed("ber")]
    kcv: Annotated[bytes, prefixed(1)]


class PutKeys(Record, frozen=True):
    kvn: U8
    keys: tuple[KeyData, ...]


class Lv(Record, frozen=True):
    value: Annotated[bytes, prefixed("lv")]


class Dgi(Record, frozen=True):
    number: U16
    value: Annotated[bytes, prefixed("dgi")]


class Dgis(Record, frozen=True):
    dgis: tuple[Dgi, ...] = ()


class Numbers(Record, frozen=True):
    numbers: tuple[U16, ...]


class Blobs(Record, frozen=True):
    blobs: tuple[Annotated[bytes, raw(3)], ...]


class Boxed(Record, frozen=True):
    answer: Annotated[Answer, prefixed(1)]
    plain: Annotated[Plain, prefixed(1)]


class Everything(Record, frozen=True):
    head: Plain
    numbers: Annotated[tuple[U24, ...], counted(1)]
    names: Annotated[tuple[Annotated[bytes, prefixed(1)], ...], counted("ber")]
    boxed: Annotated[PutKeys, prefixed(2)]
    boxed_list: Annotated[tuple[Plain, ...], prefixed(3)]
    last: Annotated[bytes, Rest()] = b""


class Info(Template, frozen=True):
    aid: Annotated[bytes, tag(0x4F)]


class Enclosing(Record, frozen=True):
    kind: U8
    sized: Annotated[Info, prefixed(1)]
    info: Info


class AnyTail(Record, frozen=True):
    kind: U8
    rest: Annotated[bytes, Rest()]


class KeywordOnly(Record, frozen=True, kw_only=True):
    first: U8 = 1
    second: U8


class Empty(Record, frozen=True):
    pass


@pytest.mark.parametrize("cls", all_messages(sys.modules[__name__]))
def test_every_record_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


@pytest.mark.parametrize("length", ["80", "8180", "820080"])
def test_a_length_of_80_is_128_in_the_form_lv_and_no_length_in_the_form_ber(length: str) -> None:
    assert Lv.parse(bytes.fromhex(length) + bytes(128)).build() == b"\x81\x80" + bytes(128)
    if length == "80":
        with pytest.raises(DecodeError):
            KeyData.parse(b"\x88\x80" + bytes(129))


def test_a_tail_has_one_of_the_named_lengths() -> None:
    head = bytes(range(29))
    assert Answer.parse(head).counter == b""
    assert Answer.parse(head + b"\x00\x00\x01").counter == b"\x00\x00\x01"
    for size in (1, 2, 4, 19):
        with pytest.raises(DecodeError, match=r"Answer: .* bytes where 29 or 32 are due") as caught:
            Answer.parse(head + bytes(size))
        assert caught.value.offset == 29


def test_integers_are_big_endian_in_a_record_and_little_in_a_little_record() -> None:
    data = bytes.fromhex("01 0002 000003 00000004 0000000000000005")
    assert Widths.parse(data) == Widths(1, 2, 3, 4, 5)
    little = bytes.fromhex("01 0200 030000 04000000 0500000000000000 0100 aa 0200 0600 0700")
    assert LittleWidths.parse(little) == LittleWidths(1, 2, 3, 4, 5, b"\xaa", (6, 7))
    assert LittleWidths.parse(little).build() == little


def test_fields_are_written_as_the_annotations_say() -> None:
    keys = PutKeys(0x30, (KeyData(0x88, b"\x10" * 128, b"abc"), KeyData(0x80, b"", b"")))
    assert keys.build().hex() == "30" + "888180" + "10" * 128 + "03616263" + "800000"
    assert Dgis((Dgi(0x8113, b"\x01"), Dgi(0x00B9, bytes(254)), Dgi(1, bytes(255)))).build() == (
        b"\x81\x13\x01\x01" + b"\x00\xb9\xfe" + bytes(254) + b"\x00\x01\xff\x00\xff" + bytes(255)
    )
    assert Enclosing(7, Info(b"a"), Info(b"b")).build().hex() == "07" + "034f0161" + "4f0162"
    assert KeywordOnly(second=2).build() == b"\x01\x02"


@pytest.mark.parametrize(
    ("cls", "coded", "message", "offset"),
    [
        (Plain, "0001aabb", "Plain: 4 bytes where 5 are due", 4),
        (Plain, "0001aabb0000", "Plain: 6 bytes where 5 are due", 5),
        (Widths, "01", "Widths: 1 bytes where 18 are due", 1),
        (Widths, "00" * 19, "1 bytes too many", 18),
        (AnyTail, "", "AnyTail: 0 bytes where 1 are due", 0),
        (Empty, "00", "1 bytes too many", 0),
        (PutKeys, "30 88 02 aa", "PutKeys.keys: KeyData.block: 2 bytes announced, 1 there", 3),
        (PutKeys, "30 88 00", "PutKeys.keys: KeyData.kcv: 0 bytes where 1 are due", 3),
        (PutKeys, "30 88 84", "length form 84", 2),
        (Dgis, "0001 ff00", "Dgis.dgis: Dgi.value: length cut short", 3),
        (Dgis, "0001 05 00", "5 bytes announced, 1 there", 3),
        (LittleWidths, "00" * 18 + "0000 ffff 00", "LittleWidths.g: 65535 elements announced, 1 bytes there", 22),
        (Everything, "0000000000 00 01 01 61 0001 30 000001", "Everything.boxed_list: 1 bytes announced, 0 there", 15),
        (Everything, "0000000000 00 00 0001 30 000001 00", "boxed_list: Plain: 1 bytes where 5 are due", 14),
        (Numbers, "0001 00", "Numbers.numbers: 1 bytes where 2 are due", 2),
        (Blobs, "000001 0002", "Blobs.blobs: 2 bytes where 3 are due", 3),
        (Boxed, "1e" + "00" * 30, "Boxed.answer: Answer.counter: 1 bytes where 0 or 3 are due", 30),
        (Boxed, "1d" + "00" * 29 + "06" + "00" * 6, "Boxed.plain: 1 bytes too many", 36),
        (Enclosing, "07 04 4f0161 00 4f0162", "Enclosing.sized: tag 0 cut short", 6),
        (Enclosing, "07 03 4f0161 4f0262", "Enclosing.info: tag 4F", 7),
    ],
)
def test_the_error_names_the_field_and_its_place(cls: type[Message], coded: str, message: str, offset: int) -> None:
    with pytest.raises(DecodeError) as caught:
        cls.parse(bytes.fromhex(coded))
    assert message in str(caught.value)
    assert caught.value.offset == offset


GOOD: dict[str, Any] = {
    "diversification": bytes(10),
    "kvn": 1,
    "scp": 3,
    "i": 0x70,
    "challenge": bytes(8),
    "cryptogram": bytes(8),
    "counter": b"",
}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("diversification", bytes(9)),
        ("diversification", bytes(11)),
        ("diversification", "0123456789"),
        ("diversification", None),
        ("diversification", [0] * 10),
        ("kvn", -1),
        ("kvn", 256),
        ("kvn", b"\x01"),
        ("kvn", "1"),
        ("kvn", 1.0),
        ("kvn", None),
        ("challenge", b""),
        ("cryptogram", bytes(16)),
        ("counter", b"\x01"),
        ("counter", "abc"),
        ("counter", 3),
        ("counter", None),
    ],
)
def test_build_of_a_wrong_size_or_type_is_a_value_error_naming_the_field(field: str, value: Any) -> None:
    wrong = GOOD | {field: value}
    with pytest.raises(ValueError, match=rf"^Answer\.{field}: "):
        Answer(**wrong).build()


@pytest.mark.parametrize(
    ("message", "path"),
    [
        (Plain(0, b"abc", 0), "Plain.b: 3 bytes where 2 are due"),
        (Plain(1 << 16, b"ab", 0), "Plain.a: 65536 does not fit 2 bytes"),
        (Widths(0, 0, 1 << 24, 0, 0), "Widths.c: 16777216 does not fit 3 bytes"),
        (Widths(0, 0, 0, 0, 1 << 64), "Widths.e: "),
        (PutKeys(1, (KeyData(1, b"", b""), KeyData(1, b"", bytes(256)))), "PutKeys.keys: element 1: KeyData.kcv: 256"),
        (PutKeys(1, [KeyData(1, b"", b"")]), "PutKeys.keys: list where tuple is due"),  # type: ignore[arg-type]  # the error under test
        (PutKeys(1, (Dgi(1, b""),)), "PutKeys.keys: element 0: Dgi where KeyData is due"),  # type: ignore[arg-type]  # the error under test
        (Dgi(1, bytes(1 << 16)), "Dgi.value: 65536 bytes are more than"),
        (LittleWidths(0, 0, 0, 0, 0, b"", (0,) * 65536), "LittleWidths.g: 65536 does not fit 2 bytes"),
        (LittleWidths(0, 0, 0, 0, 0, bytes(65536), ()), "LittleWidths.f: 65536 does not fit 2 bytes"),
        (Enclosing(1, Info(bytes(254)), Info(b"")), "Enclosing.sized: 257 does not fit 1 bytes"),
        (Enclosing(1, Info(b""), Info("x")), "Enclosing.info: Info.aid: str where bytes is due"),  # type: ignore[arg-type]  # the error under test
    ],
)
def test_the_value_error_gives_the_path_of_the_field(message: Message, path: str) -> None:
    with pytest.raises(ValueError, match="^" + path.replace(".", r"\.")):
        message.build()


def test_a_record_repeats_to_the_end_many_thousand_times() -> None:
    data = b"\x30" + b"\x88\x01\xaa\x00" * 40_000
    keys = PutKeys.parse(data)
    assert len(keys.keys) == 40_000
    assert keys.build() == data


def test_announced_elements_take_no_memory_before_they_are_there() -> None:
    with pytest.raises(DecodeError, match="4294967295 elements announced"):
        Announced.parse(b"\xff\xff\xff\xff" + bytes(10))


class Announced(Record, frozen=True):
    numbers: Annotated[tuple[U8, ...], counted(4)]
