"""Answers to reset: those that readers and cards really use (ISO 7816-3 section 8), and every damaged one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import xor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.errors import DecodeError
from keywright.iso7816.atr import Atr, SpecificMode, Supply, T1Parameters, build
from support.messages import parsed

SEEN = {
    "3B00": ((0,), b"", 0),
    "3B808131FE458B": ((1,), b"", 1),
    "3B80800101": ((0, 1), b"", 0),
    "3B808031FE65AA": ((0, 1), b"", 0),
    "3BD596028071FE65014F734549445E": ((0, 1), b"OsEID", 0),
    "3B801F039C": ((), b"", 0),
    "3B8F8001804F0CA000000306030001000000006A": ((0, 1), bytes.fromhex("804F0CA00000030603000100000000"), 0),
    "3F00": ((0,), b"", 0),
    "3B024142": ((0,), b"AB", 0),
}
"""ATR -> protocols offered, historical bytes, protocol used when none is negotiated. The double ones of virtual readers
name T=0 first; T=15 alone leaves no protocol."""


@pytest.mark.parametrize("text", SEEN)
def test_an_atr_that_is_in_use_is_read(text: str) -> None:
    protocols, historical, default = SEEN[text]
    found = Atr.parse(bytes.fromhex(text))
    assert found.protocols == protocols
    assert found.historical == historical
    assert found.default_protocol == default
    assert found.direct == text.startswith("3B")


def test_interface_bytes_keep_their_names() -> None:
    found = Atr.parse(bytes.fromhex("3BD596028071FE65014F734549445E"))
    names = {"TA1": 0x96, "TC1": 0x02, "TD1": 0x80, "TD2": 0x71, "TA3": 0xFE, "TB3": 0x65, "TC3": 0x01}
    assert found.interface == names
    assert found.historical == b"OsEID"


CHECKED = [text for text in SEEN if any(bytes.fromhex(text)[1:]) and Atr.parse(bytes.fromhex(text)).protocols != (0,)]


@pytest.mark.parametrize("text", CHECKED)
def test_a_flipped_bit_under_a_check_byte_is_noticed(text: str) -> None:
    raw = bytes.fromhex(text)
    for bit in range(8, 8 * len(raw)):
        damaged = bytearray(raw)
        damaged[bit // 8] ^= 0x80 >> bit % 8
        try:
            found = Atr.parse(bytes(damaged))
        except DecodeError:
            continue
        assert found.protocols == (0,), "only an ATR for T=0 alone goes without a check byte"


@pytest.mark.parametrize("text", SEEN)
def test_a_cut_or_lengthened_atr_is_refused(text: str) -> None:
    raw = bytes.fromhex(text)
    for size in range(len(raw)):
        with pytest.raises(DecodeError):
            Atr.parse(raw[:size])
    with pytest.raises(DecodeError):
        Atr.parse(raw + b"\0")


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (b"\x3c\x00", "starts with 3B or 3F"),
        (b"\x3b", "2 to 33"),
        (b"\x3b" + bytes(33), "2 to 33"),
        (b"\x3b\x80\x81\x31\xfe\x45\x8a", "TCK"),
        (b"\x3b\xf0\x11", "interface bytes"),
        (b"\x3b\x02\x41", "has 4 bytes"),
    ],
)
def test_what_is_wrong_is_named(raw: bytes, word: str) -> None:
    with pytest.raises(DecodeError, match=word) as caught:
        Atr.parse(raw)
    assert 0 <= caught.value.offset <= len(raw)


@given(st.binary(max_size=15), st.lists(st.integers(0, 14), max_size=3).map(tuple))
def test_what_is_built_is_read_back(historical: bytes, protocols: tuple[int, ...]) -> None:
    raw = build(historical, protocols)
    found = Atr.parse(raw)
    assert found.historical == historical
    assert found.protocols == (tuple(dict.fromkeys(protocols)) if any(protocols) else (0,))
    assert not any(protocols) or reduce(xor, raw[1:]) == 0


@pytest.mark.parametrize(("historical", "protocols"), [(bytes(16), (1,)), (b"", (15,)), (b"", (0, 300)), (b"", (-1,))])
def test_what_cannot_be_is_not_built(historical: bytes, protocols: tuple[int, ...]) -> None:
    with pytest.raises(ValueError):
        build(historical, protocols)


@given(st.binary(max_size=40), st.sampled_from([b"", b"\x3b", b"\x3b\x80\x80"]))
def test_any_bytes_are_an_atr_or_a_decode_error(raw: bytes, begin: bytes) -> None:
    parsed(Atr.parse, begin + raw)


# ---- what the interface bytes say -----------------------------------------------------------------------------


Groups = Sequence[tuple[int, int | None, int | None, int | None]]


def atr_of(text: str) -> Atr:
    """An ATR given without its check byte."""
    raw = bytes.fromhex(text)
    return Atr.parse(raw + bytes((reduce(xor, raw[1:]),)))


def test_an_atr_says_what_the_card_can() -> None:
    found = Atr.parse(bytes.fromhex("3BD596028071FE65014F734549445E"))
    assert (found.fi, found.di, found.max_clock_hz) == (512, 32, 5e6)
    assert found.extra_guard_time == 2
    assert found.t1 == T1Parameters(ifsc=0xFE, bwi=6, cwi=5, crc=True)
    assert found.specific_mode is None
    assert found.faults() == ()
    assert found.speed(4e6).etu == 512 / 32 / 4e6


def test_an_atr_without_interface_bytes_has_the_defaults() -> None:
    found = Atr.parse(bytes.fromhex("3B00"))
    assert (found.fi, found.di, found.extra_guard_time, found.waiting_integer) == (372, 1, 0, 10)
    assert found.t1 == T1Parameters(32, 4, 13)
    assert found.supply == Supply("not supported", "A")
    assert found.faults() == ()


def test_ta2_sets_the_one_protocol() -> None:
    found = atr_of("3B90" + "9611" + "81")
    assert found.specific_mode == SpecificMode(1, can_change=False, implicit=False)
    assert found.default_protocol == 1
    found = Atr.parse(bytes.fromhex("3B90" + "9610" + "10"))
    assert found.specific_mode == SpecificMode(0, can_change=True, implicit=True)


def test_the_global_bytes_behind_t15_are_supply_and_clock() -> None:
    found = atr_of("3B80" + "80" + "81" + "1F" + "C3")
    assert found.protocols == (0, 1)
    assert found.supply == Supply("no preference", "AB")
    assert found.t1 == T1Parameters()


def test_wi_is_in_tc2() -> None:
    assert Atr.parse(bytes.fromhex("3B8040" + "14")).waiting_integer == 0x14


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("3B10" + "7F", "TA1 7F is reserved"),
        ("3B80" + "1F" + "03", "T=15, which is no protocol"),
        ("3B80" + "81" + "00", "ascending"),
        ("3B80" + "10" + "01", "TA2 sets T=1"),
        ("3B80" + "40" + "00", "WI is 0"),
        ("3B80" + "81" + "11" + "FF", "IFSC FF is reserved"),
        ("3B80" + "81" + "21" + "A5", "BWI 10 is reserved"),
        ("3B80" + "81" + "41" + "02", "reserved bits"),
    ],
)
def test_what_the_standard_forbids_is_named(text: str, word: str) -> None:
    protocols = any(byte & 0x0F for name, byte in _interface(text).items() if name.startswith("TD"))
    found = atr_of(text) if protocols else Atr.parse(bytes.fromhex(text))
    assert [fault for fault in found.faults() if word in fault] == list(found.faults()) != []


def _interface(text: str) -> dict[str, int]:
    raw = bytes.fromhex(text)
    for end in (raw, raw + bytes((reduce(xor, raw[1:]),))):
        try:
            return Atr.parse(end).interface
        except DecodeError:
            continue
    raise AssertionError(text)


@given(
    historical=st.binary(max_size=15),
    groups=st.lists(st.tuples(st.integers(0, 15), *(st.none() | st.integers(0, 255) for _ in "ABC")), max_size=3),
    direct=st.booleans(),
)
def test_every_atr_of_at_most_33_bytes_is_built_and_read_back(
    historical: bytes, groups: Groups, *, direct: bool
) -> None:
    found = _atr(historical, groups, direct=direct)
    raw = found.encode()
    parsed_again = Atr.parse(raw)
    assert parsed_again.encode() == raw
    assert (parsed_again.interface, parsed_again.historical) == (found.interface, historical)
    assert parsed_again.direct is direct
    found.faults()
    for size in range(len(raw)):
        assert parsed(Atr.parse, raw[:size]) is None


def _atr(historical: bytes, groups: Groups, *, direct: bool) -> Atr:
    """An ATR whose TD bytes announce what follows: each group is a protocol and its A, B, C bytes."""
    interface: dict[str, int] = {}
    for level, (_, *values) in enumerate(groups, 1):
        interface |= {f"T{letter}{level}": v for letter, v in zip("ABC", values, strict=True) if v is not None}
    for level in range(len(groups) - 1, 0, -1):
        present = sum(1 << n for n, letter in enumerate("ABCD") if f"T{letter}{level + 1}" in interface)
        interface[f"TD{level}"] = present << 4 | groups[level][0]
    return Atr(direct, interface, (), historical)


@pytest.mark.parametrize(
    ("interface", "word"),
    [
        ({"TA2": 1}, "nothing announces"),
        ({"TD1": 0x11}, "does not announce"),
        ({"TD1": 0x01, "TA2": 1}, "does not announce"),
        ({"TX1": 1}, "nothing announces"),
    ],
)
def test_an_atr_that_contradicts_itself_is_not_built(interface: dict[str, int], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Atr(direct=True, interface=interface, protocols=(), historical=b"").encode()


def test_an_atr_that_is_too_long_is_not_built() -> None:
    with pytest.raises(ValueError, match="15 historical"):
        Atr(direct=True, interface={}, protocols=(), historical=bytes(16)).encode()
    full = [(1, 1, 1, 1)] * 6
    with pytest.raises(ValueError, match="33 bytes"):
        _atr(bytes(15), full, direct=True).encode()


@given(
    historical=st.binary(max_size=15),
    ifsc=st.integers(1, 254),
    bwi=st.integers(0, 9),
    cwi=st.integers(0, 15),
    crc=st.booleans(),
)
def test_parameters_of_t1_are_stated_and_read_back(
    historical: bytes, ifsc: int, bwi: int, cwi: int, *, crc: bool
) -> None:
    wanted = T1Parameters(ifsc, bwi, cwi, crc)
    for protocols in ((1,), (0, 1)):
        found = Atr.parse(build(historical, protocols, wanted))
        assert (found.t1, found.protocols, found.historical) == (wanted, protocols, historical)
        assert found.faults() == ()


def test_parameters_of_t1_without_t1_are_not_built() -> None:
    for protocols in ((), (0,), (1, 0)):
        with pytest.raises(ValueError, match="T=1"):
            build(b"", protocols, T1Parameters())
