"""What a card does about length: a command may come in parts, an answer may leave in parts.

How an answer leaves: at once, after 6Cxx, or in pieces by GET RESPONSE (ISO 7816-4 5.3.4, ISO 7816-3 12.2.1).

A card whose answer to reset names T=0 alone keeps the data of a case 4 command for GET RESPONSE and wants Le exact.
Any other card gives what there is, up to Le. The command itself runs once: after 6Cxx its answer waits for the repeat.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from keywright.errors import DecodeError
from keywright.iso7816.apdu import EXTENDED_LE, SHORT_LE, Command, Response
from keywright.iso7816.channels import is_chained
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW

_MORE = 0x6100
_WRONG_LE = 0x6C00
_CHAIN = 0x10
_GET_RESPONSE = 0xC0


def joined(sofar: Command | None, part: Command, limit: int) -> Command:
    """What a chained command (ISO 7816-4 5.3.3) is with its next part; it is whole when the part's class lacks b5.

    sofar: what came of the chain before. limit: the most data bytes. Refuses with 6883 when the part is of another
    command, 6700 above the limit; the chain is dropped then.
    """
    cla = part.cla & ~_CHAIN
    data, extended = part.data, part.extended
    if sofar is not None:
        if (cla, part.ins, part.p1, part.p2) != (sofar.cla, sofar.ins, sofar.p1, sofar.p2):
            raise Refusal(SW.LAST_COMMAND_EXPECTED)
        data, extended = sofar.data + data, sofar.extended or extended
    if len(data) > limit:
        raise Refusal(SW.WRONG_LENGTH)
    return Command(cla, part.ins, part.p1, part.p2, data, part.le, extended or len(data) >= SHORT_LE)


@final
class Delivery:
    """The answer that waits on one channel."""

    __slots__ = ("_character_level", "_data", "_finished", "_header", "_sw", "waits")

    def __init__(self, *, character_level: bool) -> None:
        """character_level: whether the card speaks T=0 only."""
        self._character_level = character_level
        self.drop()

    def drop(self) -> None:
        """Forget what waits."""
        self._data = b""
        self._sw = 0
        self._finished = False
        self._header: tuple[int, int, int, int] | None = None
        self.waits = False
        """Whether something waits."""

    def send(self, command: Command, response: Response) -> bytes:
        """First answer to a command: whole, shortened with 61xx, or 6Cxx with nothing."""
        data, sw, le = response.data, response.sw, command.le
        size = len(data)
        if not size:
            self.waits = self._finished = self._character_level and bool(command.data) and sw == SW.OK
            return sw.to_bytes(2)
        if self._character_level and not command.extended:
            return self._send_exact(command, response)
        room = _room(command)
        if size <= room:
            return data + sw.to_bytes(2)
        if le and not command.data and not command.extended:
            return self._ask_again(command, response)
        return self._piece(data, sw, room)

    def repeat(self, command: Command) -> bytes | None:
        """The kept answer, if this is the repeat that 6Cxx asked for."""
        header = (command.cla, command.ins, command.p1, command.p2)
        if header != self._header or command.data or command.le != _announced(len(self._data)) or command.extended:
            return None
        data, sw = self._data, self._sw
        self.drop()
        return self._piece(data, sw, SHORT_LE)

    def more(self, command: Command) -> bytes:
        """GET RESPONSE, with or without Le. Refuses with 6985 when nothing waits.

        On T=0 a host that expects data asks after 9000 too (ISO 7816-3 12.2.1, case 4S.2); once, there are none.
        """
        if self._finished:
            self.drop()
            return SW.OK.to_bytes(2)
        if self._header is not None or not self._data:
            self.drop()
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        room, size = _room(command), len(self._data)
        if self._character_level and command.le and room > size:
            return (_WRONG_LE | size).to_bytes(2)
        data, sw = self._data, self._sw
        self.drop()
        return self._piece(data, sw, room)

    def _send_exact(self, command: Command, response: Response) -> bytes:
        if command.data or command.le is None:
            return self._piece(response.data, response.sw, 0)
        size = len(response.data)
        if min(size, SHORT_LE) == (command.le or SHORT_LE):
            return self._piece(response.data, response.sw, SHORT_LE)
        return self._ask_again(command, response)

    def _ask_again(self, command: Command, response: Response) -> bytes:
        self._data, self._sw, self.waits = response.data, response.sw, True
        self._header = (command.cla, command.ins, command.p1, command.p2)
        return (_WRONG_LE | _announced(len(response.data))).to_bytes(2)

    def _piece(self, data: bytes, sw: int, room: int) -> bytes:
        rest = data[room:]
        if not rest:
            return data + sw.to_bytes(2)
        self._data, self._sw, self.waits = rest, sw, True
        return data[:room] + (_MORE | _announced(len(rest))).to_bytes(2)


@final
class WholeCommands:
    """A card end that hands on whole commands: parts are put together before, long answers leave in parts after.

    One channel, the class bytes of ISO 7816-4 without secure messaging.
    """

    __slots__ = ("_answer", "_chain", "_delivery", "_limit")

    def __init__(self, answer: Callable[[Command], Response], limit: int) -> None:
        """answer: of one whole command; it may refuse. limit: the most data bytes of a chained command."""
        self._answer = answer
        self._limit = limit
        self.reset()

    def reset(self) -> None:
        """Forget what was begun."""
        self._chain: Command | None = None
        self._delivery = Delivery(character_level=False)

    def handle(self, request: bytes, /) -> bytes:
        """The answer to one command APDU. Raises what `answer` raises, but for a refusal."""
        try:
            return self._take(Command.parse(request))
        except DecodeError:
            return SW.WRONG_LENGTH.to_bytes(2)
        except Refusal as refused:
            return refused.sw.to_bytes(2)

    def _take(self, command: Command) -> bytes:
        if command.ins == _GET_RESPONSE and command.cla == 0 and self._chain is None:
            return self._delivery.more(command)
        self._delivery.drop()
        last = command
        if self._chain is not None or is_chained(command.cla):
            sofar, self._chain = self._chain, None
            whole = joined(sofar, command, self._limit)
            if is_chained(command.cla):
                self._chain = whole
                return SW.OK.to_bytes(2)
            command = whole
        return self._delivery.send(last, self._answer(command))


def _announced(size: int) -> int:
    """The second byte of 61xx and 6Cxx; 00 stands for 256 or more."""
    return size if size < SHORT_LE else 0


def _room(command: Command) -> int:
    """Bytes that Le allows; without Le, as many as the form of the command could ask for."""
    return command.le or (EXTENDED_LE if command.extended else SHORT_LE)
