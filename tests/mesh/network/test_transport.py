"""Lower and upper transport: the standard's samples, segments, and everything that is none."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.errors import AuthenticationError, DecodeError, SequenceError, StoreError
from keywright.mesh.network.access import AccessMessage, parse_access
from keywright.mesh.network.keys import AppKey, virtual_address
from keywright.mesh.network.lower import (
    ACCESS_SEGMENT,
    LONGEST_ACCESS,
    Form,
    Segment,
    SegmentAck,
    Whole,
    build_ack,
    build_segment,
    build_whole,
    cut,
    parse_transport,
    whole_seq,
)
from keywright.mesh.network.sequence import ReplayList, SequenceNumbers
from keywright.mesh.network.upper import open_access, seal_access
from keywright.store.memory import RamMemory
from support.vectors import Case, load, unhex, vectors


class Where(NamedTuple):
    seq: int
    src: int
    dst: int
    iv_index: int


@vectors("mesh/network_messages.json")
def test_the_standards_lower_transport_pdus(case: Case) -> None:
    data = unhex(case["LowerTransportPDU"])
    pdu = parse_transport(data, ctl=bool(case["CTL"]))
    match pdu:
        case Segment():
            assert build_segment(pdu) == data
        case SegmentAck():
            assert build_ack(pdu) == data
            assert pdu.for_another == ("OBO" in case["name"]) or case["name"].startswith("msg9")
        case Whole():
            assert build_whole(pdu) == data


@pytest.mark.parametrize("name", ["msg18", "msg22"])
def test_the_standards_application_messages(name: str) -> None:
    case = next(one for one in load("mesh/network_messages.json") if one["name"].startswith(name))
    key, label = AppKey(unhex(case["AppKey"])), unhex(case.get("LabelUUID", ""))
    where: dict[str, Any] = Where(*(int(case[name], 16) for name in ("SEQ", "SRC", "DST", "IVIndex")))._asdict()
    sealed = seal_access(key, unhex(case["AccessMessage"]), **where, label=label)
    assert build_whole(Whole(Form(ctl=False, aid=key.aid), sealed)) == unhex(case["LowerTransportPDU"])
    assert open_access(key, sealed, **where, label=label) == unhex(case["AccessMessage"])
    if label:
        assert virtual_address(label) == where["dst"]
        with pytest.raises(AuthenticationError):
            open_access(key, sealed, **where)


def test_the_standards_segmented_message() -> None:
    cases = [one for one in load("mesh/network_messages.json") if one["name"].startswith("msg6")]
    first = next(one for one in cases if "AccessMessage" in one)
    key = AppKey(unhex(first["DevKey"]), is_device_key=True)
    seq = int(first["SEQ"], 16)
    sealed = seal_access(
        key,
        unhex(first["AccessMessage"]),
        seq=seq,
        src=int(first["SRC"], 16),
        dst=int(first["DST"], 16),
        iv_index=int(first["IVIndex"], 16),
    )
    assert sealed == unhex(first["UpperTransportPDU"])
    assert [build_segment(one) for one in cut(Form(ctl=False), sealed, seq)] == [
        unhex(one["LowerTransportPDU"]) for one in cases
    ]


@given(length=st.integers(1, LONGEST_ACCESS), seq=st.integers(0, 0xFFFFFF), long_mic=st.booleans())
def test_segments_give_the_message_again(length: int, seq: int, *, long_mic: bool) -> None:
    upper = bytes(index & 0xFF for index in range(length))
    found = [
        parse_transport(build_segment(one), ctl=False)
        for one in cut(Form(ctl=False, aid=5), upper, seq, long_mic=long_mic)
    ]
    assert b"".join(one.data for one in found if isinstance(one, Segment)) == upper
    for index, one in enumerate(found):
        assert isinstance(one, Segment)
        assert (one.index, one.last, one.long_mic) == (index, len(found) - 1, long_mic)
        assert whole_seq(min(seq + index, 0xFFFFFF), one.seq_zero) == seq


def test_a_message_that_is_too_long_or_empty_is_not_cut() -> None:
    for length in (0, LONGEST_ACCESS + 1):
        with pytest.raises(ValueError, match="1 to 384 octets"):
            cut(Form(ctl=False), bytes(length), 0)
    with pytest.raises(ValueError, match="at most 15 octets"):
        build_whole(Whole(Form(ctl=False), bytes(16)))


@pytest.mark.parametrize(
    ("text", "ctl"),
    [
        ("", False),
        ("00", False),
        ("0100", False),  # an AID without AKF
        ("00" + "00" * 16, False),
        ("80000000", False),  # no data
        ("80000020" + "00" * 12, False),  # segment 1 of 0
        ("80000001" + "00" * 11, False),  # not full
        ("80000000" + "00" * 13, False),
        ("8000", False),
        ("", True),
        ("00", True),
        ("000000000000000000", True),
        ("80000000" + "00" * 8, True),  # an acknowledgement in segments
        ("01" + "00" * 12, True),
    ],
)
def test_what_is_no_lower_transport_pdu(text: str, *, ctl: bool) -> None:
    with pytest.raises(DecodeError):
        parse_transport(bytes.fromhex(text), ctl=ctl)


@given(data=st.binary(max_size=20), ctl=st.booleans())
def test_any_octets_are_a_pdu_or_a_decode_error(data: bytes, *, ctl: bool) -> None:
    try:
        pdu = parse_transport(data, ctl=ctl)
    except DecodeError:
        return
    match pdu:
        case Segment():
            again = build_segment(pdu)
            assert parse_transport(again, ctl=ctl) == pdu
        case SegmentAck():
            assert parse_transport(build_ack(pdu), ctl=ctl) == pdu
        case Whole():
            assert build_whole(pdu) == data


@pytest.mark.parametrize(
    ("text", "opcode", "parameters"),
    [("0400000000", 0x04, 4), ("8008ff", 0x8008, 1), ("d50a0048", 0xD50A00, 1), ("00", 0x00, 0)],
)
def test_access_messages(text: str, opcode: int, parameters: int) -> None:
    message = parse_access(bytes.fromhex(text))
    assert (message.opcode, len(message.parameters)) == (opcode, parameters)
    assert message.build().hex() == text


@pytest.mark.parametrize("text", ["", "7f", "80", "c0", "c001"])
def test_what_is_no_access_message(text: str) -> None:
    with pytest.raises(DecodeError):
        parse_access(bytes.fromhex(text))


@pytest.mark.parametrize("opcode", [-1, 0x7F, 0x80, 0xC000, 0x1000000])
def test_opcodes_that_there_are_not(opcode: int) -> None:
    with pytest.raises(ValueError, match="no opcode"):
        AccessMessage(opcode, b"").build()


def test_a_message_does_not_print_its_parameters() -> None:
    assert repr(AccessMessage(0x00, b"secret key bytes")) == "<AccessMessage 00, 16 octets>"


def test_sequence_numbers_survive_a_crash_without_being_used_twice() -> None:
    memory = RamMemory()
    used: list[int] = []
    for _ in range(5):  # each round is a crash and a new process
        numbers = SequenceNumbers(memory, block=8)
        used += [numbers.take() for _ in range(11)]
    assert len(set(used)) == len(used) == 55
    assert used == sorted(used)


def test_the_last_sequence_number_is_the_last() -> None:
    memory = RamMemory({"sequence": (0xFFFFFF).to_bytes(4)})
    numbers = SequenceNumbers(memory)
    assert numbers.left == 1
    assert numbers.take() == 0xFFFFFF
    with pytest.raises(SequenceError, match="no sequence number is left"):
        numbers.take()
    numbers.restart()
    assert numbers.take() == 0


class Full:
    """A memory that takes nothing."""

    def load(self, name: str) -> bytes | None:
        return None

    def commit(self, changes: object) -> None:
        raise StoreError("full")

    def names(self) -> list[str]:
        return []


def test_nothing_is_sent_or_taken_that_memory_does_not_hold() -> None:
    with pytest.raises(StoreError):
        SequenceNumbers(Full()).take()
    replay = ReplayList(Full())
    with pytest.raises(StoreError):
        replay.note(1, 0, 0)
    assert replay.is_fresh(1, 0, 0)


def test_a_message_is_taken_once_also_after_a_restart() -> None:
    memory = RamMemory()
    replay = ReplayList(memory, size=2)
    assert replay.is_fresh(1, 5, 10)
    replay.note(1, 5, 10)
    replay.note(2, 5, 0)
    for again in (replay, ReplayList(memory, size=2)):
        assert not again.is_fresh(1, 5, 10)
        assert not again.is_fresh(1, 5, 9)
        assert not again.is_fresh(1, 4, 11)
        assert again.is_fresh(1, 5, 11)
        assert again.is_fresh(1, 6, 0)
        assert not again.is_fresh(3, 5, 0)  # no room to remember it
    replay.forget(2, 2)
    assert replay.is_fresh(3, 5, 0)


def test_segments_of_control_messages_are_shorter() -> None:
    assert len(cut(Form(ctl=True, opcode=3), bytes(17), 0)) == 3
    assert len(cut(Form(ctl=False), bytes(17), 0)) == 2
    assert ACCESS_SEGMENT == 12
