"""The messages of ranging setup: their bytes, and what is refused."""

from __future__ import annotations

import pytest

from keywright.codec.message import Message
from keywright.errors import DecodeError
from keywright.uwb.setup import messages
from keywright.uwb.setup.messages import (
    M1,
    M2,
    M3,
    M4,
    MESSAGES,
    ConfigIds,
    Event,
    GeneralError,
    RangingNotice,
    ResumeResponse,
    SuspendRequest,
    TimeSync,
    build_message,
    general_error,
    is_setup,
    parse_message,
)
from support.messages import all_messages, check_message

WRITTEN = {
    M1(ConfigIds((0,)), b"\x11", 3, 0x01020304): "0100001000020000010111030103020401020304",
    M2(ConfigIds((0,)), b"\x11", 2, 0xF00, 2, 0x7F, 0xF0): (
        "0101001900020000010111030102060400000f0004010205017f0801f0"
    ),
    M3(2, 3, 1, 6, 0xF00, 0x80, 0): "010200180401020901030a01010b0106060400000f000801800f0100",
    M4(1000, 5_000_000, 7, 9): "010300190c04000003e80d0800000000004c4b400e0400000007070109",
    SuspendRequest(5): "01040006020400000005",
    ResumeResponse(2000, 1): "010700100c04000007d00d080000000000000001",
    general_error(GeneralError.WRONG_PARAMETERS): "02000003010102",
    Event(is_busy=True): "020000020000",
    RangingNotice(initiate=True): "020100020000",
    TimeSync(0, 1_000_000, 80, 0, 100, 1, 0): (
        "0300002500080000000000000000010800000000000f42400201500301000402006405010106020000"
    ),
}


@pytest.mark.parametrize("cls", all_messages(messages))
def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


@pytest.mark.parametrize(("message", "written"), WRITTEN.items(), ids=lambda value: type(value).__name__)
def test_messages_are_attributes_after_a_header(message: messages.SetupMessage, written: str) -> None:
    assert build_message(message).hex() == written
    assert parse_message(bytes.fromhex(written)) == message


def test_every_message_has_a_header_of_its_own() -> None:
    headers = {(message.PROTOCOL, message.ID) for message in MESSAGES}
    assert len(headers) == len(MESSAGES)
    assert all(is_setup(*header) for header in headers)
    assert not is_setup(0, 0)
    assert not is_setup(2, 3)


@pytest.mark.parametrize("octets", ["", "01", "0100", "01000001", "0108 0000", "0000 0000", "0202 0000"])
def test_other_headers_are_no_ranging_message(octets: str) -> None:
    with pytest.raises(DecodeError):
        parse_message(bytes.fromhex(octets))


@pytest.mark.parametrize("message", [M1, M2, M3, M4, SuspendRequest, ResumeResponse, TimeSync])
def test_every_attribute_but_the_vendors_must_be_there_once(message: type[messages.SetupMessage]) -> None:
    written = next(bytes.fromhex(text) for value, text in WRITTEN.items() if type(value) is message)
    at = 4
    while at < len(written):
        stop = at + 2 + written[at + 1]
        for changed in (written[4:at] + written[stop:], written[4:] + written[at:stop]):
            with pytest.raises(DecodeError, match=r"missing|twice"):
                parse_message(written[:2] + len(changed).to_bytes(2) + changed)
        too_long = written[4:at] + bytes((written[at], written[at + 1] + 1)) + b"\x00" + written[at + 2 :]
        if written[at] > 1:  # lists have no length of their own
            with pytest.raises(DecodeError):
                parse_message(written[:2] + len(too_long).to_bytes(2) + too_long)
        at = stop


def test_attributes_that_nobody_knows_are_passed_over() -> None:
    written = bytes.fromhex("0104000a4102abcd020400000005")
    assert parse_message(written) == SuspendRequest(5)
