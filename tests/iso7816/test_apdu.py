"""Commands and answers: the cases of ISO 7816-4, short and extended, to the byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.errors import DecodeError
from keywright.iso7816.apdu import Command, Response
from support.messages import parsed

HEADER = bytes.fromhex("80CA9F7F")
H = (0x80, 0xCA, 0x9F, 0x7F)

CASES = {
    "case 1": (Command(*H), ""),
    "case 2 short": (Command(*H, le=1), "01"),
    "case 2 short, 255": (Command(*H, le=255), "FF"),
    "case 2 short, all there is": (Command(*H, le=0), "00"),
    "case 3 short": (Command(*H, b"\xaa"), "01AA"),
    "case 3 short, longest": (Command(*H, bytes(255)), "FF" + "00" * 255),
    "case 4 short": (Command(*H, b"\xaa\xbb", 7), "02AABB07"),
    "case 4 short, all there is": (Command(*H, b"\xaa", 0), "01AA00"),
    "case 4 short, longest": (Command(*H, bytes(255), 0), "FF" + "00" * 256),
    "case 2 extended": (Command(*H, le=1, extended=True), "000001"),
    "case 2 extended, 65535": (Command(*H, le=0xFFFF, extended=True), "00FFFF"),
    "case 2 extended, all there is": (Command(*H, le=0, extended=True), "000000"),
    "case 3 extended, 1 byte": (Command(*H, b"\xaa", extended=True), "000001AA"),
    "case 3 extended, 256 bytes": (Command(*H, bytes(256), extended=True), "000100" + "00" * 256),
    "case 3 extended, longest": (Command(*H, bytes(65_535), extended=True), "00FFFF" + "00" * 65_535),
    "case 4 extended, 1 byte": (Command(*H, b"\xaa", 256, extended=True), "000001AA0100"),
    "case 4 extended, all there is": (Command(*H, b"\xaa", 0, extended=True), "000001AA0000"),
    "case 4 extended, longest": (Command(*H, bytes(65_535), 0, extended=True), "00FFFF" + "00" * 65_537),
}


@pytest.mark.parametrize("name", CASES)
def test_each_case_has_one_coding_and_comes_back_from_it(name: str) -> None:
    command, body = CASES[name]
    raw = HEADER + bytes.fromhex(body)
    assert command.encode() == raw
    assert Command.parse(raw) == command


def test_four_bytes_and_five_bytes_with_00_are_different_cases() -> None:
    assert Command.parse(HEADER).le is None
    assert Command.parse(HEADER + b"\0").le == 0
    assert Command(*H).encode() != Command(*H, le=0).encode()


@pytest.mark.parametrize(("le", "extended"), [(256, False), (65_536, True)])
def test_the_largest_le_is_written_as_zeros_and_read_as_all_there_is(*, le: int, extended: bool) -> None:
    raw = Command(*H, le=le, extended=extended).encode()
    assert raw == Command(*H, le=0, extended=extended).encode()
    assert Command.parse(raw).le == 0


def test_an_extended_command_without_data_and_le_is_case_1() -> None:
    assert Command(*H, extended=True).encode() == HEADER
    assert Command.parse(HEADER) == Command(*H)


@pytest.mark.parametrize(
    ("body", "offset"),
    [
        ("0001", 4),  # 00 and one byte: no case
        ("02AA", 4),  # Lc 2, one byte
        ("02", None),  # not a fault: case 2 with Le 2
        ("01AABBCC", 4),  # Lc 1, three bytes
        ("FF" + "00" * 254, 4),  # one byte short of Lc
        ("FF" + "00" * 257, 4),  # one byte more than case 4
        ("000000AA", 4),  # extended Lc 0
        ("0000000000", 4),  # extended Lc 0 with Le
        ("000002AA", 4),  # extended Lc 2, one byte
        ("000001AA00", 4),  # extended case 4 with one byte of Le
        ("000001AA000000", 4),  # extended case 4 with 00 before Le
        ("00FFFF" + "00" * 65_534, 4),
        ("00FFFF" + "00" * 65_536, 4),
        ("00FFFF" + "00" * 65_538, 4),
    ],
)
def test_lengths_that_do_not_fit_are_refused_at_lc(body: str, offset: int | None) -> None:
    raw = HEADER + bytes.fromhex(body)
    if offset is None:
        assert Command.parse(raw).le == 2
        return
    with pytest.raises(DecodeError) as caught:
        Command.parse(raw)
    assert caught.value.offset == offset


@pytest.mark.parametrize("size", range(4))
def test_less_than_a_header_is_no_command(size: int) -> None:
    with pytest.raises(DecodeError, match="at least 4 bytes") as caught:
        Command.parse(HEADER[:size])
    assert caught.value.offset == size


@pytest.mark.parametrize(
    ("command", "word"),
    [
        (Command(*H, bytes(256)), "256 bytes of data"),
        (Command(*H, le=257), "Le 257"),
        (Command(*H, le=-1), "Le -1"),
        (Command(*H, bytes(65_536), extended=True), "65536 bytes of data"),
        (Command(*H, le=65_537, extended=True), "Le 65537"),
        (Command(*H, b"\0", -1, extended=True), "Le -1"),
        (Command(0x100, 0xCA, 0, 0), "range"),
    ],
)
def test_what_does_not_fit_its_coding_is_not_built(command: Command, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        command.encode()


BYTE = st.integers(0, 255)


@given(BYTE, BYTE, BYTE, BYTE, st.binary(max_size=255), st.none() | st.integers(0, 255))
def test_a_short_command_comes_back(cla: int, ins: int, p1: int, p2: int, data: bytes, le: int | None) -> None:
    command = Command(cla, ins, p1, p2, data, le)
    assert Command.parse(command.encode()) == command


@given(st.binary(min_size=1, max_size=600), st.none() | st.integers(0, 65_535))
def test_an_extended_command_comes_back(data: bytes, le: int | None) -> None:
    command = Command(*H, data, le, extended=True)
    assert Command.parse(command.encode()) == command


@given(st.binary(max_size=40), st.none() | st.integers(0, 255))
def test_every_beginning_of_a_command_is_itself_or_nothing(data: bytes, le: int | None) -> None:
    for extended in (False, True):
        raw = Command(*H, data, le, extended).encode()
        for size in range(len(raw)):
            _same_bytes_or_refused(raw[:size])


@given(st.binary(max_size=300))
def test_any_bytes_are_a_command_or_a_decode_error(raw: bytes) -> None:
    _same_bytes_or_refused(raw)


@given(st.binary(max_size=40))
def test_any_bytes_after_an_extended_lc_are_a_command_or_a_decode_error(rest: bytes) -> None:
    _same_bytes_or_refused(HEADER + b"\0" + rest)


def _same_bytes_or_refused(raw: bytes) -> None:
    command = parsed(Command.parse, raw)
    assert command is None or command.encode() == raw


@given(st.binary(max_size=300), st.sampled_from([6, 9]), st.integers(0, 0xFFF))
def test_an_answer_comes_back(data: bytes, high: int, low: int) -> None:
    answer = Response(data, high << 12 | low)
    assert answer.encode()[-2:] == (high << 12 | low).to_bytes(2)
    assert Response.parse(answer.encode()) == answer


@pytest.mark.parametrize("raw", ["", "90"])
def test_fewer_than_two_bytes_are_no_answer(raw: str) -> None:
    with pytest.raises(DecodeError, match="at least a status word"):
        Response.parse(bytes.fromhex(raw))


@pytest.mark.parametrize("sw", ["0000", "5FFF", "7000", "8FFF", "A000", "FFFF"])
def test_a_status_word_is_6xxx_or_9xxx(sw: str) -> None:
    with pytest.raises(DecodeError, match=f"{sw} is no status word") as caught:
        Response.parse(b"\xaa" + bytes.fromhex(sw))
    assert caught.value.offset == 1


@given(st.binary(max_size=20))
def test_any_bytes_are_an_answer_or_a_decode_error(raw: bytes) -> None:
    answer = parsed(Response.parse, raw)
    assert answer is None or answer.encode() == raw
