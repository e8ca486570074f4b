"""APDUs over GATT, our framing: values, both ends at any ATT_MTU, errors, timers, and any bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.codec.message import Message
from keywright.errors import DecodeError, SequenceError, WireError
from keywright.iso7816.gatt import SERVICE, GattCard, GattHost, messages
from keywright.iso7816.gatt.messages import ANSWER, ATR, COMMAND, ERROR, LIMIT_S, LONGEST, RESET, Code, Joiner, cut
from keywright.iso7816.transport import Activated, Answered, Failed, Failure, HostEvent, Ran
from support.messages import all_messages, check_message


class Echo:
    """A device that answers with what it got, reversed, and 9000."""

    atr = b"\x3b\x00"

    def __init__(self) -> None:
        self.resets = 0
        self.ran: list[bytes] = []

    def handle(self, request: bytes, /) -> bytes:
        self.ran.append(request)
        return request[::-1] + b"\x90\x00"

    def reset(self) -> None:
        self.resets += 1


@pytest.mark.parametrize("cls", all_messages(messages), ids=lambda cls: cls.__name__)
def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


@given(st.sampled_from([COMMAND, RESET, ANSWER, ATR, ERROR]), st.binary(max_size=600), st.integers(23, 517))
def test_what_is_cut_is_joined(kind: int, message: bytes, mtu: int) -> None:
    values = cut(kind, message, mtu)
    assert all(len(value) == mtu - 3 for value in values[:-1])
    assert len(values[-1]) <= mtu - 3
    joiner = Joiner((kind,))
    assert [joiner.take(value, 0.0) for value in values] == [None] * (len(values) - 1) + [(kind, message)]
    assert joiner.until is None


def test_the_example_of_the_page() -> None:
    select = bytes.fromhex("00A4040008A00000015100000000")
    assert [value.hex() for value in cut(COMMAND, select, 23)] == ["8100000e00a4040008a00000015100000000"]
    assert [value.hex() for value in cut(COMMAND, select + select, 23)] == [
        "8100001c00a4040008a0000001510000000000a4",
        "01040008a00000015100000000",
    ]


def test_the_longest_message_and_one_more() -> None:
    joiner = Joiner((COMMAND,))
    *_, whole = [joiner.take(value, 0.0) for value in cut(COMMAND, bytes(LONGEST), 23)]
    assert whole == (COMMAND, bytes(LONGEST))
    with pytest.raises(ValueError, match="at most"):
        cut(COMMAND, bytes(LONGEST + 1), 23)
    with pytest.raises(ValueError, match="23 or more"):
        cut(COMMAND, b"", 22)


@pytest.mark.parametrize(
    "values",
    [
        [""],
        ["80"],
        ["9100000100"],
        ["81000001aabb"],
        ["81ffffff"],
        ["01aa"],
        ["81000005aa", "81000001aa"],
        ["81000005aa", "02bb"],
        ["81000005aa", "01"],
        ["81000002aa", "01bbcc"],
    ],
)
def test_a_value_out_of_its_place_is_refused_and_forgotten(values: list[str]) -> None:
    joiner = Joiner((COMMAND,))
    *before, wrong = values
    for value in before:
        assert joiner.take(bytes.fromhex(value), 0.0) is None
    with pytest.raises((DecodeError, WireError)):
        joiner.take(bytes.fromhex(wrong), 0.0)
    assert joiner.take(bytes.fromhex("81000001aa"), 0.0) == (COMMAND, b"\xaa")


def pair(mtu: int = 23) -> tuple[GattHost, GattCard, Echo]:
    device = Echo()
    card, host = GattCard(device), GattHost(mtu)
    card.connected(mtu, 0.0)
    return host, card, device


def settle(host: GattHost, card: GattCard, now: float = 0.0) -> list[HostEvent]:
    while values := [*host.outgoing(now)]:
        for value in values:
            card.receive(value, now)
        for value in card.outgoing(now):
            host.receive(value, now)
    for value in card.outgoing(now):
        host.receive(value, now)
    return [*host.events()]


@pytest.mark.parametrize("mtu", [23, 24, 100, 247, 517])
@pytest.mark.parametrize("size", [0, 4, 16, 17, 261, 4000])
def test_a_command_and_its_answer(mtu: int, size: int) -> None:
    host, card, device = pair(mtu)
    command = bytes(number % 251 for number in range(size))
    host.command(command, 0.0)
    assert settle(host, card) == [Answered(command[::-1] + b"\x90\x00")]
    assert host.atr == Echo.atr
    assert device.ran == [command]
    assert card.events() == [Ran(command)]
    assert host.deadline() is None
    assert card.deadline() is None


def test_a_reset_is_answered_with_the_atr() -> None:
    host, card, device = pair()
    before = device.resets
    host.request_reset(0.0)
    assert settle(host, card)[0] == Activated(Echo.atr)
    assert device.resets == before + 1


def test_a_connection_is_a_power_cycle() -> None:
    _, card, device = pair()
    before = device.resets
    card.disconnected("gone", 1.0)
    card.connected(23, 2.0)
    assert device.resets == before + 2


def test_one_command_at_a_time() -> None:
    host, card, device = pair()
    card.outgoing(0.0)
    host.command(b"1234", 0.0)
    with pytest.raises(SequenceError, match="under way"):
        host.command(b"5678", 0.0)
    for _ in range(2):
        for value in cut(COMMAND, b"1234", 23):
            card.receive(value, 0.0)
    answers = [*card.outgoing(0.0)]
    assert answers[-1] == cut(ERROR, bytes((Code.BUSY,)), 23)[0]
    assert device.ran == [b"1234"]


def test_a_command_that_is_not_whole_in_time_never_runs() -> None:
    host, card, device = pair()
    host.command(bytes(40), 0.0)
    card.receive(host.outgoing(0.0)[0], 0.0)
    card.outgoing(0.0)
    assert card.deadline() == LIMIT_S
    (value,) = card.outgoing(LIMIT_S)
    assert value == cut(ERROR, bytes((Code.TIMEOUT,)), 23)[0]
    host.receive(value, 19.0)
    assert host.events() == [Failed(Failure.ABORTED, False, "the card took no command: timeout", is_down=False)]
    assert not device.ran


def test_a_card_that_is_silent() -> None:
    host, *_ = pair()
    host.command(b"1234", 5.0)
    host.outgoing(5.0)
    assert host.deadline() == 5.0 + LIMIT_S
    host.outgoing(25.0)
    (event,) = host.events()
    assert isinstance(event, Failed)
    assert (event.failure, event.delivered) == (Failure.SILENCE, None)


def test_a_lost_connection_ends_the_command_and_refuses_the_next() -> None:
    host, *_ = pair()
    host.command(b"1234", 0.0)
    host.disconnected("disconnected", 0.0)
    host.command(b"1234", 0.0)
    assert host.events() == [
        Failed(Failure.SILENCE, None, "disconnected"),
        Failed(Failure.DOWN, False, "disconnected"),
    ]
    assert host.is_closed


def test_an_answer_that_breaks_the_rules() -> None:
    host, *_ = pair()
    host.command(b"1234", 0.0)
    host.receive(b"\x05", 0.0)
    (event,) = host.events()
    assert isinstance(event, Failed)
    assert (event.failure, event.delivered) == (Failure.ILLEGAL, None)


def test_a_command_that_is_too_long() -> None:
    host, *_ = pair()
    host.command(bytes(LONGEST + 1), 0.0)
    (event,) = host.events()
    assert isinstance(event, Failed)
    assert (event.failure, event.delivered) == (Failure.UNSENDABLE, False)


@given(st.lists(st.binary(max_size=20), max_size=20))
def test_any_values_get_an_answer_or_none(values: list[bytes]) -> None:
    host, card, _ = pair()
    host.command(b"1234", 0.0)
    for value in values:
        card.receive(value, 0.0)
        host.receive(value, 0.0)
        for answer in card.outgoing(0.0):
            assert answer[0] in {0x80 | ANSWER, 0x80 | ATR, 0x80 | ERROR} or answer[0] < 0x80
    assert len([event for event in host.events() if isinstance(event, Failed | Answered)]) <= 1


def test_what_a_fob_advertises() -> None:
    (structure,) = GattCard(Echo()).advertising
    assert structure[:2] == bytes((17, 0x07))
    assert structure[2:][::-1].hex() == SERVICE[0].replace("-", "")
