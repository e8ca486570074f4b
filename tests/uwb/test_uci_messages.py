"""UCI messages and packets: another emulator's bytes, segments, and whatever a stream may bring."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.codec.message import Message
from keywright.errors import DecodeError
from keywright.uwb.uci import messages
from keywright.uwb.uci.messages import (
    BY_HEADER,
    MESSAGES,
    Aoa,
    ExtendedMeasurement,
    SessionInfoNtf,
    SetAppConfigCmd,
    ShortMeasurement,
    Tlv,
    build_message,
    packet_of,
    parse_packet,
)
from keywright.uwb.uci.packets import (
    COMMAND,
    DATA,
    MOST_DATA_PAYLOAD,
    MOST_MESSAGE,
    NOTIFICATION,
    Packet,
    Reassembler,
    build_packet,
)
from support.messages import all_messages, check_message
from support.vectors import Case, unhex, vectors


def shown(value: Any) -> Any:
    """A field as the vectors write it."""
    match value:
        case bytes():
            return value.hex()
        case tuple():
            return [[shown(part) for part in (getattr(one, name) for name in one.__struct_fields__)] for one in value]
    return value


@vectors("digitalkey/uci_packets.json")
def test_packets_are_those_of_another_emulator(case: Case) -> None:
    octets = unhex(case["header"]) + unhex(case["payload"])
    (packet,) = Reassembler().feed(octets)
    message = parse_packet(packet)
    assert type(message).__name__ == case["message"]
    assert {name: shown(getattr(message, name)) for name in message.__struct_fields__} == case["fields"]
    assert build_message(message) == octets


def layouts() -> list[type[Message]]:
    """One message of each layout: what the codec makes of the same annotations is the same."""
    found: dict[str, type[Message]] = {}
    for cls in all_messages(messages):
        if cls.__name__.startswith("_"):
            continue  # a tuple of messages that are checked themselves
        fields = {name: hint for name, hint in cls.__annotations__.items() if "ClassVar" not in str(hint)}
        found.setdefault(" ".join(map(str, fields.values())), cls)
    return list(found.values())


@pytest.mark.parametrize("cls", layouts())
def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


def test_every_message_has_a_header_of_its_own_and_every_command_a_response() -> None:
    assert len(BY_HEADER) == len(MESSAGES)
    commands = {header[1:] for header in BY_HEADER if header[0] == 1}
    assert commands == {header[1:] for header in BY_HEADER if header[0] == 2}


def test_a_packet_that_is_no_message_is_refused() -> None:
    for packet in (Packet(COMMAND, 0, 0x3F, b""), Packet(NOTIFICATION, 0xF, 0, b""), Packet(COMMAND, 1, 0, b"")):
        with pytest.raises(DecodeError):
            parse_packet(packet)


def test_keys_in_parameters_do_not_show() -> None:
    command = SetAppConfigCmd(1, (Tlv(0x45, bytes(range(16))),))
    assert "000102" not in repr(command)
    assert r"\x01" not in repr(command)


# ---- measurements ---------------------------------------------------------------------------------------------

SHORT = ShortMeasurement(b"\x01\x02", 0, 0, 500, Aoa(1, 100, 2, 99), Aoa(), 2, 0)
EXTENDED = ExtendedMeasurement(bytes(8), 0x21, 0xFF, 0xFFFF, Aoa(), Aoa(), 3, 0)


@pytest.mark.parametrize("measurements", [(), (SHORT,), (SHORT, SHORT), (EXTENDED,)])
def test_measurements_are_31_octets_whatever_the_address(measurements: tuple[Any, ...]) -> None:
    message = SessionInfoNtf.of(7, 0x01020304, 200, measurements)
    assert len(message.body) == 1 + 31 * len(measurements)
    assert SessionInfoNtf.parse(message.build()).measurements() == measurements


@pytest.mark.parametrize(
    ("kind", "mode", "body"),
    [(0, 0, b"\x00"), (1, 2, b"\x00"), (1, 0, b""), (1, 0, b"\x01"), (1, 1, b"\x02" + bytes(31))],
)
def test_measurements_of_another_kind_are_refused(kind: int, mode: int, body: bytes) -> None:
    message = SessionInfoNtf(0, 0, 0, 0, kind, 0, mode, bytes(8), body)
    with pytest.raises(DecodeError):
        message.measurements()


# ---- packets --------------------------------------------------------------------------------------------------


@given(
    st.lists(
        st.builds(
            Packet,
            st.integers(0, 3),
            st.integers(0, 15),
            st.integers(0, 63),
            st.binary(max_size=20) | st.sampled_from([255, 256, 510, 511, 1024, 1025]).map(bytes),
        ),
        max_size=5,
    ),
    st.integers(1, 300),
)
def test_messages_come_out_as_they_went_in_however_the_stream_is_cut(packets: list[Packet], step: int) -> None:
    stream = b"".join(map(build_packet, packets))
    cut = Reassembler()
    found = [packet for at in range(0, len(stream), step) for packet in cut.feed(stream[at : at + step])]
    assert found == packets


def test_long_messages_go_in_segments_with_the_flag_on_all_but_the_last() -> None:
    octets = build_packet(Packet(COMMAND, 1, 3, bytes(600)))
    headers = [octets[at : at + 4].hex() for at in (0, 259, 518)]
    assert headers == ["310300ff", "310300ff", "2103005a"]
    data = build_packet(Packet(DATA, 1, 0, bytes(MOST_DATA_PAYLOAD + 1)))
    assert data[:4].hex() == "11000004"
    assert data[4 + MOST_DATA_PAYLOAD :].hex() == "0100010000"


def test_a_segment_of_something_else_ends_what_was_begun() -> None:
    cut = Reassembler()
    begun = build_packet(Packet(COMMAND, 1, 3, bytes(256)))[:259]
    whole = build_packet(Packet(COMMAND, 0, 2, b""))
    assert cut.feed(whole + begun[:100]) == [Packet(COMMAND, 0, 2, b"")]
    with pytest.raises(DecodeError, match=r"a segment of 0\.02 inside a message of 1\.03"):
        cut.feed(begun[100:] + whole + whole)
    assert cut.feed(b"") == [Packet(COMMAND, 0, 2, b"")]


def test_a_message_without_end_is_not_kept() -> None:
    cut = Reassembler()
    segment = bytes.fromhex("310300ff") + bytes(255)
    with pytest.raises(DecodeError, match=f"more than {MOST_MESSAGE}"):
        cut.feed(segment * 70)
    while True:
        try:
            cut.feed(b"")
            break
        except DecodeError:
            continue


@pytest.mark.parametrize(
    "packet", [Packet(8, 0, 0, b""), Packet(1, 16, 0, b""), Packet(1, 0, 64, b""), Packet(-1, 0, 0, b"")]
)
def test_what_has_no_place_in_a_header_is_no_packet(packet: Packet) -> None:
    with pytest.raises(ValueError, match="no UCI header"):
        build_packet(packet)


def test_any_octets_are_cut_or_refused() -> None:
    chance = random.Random(5)
    for _ in range(200):
        cut = Reassembler()
        try:
            for packet in cut.feed(chance.randbytes(chance.randrange(2000))):
                assert packet.type <= 7
        except DecodeError:
            continue


def test_packet_of_is_the_inverse_of_parse_packet() -> None:
    command = SetAppConfigCmd(5, (Tlv(4, b"\x09"),))
    assert parse_packet(packet_of(command)) == command
    assert str(packet_of(command)) == "command 1.03, 8 octets"
