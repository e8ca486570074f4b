"""Messages that people paste, pipe or keep in files: which is a command, which an answer, and what belongs together.

A text is hex, with a mark such as `>` or `<` in front of it if one likes, a line of a trace file, or a line of the log
that gp.jar writes with --debug; what is empty or begins with # is left out, and what else stands in such a log.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple

from keywright.codec.hexa import unhex
from keywright.errors import DecodeError, UsageError
from keywright.globalplatform.instructions import INSTRUCTIONS
from keywright.globalplatform.redaction import MASKED
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.atr import Atr
from keywright.iso7816.channels import is_valid
from keywright.link.pcapng import is_pcapng, read_pcapng
from keywright.link.trace import Event

_COMMAND_MARKS: Final = ("C:", ">>", "->", "=>", "A>", ">")
_ANSWER_MARKS: Final = ("R:", "<<", "<-", "<=", "A<", "<")

_LOGGED: Final = re.compile(r"A(>>|<<)\s+(?:T=\d\s+)?\(\d+\+\d+\)(?:\s+\(\d+m?s\))?")
"""What stands before the bytes there: `A>> T=1 (4+0008)`, `A<< (0028+2) (55ms)` (martinpaljak/apdu4j)."""
_NOISE: Final = re.compile(r"SCard[A-Z]\w+\(|\[(?:TRACE|DEBUG|INFO|WARN|ERROR)\]")
"""What else its log tells."""

Kind = Literal["command", "answer", "reset", "lost", "other"]

_KINDS: Final[dict[str, Kind]] = {
    "command": "command",
    "answer": "answer",
    "reset": "reset",
    "open": "reset",
    "lost": "lost",
}
"""Kind of a message by the direction of its event."""


class Item(NamedTuple):
    """One message. `at`: seconds since 1970, None if that is not known; `link`: where it was recorded.

    other: an ATR or data objects. lost: no answer came, `note` says why.
    """

    kind: Kind
    data: bytes
    at: float | None = None
    link: str = ""
    note: str = ""


class Piece(NamedTuple):
    """A command, an answer, both, or neither: then `other` is what else it may be (an ATR, data objects)."""

    command: bytes | None = None
    answer: bytes | None = None
    other: bytes = b""
    at: float | None = None
    link: str = ""
    is_reset: bool = False
    is_masked: bool = False
    lost: str = ""


def items(texts: Iterable[str]) -> Iterator[Item]:
    """The messages of the texts. Raises DecodeError naming the number of the text."""
    is_awaited = False
    for number, text in enumerate(texts, 1):
        stripped = text.strip()
        if not stripped or stripped.startswith("#") or _NOISE.match(stripped):
            continue
        item = _item(stripped, number, is_awaited=is_awaited)
        if item is not None:
            is_awaited = item.kind == "command"
            yield item


def of_file(path: Path) -> Iterator[Item]:
    """The messages of a file: pcapng, a trace, or lines of hex. Raises UsageError, DecodeError naming the line.

    The last line of a trace that a kill cut short is left out.
    """
    try:
        with path.open("rb") as stream:
            binary = is_pcapng(stream.read(4))
        if binary:
            yield from (item for event in read_pcapng(path) if (item := _of_event(event)) is not None)
            return
        with path.open(encoding="utf-8", errors="replace") as lines:
            yield from _of_lines(path, lines)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error


def _of_lines(path: Path, lines: Iterable[str]) -> Iterator[Item]:
    try:
        yield from items(_whole(lines))
    except DecodeError as error:
        raise DecodeError(
            f"{path}: {error}".replace(": message ", " line ", 1), error.offset, hint=error.hint
        ) from error


def _whole(lines: Iterable[str]) -> Iterator[str]:
    """The lines but for a last one that begins an event and does not end it."""
    for line in lines:
        if line.startswith("{") and not line.endswith("\n"):
            try:
                Event.from_json(line.encode())
            except DecodeError:
                return
        yield line


def pieces(texts: Iterable[str]) -> Iterator[Piece]:
    """The texts put together: a command with the answer that follows it. Raises as `items`."""
    return together(items(texts))


def together(messages: Iterable[Item]) -> Iterator[Piece]:
    """A command with the answer that follows it on its link."""
    waiting: dict[str, Item] = {}
    for item in messages:
        asked = waiting.pop(item.link, None)
        if asked is not None and item.kind in ("answer", "lost"):
            yield _exchange(asked, item)
            continue
        if asked is not None:
            yield _exchange(asked, None)
        if item.kind == "command":
            waiting[item.link] = item
        elif item.kind == "answer":
            yield Piece(None, item.data, at=item.at, link=item.link)
        elif item.kind in ("other", "reset"):
            yield Piece(None, None, item.data, item.at, item.link, is_reset=item.kind == "reset")
    for item in waiting.values():
        yield _exchange(item, None)


def _exchange(asked: Item, answered: Item | None) -> Piece:
    is_lost = answered is not None and answered.kind == "lost"
    answer = None if answered is None or is_lost else answered.data
    lost = (answered.note or "no answer") if answered is not None and is_lost else ""
    return Piece(asked.data, answer, b"", asked.at, asked.link, is_masked=asked.note == MASKED, lost=lost)


def _item(text: str, number: int, *, is_awaited: bool) -> Item | None:
    if text.startswith("{"):
        try:
            return _of_event(Event.from_json(text.encode()))
        except DecodeError as error:
            raise DecodeError(f"message {number}: {error}") from error
    logged = _LOGGED.match(text)
    if logged is not None:
        way: Kind = "command" if logged[1] == ">>" else "answer"
        return Item(way, unhex(text[logged.end() :], f"message {number}"))
    marked: tuple[tuple[tuple[str, ...], Kind], ...] = ((_COMMAND_MARKS, "command"), (_ANSWER_MARKS, "answer"))
    for marks, kind in marked:
        mark = next((mark for mark in marks if text.startswith(mark)), "")
        if mark:
            return Item(kind, unhex(text[len(mark) :], f"message {number}"))
    data = unhex(text, f"message {number}")
    return Item(_kind(data, is_awaited=is_awaited), data)


def _of_event(event: Event) -> Item | None:
    kinds: dict[str, Kind] = {
        "command": "command",
        "answer": "answer",
        "reset": "reset",
        "open": "reset",
        "lost": "lost",
    }
    kind = kinds.get(event.direction)
    return None if kind is None else Item(kind, event.data, event.time, event.link, event.note)


def _kind(data: bytes, *, is_awaited: bool) -> Kind:
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
