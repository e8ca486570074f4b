"""Short messages: recorded ones first, then parts in every order, and a whole way from host to card and back."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.codec.message import Message
from keywright.errors import DecodeError
from keywright.iso7816.apdu import Command, Response
from keywright.sansio.dialogue import drive
from keywright.scp.scp80 import download, sms
from keywright.scp.scp80.concatenation import Lost, Reassembly, Whole
from keywright.scp.scp80.download import (
    SmsCard,
    envelope,
    packet_messages,
    read_envelope,
    read_send_short_message,
    report,
    response_in_report,
    send_short_message,
)
from keywright.scp.scp80.host import Await, Commit, Request, SendingEntity, send_packet
from keywright.scp.scp80.keys import KeySet
from keywright.scp.scp80.messages import COMMAND_IE, RESPONSE_IE, Spi
from keywright.scp.scp80.sms import Address, Deliver, InformationElement, Submit, UserData, messages_for, most_in, split
from support.messages import all_messages, check_message, parsed
from support.over_the_air import Recorder, Rooms, receiving
from support.vectors import load, unhex

CASES = {case["name"]: case for case in load("scp/ota_scp80_sms.json")}
SENDER = Address("12345678", 0x81)
TIME = unhex("22705200000000")
KEYS = KeySet.aes(bytes(range(16)), bytes(range(16, 32)))


def test_a_single_message_is_the_recorded_one() -> None:
    case = CASES["single SMS"]
    packet = unhex(case["packet"])
    assert split(packet, COMMAND_IE, 0) == [unhex(case["tp_ud"])]
    deliver = Deliver(SENDER, unhex(case["tp_ud"]), time=TIME)
    assert deliver.build() == unhex(case["sms_deliver"])
    assert Deliver.parse(unhex(case["sms_deliver"])) == deliver
    command = envelope(deliver, Address("447785016005"))
    assert command.encode() == unhex(case["envelope_apdu"])
    assert read_envelope(Command.parse(unhex(case["envelope_apdu"])).data) == (deliver.build(), Address("447785016005"))
    parts = Reassembly()
    parts.receive(unhex(case["sms_deliver"]), 0)
    assert parts.events() == [Whole(packet, SENDER)]


def test_a_length_that_lies_is_refused() -> None:
    raw = unhex(CASES["single SMS, wrong UDL as printed by a public test"]["sms_deliver"])
    with pytest.raises(DecodeError):
        Deliver.parse(raw)
    parts = Reassembly()
    parts.receive(raw, 0)
    assert parts.events() == []


CONCATENATED = CASES["concatenated command packet (282 octets in 3 SMS)"]


def test_a_concatenated_packet_is_split_as_recorded() -> None:
    packet = unhex(CONCATENATED["packet"])
    parts = split(packet, COMMAND_IE, int(CONCATENATED["reference"], 16))
    assert [part.hex().upper() for part in parts] == [segment["tp_ud"] for segment in CONCATENATED["segments"]]
    for part, segment in zip(parts, CONCATENATED["segments"], strict=True):
        header = UserData.parse(part)
        assert part[: len(part) - len(header.body)] == unhex(segment["udh"])
        flags = 0x44 if part is parts[-1] else 0x40
        assert Deliver(SENDER, part, time=TIME, flags=flags).build() == unhex(segment["sms_deliver"])
    sent = packet_messages(packet, SENDER, int(CONCATENATED["reference"], 16), COMMAND_IE)
    assert [message.flags for message in sent] == [0x40, 0x40, 0x44]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_recorded_parts_make_the_packet_in_any_order_and_twice(order: tuple[int, ...]) -> None:
    segments = [unhex(segment["sms_deliver"]) for segment in CONCATENATED["segments"]]
    parts = Reassembly()
    for place, number in enumerate(order):
        assert parts.events() == []
        parts.receive(segments[number], place)
        if place < 2:
            parts.receive(segments[number], place)
    assert parts.events() == [Whole(unhex(CONCATENATED["packet"]), SENDER)]
    assert parts.deadline() is None


def test_a_response_in_the_delivery_report_is_the_recorded_one() -> None:
    case = CASES["PoR in DELIVER-REPORT (ENVELOPE response data)"]
    answer = Response.parse(unhex(case["envelope_response"]))
    assert report(answer) == unhex(case["rp_ack_tpdu"])
    assert report(Response(answer.data, 0x9110)) == unhex(case["rp_ack_tpdu"])
    for sw in (0x6200, 0x6300):
        assert report(Response(answer.data, sw)) == unhex(case["rp_error_tpdu"])
    assert response_in_report(unhex(case["rp_ack_tpdu"])) == answer.data
    assert response_in_report(unhex(case["rp_error_tpdu"])) == answer.data


def test_a_report_without_data_says_only_how_it_went() -> None:
    assert report(Response(b"")) is None
    assert report(Response(b"", 0x9300)) == unhex("00D400")
    assert report(Response(b"", 0x6F00)) == unhex("00D500")
    with pytest.raises(DecodeError):
        response_in_report(unhex("00D400"))


def test_a_response_by_submit_is_the_recorded_one() -> None:
    case = CASES["PoR in SMS-SUBMIT (SPI2 b6=1): proactive SEND SHORT MESSAGE"]
    submit = Submit.parse(unhex(case["sms_submit"]))
    assert submit.build() == unhex(case["sms_submit"])
    assert submit.destination == SENDER
    fetched = send_short_message(submit, Address("447785016005"))
    assert fetched == unhex(case["fetched_command"])
    assert read_send_short_message(fetched) == (submit, Address("447785016005"))
    parts = Reassembly(RESPONSE_IE)
    parts.receive(unhex(case["sms_submit"]), 0)
    assert parts.events() == [Whole(submit.user_data[3:], SENDER)]


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("address")])
def test_an_address_is_the_recorded_one(name: str) -> None:
    case = CASES[name]
    address = Address.parse(unhex(case["address"]))
    assert address.digits == case["digits"]
    assert address.build() == unhex(case["address"])
    assert Address.of_value(address.value()) == address


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("UDH")])
def test_a_user_data_header_is_the_recorded_one(name: str) -> None:
    case = CASES[name]
    elements = [
        [f"{element.identifier:02X}", element.data.hex().upper()]
        for element in UserData.parse(unhex(case["udh"])).header
    ]
    assert elements == case["information_elements"]
    made = tuple(InformationElement(int(number, 16), unhex(data)) for number, data in case["information_elements"])
    assert UserData(made, b"").build() == unhex(case["udh"])


def test_every_case_of_the_file_has_its_test() -> None:
    named = {"single", "concatenated", "PoR", "address", "UDH"}
    assert {name.split()[0] for name in CASES} == named


# ---- parts that come late, never, or from somebody else ---------------------------------------------------------


def delivers(packet: bytes, reference: int = 1, sender: Address = SENDER) -> list[bytes]:
    return [message.build() for message in packet_messages(packet, sender, reference, COMMAND_IE)]


def test_a_packet_whose_parts_come_too_late_is_given_up() -> None:
    first, second = delivers(bytes(200))
    parts = Reassembly(time_limit_s=10)
    parts.receive(first, 100)
    assert parts.deadline() == 110
    parts.receive(second, 110)
    assert parts.events() == [Lost(SENDER, 1, (2,))]
    parts.receive(first, 111)
    assert [type(event) for event in parts.events()] == [Whole]


def test_an_endpoint_gives_up_by_itself() -> None:
    parts = Reassembly(time_limit_s=10)
    parts.receive(delivers(bytes(200))[1], 0)
    assert parts.outgoing(9.9) == ()
    assert parts.events() == []
    assert parts.outgoing(10) == ()
    assert parts.events() == [Lost(SENDER, 1, (1,))]
    assert parts.deadline() is None


def test_parts_of_different_packets_and_senders_are_not_mixed() -> None:
    one, two = bytes(200), bytes([1]) * 200
    other = Address("87654321", 0x91)
    flow = list(zip(delivers(one, 1), delivers(two, 2), delivers(two, 1, other), strict=True))
    parts = Reassembly()
    for step in flow:
        for message in step:
            parts.receive(message, 0)
    assert parts.events() == [Whole(one, SENDER), Whole(two, SENDER), Whole(two, other)]


def test_a_reference_that_comes_round_again_begins_anew() -> None:
    parts = Reassembly()
    parts.receive(delivers(bytes(200))[0], 0)
    for message in delivers(bytes([1]) * 200):
        parts.receive(message, 1)
    assert parts.events() == [Lost(SENDER, 1, (2,)), Whole(bytes([1]) * 200, SENDER)]


def test_the_oldest_unfinished_packet_gives_way() -> None:
    parts = Reassembly(most_waiting=2)
    for reference in range(3):
        parts.receive(delivers(bytes(200), reference)[0], reference)
    assert parts.events() == [Lost(SENDER, 0, (2,))]


def test_what_carries_no_packet_is_dropped() -> None:
    parts = Reassembly()
    for user_data in (b"hello", UserData((), b"x").build(), UserData((InformationElement(0x71, b""),), b"x").build()):
        parts.receive(Deliver(SENDER, user_data).build(), 0)
    parts.receive(Deliver(SENDER, split(b"x", COMMAND_IE, 0)[0], flags=0).build(), 0)
    for element in (b"\1\2", b"\1\2\0", b"\1\2\3", b"\1\0\0"):
        data = UserData((InformationElement(0, element), InformationElement(0x70, b"")), b"x").build()
        parts.receive(Deliver(SENDER, data).build(), 0)
    unmarked = [UserData((InformationElement(0, bytes((1, 2, number))),), b"x").build() for number in (1, 2)]
    for data in unmarked:
        parts.receive(Deliver(SENDER, data).build(), 0)
    assert parts.events() == []


def test_a_reference_of_two_bytes_is_read_too() -> None:
    parts = Reassembly()
    for number in (2, 1):
        element = InformationElement(8, bytes((0x12, 0x34, 2, number)))
        mark = (InformationElement(0x70, b""),) if number == 1 else ()
        parts.receive(Deliver(SENDER, UserData((*mark, element), bytes((number,))).build()).build(), 0)
    assert parts.events() == [Whole(b"\1\2", SENDER)]


@pytest.mark.parametrize("size", [0, 1, 137, 138, 266, 267, 400, 401, 2000])
def test_a_packet_of_any_size_survives(size: int) -> None:
    packet = random.Random(size).randbytes(size)
    messages = delivers(packet)
    random.Random(1).shuffle(messages)
    parts = Reassembly()
    for message in messages:
        parts.receive(message, 0)
    assert parts.events() == [Whole(packet, SENDER)]
    assert len(messages) == messages_for(size)
    assert all(len(Deliver.parse(message).user_data) <= 140 for message in messages)


def test_the_longest_packet_of_a_count_of_messages() -> None:
    for count in (1, 2, 3, 255):
        assert messages_for(most_in(count)) == count
    for count in (1, 2, 254):
        assert messages_for(most_in(count) + 1) == count + 1
    with pytest.raises(ValueError, match="255"):
        messages_for(most_in(255) + 1)
    for count in (0, 256):
        with pytest.raises(ValueError, match="255"):
            most_in(count)


# ---- any bytes ------------------------------------------------------------------------------------------------


MESSAGES = [cls for module in (sms, download) for cls in all_messages(module) if cls is not UserData]


@pytest.mark.parametrize("cls", MESSAGES)
def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


headers = st.lists(st.builds(InformationElement, st.integers(0, 255), st.binary(max_size=20)), max_size=5).map(tuple)


@given(headers, st.binary(max_size=80), st.binary(max_size=80))
def test_user_data_keeps_the_promises_of_a_codec(
    header: tuple[InformationElement, ...], body: bytes, anything: bytes
) -> None:
    value = UserData(header, body)
    assert UserData.parse(value.build()) == value
    found = parsed(UserData.parse, anything)
    assert found is None or found.build() == anything


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    for parse in (Deliver.parse, Submit.parse, Address.parse, Address.of_value):
        value = parsed(parse, data)
        if isinstance(value, Deliver | Submit) and len(value.user_data) <= 140:
            assert value.build() == data
        elif isinstance(value, Address):
            assert data in (value.build(), value.value())
    parts = Reassembly()
    parts.receive(data, 0)
    assert len(parts.events()) <= 1


@given(st.binary(max_size=60))
def test_every_prefix_of_a_message_is_refused(body: bytes) -> None:
    for message in (Deliver(SENDER, split(body, COMMAND_IE, 0)[0]), Submit(SENDER, split(body, RESPONSE_IE, 0)[0])):
        raw = message.build()
        assert type(message).parse(raw) == message
        for size in range(len(raw)):
            assert parsed(type(message).parse, raw[:size]) is None


def test_more_than_a_message_takes_is_refused() -> None:
    for message in (Deliver(SENDER, bytes(141)), Submit(SENDER, bytes(141))):
        with pytest.raises(ValueError, match="140"):
            message.build()
    with pytest.raises(ValueError, match="substring"):
        Address("12x").build()


# ---- from host to card and back ---------------------------------------------------------------------------------


class Phone:
    """Drives the host's dialogue over a card: messages, envelopes, reports, and the proactive way."""

    def __init__(self, card: SmsCard) -> None:
        self.card = card
        self.time = 0.0
        self.fetched = 0

    def __call__(self, request: Request) -> bytes | None:
        if isinstance(request, Commit):
            return None
        assert not isinstance(request, Await)
        answer = Response(b"")
        for message in packet_messages(request.packet, SENDER, 7, COMMAND_IE):
            answer = self.card.execute(envelope(message))
        back = Reassembly(RESPONSE_IE)
        while answer.sw >> 8 == 0x91:
            proactive = self.card.execute(Command(0x80, 0x12, 0, 0, b"", answer.sw & 0xFF))
            submit, _ = read_send_short_message(proactive.data)
            back.receive(submit.build(), 0)
            self.fetched += 1
            answer = self.card.execute(Command(0x80, 0x14, 0, 0, b"\x81\x03\x01\x13\x00"))
        events = back.events()
        if events:
            assert isinstance(events[0], Whole)
            return events[0].packet
        tpdu = report(answer)
        return response_in_report(tpdu) if tpdu else None


