"""T=1 beyond the scenario file: blocks, every state against every block, time, and what is switchable."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.errors import SequenceError
from keywright.iso7816 import edc
from keywright.iso7816.atr import Atr
from keywright.iso7816.line import Arrival, Line, Sender
from keywright.iso7816.line_faults import FaultyLine, LineFault
from keywright.iso7816.t1 import T1Card, T1Host, T1Profile
from keywright.iso7816.t1 import block as t1_block
from keywright.iso7816.t1.block import Block, Invalid, Receiver, i_pcb, read, seal
from keywright.iso7816.t1.profile import of_atr
from keywright.iso7816.timing import Speed
from keywright.iso7816.transport import Answered, Failed, Failure, Ran, Resynchronised
from support.blocks import Clock, Recorder
from support.messages import all_messages, check_message
from support.t1_states import BLOCKS, CHAIN, PLAIN, SHORT, card_in, host_in, reaction, sealed, word

CODES = pytest.mark.parametrize("code", list(edc.T1_CODES.values()), ids=lambda code: code.name)
OK = b"\x90\x00"


# ---- blocks ---------------------------------------------------------------------------------------------------


def test_the_block_keeps_the_promises_of_a_codec() -> None:
    for cls in all_messages(t1_block):
        check_message(cls)


@CODES
@given(nad=st.integers(0, 255), pcb=st.integers(0, 255), inf=st.binary(max_size=254))
def test_a_sealed_block_is_a_block_and_no_prefix_of_it_is(code: edc.Edc, nad: int, pcb: int, inf: bytes) -> None:
    frame = seal(code, nad, pcb, inf)
    assert Block.parse(frame).build() == frame
    assert code.holds(frame)
    for size in range(len(frame)):
        assert isinstance(read(frame[:size], code, 254), Invalid)


@CODES
@given(st.binary(max_size=12))
def test_any_bytes_are_a_block_or_invalid(code: edc.Edc, raw: bytes) -> None:
    found = read(raw, code, 254)
    assert isinstance(found, Invalid) or code.holds(raw)


@pytest.mark.parametrize("size", [0, 1, 2])
def test_every_control_byte_is_a_block_of_the_standard_or_invalid(size: int) -> None:
    for pcb in range(256):
        is_i = not pcb & 0x80 and not pcb & 0x1F
        is_r = pcb in (0x80, 0x81, 0x82, 0x90, 0x91, 0x92) and not size
        is_s = (pcb in (0xC0, 0xE0, 0xC2, 0xE2) and not size) or (pcb in (0xC1, 0xE1, 0xC3, 0xE3) and size == 1)
        found = read(seal(edc.LRC, 0, pcb, b"\x20" * size), edc.LRC, 254)
        assert isinstance(found, Invalid) is not (is_i or is_r or is_s), pcb


@pytest.mark.parametrize("inf", [b"\x00", b"\xff"])
@pytest.mark.parametrize("pcb", [0xC1, 0xE1])
def test_a_size_of_0_or_255_is_invalid(pcb: int, inf: bytes) -> None:
    assert isinstance(read(seal(edc.LRC, 0, pcb, inf), edc.LRC, 254), Invalid)


def test_more_than_this_side_takes_is_invalid() -> None:
    assert isinstance(read(seal(edc.LRC, 0, 0, bytes(33)), edc.LRC, 32), Invalid)
    assert not isinstance(read(seal(edc.LRC, 0, 0, bytes(32)), edc.LRC, 32), Invalid)


@given(st.binary(max_size=60), st.integers(1, 20))
def test_characters_in_any_portions_are_the_same_frame(inf: bytes, size: int) -> None:
    frame = seal(edc.CRC, 0, 0, inf)
    receiver = Receiver(edc.CRC, 1.0)
    found = [receiver.add(frame[at : at + size], 0.0) for at in range(0, len(frame), size)]
    assert found == [None] * (len(found) - 1) + [frame]
    assert not receiver.is_open


def test_a_gap_ends_a_frame() -> None:
    receiver = Receiver(edc.LRC, 1.0)
    assert receiver.add(b"\x00\x00\x05\x01", 0.0) is None
    assert (receiver.is_cut(0.9), receiver.deadline(), receiver.is_cut(1.0)) == (False, 1.0, True)
    assert receiver.add(BLOCKS["R(0)"], 2.1) == BLOCKS["R(0)"]


# ---- every state against every block --------------------------------------------------------------------------

HOST_STATES = ("idle", "sent", "chain", "receiving", "ifs", "resynch", "abort")
HOST_TABLE = {
    "I(0,0)": "- | Answered | R(0)+2 | R(1) | IFS? | RESYNCH? | ABORT?",
    "I(1,0)": "- | R(0)+2 | R(0)+2 | Answered | IFS? | RESYNCH? | ABORT?",
    "I(0,1)": "- | R(1) | R(0)+2 | R(1) | IFS? | RESYNCH? | ABORT?",
    "R(0)": "- | I(0,0) | I(0,1) | R(1) | IFS? | RESYNCH? | ABORT?",
    "R(1)": "- | R(0)+2 | I(1,1) | R(1) | IFS? | RESYNCH? | ABORT?",
    "RESYNCH?": "- | RESYNCH? | RESYNCH? | RESYNCH? | IFS? | RESYNCH? | ABORT?",
    "IFS?": "- | IFS! | IFS! | IFS! | IFS? | RESYNCH? | ABORT?",
    "ABORT?": "- | R(0)+2 | ABORT! | ABORT! | IFS? | RESYNCH? | ABORT?",
    "WTX?": "- | WTX! | WTX! | WTX! | IFS? | RESYNCH? | ABORT?",
    "RESYNCH!": "- | R(0)+2 | R(0)+2 | R(1) | IFS? | - | ABORT?",
    "IFS!": "- | R(0)+2 | R(0)+2 | R(1) | SizeAgreed | RESYNCH? | ABORT?",
    "ABORT!": "- | R(0)+2 | R(0)+2 | R(1) | IFS? | RESYNCH? | Failed",
    "WTX!": "- | R(0)+2 | R(0)+2 | R(1) | IFS? | RESYNCH? | ABORT?",
    "VPP": "- | R(0)+2 | R(0)+2 | R(1) | IFS? | RESYNCH? | ABORT?",
    "damaged": "- | R(0)+1 | R(0)+1 | R(1) | IFS? | RESYNCH? | ABORT?",
    "foreign NAD": "- | R(0)+2 | R(0)+2 | R(1) | IFS? | RESYNCH? | ABORT?",
}
"""Host: nothing under way; I(0,0) sent; I(0,1) sent; R(1) sent in the card's chain; an S request of its own sent."""

