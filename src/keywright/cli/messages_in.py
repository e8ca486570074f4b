"""Messages that people paste or pipe: which is a command, which an answer, and what belongs together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from keywright.codec.hexa import unhex
from keywright.errors import DecodeError
from keywright.globalplatform.instructions import INSTRUCTIONS
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.atr import Atr
from keywright.iso7816.channels import is_valid
from keywright.link.trace import Event

_COMMAND_MARKS: Final = ("C:", ">>", "->", "=>", "A>", ">")
_ANSWER_MARKS: Final = ("R:", "<<", "<-", "<=", "A<", "<")


class Piece(NamedTuple):
    """A command, an answer, both, or neither: then `other` is what else it may be (an ATR, data objects)."""

    command: bytes | None = None
    answer: bytes | None = None
    other: bytes = b""


def pieces(texts: Iterable[str]) -> Iterator[Piece]:
    """Put messages together: a command with the answer that follows it.

    A text is hex, with a mark such as `>` or `<` in front of it if one likes, or a line of a trace file; lines that
    are empty or begin with # are left out. Raises DecodeError naming the number of the text.
    """
    waiting: bytes | None = None
    for number, text in enumerate(texts, 1):
        stripped = text.strip()
        if not stripped or stripped.startswith("#"):
            continue
        kind, data = _message(stripped, number, is_awaited=waiting is not None)
        if kind == "answer" and waiting is not None:
            yield Piece(waiting, data)
            waiting = None
            continue
        if kind == "skip":
            continue
        if waiting is not None:
            yield Piece(waiting)
            waiting = None
        if kind == "command":
            waiting = data
        else:
            yield Piece(None, data) if kind == "answer" else Piece(None, None, data)
    if waiting is not None:
        yield Piece(waiting)


def _message(text: str, number: int, *, is_awaited: bool) -> tuple[str, bytes]:
    if text.startswith("{"):
        event = Event.from_json(text.encode())
        kinds = {"command": "command", "answer": "answer", "reset": "other", "open": "other"}
        return (kinds.get(event.direction, "skip") if event.data else "skip"), event.data
    for marks, kind in ((_COMMAND_MARKS, "command"), (_ANSWER_MARKS, "answer")):
        mark = next((mark for mark in marks if text.startswith(mark)), "")
        if mark:
            return kind, unhex(text[len(mark) :], f"message {number}")
    data = unhex(text, f"message {number}")
    return _kind(data, is_awaited=is_awaited), data


def _kind(data: bytes, *, is_awaited: bool) -> str:
    command, answer = _command(data), _is_answer(data)
    if data[:1] in (b"\x3b", b"\x3f") and _is_atr(data):
        return "other"
    if answer and (command is None or is_awaited or command.ins not in INSTRUCTIONS):
        return "answer"
    return "command" if command is not None else "other"


def _command(data: bytes) -> Command | None:
    try:
        command = Command.parse(data)
    except DecodeError:
        return None
    return command if is_valid(command.cla) and command.ins >> 4 not in (6, 9) else None


def _is_answer(data: bytes) -> bool:
    try:
        Response.parse(data)
    except DecodeError:
        return False
    return True


def _is_atr(data: bytes) -> bool:
    try:
        Atr.parse(data)
    except DecodeError:
        return False
    return True
