"""ISO 14443-4 beyond the scenario file: blocks, every state against every block, activation, time, switches."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.errors import SequenceError
from keywright.iso7816.ats import Atqb, Ats, Attrib, Limits, Rats, TypeAPps, frame_size
from keywright.iso7816.edc import CRC_A
from keywright.iso7816.iso14443 import Iso14443Card, Iso14443Profile, Iso14443Reader
from keywright.iso7816.iso14443.block import Block, Kind, read
from keywright.iso7816.iso14443.profile import ACTIVATION_WAIT_S, MAX_WAIT_S, duration
from keywright.iso7816.line import Arrival, Line, Sender
from keywright.iso7816.line_faults import FaultyLine, LineFault
from keywright.iso7816.timing import FWT_TOLERANCE_S, frame_waiting_time
from keywright.iso7816.transport import Activated, Answered, Deselected, Failed, Failure, Present
from support.blocks import Clock, Recorder
from support.iso14443_states import BLOCKS, PLAIN, SHORT, card_in, closed, reaction, reader_in, word
from support.messages import parsed

OK = b"\x90\x00"
CIDS = st.none() | st.integers(0, 14)
I_BLOCKS = st.builds(
    Block,
    st.just(Kind.I),
    st.integers(0, 1),
    st.booleans(),
    CIDS,
    st.none() | st.integers(0, 255),
    st.binary(max_size=30),
)
R_BLOCKS = st.builds(Block, st.sampled_from([Kind.ACK, Kind.NAK]), st.integers(0, 1), st.just(False), CIDS)
S_BLOCKS = st.builds(Block, st.just(Kind.DESELECT), cid=CIDS) | st.builds(
    Block, st.just(Kind.WTX), cid=CIDS, inf=st.integers(1, 59).map(lambda value: bytes((value,)))
)
ANY = I_BLOCKS | R_BLOCKS | S_BLOCKS


# ---- blocks ---------------------------------------------------------------------------------------------------


@given(ANY)
def test_what_is_built_is_read_back_and_a_prefix_is_refused_or_stable(block: Block) -> None:
    raw = block.build()
    assert Block.parse(raw) == block
    for size in range(len(raw)):
        short = parsed(Block.parse, raw[:size])
        assert short is None or short.build() == raw[:size]
        assert read(closed(block)[: size + 1], CRC_A, 256) is None


@given(st.binary(max_size=12))
def test_any_bytes_are_a_block_or_a_decode_error(raw: bytes) -> None:
    found = parsed(Block.parse, raw)
    if found is not None and (found.cid is None or found.cid <= 14):
        assert Block.parse(found.build()) == found
    assert read(raw, CRC_A, 256) is None or CRC_A.holds(raw)


def test_every_control_byte_is_a_block_of_the_standard_or_refused() -> None:
    kinds = {0x02: Kind.I, 0xA2: Kind.ACK, 0xB2: Kind.NAK, 0xC2: Kind.DESELECT, 0xF2: Kind.WTX}
    variants = {0x02: (0x1D,), 0xA2: (0x09,), 0xB2: (0x09,), 0xC2: (0x08,), 0xF2: (0x08,)}
    legal = {base | bits: kind for base, kind in kinds.items() for bits in range(32) if not bits & ~variants[base][0]}
    for pcb in range(256):
        tail = b"\x01" * (bool(pcb & 8) + bool(pcb & 4 and pcb & 0xE2 == 2)) + (b"\x01" if pcb & 0xF7 == 0xF2 else b"")
        found = parsed(Block.parse, bytes((pcb,)) + tail)
        assert (None if found is None else found.kind) == legal.get(pcb), f"{pcb:02X}"


@pytest.mark.parametrize(
    "wrong",
    [
        Block(Kind.ACK, nad=1), Block(Kind.NAK, more=True), Block(Kind.I, cid=15), Block(Kind.I, 2), Block(Kind.WTX),
        Block(Kind.DESELECT, inf=b"x"), Block(Kind.DESELECT, 1), Block(Kind.WTX, inf=b"\0"),
        Block(Kind.WTX, inf=b"\x3c"),
    ],
)  # fmt: skip  # one line of wrong values
def test_what_cannot_be_is_not_built(wrong: Block) -> None:
    with pytest.raises(ValueError):
        wrong.build()


# ---- every state against every block --------------------------------------------------------------------------

READER_STATES = ("idle", "sent", "chain", "receiving", "presence", "deselect")
READER_TABLE = {
    "I0": "- | Answered | NAK0 | ACK1 | NAK0 | DESELECT",
    "I1": "- | NAK0 | NAK0 | Answered | NAK0 | DESELECT",
    "I0+": "- | ACK1 | NAK0 | ACK1 | NAK0 | DESELECT",
    "ACK0": "- | NAK0 | I1+ | ACK1 | Present | DESELECT",
    "ACK1": "- | I0 | I0+ | ACK1 | Present | DESELECT",
    "NAK0": "- | NAK0 | NAK0 | ACK1 | NAK0 | DESELECT",
    "NAK1": "- | NAK0 | NAK0 | ACK1 | NAK0 | DESELECT",
    "WTX": "- | WTX | WTX | WTX | NAK0 | DESELECT",
    "DESELECT": "- | NAK0 | NAK0 | ACK1 | NAK0 | Deselected",
    "damaged": "- | NAK0 | NAK0 | ACK1 | NAK0 | DESELECT",
    "no block": "- | NAK0 | NAK0 | ACK1 | NAK0 | DESELECT",
    "foreign CID": "- | NAK0 | NAK0 | ACK1 | NAK0 | DESELECT",
}
"""Reader: nothing under way; I0 sent; I0 sent with more to come; ACK1 sent in the card's chain; NAK0 to see whether the
card is there; S(DESELECT) sent."""

CARD_STATES = ("fresh", "answered", "receiving", "sending", "wtx", "asleep")
CARD_TABLE = {
    "I0": "I0 | I0 | ACK0 | I0+ | WTX | -",
    "I1": "I0 | I1 | I1 | I1 | - | -",
    "I0+": "ACK0 | I0 | ACK0 | I0+ | WTX | -",
    "ACK0": "- | I0 | ACK0 | I0+ | WTX | -",
    "ACK1": "- | - | - | I1+ | - | -",
    "NAK0": "ACK1 | I0 | ACK0 | I0+ | WTX | -",
    "NAK1": "ACK1 | ACK0 | ACK0 | ACK0 | ACK0 | -",
    "WTX": "- | - | - | - | I0 | -",
    "DESELECT": " | ".join(["DESELECT Deselected"] * 5 + ["-"]),
    "damaged": "- | - | - | - | - | -",
    "no block": "- | - | - | - | - | -",
    "foreign CID": "- | - | - | - | - | -",
}
"""Card: activated; I0 sent; ACK0 sent in the reader's chain; I0 sent with more to come; S(WTX) sent; deselected."""


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("state", READER_STATES)
def test_the_reader_does_in_every_state_what_the_rules_say(state: str, name: str) -> None:
    row = READER_TABLE[name].split(" | ")
    assert reaction(*reader_in(state), BLOCKS[name]) == row[READER_STATES.index(state)]


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("state", CARD_STATES)
def test_the_card_does_in_every_state_what_the_rules_say(state: str, name: str) -> None:
    card, clock = card_in(state)
    device: Any = card.device
    ran = len(device.ran)
    row = CARD_TABLE[name].split(" | ")
    assert reaction(card, clock, BLOCKS[name]) == row[CARD_STATES.index(state)]
    new = (name, state) in {
        ("I0", "fresh"),
        ("I1", "fresh"),
        *(("I1", s) for s in ("answered", "receiving", "sending")),
    }
    assert len(device.ran) == ran + new, "only a new last block runs anything"