CARD_STATES = ("fresh", "answered", "receiving", "sending", "wtx", "ifs", "abort")
CARD_TABLE = {
    "I(0,0)": "I(0,0) | R(1) | R(1) | R(1) | WTX? | IFS? | ABORT?",
    "I(1,0)": "R(0) | I(1,0) | I(0,0) | R(1) | WTX? | IFS? | ABORT?",
    "I(0,1)": "R(1) | R(1) | R(1) | R(1) | WTX? | IFS? | ABORT?",
    "R(0)": "R(0)+2 | I(0,0) | R(1) | I(0,1) | WTX? | IFS? | ABORT?",
    "R(1)": "R(0)+2 | R(1)+2 | R(1) | I(1,1) | WTX? | IFS? | ABORT?",
    "RESYNCH?": "RESYNCH! | RESYNCH! | RESYNCH! | RESYNCH! | RESYNCH! | RESYNCH! | RESYNCH!",
    "IFS?": "IFS! | IFS! | IFS! | IFS! | IFS! | IFS! | IFS!",
    "ABORT?": "ABORT! | ABORT! | ABORT! | ABORT! | ABORT! | ABORT! | ABORT!",
    "WTX?": "R(0)+2 | R(1)+2 | R(1) | R(1)+2 | WTX? | IFS? | ABORT?",
    "RESYNCH!": "R(0)+2 | R(1)+2 | R(1) | R(1)+2 | WTX? | IFS? | ABORT?",
    "IFS!": "R(0)+2 | R(1)+2 | R(1) | R(1)+2 | WTX? | I(0,0) | ABORT?",
    "ABORT!": "R(0)+2 | R(1)+2 | R(1) | R(1)+2 | WTX? | IFS? | R(1)",
    "WTX!": "R(0)+2 | R(1)+2 | R(1) | R(1)+2 | I(0,0) | IFS? | ABORT?",
    "VPP": "R(0)+2 | R(1)+2 | R(1) | R(1)+2 | WTX? | IFS? | ABORT?",
    "damaged": "R(0)+1 | R(1)+1 | R(1) | R(1)+1 | WTX? | IFS? | ABORT?",
    "foreign NAD": "R(0)+2 | R(1)+2 | R(1) | R(1)+2 | WTX? | IFS? | ABORT?",
}
"""Card: after reset; I(0,0) sent; R(1) sent in the host's chain; I(0,1) sent; an S request of its own sent."""


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("state", HOST_STATES)
def test_the_host_does_in_every_state_what_the_rules_say(state: str, name: str) -> None:
    row = HOST_TABLE[name].split(" | ")
    assert reaction(*host_in(state), BLOCKS[name]) == row[HOST_STATES.index(state)]


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("state", CARD_STATES)
def test_the_card_does_in_every_state_what_the_rules_say(state: str, name: str) -> None:
    card, clock = card_in(state)
    ran = len(card.device.ran)  # type: ignore[attr-defined]  # a Recorder
    row = CARD_TABLE[name].split(" | ")
    said = reaction(card, clock, BLOCKS[name])
    assert said == row[CARD_STATES.index(state)]
    new = (name, state) in {("I(0,0)", "fresh"), ("I(1,0)", "answered"), ("I(1,0)", "receiving")}
    assert len(card.device.ran) == ran + new, "only a new last block runs anything"  # type: ignore[attr-defined]  # a Recorder


