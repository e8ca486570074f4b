"""What stands between a dialogue's commands and a link: 6Cxx, 61xx, and data too long for one short command.

Each layer is a dialogue for one exchange; `transmit` composes them in the one order that is right. Secure
messaging goes above all of them: a repeated, continued or divided command is never wrapped twice. Only `sized`
stands above it too, because a C-MAC covers Lc as it is coded.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Protocol, TypeVar

from keywright.errors import DecodeError, LinkError, WireError
from keywright.iso7816.apdu import SHORT_LE, Command, Response
from keywright.iso7816.channels import channel_of, is_secured, with_channel
from keywright.iso7816.status import SW
from keywright.sansio.dialogue import drive, through

Other = TypeVar("Other")
Result = TypeVar("Result")

GET_RESPONSE = 0xC0
MAX_ROUNDS = 256
"""GET RESPONSE rounds for one command: 64 KiB in short pieces; more means that the card loops."""

SHORT_LC = 255
"""Data bytes that fit one short command."""

_MORE = 0x61
_WRONG_LE = 0x6C
_CHAIN = 0x10


class Exchange(Protocol):
    """The part of a link that these layers use."""

    @property
    def extended(self) -> bool:
        """Whether extended-length APDUs may be sent."""
        ...

    def exchange(self, command: bytes, /) -> bytes:
        """Send one command APDU, return the answer APDU. Raises LinkError."""
        ...


def complete(command: Command) -> Generator[Command, Response, Response]:
    """Repeat with the right Le after 6Cxx and collect with GET RESPONSE after 61xx (ISO 7816-4 5.3.4).

    Raises WireError when a card asks for 6Cxx twice or never stops announcing more data.
    """
    response = yield command
    return (yield from rest(command, response)) if is_partial(response) else response


def is_partial(response: Response) -> bool:
    """Whether this answer is only the beginning: 6Cxx or 61xx."""
    return response.sw >> 8 in (_WRONG_LE, _MORE)


def rest(command: Command, response: Response) -> Generator[Command, Response, Response]:
    """`complete`, once the first answer is there."""
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


def sized(command: Command, *, extended: bool, room: int = SHORT_LC) -> Command:
    """`command` coded short where that fits, else extended (ISO 7816-4 5.2); goes above secure messaging.

    extended: whether the link carries extended length. Where it does not, a longer Le becomes "all there are" in
    pieces of 256, and only too much data stays coded extended: `chained` sends its parts, and secure messaging
    protects them as the one command with a 3-byte Lc that the card puts together. room: plain data bytes that fit a
    short command once protected, `HostChannel.max_data`.
    """
    is_long = len(command.data) > room
    le = command.le
    if extended:
        is_long = is_long or command.extended or (le or 0) > SHORT_LE
    elif command.extended or (le or 0) > SHORT_LE:
        le = None if le is None else le if 0 < le <= SHORT_LE else 0
    if (le, is_long) == (command.le, command.extended):
        return command
    return Command(command.cla, command.ins, command.p1, command.p2, command.data, le, is_long)


def chained(command: Command) -> Generator[Command, Response, Response]:
    """Send a long command in short parts, all but the last with class bit b5 (ISO 7816-4 5.3.3); for short links.

    A part that is refused ends the chain, and its answer is the command's (6884: the card takes no chains). Raises
    WireError when a card answers a part with data, ValueError for a command that is coded extended and need not be:
    `sized` was left out above secure messaging.
    """
    data, le = command.data, command.le
    if len(data) <= SHORT_LC:
        if command.extended:
            raise ValueError("a short link cannot carry an extended command; its size is chosen before it is protected")
        return (yield command)
    whole = (len(data) - 1) // SHORT_LC * SHORT_LC
    for at in range(0, whole, SHORT_LC):
        part = data[at : at + SHORT_LC]
        response = yield Command(command.cla | _CHAIN, command.ins, command.p1, command.p2, part)
        if response.sw != SW.OK:
            return response
        if response.data:
            raise WireError(f"the card answered {len(response.data)} bytes to a part of a command")
    le = None if le is None else le if 0 < le <= SHORT_LE else 0
    return (yield Command(command.cla, command.ins, command.p1, command.p2, data[whole:], le))


def completed(dialogue: Generator[Command | Other, Response, Result]) -> Generator[Command | Other, Response, Result]:
    """`through(dialogue, complete)`, with a layer only for answers that need one, which few do.

    Requests of `dialogue` that are no commands pass.
    """
    try:
        request = next(dialogue)
        while True:
            try:
                response = yield request
                if type(request) is Command and is_partial(response):
                    response = yield from rest(request, response)
            except LinkError as error:
                request = dialogue.throw(error)
            else:
                request = dialogue.send(response)
    except StopIteration as stop:
        result: Result = stop.value
        return result
    finally:
        dialogue.close()


def transmit(link: Exchange) -> Callable[[Command], Response]:
    """A function from command to complete answer over a blocking link; what `drive` takes."""

    def one(command: Command) -> Response:
        return parse_answer(link.exchange(command.encode()))

    def whole(command: Command) -> Response:
        if not is_secured(command.cla):  # what is protected keeps the coding that its C-MAC covers
            command = sized(command, extended=link.extended)
        dialogue = complete(command)
        return drive(dialogue if link.extended else through(dialogue, chained), one)

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
