"""Remote Provisioning messages: codec promises, and the layouts with parts that may be absent."""

from __future__ import annotations

import pytest

from keywright.codec.message import Message
from keywright.codec.record import LittleRecord
from keywright.errors import DecodeError
from keywright.mesh.network.access import AccessMessage
from keywright.mesh.remote import messages as m
from support.messages import all_messages, check_message

UUID = bytes(range(16))


@pytest.mark.parametrize("cls", all_messages(m), ids=lambda cls: cls.__name__)
def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


def test_the_opcodes_are_in_a_row() -> None:
    assert sorted(m.MESSAGES) == list(range(0x804F, 0x8060))
    with pytest.raises(DecodeError, match="8060"):
        m.parse_message(AccessMessage(0x8060, b""))


@pytest.mark.parametrize(
    ("message", "octets"),
    [
        (m.ScanStart(4, 10), "04 0a"),
        (m.ScanStart(0, 10, UUID), "00 0a" + UUID.hex()),
        (m.ScanReport(0xC8, UUID, 0x0102), "c8" + UUID.hex() + "0201"),
        (m.ScanReport(0xC8, UUID, 0x0102, b"hash"), "c8" + UUID.hex() + "0201" + b"hash".hex()),
        (m.ExtendedScanStart.of(b"\x24\x09"), "02 24 09"),
        (m.ExtendedScanStart.of(b"\x24", UUID, 5), "01 24" + UUID.hex() + "05"),
        (m.LinkOpen(UUID), UUID.hex()),
        (m.LinkOpen(UUID + b"\x0a"), UUID.hex() + "0a"),
        (m.LinkOpen(b"\x01"), "01"),
        (m.LinkReport(6, 0, b"\x02"), "06 00 02"),
        (m.PduSend(1, b"\x00\x05"), "01 00 05"),
    ],
)
def test_octets(message: LittleRecord, octets: str) -> None:
    access = m.build_message(message)
    assert access.parameters == bytes.fromhex(octets)
    assert m.parse_message(access) == message


def test_strength_is_signed() -> None:
    assert [m.ScanReport(octet, UUID, 0).rssi for octet in (0xC8, 0x80, 0x05, 0x7F)] == [-56, -128, 5, 127]


@pytest.mark.parametrize("octets", ["01", "02 24", "00" + "11" * 16, "01 24 05", "01 24" + "00" * 18])
def test_an_extended_scan_of_another_length_is_none(octets: str) -> None:
    with pytest.raises(DecodeError):
        m.ExtendedScanStart.parse(bytes.fromhex(octets)).split()