@given(st.sampled_from(HOST_STATES), st.binary(max_size=40))
def test_the_host_survives_any_bytes(state: str, raw: bytes) -> None:
    host, clock = host_in(state)
    host.receive(raw, clock.now)
    for _ in range(40):
        clock.next_frame(host)
        if host.deadline() is None:
            break
    assert host.deadline() is None, "it comes to an end by itself"


@given(st.sampled_from(CARD_STATES), st.binary(max_size=40))
def test_the_card_survives_any_bytes(state: str, raw: bytes) -> None:
    card, clock = card_in(state)
    card.receive(raw, clock.now)
    clock.next_frame(card)
    card.receive(BLOCKS["RESYNCH?"], clock.now + 10)
    clock.now += 10
    assert word(clock.next_frame(card)) == "RESYNCH!"


# ---- both ends, no faults -------------------------------------------------------------------------------------


def line(profile: T1Profile, channel: Any = None, **more: Any) -> tuple[Line, Recorder]:
    device = Recorder({0xE2: OK, 0xCB: bytes(300) + OK})
    ends = T1Host(profile), T1Card(device, profile, **more)
    return (Line(*ends, channel) if channel else Line(*ends)), device


@CODES
@pytest.mark.parametrize("size", [1, 7, 32, 254])
def test_commands_and_answers_of_any_size_go_through_any_code_and_any_block_size(code: edc.Edc, size: int) -> None:
    for tail in (False, True):
        profile = T1Profile(edc=code.name, ifsc=size, ifsd=size, empty_tail=tail, nad=0x12)
        here, device = line(profile)
        for length in (0, 1, 253, 254, 255, 600):
            command = PLAIN[:4] + bytes(length)
            assert here.command(command) == [Answered(OK)]
            assert device.ran[-1] == command
        assert here.command(SHORT) == [Answered(bytes(300) + OK)]


def test_an_unknown_code_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="crc-x25"):
        T1Host(T1Profile(edc="crc-32"))


def test_one_command_at_a_time() -> None:
    host = T1Host()
    host.command(SHORT, 0.0)
    with pytest.raises(SequenceError):
        host.command(SHORT, 0.0)
    with pytest.raises(SequenceError):
        host.request_ifs(9, 0.0)
    with pytest.raises(SequenceError):
        host.resynchronise(0.0)
    with pytest.raises(ValueError):
        host.request_ifs(255, 0.0)


def test_the_profile_follows_the_atr() -> None:
    found = of_atr(Atr.parse(bytes.fromhex("3BD596028071FE65014F734549445E")), Speed(512, 32))
    assert (found.edc, found.ifsc, found.bwi, found.cwi, found.extra_guard) == ("crc", 254, 6, 5, 2)
    assert found.block_wait == Speed(512, 32).block_waiting_time(6)


# ---- time -----------------------------------------------------------------------------------------------------


