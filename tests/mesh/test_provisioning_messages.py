"""Provisioning PDUs: codec promises, types and lengths."""

from __future__ import annotations

import pytest

from keywright.codec.message import Message
from keywright.mesh import messages
from keywright.mesh.messages import PDUS, ErrorCode, PduError, ProvisioningData, Random, build_pdu, describe, parse_pdu
from support.messages import all_messages, check_message


@pytest.mark.parametrize("cls", all_messages(messages), ids=lambda cls: cls.__name__)
def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


def test_the_place_of_a_pdu_is_its_type() -> None:
    assert [kind.TYPE for kind in PDUS] == list(range(0x0E))


@pytest.mark.parametrize("first", [*range(0x0E, 0x40), 0x40, 0x80, 0xC1, 0xFF])
def test_a_type_that_there_is_not_is_an_invalid_pdu(first: int) -> None:
    with pytest.raises(PduError, match="no provisioning PDU") as caught:
        parse_pdu(bytes((first, 0)))
    assert caught.value.error_code == ErrorCode.INVALID_PDU


def test_nothing_is_an_invalid_pdu() -> None:
    with pytest.raises(PduError) as caught:
        parse_pdu(b"")
    assert caught.value.error_code == ErrorCode.INVALID_PDU


@pytest.mark.parametrize("text", ["00", "000000", "01" + "00" * 10, "0700", "0800", "05" + "00" * 17, "03" + "00" * 63])
def test_a_length_that_the_type_never_has_is_an_invalid_format(text: str) -> None:
    with pytest.raises(PduError) as caught:
        parse_pdu(bytes.fromhex(text))
    assert caught.value.error_code == ErrorCode.INVALID_FORMAT


def test_a_pdu_is_called_as_the_standard_calls_it() -> None:
    assert [describe(parse_pdu(bytes.fromhex(text))) for text in ("08", "04", "0c")] == [
        "Complete",
        "Input Complete",
        "Records Get",
    ]
    assert parse_pdu(build_pdu(Random(bytes(32)))) == Random(bytes(32))


def test_provisioning_data_do_not_print_the_key() -> None:
    data = ProvisioningData(b"K" * 16, 0x123, 0, bytes(4), 0x0100)
    assert repr(data) == "<ProvisioningData NetKey 123, address 0100>"
