"""What SCP02 puts on the wire keeps the promises of a codec."""

from __future__ import annotations

import pytest

from keywright.codec.message import Message
from keywright.errors import DecodeError
from keywright.scp.scp02 import messages
from keywright.scp.scp02.messages import BeginRMacSession, I, InitializeUpdateResponse, allowed_levels
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