@given(st.sampled_from(READER_STATES), st.binary(max_size=40))
def test_the_reader_survives_any_bytes(state: str, raw: bytes) -> None:
    reader, clock = reader_in(state)
    reader.receive(raw, clock.now)
    for _ in range(10):
        clock.next_frame(reader)
        if reader.deadline() is None:
            break
    assert reader.deadline() is None, "it comes to an end by itself"


@given(st.sampled_from(CARD_STATES), st.binary(max_size=40))
def test_the_card_is_silent_at_any_other_bytes(state: str, raw: bytes) -> None:
    card, clock = card_in(state)
    card.receive(raw, clock.now)
    assert clock.next_frame(card) is None or CRC_A.holds(raw)


# ---- both ends, no faults -------------------------------------------------------------------------------------


def line(profile: Iso14443Profile, channel: Any = None, **more: Any) -> tuple[Line, Recorder]:
    device = Recorder({0xE2: OK, 0xCB: bytes(300) + OK})
    ends = Iso14443Reader(profile), Iso14443Card(device, profile, **more)
    return (Line(*ends, channel) if channel else Line(*ends)), device


@pytest.mark.parametrize("kind", ["A", "B"])
@pytest.mark.parametrize("size", [16, 32, 256])
@pytest.mark.parametrize(("cid", "nad"), [(None, None), (0, None), (3, 0x12), (None, 0x21)])
def test_commands_and_answers_of_any_size_go_through(kind: Any, size: int, cid: int | None, nad: int | None) -> None:
    limits = Limits(fsc=size, fsd=size, cid=cid)
    largest = 0

    def watch(_: Sender, frame: bytes) -> list[Arrival]:
        nonlocal largest
        largest = max(largest, len(frame))
        return [Arrival(frame)]

    here, device = line(Iso14443Profile(type=kind, limits=limits, nad=nad), watch)
    for length in (0, 1, 12, 13, 14, 253, 255, 600):
        command = PLAIN[:4] + bytes(length)
        assert here.command(command) == [Answered(OK)]
        assert device.ran[-1] == command
    assert here.command(SHORT) == [Answered(bytes(300) + OK)]
    assert largest == size