@pytest.mark.parametrize("by_submit", [False, True])
@pytest.mark.parametrize("command", [1, 100, 500])
@pytest.mark.parametrize("answer", [0, 90, 400])
def test_a_packet_goes_by_short_message_and_its_answer_comes_back(
    *, by_submit: bool, command: int, answer: int
) -> None:
    application = Recorder(bytes(answer))
    card = SmsCard(receiving(Rooms({1: KEYS}), application), lambda: 0.0)
    phone = Phone(card)
    sender = SendingEntity(KEYS, bytes(3), spi=Spi.of(by_submit=by_submit))
    receipt, _ = drive(send_packet(sender, bytes(command), 0), phone)
    assert receipt is not None
    assert receipt.data == bytes(answer)
    assert receipt.authentic
    assert application.got[0][0] == bytes(command)
    assert phone.fetched == (messages_for(len(sender.seal(bytes(answer), 1)) - 3) if by_submit or answer == 400 else 0)


@pytest.mark.parametrize(
    ("command", "sw"),
    [
        (Command(0x80, 0xC2, 0, 0, b"\xd1\x00"), 0x6A80),
        (Command(0x80, 0xC2, 0, 0, b"\xd2\x00"), 0x6A80),
        (Command(0x80, 0xC2, 0, 0, b""), 0x6A80),
        (Command(0x80, 0x12, 0, 0, b"", 0), 0x6985),
        (Command(0x80, 0x14, 0, 0, b""), 0x9000),
        (Command(0x80, 0xA4, 0, 0, b""), 0x6D00),
        (envelope(Deliver(SENDER, b"hello")), 0x9000),
        (envelope(Deliver(SENDER, split(b"nothing", COMMAND_IE, 0)[0])), 0x9000),
    ],
)
def test_a_card_answers_what_is_no_packet(command: Command, sw: int) -> None:
    card = SmsCard(receiving(Rooms({1: KEYS}), Recorder()), lambda: 0.0)
    assert card.execute(command) == Response(b"", sw)


def test_objects_are_found_with_and_without_comprehension_bits() -> None:
    tpdu = Deliver(SENDER, b"x").build()
    for devices, message in ((0x82, 0x8B), (0x02, 0x0B)):
        inside = bytes((devices, 2, 0x83, 0x81, message, len(tpdu))) + tpdu
        assert read_envelope(bytes((0xD1, len(inside))) + inside) == (tpdu, None)
    with pytest.raises(DecodeError):
        read_send_short_message(unhex("D0050103011400"))
