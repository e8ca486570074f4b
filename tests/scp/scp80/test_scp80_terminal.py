"""The phone around a card: what it hands in, fetches, confirms and refuses."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest

from keywright.errors import KeywrightError, LinkError, StatusError, WireError
from keywright.iso7816.apdu import Command, Response
from keywright.sansio.dialogue import drive
from keywright.scp.scp80.download import read_envelope, send_short_message
from keywright.scp.scp80.sms import Address, Deliver, Submit
from keywright.scp.scp80.terminal import Handed, hand_in, switch_on

MESSAGE = Deliver(Address("4915"), bytes.fromhex("027000"))
SUBMIT = Submit(Address("4915"), bytes.fromhex("02710001"))


class Card:
    """Answers ENVELOPE and TERMINAL PROFILE with `first`; then its proactive commands wait, one after the other."""

    def __init__(self, first: Response, *proactive: bytes) -> None:
        self.first = first
        self.waiting = list(proactive)
        self.seen: list[Command] = []

    def __call__(self, command: Command) -> Response:
        self.seen.append(command)
        if command.ins == 0x12:
            return Response(self.waiting[0])
        if command.ins == 0x14:
            self.waiting.pop(0)
            return Response(b"", self.sw())
        return self.first if self.first.sw != 0x9000 else Response(self.first.data, self.sw())

    def sw(self) -> int:
        return 0x9100 | len(self.waiting[0]) if self.waiting else 0x9000


def test_a_message_goes_in_an_envelope_that_allows_an_answer() -> None:
    card = Card(Response(b"report"))
    assert drive(hand_in(MESSAGE), card) == Handed(b"report")
    (command,) = card.seen
    assert (command.cla, command.ins, command.le) == (0x80, 0xC2, 0)
    assert read_envelope(command.data) == (MESSAGE.build(), None)


def test_a_report_beside_an_error_status_is_still_the_report() -> None:
    assert drive(hand_in(MESSAGE), Card(Response(b"report", 0x9E05))) == Handed(b"report")


@pytest.mark.parametrize("dialogue", [switch_on, lambda: hand_in(MESSAGE)])
def test_messages_that_the_card_sends_are_given_to_the_caller_and_confirmed(
    dialogue: Callable[[], Generator[Command, Response, Any]],
) -> None:
    card = Card(Response(b""), send_short_message(SUBMIT), send_short_message(SUBMIT, number=2))
    came = drive(dialogue(), card)
    sent = came.sent if isinstance(came, Handed) else came
    assert sent == (SUBMIT, SUBMIT)
    answers = [command.data.hex() for command in card.seen if command.ins == 0x14]
    assert answers == ["810301130082028281830100", "810302130082028281830100"]
    assert [command.le for command in card.seen if command.ins == 0x12] == [len(send_short_message(SUBMIT))] * 2


@pytest.mark.parametrize(
    ("fetched", "result"),
    [
        ("D00981030125008202818 2".replace(" ", ""), "00"),
        ("D009810301030082028182", "30"),
        ("D009810301400082028182", "30"),
    ],
)
def test_what_this_phone_cannot_do_is_said(fetched: str, result: str) -> None:
    card = Card(Response(b""), bytes.fromhex(fetched))
    assert drive(switch_on(), card) == ()
    assert card.seen[-1].data.hex().endswith("8301" + result)


@pytest.mark.parametrize("fetched", ["", "D0", "D100", "D0038101FF", "D003010203", "D0058103011300", "FF"])
def test_what_is_no_proactive_command_is_a_wire_error(fetched: str) -> None:
    card = Card(Response(b""), bytes.fromhex(fetched))
    with pytest.raises(WireError):
        drive(switch_on(), card)


def test_proactive_commands_without_end_are_a_wire_error() -> None:
    with pytest.raises(WireError, match="no end"):
        drive(switch_on(), Card(Response(b""), *[bytes.fromhex("D009810301020082028182")] * 100))


@pytest.mark.parametrize(
    ("sw", "kind", "text"),
    [(0x9300, LinkError, "busy"), (0x6F00, StatusError, "6F00"), (0x6A80, StatusError, "6A80")],
)
def test_a_refused_envelope_is_an_error(sw: int, kind: type[KeywrightError], text: str) -> None:
    with pytest.raises(kind, match=text):
        drive(hand_in(MESSAGE), Card(Response(b"", sw)))


@pytest.mark.parametrize("sw", [0x6D00, 0x6E00])
def test_a_card_without_a_toolkit_is_named(sw: int) -> None:
    with pytest.raises(StatusError, match="no toolkit"):
        drive(switch_on(), Card(Response(b"", sw)))
