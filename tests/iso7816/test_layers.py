"""The layers between a dialogue and a link: wrong Le, GET RESPONSE, long commands, and their one right order."""

from __future__ import annotations

from collections.abc import Generator, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.errors import LinkError, StatusError, WireError
from keywright.globalplatform.host import Dialogue, get_value, secured, select, store_data
from keywright.iso7816 import Command, Response, chained, complete, sized, transmit
from keywright.iso7816.channels import with_channel
from keywright.iso7816.layers import MAX_ROUNDS, SHORT_LC, completed, parse_answer
from keywright.link import Loopback
from keywright.sansio.dialogue import drive, through
from keywright.scp.scp03 import KeySet, open_channel
from support.cards import ECHO_AID, HOST_CHALLENGE, EchoApplet, Terminal, element

READ = Command(0x80, 0xCA, 0x9F, 0x7F, le=0)


class Script:
    """A link that answers as written and keeps what it was asked."""

    name = "script"
    atr = b""

    def __init__(self, answers: Iterable[str], *, extended: bool = True) -> None:
        self.extended = extended
        self.sent: list[str] = []
        self._answers = iter(answers)

    def exchange(self, command: bytes) -> bytes:
        self.sent.append(command.hex().upper())
        return bytes.fromhex(next(self._answers))


def ask(link: Script, command: Command = READ) -> Response:
    return transmit(link)(command)


# ---- 61xx and 6Cxx --------------------------------------------------------------------------------------------


def test_an_answer_that_is_whole_passes() -> None:
    link = Script(["AABB9000"])
    assert ask(link) == Response(b"\xaa\xbb")
    assert link.sent == ["80CA9F7F00"]


def test_a_refusal_passes() -> None:
    assert ask(Script(["6A88"])) == Response(b"", 0x6A88)


def test_61xx_is_followed_until_the_end_with_what_the_card_announces() -> None:
    link = Script(["AA6102", "BBCC6100", "DD6101", "EE9000"])
    assert ask(link) == Response(bytes.fromhex("AABBCCDDEE"))
    assert link.sent[1:] == ["00C0000002", "00C0000000", "00C0000001"]


def test_the_status_of_the_last_piece_counts() -> None:
    assert ask(Script(["AA6101", "BB6310"])) == Response(b"\xaa\xbb", 0x6310)


def test_6cxx_repeats_the_command_with_the_le_the_card_wants() -> None:
    link = Script(["6C2A", "00" * 42 + "9000"])
    assert len(ask(link).data) == 42
    assert link.sent == ["80CA9F7F00", "80CA9F7F2A"]


def test_6cxx_and_then_61xx_are_both_followed() -> None:
    link = Script(["6C01", "AA6102", "BBCC9000"])
    assert ask(link).data.hex() == "aabbcc"


def test_6cxx_to_get_response_is_repeated_once() -> None:
    link = Script(["6102", "6C01", "AA9000"])
    assert ask(link).data == b"\xaa"
    assert link.sent[1:] == ["00C0000002", "00C0000001"]


def test_6cxx_twice_is_a_broken_card() -> None:
    with pytest.raises(WireError, match="6C08 to the Le"):
        ask(Script(["6C07", "6C08"]))


def test_a_card_that_never_stops_announcing_is_given_up() -> None:
    link = Script(["6101"] * (MAX_ROUNDS + 2))
    with pytest.raises(WireError, match="announced more data"):
        ask(link)
    assert len(link.sent) == MAX_ROUNDS + 1


def test_a_repeat_keeps_data_and_coding() -> None:
    command = Command(0x80, 0xCB, 0, 0, b"\x5c\x00", 0, extended=True)
    link = Script(["6C10", "9000"])
    ask(link, command)
    assert link.sent == ["80CB00000000025C000000", "80CB00000000025C000010"]


@pytest.mark.parametrize(
    ("cla", "channel", "get_response"),
    [(0x80, 0, "00"), (0x84, 3, "03"), (0x80, 4, "40"), (0x84, 19, "4F"), (0x04, 7, "43"), (0x94, 2, "02")],
)
def test_get_response_goes_to_the_channel_without_secure_messaging(cla: int, channel: int, get_response: str) -> None:
    link = Script(["6101", "AA9000"])
    command = Command(with_channel(cla, channel), 0xCA, 0, 0, le=0)
    ask(link, command)
    assert link.sent[1] == f"{get_response}C0000001"


@given(st.lists(st.binary(max_size=255), max_size=5), st.binary(max_size=20))
def test_pieces_are_joined_in_order_whatever_their_sizes(pieces: list[bytes], last: bytes) -> None:
    answers = [piece.hex() + "6101" for piece in pieces] + [last.hex() + "9000"]
    assert ask(Script(answers)).data == b"".join(pieces) + last


