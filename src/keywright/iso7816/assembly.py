"""From what travelled to what was meant: recorded exchanges put together to whole commands and answers.

The passive counterpart of `layers`: parts of a chained command, GET RESPONSE after 61xx, and repetition after 6Cxx.
"""

from __future__ import annotations

from typing import Final, NamedTuple, final

from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import channel_of, is_chained
from keywright.iso7816.layers import GET_RESPONSE, SHORT_LC
from keywright.iso7816.status import SW

_CHAIN: Final = 0x10
_MORE: Final = 0x61
_WRONG_LE: Final = 0x6C


class Whole(NamedTuple):
    """A command and its answer as the two ends meant them; `pieces`: how many exchanges they took."""

    command: Command
    response: Response | None
    pieces: int = 1


class Part(NamedTuple):
    """An exchange that is only part of a `Whole`, and what it is: "part of a command", "part of an answer", ..."""

    what: str


class _Waiting(NamedTuple):
    command: Command
    data: bytes
    pieces: int


@final
class Assembly:
    """Takes the exchanges of one card in their order and gives each back whole, or says what it is a part of."""

    def __init__(self) -> None:
        self._commands: dict[int, _Waiting] = {}
        self._answers: dict[int, _Waiting] = {}
        self._repeated: dict[int, int] = {}

    def reset(self) -> None:
        """The card was reset: what was begun is lost."""
        self._commands.clear()
        self._answers.clear()
        self._repeated.clear()

    def exchange(self, command: Command, response: Response | None) -> Whole | Part:
        """One exchange; `response` None: none came."""
        channel = channel_of(command.cla)
        waiting = self._answers.pop(channel, None)
        if waiting is not None and command.ins == GET_RESPONSE:
            return self._rest(channel, waiting, response)
        if is_chained(command.cla) and response is not None and response.sw == SW.OK and not response.data:
            begun = self._commands.get(channel)
            data = (begun.data if begun else b"") + command.data
            self._commands[channel] = _Waiting(command, data, (begun.pieces if begun else 0) + 1)
            return Part("part of a command")
        begun = self._commands.pop(channel, None)
        if begun is not None and begun.command.ins == command.ins:
            command = _joined(begun.data, command)
        pieces = 1 + (begun.pieces if begun else 0) + self._repeated.pop(channel, 0)
        if response is None:
            return Whole(command, None, pieces)
        if response.sw >> 8 == _WRONG_LE:
            if begun is not None:
                self._commands[channel] = begun
            self._repeated[channel] = 1
            return Part("repeated with the right Le")
        if response.sw >> 8 == _MORE:
            self._answers[channel] = _Waiting(command, response.data, pieces)
            return Part("the answer goes on")
        return Whole(command, response, pieces)

    def _rest(self, channel: int, waiting: _Waiting, response: Response | None) -> Whole | Part:
        if response is None:
            return Whole(waiting.command, None, waiting.pieces + 1)
        data, pieces = waiting.data + response.data, waiting.pieces + 1
        if response.sw >> 8 in (_MORE, _WRONG_LE):
            self._answers[channel] = _Waiting(waiting.command, data, pieces)
            return Part("part of an answer")
        return Whole(waiting.command, Response(data, response.sw), pieces)


def _joined(data: bytes, last: Command) -> Command:
    """The command of which `last` was the last part; long data are coded extended, as a C-MAC covers them."""
    whole = data + last.data
    cla = last.cla & ~_CHAIN
    return Command(cla, last.ins, last.p1, last.p2, whole, last.le, len(whole) > SHORT_LC)
