"""What SCP02 puts on the wire keeps the promises of a codec."""

from __future__ import annotations

import pytest

from keywright.codec.message import Message
from keywright.errors import DecodeError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import MAX_CHANNEL, secured, with_channel
from keywright.scp.scp02 import messages
from keywright.scp.scp02.messages import (
    BeginRMacSession,
    I,
    InitializeUpdateResponse,
    allowed_levels,
    answered,
    covered,
)
from support.messages import all_messages, check_message


@pytest.mark.parametrize("cls", all_messages(messages))
def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


def test_an_answer_has_28_bytes_and_no_other_number() -> None:
    for size in (0, 27, 29, 32):
        with pytest.raises(DecodeError):
            InitializeUpdateResponse.parse(bytes(size))
    assert InitializeUpdateResponse.parse(bytes(12) + b"\x01\x02" + bytes(14)).sequence_counter == 0x0102


def test_data_of_begin_stand_behind_their_length() -> None:
    assert BeginRMacSession(b"abc").build() == b"\x03abc"


def test_an_implicit_session_has_one_level_and_r_mac_wants_its_bit() -> None:
    assert allowed_levels(0x1A) == allowed_levels(0x3B) == (0x01,)
    assert allowed_levels(0x15) == (0x00, 0x01, 0x03)
    assert allowed_levels(0x15 | I.R_MAC) == (0x00, 0x01, 0x03, 0x10, 0x11, 0x13)


@pytest.mark.parametrize("channel", range(MAX_CHANNEL + 1))
def test_no_mac_covers_the_channel_and_each_the_kind_of_class(channel: int) -> None:
    for cla, modified in ((0x80, 0x84), (0x00, 0x04)):
        command = Command(with_channel(cla, channel), 0xCA, 0, 0x66, b"ab", 0)
        assert covered(command, 0x15) == bytes((modified, 0xCA, 0, 0x66, 10)) + b"ab"
        assert covered(command, 0x17) == bytes((cla, 0xCA, 0, 0x66, 2)) + b"ab"
        request = bytes((cla, 0xCA, 0, 0x66, 2)) + b"ab"
        assert answered(command, Response(b"xyz", 0x6310)) == request + b"\x03xyz\x63\x10"
        assert secured(command.cla) != command.cla


def test_an_r_mac_covers_no_data_of_an_error_and_the_length_of_an_answer_in_one_byte() -> None:
    command = Command(0x80, 0xCA, 0, 0x66)
    assert answered(command, Response(b"xyz", 0x6A88)) == bytes.fromhex("80CA006600006A88")
    assert answered(command, Response(bytes(256))) == bytes.fromhex("80CA00660000") + bytes(256) + b"\x90\x00"


def test_an_extended_command_is_covered_with_lc_of_three_bytes() -> None:
    command = Command(0x80, 0xE2, 0, 0, bytes(300), 0, extended=True)
    assert covered(command, 0x15) == bytes.fromhex("84E20000000134") + bytes(300)
    assert covered(command, 0x17) == bytes.fromhex("80E2000000012C") + bytes(300)
    assert answered(command, Response(b"")) == bytes.fromhex("80E2000000012C") + bytes(300) + bytes.fromhex("009000")