def test_bwt_runs_from_the_last_character_and_is_stretched_once_by_wtx() -> None:
    host, clock = T1Host(), Clock()
    host.command(SHORT, 0.0)
    clock.next_frame(host)
    profile, bwt = host.profile, host.profile.block_wait
    assert host.deadline() == pytest.approx(clock.now + profile.duration(bytes(8)) + bwt)
    host.receive(BLOCKS["WTX?"], clock.now)
    frame = clock.next_frame(host)
    assert frame is not None
    assert host.deadline() == pytest.approx(clock.now + profile.duration(frame) + 2 * bwt)
    clock.next_frame(host)
    assert host.deadline() == pytest.approx(clock.now + profile.duration(bytes(4)) + bwt), "valid once"


def test_no_block_goes_out_before_the_block_guard_time() -> None:
    card = T1Card(Recorder())
    card.receive(sealed(i_pcb(0, more=False), PLAIN), 1.0)
    assert not card.outgoing(1.0)
    assert card.deadline() == 1.0 + card.profile.block_guard
    assert card.outgoing(1.0 + card.profile.block_guard)


def test_a_block_that_stops_in_the_middle_is_invalid_after_cwt() -> None:
    card, clock = T1Card(Recorder()), Clock()
    card.receive(sealed(i_pcb(0, more=False), PLAIN)[:-2], 0.0)
    assert card.deadline() == card.profile.character_wait
    assert word(clock.next_frame(card)) == "R(0)+2"
    host, clock = host_in("sent")
    host.receive(BLOCKS["I(0,0)"][:4], clock.now)
    assert word(clock.next_frame(host)) == "R(0)+2"


@pytest.mark.parametrize("times", [0.3, 0.6, 1.5, 4.0, 300.0, 1000.0])
def test_a_device_that_works_long_asks_for_the_time_it_needs(times: float) -> None:
    bwt = T1Profile().block_wait
    here, device = line(T1Profile(silence="fatal"), work=lambda _: times * bwt)
    assert here.command(PLAIN) == [Answered(OK)]
    assert here.now >= times * bwt
    assert len(device.ran) == 1


# ---- what is switchable ---------------------------------------------------------------------------------------


def losing(*frames: int) -> FaultyLine:
    return FaultyLine([LineFault(frame, "lose") for frame in frames], lambda _: True)


def test_a_time_out_may_be_fatal() -> None:
    here, _ = line(T1Profile(silence="fatal"), losing(1))
    end = here.command(PLAIN)[-1]
    assert isinstance(end, Failed)
    assert (end.failure, end.delivered, end.is_down) == (Failure.SILENCE, None, True)
    assert here.command(PLAIN) == [Failed(Failure.DOWN, False, "the card was lost; reset it first")]
    here.reset()
    assert here.command(PLAIN) == [Answered(OK)]


@pytest.mark.parametrize(("first", "frames"), [("reset", 3), ("resynch", 6)])
def test_a_card_that_never_answers_is_given_up(first: Any, frames: int) -> None:
    here, _ = line(T1Profile(first_failure=first), losing(*range(99)))
    end = here.command(PLAIN)[-1]
    assert isinstance(end, Failed)
    assert (end.failure, here.frames) == (Failure.SILENCE, frames)


@pytest.mark.parametrize("after", ["repeat", "fail"])
def test_resynch_is_told_whether_the_command_is_repeated_or_not(after: Any) -> None:
    here, device = line(T1Profile(after_resynch=after), losing(1, 3, 5))
    events = here.command(PLAIN)
    assert events[0] == Resynchronised(may_have_run=True)
    assert here.card_events[0] == Ran(PLAIN)
    if after == "repeat":
        assert (events[1], len(device.ran)) == (Answered(OK), 2)
    else:
        assert isinstance(events[1], Failed)
        assert (events[1].failure, events[1].delivered, len(device.ran)) == (Failure.RESYNCHRONISED, None, 1)
        assert here.command(PLAIN) == [Answered(OK)], "the card need not be reset"


def test_a_resynch_before_the_last_block_was_sent_says_so() -> None:
    here, device = line(T1Profile(after_resynch="fail"), losing(1, 3, 5))
    events = here.command(CHAIN)
    assert events[0] == Resynchronised(may_have_run=False)
    assert isinstance(events[1], Failed)
    assert (events[1].delivered, device.ran) == (False, [])


def test_a_card_that_requests_resynch_may_be_refused() -> None:
    host, clock = T1Host(T1Profile(card_resynch="invalid")), Clock()
    host.command(SHORT, 0.0)
    clock.next_frame(host)
    assert reaction(host, clock, BLOCKS["RESYNCH?"]) == "R(0)+2"