@pytest.mark.parametrize("raw", ["", "90", "AABB1234"])
def test_an_answer_that_is_none_is_a_link_failure_after_delivery(raw: str) -> None:
    with pytest.raises(LinkError, match="no answer APDU") as caught:
        parse_answer(bytes.fromhex(raw))
    assert caught.value.delivered is True


# ---- short or extended ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "le", "extended", "coded"),
    [
        (0, None, True, (False, None)),
        (255, 0, True, (False, 0)),
        (255, 256, True, (False, 256)),
        (256, None, True, (True, None)),
        (256, 0, True, (True, 0)),
        (0, 257, True, (True, 257)),
        (255, 0, False, (False, 0)),
        (0, 257, False, (False, 0)),
        (256, 7, False, (True, 7)),
        (256, 600, False, (True, 0)),
        (256, None, False, (True, None)),
    ],
)
def test_extended_only_where_it_must_be(*, data: int, le: int | None, extended: bool, coded: tuple[bool, int]) -> None:
    command = sized(Command(0x80, 0xE2, 0x80, 0, bytes(data), le), extended=extended)
    assert (command.extended, command.le) == coded
    assert len(command.data) == data


def test_an_extended_command_stays_so_only_where_the_link_carries_it() -> None:
    asked = Command(0x80, 0xCA, 0, 0x66, b"", 0, extended=True)
    assert sized(asked, extended=True) is asked
    assert sized(asked, extended=False) == Command(0x80, 0xCA, 0, 0x66, b"", 0)


def test_room_for_protection_counts_towards_the_size() -> None:
    assert not sized(Command(0x80, 0xE2, 0, 0, bytes(239)), extended=True, room=239).extended
    assert sized(Command(0x80, 0xE2, 0, 0, bytes(240)), extended=True, room=239).extended


# ---- command chaining -----------------------------------------------------------------------------------------


def long_command(size: int, le: int | None = None) -> Command:
    return Command(0x80, 0xE2, 0x88, 0x00, bytes(at & 0xFF for at in range(size)), le)


