"""The phone between a network and its card: hands messages in, and does what the card asks for (3GPP TS 31.111).

Dialogues of commands. Of the toolkit only SEND SHORT MESSAGE is carried out, by giving the message to the caller; some
commands that need nothing are confirmed, all others answered as beyond this terminal.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

import msgspec

from keywright.codec.ber import items
from keywright.errors import DecodeError, LinkError, StatusError, WireError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.status import SW, check
from keywright.scp.comprehension import comprehension_item, comprehension_items
from keywright.scp.scp80.download import (
    BUSY,
    FETCH,
    PROACTIVE_COMMAND,
    SEND_SHORT_MESSAGE,
    TERMINAL_RESPONSE,
    envelope,
    read_send_short_message,
)
from keywright.scp.scp80.sms import Address, Deliver, Submit

TERMINAL_PROFILE: Final = 0x10
PROFILE: Final = bytes.fromhex("13000802")
"""What this terminal can do: profile download, SMS-PP download and its errors; MORE TIME; SEND SHORT MESSAGE."""
_CLASS: Final = 0x80
_DONE: Final = 0x00
_BEYOND: Final = 0x30
_CONFIRMED: Final = frozenset({0x02, 0x04, 0x05, SEND_SHORT_MESSAGE, 0x25})
"""MORE TIME, POLLING OFF, SET UP EVENT LIST, SEND SHORT MESSAGE, SET UP MENU (TS 102 223 9.4)."""
_DETAILS, _DEVICES, _RESULT = 0x01, 0x02, 0x03
_TERMINAL_TO_CARD: Final = bytes.fromhex("8281")
_REQUIRED: Final = 0x80
_PROACTIVE: Final = 0x91
_MOST_COMMANDS: Final = 64


class Handed(msgspec.Struct, frozen=True):
    """What came of a message: data for the delivery report, and messages that the card sent."""

    report: bytes = b""
    sent: tuple[Submit, ...] = ()


def switch_on(profile: bytes = PROFILE) -> Generator[Command, Response, tuple[Submit, ...]]:
    """TERMINAL PROFILE, and what the card asks for at once; messages it sent. Raises StatusError, WireError."""
    response = yield Command(_CLASS, TERMINAL_PROFILE, 0, 0, profile)
    if response.sw in (SW.INS_NOT_SUPPORTED, SW.CLA_NOT_SUPPORTED):
        raise StatusError(
            response.sw,
            "TERMINAL PROFILE",
            meaning="this card has no toolkit",
            hint="packets go to a SIM or UICC; sim:uicc simulates one",
        )
    return (yield from _serve(response.sw, "TERMINAL PROFILE"))


def hand_in(
    message: Deliver, service_centre: Address | None = None, *, cla: int = _CLASS
) -> Generator[Command, Response, Handed]:
    """ENVELOPE with one message, and what the card asks for then.

    Raises StatusError where the card refuses and says nothing, LinkError (not delivered) where its toolkit is busy.
    """
    response = yield msgspec.structs.replace(envelope(message, service_centre, cla=cla), le=0)
    if response.sw == BUSY:
        raise LinkError("the card's toolkit is busy (9300)", delivered=False, hint="send it again a little later")
    if response.data and response.sw != SW.OK and response.sw >> 8 != _PROACTIVE:
        return Handed(response.data)  # an error report
    return Handed(response.data, (yield from _serve(response.sw, "ENVELOPE")))


def _serve(sw: int, what: str) -> Generator[Command, Response, tuple[Submit, ...]]:
    """Fetch and answer proactive commands until none waits; the messages among them."""
    sent: list[Submit] = []
    for _ in range(_MOST_COMMANDS):
        if sw >> 8 != _PROACTIVE:
            check(Response(b"", sw), what)
            return tuple(sent)
        fetched = check((yield Command(_CLASS, FETCH, 0, 0, b"", sw & 0xFF)), "FETCH")
        details = _details(fetched)
        if details[1:2] == bytes((SEND_SHORT_MESSAGE,)):
            try:
                sent.append(read_send_short_message(fetched)[0])
            except DecodeError as error:
                raise WireError("the card wants a message sent that is none") from error
        what = "TERMINAL RESPONSE"
        sw = (yield _answer(details)).sw
    raise WireError("the card's proactive commands have no end")


def _details(fetched: bytes) -> bytes:
    """Number, type and qualifier of a proactive command. Raises WireError."""
    try:
        found = items(fetched)
        if len(found) == 1 and found[0][0] == PROACTIVE_COMMAND:
            details = dict(comprehension_items(found[0][1])).get(_DETAILS, b"")
            if len(details) == 3:
                return details
    except DecodeError as error:
        raise WireError("what was fetched is no proactive command") from error
    raise WireError("what was fetched is no proactive command")


def _answer(details: bytes) -> Command:
    result = _DONE if details[1] in _CONFIRMED else _BEYOND
    objects = ((_DETAILS, details), (_DEVICES, _TERMINAL_TO_CARD), (_RESULT, bytes((result,))))
    data = b"".join(comprehension_item(tag | _REQUIRED, value) for tag, value in objects)
    return Command(_CLASS, TERMINAL_RESPONSE, 0, 0, data)