@pytest.mark.parametrize(("after", "said"), [("r-block", "R(1)+1"), ("response", "IFS!")])
def test_after_an_s_response_either_block_may_be_repeated(after: Any, said: str) -> None:
    card, clock = T1Card(Recorder(), T1Profile(after_response=after)), Clock()
    card.receive(sealed(i_pcb(0, more=True), PLAIN), 0.0)
    clock.next_frame(card)
    card.receive(BLOCKS["IFS?"], clock.now)
    assert word(clock.next_frame(card)) == "IFS!"
    assert reaction(card, clock, BLOCKS["damaged"]) == said


@pytest.mark.parametrize(("number", "said"), [("either", "I(0,0)"), ("strict", "R(1)")])
def test_after_an_abort_the_number_is_free_or_strict(number: Any, said: str) -> None:
    card, clock = T1Card(Recorder(), T1Profile(abort_number=number)), Clock()
    card.receive(sealed(i_pcb(0, more=True), PLAIN), 0.0)
    clock.next_frame(card)
    card.receive(BLOCKS["ABORT?"], clock.now)
    assert word(clock.next_frame(card)) == "ABORT!"
    assert reaction(card, clock, sealed(i_pcb(0, more=False), PLAIN)) == said


@pytest.mark.parametrize("answers", [1, 2, 3])
def test_a_card_answers_so_many_invalid_blocks_in_a_row(answers: int) -> None:
    card, clock = T1Card(Recorder(), T1Profile(card_answers=answers)), Clock()
    said = [reaction(card, clock, BLOCKS["damaged"]) for _ in range(5)]
    assert said == ["R(0)+1"] * answers + ["-"] * (5 - answers)
    assert reaction(card, clock, BLOCKS["R(0)"]) == "R(0)+1", "a valid one is answered again"


@pytest.mark.parametrize("repeats", [0, 1, 2])
def test_a_card_repeats_its_ifs_request_so_often_and_keeps_the_old_size(repeats: int) -> None:
    card, clock = T1Card(Recorder(), T1Profile(card_ifs_repeats=repeats)), Clock()
    card.ask_ifs(16)
    card.receive(sealed(i_pcb(0, more=False), PLAIN), 0.0)
    said = [word(clock.next_frame(card))] + [reaction(card, clock, BLOCKS["R(0)"]) for _ in range(repeats + 1)]
    assert said == ["IFS?"] * (repeats + 1) + ["I(0,0)"]


def test_a_request_is_repeated_although_the_host_asked_something_in_between() -> None:
    card, clock = card_in("wtx")
    assert reaction(card, clock, BLOCKS["IFS?"]) == "IFS!"
    assert reaction(card, clock, BLOCKS["R(0)"]) == "WTX?"
    assert reaction(card, clock, BLOCKS["WTX!"]) == "I(0,0)"


@pytest.mark.parametrize("profile", [T1Profile(max_answer=200), T1Profile(max_blocks=5)])
def test_a_card_that_goes_on_and_on_is_stopped(profile: T1Profile) -> None:
    here, _ = line(profile)
    end = here.command(SHORT)[-1]
    assert isinstance(end, Failed)
    assert (end.failure, end.delivered) == (Failure.ENDLESS, None)


def test_a_card_that_asks_for_the_same_block_for_ever_is_resynchronised_and_given_up() -> None:
    def stubborn(sender: Sender, frame: bytes) -> list[Arrival]:
        is_asked = sender == "card" and frame[1] != 0xE0
        return [Arrival(BLOCKS["R(0)"] if is_asked else frame)]

    here, _ = line(T1Profile(), stubborn)
    events = here.command(PLAIN)
    assert [type(event) for event in events] == [Resynchronised] * 3 + [Failed]
    assert here.frames < 50


def test_a_command_that_is_too_long_is_answered_6700_and_not_run() -> None:
    here, device = line(T1Profile(max_command=100))
    assert here.command(bytes(200)) == [Answered(b"\x67\x00")]
    assert here.command(PLAIN) == [Answered(OK)]
    assert device.ran == [PLAIN]


def test_a_reset_resets_the_device_and_the_numbers() -> None:
    here, device = line(T1Profile())
    here.command(PLAIN)
    here.reset()
    assert device.resets == 1
    here.host.command(PLAIN, here.now)
    clock = Clock()
    clock.now = here.now
    assert word(clock.next_frame(here.host)) == "I(0,0)"
