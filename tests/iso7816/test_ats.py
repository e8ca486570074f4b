"""Activation of contactless cards: every message round trip, prefixes and random bytes, and what two of them settle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from keywright.iso7816 import timing
from keywright.iso7816.atr import Atr
from keywright.iso7816.ats import (
    FRAME_SIZES,
    Atqb,
    Ats,
    Attrib,
    AttribAnswer,
    Limits,
    Rats,
    TypeAPps,
    atr_of_storage_card,
    atr_of_type_a,
    atr_of_type_b,
    frame_code,
    frame_size,
)
from keywright.iso7816.pps import Pps
from support.messages import parsed

NIBBLE, BYTE = st.integers(0, 15), st.integers(0, 255)
FOUR = st.binary(min_size=4, max_size=4)
CID = st.integers(0, 14)
ATS = st.builds(Ats, NIBBLE, st.none() | BYTE, st.none() | BYTE, st.none() | BYTE, st.binary(max_size=20))
MESSAGES: dict[type, SearchStrategy[Any]] = {
    Rats: st.builds(Rats, NIBBLE, CID),
    Ats: ATS | st.just(Ats(None)),
    TypeAPps: st.builds(TypeAPps, CID, st.integers(0, 3), st.integers(0, 3)),
    Atqb: st.builds(
        Atqb, FOUR, FOUR, BYTE, NIBBLE, NIBBLE, NIBBLE, st.integers(0, 3), st.integers(0, 3), st.none() | BYTE
    ),
    Attrib: st.builds(Attrib, FOUR, NIBBLE, CID, BYTE, NIBBLE, NIBBLE, st.binary(max_size=8)),
    AttribAnswer: st.builds(AttribAnswer, NIBBLE, NIBBLE, st.binary(max_size=8)),
}
KINDS = pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)


@KINDS
def test_what_is_built_is_read_back_and_a_prefix_is_refused_or_stable(kind: Any) -> None:
    @given(MESSAGES[kind])
    def check(value: Any) -> None:
        raw = value.build()
        assert kind.parse(raw) == value
        for size in range(len(raw)):
            short = parsed(kind.parse, raw[:size])
            assert short is None or short.build() == raw[:size] or kind is TypeAPps

    check()


@KINDS
def test_any_bytes_are_a_message_or_a_decode_error(kind: Any) -> None:
    @given(st.binary(max_size=24), st.sampled_from([b"", b"\xe0", b"\x50", b"\x1d", b"\xd0\x11", b"\x05"]))
    def check(raw: bytes, begin: bytes) -> None:
        found = parsed(kind.parse, begin + raw)
        assert found is None or kind.parse(found.build()) == found

    check()


@pytest.mark.parametrize(
    "wrong",
    [
        Rats(16, 0), Rats(0, 15), Ats(16), Ats(None, 1), Ats(None, historical=b"x"), TypeAPps(15), TypeAPps(0, 4),
        TypeAPps(0, 0, 4), Atqb(b"", bytes(4)), Atqb(bytes(4), bytes(4), adc=4), Atqb(bytes(4), bytes(4), fwi=16),
        Attrib(bytes(3)), Attrib(bytes(4), cid=15), AttribAnswer(16), Pps(0, 256),
    ],
)  # fmt: skip  # one line of wrong values
def test_what_cannot_be_is_not_built(wrong: Any) -> None:
    with pytest.raises(ValueError):
        wrong.build()


def test_frame_sizes_are_those_of_the_table() -> None:
    assert FRAME_SIZES[:9] == (16, 24, 32, 40, 48, 64, 96, 128, 256)
    assert [frame_size(code) for code in (9, 12, 13, 15)] == [512, 4096, 4096, 4096]
    assert [frame_code(size) for size in (16, 23, 24, 256, 300, 4096, 9999)] == [0, 0, 1, 8, 8, 12, 12]
    with pytest.raises(ValueError):
        frame_code(15)


def test_an_ats_without_interface_bytes_has_the_defaults() -> None:
    for ats in (Ats(None), Ats.parse(b"\x01"), Ats.parse(b"\x02\x02")):
        assert ats.limits(Rats()) == Limits(fsc=32, fsd=256, fwi=4, sfgi=0, cid=None, takes_nad=False)
        assert (ats.takes_cid, ats.takes_nad) == (True, False)
        assert ats.rates(to_card=True) == ats.rates(to_card=False) == (1,)


def test_an_ats_settles_what_it_says() -> None:
    ats = Ats(fsci=5, ta=0x91, tb=0x87, tc=0x03)
    assert ats.limits(Rats(fsdi=3, cid=9)) == Limits(fsc=64, fsd=40, fwi=8, sfgi=7, cid=9, takes_nad=True)
    assert ats.rates(to_card=True) == (1, 2)
    assert ats.rates(to_card=False) == (1, 2)
    assert Ats(tc=0x00).limits(Rats(cid=9)).cid is None


def test_reserved_integers_are_read_as_the_defaults() -> None:
    assert (Ats(tb=0xFF).fwi, Ats(tb=0xFF).sfgi) == (4, 0)
    assert Atqb(bytes(4), bytes(4), fwi=15).limits(Attrib(bytes(4))).fwi == 4


def test_atqb_and_attrib_settle_the_same_values() -> None:
    atqb = Atqb(b"PUPI", bytes(4), fsci=8, fwi=8, options=3, extended=0x70)
    assert atqb.limits(Attrib(b"PUPI", fsdi=5, cid=2)) == Limits(256, 64, 8, 7, 2, takes_nad=True)
    assert Atqb(b"PUPI", bytes(4), options=0).limits(Attrib(b"PUPI", cid=2)).cid is None


def test_the_pc_sc_atrs_are_those_of_the_standard() -> None:
    assert atr_of_type_a(Ats()) == bytes.fromhex("3B80800101")
    assert atr_of_storage_card(3, 1) == bytes.fromhex("3B8F8001804F0CA000000306030001000000006A")
    type_b = atr_of_type_b(Atqb(bytes(4), b"APPL", fsci=8, fwi=8), 5)
    assert Atr.parse(type_b).historical == b"APPL" + bytes.fromhex("008180") + b"\x50"
    assert Atr.parse(atr_of_type_a(Ats(historical=bytes(20)))).historical == bytes(15)


# ---- times ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fwi", "milliseconds"), [(0, 0.3), (4, 4.8), (8, 77.3), (14, 4949)])
def test_fwt_is_that_of_the_table(fwi: int, milliseconds: float) -> None:
    without_tolerance = timing.frame_waiting_time(fwi) - timing.FWT_TOLERANCE_S
    assert without_tolerance * 1000 == pytest.approx(milliseconds, rel=0.02)


@pytest.mark.parametrize("function", [timing.frame_waiting_time, timing.start_up_guard_time])
def test_a_reserved_integer_is_no_time(function: Callable[[int], float]) -> None:
    for value in (-1, 15):
        with pytest.raises(ValueError):
            function(value)
    assert timing.start_up_guard_time(0) == 0


def test_times_of_the_contact_interface_are_those_of_the_formulas() -> None:
    speed = timing.Speed(372, 1, 3_720_000)
    assert speed.etu == pytest.approx(1e-4)
    assert speed.waiting_time(10) == pytest.approx(0.96)
    assert speed.character_waiting_time(13) == pytest.approx(0.8203)
    assert speed.block_waiting_time(4) == pytest.approx(0.0011 + 1.536)
    assert [round(speed.guard_time(n, t1=True) * 1e4) for n in (0, 3, 255)] == [12, 15, 11]
    assert round(speed.guard_time(255) * 1e4) == 12


def test_bwt_does_not_follow_fi_and_di() -> None:
    slow, fast = timing.Speed(372, 1), timing.Speed(512, 64)
    assert fast.block_waiting_time(4) - 11 * fast.etu == slow.block_waiting_time(4) - 11 * slow.etu
