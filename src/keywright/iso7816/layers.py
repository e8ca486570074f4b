"""What stands between a dialogue's commands and a link: 6Cxx, 61xx, and what T=0 takes away.

Each layer is a dialogue for one exchange; `transmit` composes them in the one order that is right. Secure
messaging goes above all of them: a repeated or continued command is never wrapped twice.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Protocol

from keywright.errors import DecodeError, LinkError, WireError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import channel_of, with_channel
from keywright.sansio.dialogue import drive

GET_RESPONSE = 0xC0
MAX_ROUNDS = 256
"""GET RESPONSE rounds for one command: 64 KiB in short pieces; more means that the card loops."""

_MORE = 0x61
_WRONG_LE = 0x6C


class Exchange(Protocol):
    """The part of a link that these layers use."""

    def exchange(self, command: bytes) -> bytes:
        """Send one command APDU, return the answer APDU. Raises LinkError."""
        ...


def complete(command: Command) -> Generator[Command, Response, Response]:
    """Repeat with the right Le after 6Cxx and collect with GET RESPONSE after 61xx (ISO 7816-4 5.3.4).

    Raises WireError when a card asks for 6Cxx twice or never stops announcing more data.
    """
    response = yield command
    if response.sw >> 8 == _WRONG_LE:
        response = yield Command(
            command.cla, command.ins, command.p1, command.p2, command.data, response.sw & 0xFF, command.extended
        )
        if response.sw >> 8 == _WRONG_LE:
            raise WireError(f"the card answered {response.sw:04X} to the Le it had asked for")
    if response.sw >> 8 != _MORE:
        return response
    cla = with_channel(0x00, channel_of(command.cla))
    parts = [response.data]
    for _ in range(MAX_ROUNDS):
        response = yield Command(cla, GET_RESPONSE, 0, 0, b"", response.sw & 0xFF)
        parts.append(response.data)
        if response.sw >> 8 == _WRONG_LE:
            response = yield Command(cla, GET_RESPONSE, 0, 0, b"", response.sw & 0xFF)
            parts.append(response.data)
        if response.sw >> 8 != _MORE:
            return Response(b"".join(parts), response.sw)
    raise WireError(f"the card announced more data {MAX_ROUNDS} times for one command")


def transmit(link: Exchange) -> Callable[[Command], Response]:
    """A function from command to complete answer over a blocking link; what `drive` takes."""

    def one(command: Command) -> Response:
        return parse_answer(link.exchange(command.encode()))

    def whole(command: Command) -> Response:
        return drive(complete(command), one)

    return whole


def parse_answer(raw: bytes) -> Response:
    """An answer from a link. Raises LinkError (delivered) for bytes that are no answer APDU."""
    try:
        return Response.parse(raw)
    except DecodeError as error:
        raise LinkError(
            f"the link returned {len(raw)} bytes that are no answer APDU: {error}",
            delivered=True,
            hint="the card or reader is faulty; the command may have been executed",
        ) from error