def test_one_thing_at_a_time() -> None:
    reader = Iso14443Reader()
    reader.command(SHORT, 0.0)
    with pytest.raises(SequenceError):
        reader.command(SHORT, 0.0)
    with pytest.raises(SequenceError):
        reader.check_presence(0.0)
    with pytest.raises(SequenceError):
        reader.activate(0.0)


def test_a_deselected_card_answers_nothing_until_it_is_activated_anew() -> None:
    here, device = line(Iso14443Profile())
    reader: Any = here.host
    reader.deselect(here.now)
    assert here.settle() == [Deselected()]
    end = here.command(PLAIN)[-1]
    assert isinstance(end, Failed)
    assert (end.failure, end.delivered) == (Failure.DOWN, False)
    here.reset()
    assert here.command(PLAIN) == [Answered(OK)]
    assert device.resets == 1


def test_a_presence_check_does_not_disturb_the_numbers() -> None:
    here, _ = line(Iso14443Profile())
    reader: Any = here.host
    for _ in range(3):
        reader.check_presence(here.now)
        assert here.settle() == [Present()]
        assert here.command(PLAIN) == [Answered(OK)]


# ---- activation -----------------------------------------------------------------------------------------------


def activated(kind: Any, activation: Any, channel: Any = None) -> tuple[Line, Recorder]:
    return line(Iso14443Profile(type=kind), channel, activation=activation)


@given(fsdi=st.integers(0, 12), fsci=st.integers(0, 12), cid=st.integers(0, 14), pps=st.booleans())
def test_type_a_is_activated_with_what_both_say(fsdi: int, fsci: int, cid: int, *, pps: bool) -> None:
    ats = Ats(fsci, tb=0x70, tc=0x02)
    here, _ = activated("A", ats)
    reader, card = here.host, here.card
    assert isinstance(reader, Iso14443Reader)
    assert isinstance(card, Iso14443Card)
    reader.activate(here.now, Rats(fsdi, cid), TypeAPps(cid) if pps else None)
    assert here.settle() == [Activated(ats.build())]
    assert reader.limits == card.limits == Limits(frame_size(fsci), frame_size(fsdi), 7, 0, cid or None)
    assert here.command(SHORT) == [Answered(bytes(300) + OK)]


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 14))
def test_type_b_is_activated_with_what_both_say(fsdi: int, fsci: int, cid: int) -> None:
    atqb = Atqb(b"PUPI", bytes(4), fsci=fsci, fwi=6, options=1)
    here, _ = activated("B", atqb)
    reader, card = here.host, here.card
    assert isinstance(reader, Iso14443Reader)
    assert isinstance(card, Iso14443Card)
    reader.attach(here.now, atqb, Attrib(b"PUPI", fsdi, cid))
    assert here.settle() == [Activated(bytes((cid,)))]
    assert reader.limits == card.limits == Limits(frame_size(fsci), frame_size(fsdi), 6, 0, cid or None)
    assert here.command(SHORT) == [Answered(bytes(300) + OK)]


