"""Answers to reset: those that readers and cards really use (ISO 7816-3 section 8), and every damaged one."""

from __future__ import annotations

from functools import reduce
from operator import xor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.errors import DecodeError
from keywright.iso7816.atr import Atr, build
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