@pytest.mark.parametrize("size", [256, 510, 511, 1000])
@pytest.mark.parametrize("le", [None, 0, 7, 300])
def test_a_long_command_on_a_short_link_goes_in_marked_parts(size: int, le: int | None) -> None:
    command = long_command(size, le)
    parts = -(-size // SHORT_LC)
    link = Script(["9000"] * (parts - 1) + ["AA9000"], extended=False)
    assert ask(link, command) == Response(b"\xaa")
    sent = [Command.parse(bytes.fromhex(raw)) for raw in link.sent]
    assert [part.cla for part in sent] == [0x90] * (parts - 1) + [0x80]
    assert {(part.ins, part.p1, part.p2, part.extended) for part in sent} == {(0xE2, 0x88, 0x00, False)}
    assert [part.le for part in sent] == [None] * (parts - 1) + [0 if le == 300 else le]
    assert b"".join(part.data for part in sent) == command.data


def test_the_same_command_goes_whole_over_an_extended_link() -> None:
    link = Script(["9000"])
    ask(link, long_command(300))
    assert link.sent == [Command(0x80, 0xE2, 0x88, 0, long_command(300).data, extended=True).encode().hex().upper()]


@pytest.mark.parametrize("channel", [3, 4, 19])
def test_the_chaining_bit_is_the_same_on_every_channel(channel: int) -> None:
    command = Command(with_channel(0x80, channel), 0xE2, 0x88, 0x00, bytes(256))
    link = Script(["9000", "9000"], extended=False)
    ask(link, command)
    assert [int(raw[:2], 16) for raw in link.sent] == [command.cla | 0x10, command.cla]


@pytest.mark.parametrize("sw", ["6884", "6700", "6982", "6300"])
def test_a_refused_part_ends_the_chain_and_is_the_answer(sw: str) -> None:
    link = Script(["9000", sw], extended=False)
    assert ask(link, long_command(1000)).sw == int(sw, 16)
    assert len(link.sent) == 2


def test_data_in_answer_to_a_part_is_a_broken_card() -> None:
    with pytest.raises(WireError, match="2 bytes to a part"):
        ask(Script(["AABB9000"], extended=False), long_command(300))


def test_the_answer_to_the_last_part_may_come_in_pieces() -> None:
    link = Script(["9000", "AA6101", "BB9000"], extended=False)
    assert ask(link, long_command(300, 0)).data == b"\xaa\xbb"


def test_a_protected_command_is_not_recoded_below_its_protection() -> None:
    with pytest.raises(ValueError, match="before it is protected"):
        ask(Script([], extended=False), Command(0x84, 0xCA, 0, 0x66, bytes(8), 0, extended=True))
    kept = Command(0x84, 0xCA, 0, 0x66, bytes(8), 0)
    link = Script(["9000"])
    ask(link, kept)
    assert link.sent == [kept.encode().hex().upper()]


# ---- both ends ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extended", [False, True], ids=["short link", "extended link"])
@pytest.mark.parametrize("size", [1, 255, 256, 700, 5000])
def test_an_element_puts_a_chain_together(*, extended: bool, size: int) -> None:
    here = Terminal(element(applets=[EchoApplet()]))
    send = transmit(Loopback(here.card, extended=extended))
    drive(select(ECHO_AID), send)
    data = bytes(at * 7 & 0xFF for at in range(size))
    answer = send(Command(0x80, 0x10, 0, 0, data, 0 if size < 256 else 65_536))
    assert answer == Response(b"\x80" + data)


@pytest.mark.parametrize("extended", [False, True], ids=["short link", "extended link"])
@pytest.mark.parametrize("level", [0x01, 0x03, 0x33])
@pytest.mark.parametrize("beyond", [0, 1, 300])
def test_a_long_protected_command_is_one_command_to_both_ends(*, extended: bool, level: int, beyond: int) -> None:
    card = element()
    send = transmit(Loopback(card, extended=extended))
    channel = drive(open_channel(KeySet.gp_test(), HOST_CHALLENGE, level=level), send)
    value = bytes(at & 0xFF for at in range(channel.max_data + beyond - 5))

    def whole(command: Command) -> Response:
        coded = sized(command, extended=extended, room=channel.max_data)
        return drive(through(iter_one(coded), channel.secure), send)

    drive(store_data(b"\xdf\x01\xff" + len(value).to_bytes(2) + value, size=5000), whole)
    assert drive(get_value(0xDF01), whole) == value
    drive(secured(channel, get_value(0x0042)), send)


def iter_one(command: Command) -> Dialogue[Response]:
    return (yield command)


def test_an_element_drops_a_chain_that_another_command_interrupts() -> None:
    here = Terminal(element(applets=[EchoApplet()]))
    here.select(ECHO_AID)
    assert here.sw("90100000020102") == 0x9000
    assert here.sw("80110000020102") == 0x6883
    assert here.raw("801000000103" + "00").hex() == "80039000"


def test_layers_alone_and_composed_are_the_same_dialogue() -> None:
    link = Script(["9000", "6101", "BB9000"], extended=False)
    dialogue = through(complete(sized(long_command(300, 0), extended=False)), chained)
    assert drive(dialogue, lambda command: parse_answer(link.exchange(command.encode()))).data == b"\xbb"


def test_a_status_error_names_the_command_of_a_chain() -> None:
    with pytest.raises(StatusError, match="STORE DATA"):
        drive(store_data(bytes(300), size=300), transmit(Script(["6884"], extended=False)))


# ---- the same for a whole dialogue ----------------------------------------------------------------------------


def two_reads() -> Dialogue[list[Response]]:
    """Asks twice, and once more when the link fails."""
    answers = []
    for _ in range(2):
        try:
            answers.append((yield READ))
        except LinkError:
            answers.append((yield READ))
    return answers


@pytest.mark.parametrize(
    "script",
    [
        ["AA9000", "BB9000"],
        ["AA6102", "BBCC9000", "6C02", "DDEE9000"],
        ["6C02", "AA6101", "BB9000", "6A88"],
        ["lost", "AA9000", "BB9000"],
        ["AA6101", "lost", "AABB9000", "CC9000"],
    ],
)
def test_completed_is_through_complete_for_a_whole_dialogue(script: list[str]) -> None:
    def run(dialogue: Dialogue[list[Response]]) -> tuple[list[Response], list[Command]]:
        sent, answers = list[Command](), iter(script)

        def exchange(command: Command) -> Response:
            sent.append(command)
            answer = next(answers)
            if answer == "lost":
                raise LinkError(answer)
            return Response.parse(bytes.fromhex(answer))

        return drive(dialogue, exchange), sent

    assert run(completed(two_reads())) == run(through(two_reads(), complete))


def test_completed_lets_an_endless_answer_end_the_dialogue() -> None:
    with pytest.raises(WireError, match=str(MAX_ROUNDS)):
        drive(completed(two_reads()), lambda _: Response(b"", 0x6100))


def test_completed_passes_requests_that_are_no_commands() -> None:
    def dialogue() -> Generator[Command | str, Response, Response]:
        return (yield "not a command")

    partial = Response(b"", 0x6100)
    assert drive(completed(dialogue()), lambda _: partial) is partial