@pytest.mark.parametrize("frame", [0, 1, 2, 3])
@pytest.mark.parametrize(("kind", "failure"), [("lose", Failure.SILENCE), ("flip", None)])
def test_an_activation_that_fails_is_named_and_may_be_tried_anew(frame: int, kind: Any, failure: Any) -> None:
    here, device = activated("A", Ats(8), FaultyLine([LineFault(frame, kind, bits=(9,))], lambda _: True))
    reader: Any = here.host
    reader.activate(here.now, Rats(), TypeAPps())
    end = here.settle()[-1]
    assert isinstance(end, Failed)
    assert (end.delivered, end.is_down) == (False, True)
    assert end.failure == (failure or (Failure.SILENCE if frame % 2 == 0 else Failure.DAMAGED))
    here.reset()
    reader.activate(here.now, Rats(), TypeAPps())
    assert isinstance(here.settle()[-1], Activated)
    assert here.command(PLAIN) == [Answered(OK)]
    assert device.ran == [PLAIN]


def test_a_card_hears_nothing_before_its_activation_and_no_second_rats() -> None:
    card, clock = Iso14443Card(Recorder(), activation=Ats()), Clock()
    for name in BLOCKS:
        assert reaction(card, clock, BLOCKS[name]) == "-"
    rats = CRC_A.close(Rats().build())
    card.receive(rats, clock.now)
    assert clock.next_frame(card) == CRC_A.close(Ats().build())
    card.receive(rats, clock.now)
    assert clock.next_frame(card) is None
    assert reaction(card, clock, closed(Block(Kind.I, inf=PLAIN))) == "I0"
    card.receive(CRC_A.close(TypeAPps().build()), clock.now)
    assert clock.next_frame(card) is None, "a PPS follows the ATS or does not come"


@pytest.mark.parametrize("answer", [b"", b"\x05\x72", b"\x02\xf2", b"\xd1"])
def test_an_answer_to_the_activation_that_is_none_is_illegal(answer: bytes) -> None:
    reader, clock = Iso14443Reader(), Clock()
    reader.activate(0.0, Rats(), TypeAPps())
    clock.next_frame(reader)
    if answer == b"\xd1":
        reader.receive(CRC_A.close(Ats().build()), clock.now)
        clock.next_frame(reader)
    reader.receive(CRC_A.close(answer), clock.now)
    end = reader.events()[-1]
    assert isinstance(end, Failed)
    assert end.failure in (Failure.ILLEGAL, Failure.DAMAGED)


def test_a_card_of_another_pupi_is_silent() -> None:
    here, _ = activated("B", Atqb(b"PUPI", bytes(4)))
    reader: Any = here.host
    reader.attach(here.now, Atqb(b"IPUP", bytes(4)))
    assert isinstance(here.settle()[-1], Failed)


# ---- time -----------------------------------------------------------------------------------------------------


def test_fwt_runs_after_the_frame_and_is_stretched_once_by_wtx() -> None:
    reader, clock = reader_in("sent")
    fwt = reader.limits.fwt
    assert reader.deadline() == pytest.approx(duration(CRC_A.close(b"\x02" + SHORT)) + fwt)
    reader.receive(BLOCKS["WTX"], clock.now)
    frame = clock.next_frame(reader)
    assert frame is not None
    assert reader.deadline() == pytest.approx(clock.now + duration(frame) + 3 * fwt)
    assert word(clock.next_frame(reader)) == "NAK0"
    assert reader.deadline() == pytest.approx(clock.now + duration(b"123") + fwt)


