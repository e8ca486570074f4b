"""The messages of a session over Bluetooth: their bytes, and what is refused."""

from __future__ import annotations

import pytest

from keywright.aliro.ble import advertising, gatt, messages
from keywright.aliro.ble.messages import (
    NAMES,
    AccessCompleted,
    ApRequest,
    ApResponse,
    Attribute,
    BleMessage,
    Envelope,
    Event,
    InitiateAccess,
    InitiateRke,
    RkeAction,
    RkeRequest,
    Source,
    State,
    StateInformation,
    StateReport,
    StatusChanged,
    envelope,
    general_error,
    parse_message,
)
from keywright.codec.message import Message
from keywright.errors import DecodeError
from support.messages import all_messages, check_message

A5 = bytes.fromhex("A508800200005C020100")

WRITTEN: dict[BleMessage, str] = {
    # Two that a public reader sends to phones, byte for byte.
    AccessCompleted(StateInformation(0x20, State.SECURED)): "0203000400022000",
    StatusChanged(StateReport(Source.THIS_DEVICE_RANGING, State.UNSECURED)): "0202000400020401",
    ApRequest(bytes.fromhex("80800000")): "0000000480800000",
    ApResponse(bytes.fromhex("9000")): "000100029000",
    InitiateAccess((Attribute(0, A5),)): "0205000C000AA508800200005C020100",
    InitiateRke((Attribute(0, A5),)): "0206000C000AA508800200005C020100",
    RkeRequest(RkeAction.UNSECURE): "02040003000101",
    general_error(2): "02000003010102",
    Event(is_busy=True): "020000020000",
}


@pytest.mark.parametrize("cls", [cls for module in (messages, gatt, advertising) for cls in all_messages(module)])
def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


@pytest.mark.parametrize(("message", "octets"), WRITTEN.items(), ids=lambda value: type(value).__name__)
def test_every_message_is_written_and_read_byte_for_byte(message: BleMessage, octets: str) -> None:
    assert envelope(message).build() == bytes.fromhex(octets)
    assert parse_message(Envelope.parse(bytes.fromhex(octets))) == message


def test_every_protocol_and_id_has_one_name() -> None:
    assert len(NAMES) == len(set(NAMES.values())) == 18
    assert {protocol for protocol, _ in NAMES} == {0, 1, 2, 3}


@pytest.mark.parametrize("size", [1, 127, 128, 129, 255])
def test_the_length_of_an_attribute_is_one_octet_and_no_form_of_ber(size: int) -> None:
    message = InitiateAccess((Attribute(0, b"x" * size),))
    assert envelope(message).build() == bytes((2, 5)) + (size + 2).to_bytes(2) + bytes((0, size)) + b"x" * size
    assert message.proprietary() == b"x" * size


@pytest.mark.parametrize("payload", ["", "0000", "0101A5", "0001A50001A5", "0002A5"])
def test_initiating_without_one_a5_is_refused(payload: str) -> None:
    for cls in (InitiateAccess, InitiateRke):
        with pytest.raises(DecodeError):
            cls.parse(bytes.fromhex(payload)).proprietary()


def test_an_unknown_attribute_is_passed_over() -> None:
    assert InitiateAccess.parse(bytes.fromhex("7F02ABCD00025001")).proprietary() == bytes.fromhex("5001")
    assert RkeRequest.parse(bytes.fromhex("7E01AB000100")) == RkeRequest(RkeAction.SECURE)


@pytest.mark.parametrize("header", [(0, 2), (1, 8), (2, 7), (3, 1), (4, 0), (5, 0)])
def test_a_message_that_there_is_not_is_named(header: tuple[int, int]) -> None:
    with pytest.raises(DecodeError, match=f"no message {header[1]} of protocol {header[0]}"):
        parse_message(Envelope(*header, b""))


def test_the_reporting_mode_is_the_top_three_bits() -> None:
    assert [StateInformation(octet, 0).mode for octet in (0x00, 0x20, 0x5F, 0xE0)] == [0, 1, 2, 7]
