"""PB-ADV on the wire: codec promises, what is prohibited, and how a PDU is cut into segments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.codec.message import Message
from keywright.errors import DecodeError
from keywright.mesh.pb_adv import messages
from keywright.mesh.pb_adv.messages import (
    LONGEST_PDU,
    PbAdvPdu,
    TransactionContinuation,
    TransactionStart,
    fcs,
    parse_generic,
    segments,
)
from support.messages import all_messages, check_message
from support.vectors import Case, unhex, vectors

OPCODES = {0x01, 0x03, 0x07, 0x0B}


@pytest.mark.parametrize("cls", all_messages(messages), ids=lambda cls: cls.__name__)
def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


@vectors("mesh/pbadv_trace.json")
def test_the_standards_packets(case: Case) -> None:
    check_packets(case)


@vectors("mesh/provisioning_records_trace.json")
def test_the_standards_packets_of_records(case: Case) -> None:
    check_packets(case)


def check_packets(case: Case) -> None:
    packets = [PbAdvPdu.parse(unhex(packet)) for packet in case["packets"]]
    assert [packet.build().hex() for packet in packets] == case["packets"]
    if "provisioning_pdu" in case:
        assert [packet.generic for packet in packets] == segments(unhex(case["provisioning_pdu"]))
        assert {packet.transaction for packet in packets} == {int(case["transaction"], 16)}
    for packet in packets:
        assert parse_generic(packet.generic).build() == packet.generic


@given(st.integers(1, LONGEST_PDU), st.binary(min_size=1, max_size=4))
def test_segments_are_full_and_give_the_pdu_again(length: int, seed: bytes) -> None:
    pdu = (seed * (length // len(seed) + 1))[:length]
    start, *rest = (parse_generic(segment) for segment in segments(pdu))
    assert isinstance(start, TransactionStart)
    assert (start.total, start.fcs, start.last_index) == (length, fcs(pdu), len(rest))
    assert all(isinstance(one, TransactionContinuation) for one in rest)
    assert b"".join(one.data for one in (start, *rest) if not isinstance(one, PbAdvPdu)) == pdu  # type: ignore[union-attr]  # checked above


def test_a_pdu_that_is_too_long_or_empty_has_no_segments() -> None:
    for length in (0, LONGEST_PDU + 1):
        with pytest.raises(ValueError, match="1 to 1469 octets"):
            segments(bytes(length))


@pytest.mark.parametrize("control", [octet for octet in range(256) if octet & 1 and octet not in OPCODES])
def test_a_prohibited_control_octet_is_no_pdu(control: int) -> None:
    with pytest.raises(DecodeError, match="prohibited or reserved"):
        parse_generic(bytes((control,)) + bytes(16))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0000000000",  # no octets
        "0400020000",  # two segments for what fits into one
        "00001500" + "00" * 20,  # one segment for what needs two
        "00000200" + "00",  # shorter than it says
        "00000100" + "0000",  # longer
        "02" + "00",  # index 0
        "06",  # empty
        "06" + "00" * 24,
        "0100",
        "03" + "00" * 15,
        "0700",
        "0b",
    ],
)
def test_a_generic_pdu_that_does_not_fit_is_none(text: str) -> None:
    with pytest.raises(DecodeError):
        parse_generic(bytes.fromhex(text))