def test_a_stretched_fwt_is_never_longer_than_the_longest() -> None:
    reader, clock = Iso14443Reader(Iso14443Profile(limits=Limits(fwi=14))), Clock()
    reader.command(SHORT, 0.0)
    clock.next_frame(reader)
    reader.receive(BLOCKS["WTX"], 0.0)
    clock.next_frame(reader)
    assert reader.deadline() == pytest.approx(duration(BLOCKS["WTX"]) + MAX_WAIT_S)


def test_power_bits_of_a_request_for_time_are_not_sent_back() -> None:
    reader, clock = reader_in("sent")
    reader.receive(CRC_A.close(b"\xf2\xc3"), clock.now)
    assert clock.next_frame(reader) == CRC_A.close(b"\xf2\x03")


def test_the_start_up_guard_time_is_kept() -> None:
    reader, clock = Iso14443Reader(), Clock()
    reader.activate(0.0)
    clock.next_frame(reader)
    assert reader.deadline() == pytest.approx(duration(b"1234") + ACTIVATION_WAIT_S)
    reader.receive(CRC_A.close(Ats(8, tb=0x8A).build()), 0.001)
    reader.command(SHORT, 0.001)
    assert not reader.outgoing(0.001)
    assert clock.next_frame(reader) is not None
    assert clock.now == pytest.approx(0.001 + frame_waiting_time(10) - FWT_TOLERANCE_S)


@pytest.mark.parametrize("times", [0.3, 0.6, 1.5, 30.0, 200.0])
def test_a_device_that_works_long_asks_for_the_time_it_needs(times: float) -> None:
    fwt = Limits().fwt
    here, device = line(Iso14443Profile(max_retries=0), work=lambda _: times * fwt)
    assert here.command(PLAIN) == [Answered(OK)]
    assert here.now >= times * fwt
    assert len(device.ran) == 1


@pytest.mark.parametrize("multiplier", [0, 60])
def test_a_multiplier_that_does_not_exist_is_a_mistake(multiplier: int) -> None:
    with pytest.raises(ValueError):
        Iso14443Card(Recorder()).ask_time(multiplier)


# ---- what is switchable ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("repeated", ["drop", "run"])
def test_a_doubled_block_runs_once_or_as_the_standard_reads(repeated: Any) -> None:
    channel = FaultyLine([LineFault(0, "double")], lambda _: True)
    here, device = line(Iso14443Profile(repeated_block=repeated), channel)
    assert here.command(PLAIN) == [Answered(OK)]
    assert (len(device.ran) == 1) is (repeated == "drop")


@pytest.mark.parametrize("retries", [0, 1, 2, 5])
def test_a_reader_asks_so_often_before_it_gives_the_card_up(retries: int) -> None:
    here, device = line(
        Iso14443Profile(max_retries=retries), FaultyLine([LineFault(n, "lose") for n in range(99)], lambda _: True)
    )
    end = here.command(PLAIN)[-1]
    assert isinstance(end, Failed)
    assert (end.failure, end.delivered, here.frames, device.ran) == (Failure.SILENCE, None, retries + 1, [])


@pytest.mark.parametrize("profile", [Iso14443Profile(max_answer=200), Iso14443Profile(max_blocks=3)])
def test_a_card_that_goes_on_and_on_is_stopped(profile: Iso14443Profile) -> None:
    here, _ = line(profile)
    end = here.command(SHORT)[-1]
    assert isinstance(end, Failed)
    assert end.failure == Failure.ENDLESS


def test_a_card_that_asks_for_the_same_block_for_ever_is_given_up() -> None:
    here, _ = line(Iso14443Profile(), lambda sender, frame: [Arrival(BLOCKS["ACK1"] if sender == "card" else frame)])
    end = here.command(PLAIN)[-1]
    assert isinstance(end, Failed)
    assert (end.failure, here.frames) == (Failure.DAMAGED, 6)


def test_a_command_that_is_too_long_is_answered_6700_and_not_run() -> None:
    here, device = line(Iso14443Profile(max_command=100))
    assert here.command(bytes(200)) == [Answered(b"\x67\x00")]
    assert here.command(PLAIN) == [Answered(OK)]
    assert device.ran == [PLAIN]
