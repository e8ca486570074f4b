"""PPS, both ends: the exchanges of the scenario file, and what is neither echoed nor refused there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.errors import WireError
from keywright.iso7816.pps import Agreed, Pps, PpsCard, select
from keywright.iso7816.timing import DI, FI
from keywright.sansio.dialogue import drive
from support.messages import parsed
from support.vectors import Case, load, unhex, vectors

FILE = "scp/t1_scenarios.json"
AGREED = {
    "pps-01": Agreed(1, 0x96),
    "pps-02": Agreed(0),
    "pps-03": Agreed(1, 0x11),
    "pps-07": Agreed(1, 0x95, 0x01),
}
"""What holds after the exchanges that succeed; the others end in deactivation."""
BYTES = st.none() | st.integers(0, 255)
ANY = st.builds(Pps, st.integers(0, 14), BYTES, BYTES, BYTES)


@vectors(FILE, "pps")
def test_the_host_sends_and_judges_as_the_file_says(case: Case) -> None:
    sent: list[bytes] = []

    def card(request: bytes) -> bytes:
        sent.append(request)
        return unhex(case["card"])

    dialogue = select(Pps.parse(unhex(case["host"])))
    if case["id"] in AGREED:
        assert drive(dialogue, card) == AGREED[case["id"]]
    else:
        assert case["result"].startswith("failure")
        with pytest.raises(WireError):
            drive(dialogue, card)
    assert sent == [unhex(case["host"])]


@vectors(FILE, "pps")
def test_the_card_answers_as_the_file_says(case: Case) -> None:
    taken = frozenset() if case["id"] == "pps-03" else frozenset({0x95, 0x96})
    card = PpsCard((0, 1), taken)
    answer = card.answer(unhex(case["host"]))
    if case["id"] in AGREED:
        assert answer == unhex(case["card"])
        assert card.agreed == AGREED[case["id"]]
    else:
        assert answer == Pps.parse(unhex(case["host"])).build(), "what a correct card says where that one did not"


def test_there_are_as_many_as_the_file_says() -> None:
    assert len(load(FILE, "pps")) == 7


# ---- messages -------------------------------------------------------------------------------------------------


@given(ANY)
def test_what_is_built_is_read_back_and_no_prefix_is_a_pps(pps: Pps) -> None:
    raw = pps.build()
    assert Pps.parse(raw) == pps
    for size in range(len(raw)):
        assert parsed(Pps.parse, raw[:size]) is None


@given(ANY, st.data())
def test_a_flipped_bit_is_noticed(pps: Pps, choose: st.DataObject) -> None:
    raw = bytearray(pps.build())
    at = choose.draw(st.integers(0, 8 * len(raw) - 1))
    raw[at // 8] ^= 0x80 >> at % 8
    assert parsed(Pps.parse, bytes(raw)) is None


@given(st.binary(max_size=9), st.sampled_from([b"", b"\xff"]))
def test_any_bytes_are_a_pps_or_a_decode_error(raw: bytes, begin: bytes) -> None:
    found = parsed(Pps.parse, begin + raw)
    assert found is None or found.build() == begin + raw


@pytest.mark.parametrize("protocol", [-1, 15])
def test_a_protocol_that_does_not_exist_is_not_built(protocol: int) -> None:
    with pytest.raises(ValueError):
        Pps(protocol).build()


@pytest.mark.parametrize("answer", ["FF11", "FF119679", "00", "FF0100"])
def test_an_answer_that_is_no_pps_ends_in_deactivation(answer: str) -> None:
    with pytest.raises(WireError, match="is none"):
        drive(select(Pps(1, 0x96)), lambda _: unhex(answer))


def test_a_reserved_speed_is_not_agreed_although_the_card_echoes_it() -> None:
    with pytest.raises(WireError, match="7F is reserved"):
        drive(select(Pps(1, 0x7F)), lambda request: request)


# ---- card -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("FF119679", "wrong PCK"),
        ("FF02FD", "a protocol that is not offered"),
        ("00A40400", "no PPS"),
        ("", "nothing"),
    ],
)
def test_the_card_is_silent_at(raw: str, why: str) -> None:
    card = PpsCard((0, 1), frozenset({0x96}))
    assert card.answer(unhex(raw)) == b"", why
    assert card.agreed is None


def test_the_card_answers_one_pps_only() -> None:
    card = PpsCard((0, 1))
    assert card.answer(unhex("FF00FF"))
    assert card.answer(unhex("FF00FF")) == b""


@given(ANY)
def test_both_ends_agree(pps: Pps) -> None:
    taken = frozenset(fi << 4 | di for fi in FI for di in DI)
    for keeps in (True, False):
        card = PpsCard(tuple(range(15)), taken, keeps=keeps)
        agreed = drive(select(pps), card.answer)
        assert agreed == card.agreed
        assert agreed.pps1 == (pps.pps1 if pps.pps1 in taken else 0x11)


def test_what_is_agreed_is_a_speed() -> None:
    speed = Agreed(1, 0x96).speed(4e6)
    assert (speed.fi, speed.di) == (512, 32)
    assert speed.etu == 512 / 32 / 4e6
