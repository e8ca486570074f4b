"""PUSH commands, against those of other people's tools."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.errors import DecodeError
from keywright.iso7816.apdu import Command
from keywright.scp.comprehension import (
    address_text,
    address_value,
    comprehension_item,
    comprehension_items,
    comprehension_tags,
    one,
)
from keywright.scp.scp80.push import (
    Push,
    identification_packet,
    network_text,
    network_value,
    read_identification_packet,
)
from support.messages import parsed
from support.vectors import load, unhex

CASES = {case["name"]: case for case in load("scp/ota_remote_format.json") if case["name"].startswith("PUSH")}
MADE = {
    "PUSH: BIP channel, card defaults": Push.open_channel(),
    "PUSH: BIP channel, default bearer": Push.open_channel((0x35, b"\x03")),
    "PUSH: BIP channel, bearer, buffer, address": Push.open_channel(
        (0x35, b"\x03"), (0x39, b"\x03\xe8"), (0x3E, address_value("1.2.3.4"))
    ),
    "PUSH: CAT_TP link to port 8080": Push.cat_tp(0x1F90),
    "PUSH: TCP connection": Push.tcp("10.0.0.1", 80, network=b"internet"),
    "PUSH: identification packet": Push.identify(b"\x01\x02"),
    "PUSH: identification packet, default (ICCID)": Push.identify(),
}


@pytest.mark.parametrize("name", list(CASES))
def test_a_push_is_written_and_read_as_recorded(name: str) -> None:
    raw, due = unhex(CASES[name]["hex"]), CASES[name]["meaning"]
    push = Push.parse(Command.parse(raw))
    assert MADE[name].command().encode() == raw
    assert push == MADE[name]
    assert push.request == int(due["request"])
    if "tlvs" in due:
        assert [comprehension_item(*found).hex().upper() for found in push.objects] == due["tlvs"]


def test_what_a_push_says_is_had_by_name() -> None:
    push = MADE["PUSH: TCP connection"]
    assert (push.transport, push.address, push.network) == ((2, 80), "10.0.0.1", "internet")
    assert (push.buffer_size, MADE["PUSH: CAT_TP link to port 8080"].transport) == (None, (0, 0x1F90))
    assert MADE["PUSH: BIP channel, bearer, buffer, address"].buffer_size == 1000
    assert (Push.identify().address, Push.identify().network) == ("", "")


@pytest.mark.parametrize("raw", ["80EC0100", "80EC0105", "80EC0201", "80ED0101", "80EC0103", "80EC01030335010300"])
def test_what_is_no_push_is_refused(raw: str) -> None:
    with pytest.raises(DecodeError):
        Push.parse(Command.parse(bytes.fromhex(raw)))


@pytest.mark.parametrize("text", ["192.168.0.1", "2001:db8::1"])
def test_addresses_are_coded_and_read(text: str) -> None:
    assert address_text(address_value(text)) == text
    for wrong in (b"", b"\x21\x01", b"\x22" + bytes(4), address_value(text) + b"\0"):
        with pytest.raises(DecodeError):
            address_text(wrong)


def test_access_point_names_are_coded_and_read() -> None:
    assert network_text(network_value("internet.example")) == "internet.example"
    assert network_text(b"internet") == "internet"
    for wrong in (b"\x05abc", b"\x01\xff"):
        with pytest.raises(DecodeError):
            network_text(wrong)
    for name in ("", "a..b", "x" * 64):
        with pytest.raises(ValueError, match="label"):
            network_value(name)


def test_the_comprehension_bit_is_no_part_of_a_number() -> None:
    data = comprehension_item(0xB5, b"\x03") + comprehension_item(0x3E, bytes(200))
    assert comprehension_items(data) == [(0x35, b"\x03"), (0x3E, bytes(200))]
    assert comprehension_tags(data)[0][0] == 0xB5
    assert (one(data, 0x35), one(data, 0x39)) == (b"\x03", None)
    for tag in (0, 0x7F, 0x80, 0xFF, 0x100, -1):
        with pytest.raises(ValueError, match="no tag"):
            comprehension_item(tag, b"")


def test_a_card_introduces_itself_on_a_stream() -> None:
    iccid = bytes.fromhex("98103254769810325476")
    packet = identification_packet(iccid)
    assert packet.hex().upper() == "030C360A98103254769810325476"
    assert read_identification_packet(packet + b"next") == (iccid, b"next")
    for size in range(len(packet)):
        with pytest.raises(DecodeError):
            read_identification_packet(packet[:size])
    for wrong in (b"\x02\x00", b"\x03\x00", b"\x03\x02\x35\x00"):
        with pytest.raises(DecodeError):
            read_identification_packet(wrong)


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    found = parsed(comprehension_tags, data)
    if found is not None:
        again = b"".join(comprehension_item(tag, value) for tag, value in found)
        assert comprehension_tags(again) == found
