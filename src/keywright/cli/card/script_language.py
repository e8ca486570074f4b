"""The language of `card script`: read whole and checked before anything is sent.

    # a remark
    $AID = A000000151000000          a variable; ${AID} stands for its bytes from here on
    select ${AID}                    SELECT by AID; without one, the card's own domain
    open-session level=33 kvn=30     a secure channel, with the keys of the command line
    send 80E28800 [9F7F 02 CAFE]     a command; [...] puts a length byte before what is inside
    80CA006600                       the same without the word
    expect 9000 66 ?? 73 ..          its status, and data: ?? is any byte, ? any digit, .. anything to the end
    $COUNTER = answer[3:6]           bytes 3, 4 and 5 of the last answer
    close-session, reset, include FILE

A command without `expect` must be answered with 9000.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from keywright.codec.hexa import unhex
from keywright.errors import DecodeError, UsageError
from keywright.iso7816.apdu import Command

SESSION_WORDS: Final = ("domain", "scp", "level", "kvn", "i", "profile")
VERBS: Final = ("select", "open-session", "send", "expect", "close-session", "reset", "include")
_DEPTH: Final = 8
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGN: Final = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_SLICE: Final = re.compile(r"answer(?:\[(\d*):(\d*)\])?")
_STATUS: Final = re.compile(r"[0-9A-Fa-f?]{4}(\|[0-9A-Fa-f?]{4})*")
_LIKE_HEX: Final = re.compile(r"(?:[0-9A-Fa-f:\[\]]|\$\{.*)+")
_DIGIT: Final = re.compile(r"[0-9A-Fa-f?]")


class Place(NamedTuple):
    """Where something stands: file, line and column, counted from 1."""

    file: str
    line: int
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


def wrong(place: Place, what: str, hint: str = "") -> UsageError:
    """The error of a script: where, what, and what to do."""
    return UsageError(f"{place}: {what}", hint=hint or "see keywright card script --help")


# ---- bytes, with variables and lengths in them


class Variable(NamedTuple):
    """A variable in hex text, and where."""

    name: str
    place: Place


class Sized(NamedTuple):
    """What stands in brackets: its length goes before it in one byte."""

    parts: tuple[Part, ...]
    place: Place


Part = bytes | Variable | Sized


class Bytes(NamedTuple):
    """Hex text as it was written: fixed once its variables are known."""

    parts: tuple[Part, ...]
    place: Place

    def value(self, variables: Mapping[str, bytes]) -> bytes:
        """The bytes. Raises UsageError for a variable that is not set, or too much in brackets."""
        return b"".join(_value(part, variables) for part in self.parts)

    @property
    def names(self) -> Iterator[Variable]:
        """The variables in it."""
        return _names(self.parts)


def _value(part: Part, variables: Mapping[str, bytes]) -> bytes:
    if isinstance(part, bytes):
        return part
    if isinstance(part, Variable):
        if part.name not in variables:
            raise wrong(part.place, f"${part.name} is not set", f"set it before: ${part.name} = HEX, or --set")
        return variables[part.name]
    inside = b"".join(_value(one, variables) for one in part.parts)
    if len(inside) > 0xFF:
        raise wrong(part.place, f"{len(inside)} bytes in brackets do not have a length of one byte")
    return bytes((len(inside),)) + inside


def _names(parts: tuple[Part, ...]) -> Iterator[Variable]:
    for part in parts:
        if isinstance(part, Variable):
            yield part
        elif isinstance(part, Sized):
            yield from _names(part.parts)


# ---- steps


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a script. `text`: as it was written."""

    place: Place
    text: str


class Assign(Step, frozen=True):
    """Sets a variable, to bytes or (value None) to a part of the last answer."""

    name: str
    value: Bytes | None = None
    start: int = 0
    end: int | None = None


class Expect(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer must be. status: patterns, one of which fits. data None: any data."""

    place: Place
    status: tuple[str, ...]
    data: str | None = None
    is_open: bool = False
    """Whether more data may follow the pattern."""

    def fits(self, status: int, data: bytes) -> bool:
        """Whether an answer is as expected."""
        found = f"{status:04X}"
        if not any(_like(pattern, found) for pattern in self.status):
            return False
        if self.data is None:
            return True
        shown = data.hex().upper()
        head = shown[: len(self.data)] if self.is_open else shown
        return _like(self.data, head)

    def __str__(self) -> str:
        data = "" if self.data is None else f" {self.data}{'..' if self.is_open else ''}"
        return f"{'|'.join(self.status)}{data}"


class Send(Step, frozen=True):
    """Sends a command and checks its answer."""

    command: Bytes
    expect: Expect | None = None


class Select(Step, frozen=True):
    """SELECT by AID; ends the session."""

    aid: Bytes
    expect: Expect | None = None


class OpenSession(Step, frozen=True):
    """Opens a secure channel; `words` are name and value as they were written."""

    words: tuple[tuple[str, str], ...] = ()


class CloseSession(Step, frozen=True):
    """Forgets the secure channel."""


class Reset(Step, frozen=True):
    """Resets the card."""


def _like(pattern: str, text: str) -> bool:
    return len(pattern) == len(text) and all(p in ("?", c) for p, c in zip(pattern, text, strict=True))


# ---- reading


def read_script(path: Path, variables: Mapping[str, bytes] | None = None) -> list[Step]:
    """The steps of a file, includes in their place. Everything that can be known before a card answers is checked.

    Raises UsageError naming file, line and column.
    """
    steps: list[Step] = []
    _read(path, steps, (), Place(str(path), 1))
    _check(steps, dict(variables or {}))
    return steps


def _read(path: Path, steps: list[Step], above: tuple[Path, ...], asked: Place) -> None:
    if path.resolve() in above or len(above) >= _DEPTH:
        raise wrong(asked, f"{path} includes itself")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        if above:
            raise wrong(asked, f"{path} cannot be read: {why}") from error
        raise UsageError(f"{path}: cannot be read: {why}", hint="give the path of a script") from error
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].rstrip()
        if not text.strip():
            continue
        place = Place(str(path), number, len(text) - len(text.lstrip()) + 1)
        verb, _, rest = text.strip().partition(" ")
        if verb == "include":
            target = rest.strip()
            if not target:
                raise wrong(place, "include names no file", "include other.script")
            _read(path.parent / target, steps, (*above, path.resolve()), place)
        elif verb == "expect":
            _expected(steps, _expect(text.strip(), place), place)
        else:
            steps.append(parse_line(text.strip(), place))


def _expected(steps: list[Step], expect: Expect, place: Place) -> None:
    last = steps[-1] if steps else None
    if not isinstance(last, Send | Select):
        raise wrong(place, "nothing was sent that this could be the answer to", "put expect after send or select")
    if last.expect is not None:
        raise wrong(place, "a second expectation of one answer", "write 9000|6A88 for one of several")
    steps[-1] = msgspec.structs.replace(last, expect=expect)


def parse_line(text: str, place: Place) -> Step:
    """One line that is neither `expect` nor `include`. Raises UsageError."""
    verb, _, rest = text.partition(" ")
    behind = place._replace(column=place.column + len(text) - len(rest.lstrip()))
    if text.startswith("$") and not text.startswith("${"):
        return _assign(text, place)
    if verb in _MAKERS:
        return _MAKERS[verb](text, place, rest.strip(), behind)
    if _LIKE_HEX.fullmatch(verb):
        return Send(place=place, text=text, command=_hex(text, place))
    raise wrong(place, f"{verb!r} is no word of this language", f"one of: {', '.join(VERBS)}, or a command in hex")


def _nothing_behind(kind: type[Step], text: str, place: Place, rest: str, behind: Place) -> Step:
    if rest:
        raise wrong(behind, f"{rest!r} is too much here")
    return kind(place=place, text=text)


_MAKERS: Final[dict[str, Callable[[str, Place, str, Place], Step]]] = {
    "send": lambda text, place, rest, behind: Send(
        place=place, text=text, command=_hex(rest, behind, needed="a command")
    ),
    "select": lambda text, place, rest, behind: Select(place=place, text=text, aid=_hex(rest, behind)),
    "open-session": lambda text, place, rest, behind: OpenSession(
        place=place, text=text, words=tuple(_words(rest, behind))
    ),
    "close-session": partial(_nothing_behind, CloseSession),
    "reset": partial(_nothing_behind, Reset),
}


def _assign(text: str, place: Place) -> Assign:
    found = _ASSIGN.fullmatch(text)
    if found is None:
        raise wrong(place, "a variable is set like this: $NAME = HEX")
    name, value = found[1], found[2].strip()
    part = _SLICE.fullmatch(value)
    if part is not None:
        end = int(part[2]) if part[2] else None
        return Assign(place=place, text=text, name=name, start=int(part[1] or 0), end=end)
    column = place.column + text.index(value, found.start(2)) if value else place.column + len(text)
    behind = place._replace(column=column)
    return Assign(place=place, text=text, name=name, value=_hex(value, behind, needed="its value"))


def _words(text: str, place: Place) -> Iterator[tuple[str, str]]:
    for found in re.finditer(r"\S+", text.strip()):
        name, sign, value = found[0].partition("=")
        if not sign or name not in SESSION_WORDS:
            at = place._replace(column=place.column + found.start())
            raise wrong(at, f"{found[0]!r} is no option of a session", f"NAME=VALUE of: {', '.join(SESSION_WORDS)}")
        yield name, value


def _expect(text: str, place: Place) -> Expect:
    words = text.split()[1:]
    if not words or not _STATUS.fullmatch(words[0]):
        raise wrong(place, "expect begins with a status", "four hex digits, ? for any; 9000|6A88 for one of several")
    pattern = "".join(words[1:]).upper()
    is_open = pattern.endswith("..")
    pattern = pattern.removesuffix("..")
    for at, char in enumerate(pattern):
        if not _DIGIT.match(char):
            column = place.column + text.upper().find(char, len("expect") + len(words[0]))
            raise wrong(place._replace(column=column), f"{char!r} at digit {at + 1} is no hex digit, ? or ..")
    if len(pattern) % 2:
        raise wrong(place, "the data pattern ends in half a byte", "write ?? for any byte")
    data = pattern if pattern or is_open or len(words) > 1 else None
    return Expect(place=place, status=tuple(words[0].upper().split("|")), data=data, is_open=is_open)


def _hex(text: str, place: Place, *, needed: str = "") -> Bytes:
    if needed and not text:
        raise wrong(place, f"{needed} is missing")
    parts, at = _parts(text, 0, place, depth=0)
    if at < len(text):
        raise wrong(place._replace(column=place.column + at), "this bracket was not opened")
    return Bytes(parts, place)


def _parts(text: str, at: int, place: Place, *, depth: int) -> tuple[tuple[Part, ...], int]:
    """Parts from `at` to the end, or to the bracket that closes."""
    parts: list[Part] = []
    while at < len(text) and text[at] != "]":
        here = place._replace(column=place.column + at)
        if text[at] == "[":
            inside, at = _parts(text, at + 1, place, depth=depth + 1)
            if at >= len(text):
                raise wrong(here, "this bracket is not closed")
            parts.append(Sized(inside, here))
            at += 1
        elif text[at] == "$":
            name, at = _variable(text, at, here)
            parts.append(Variable(name, here))
        else:
            end = min((text.find(stop, at) for stop in "[]$" if stop in text[at:]), default=len(text))
            parts.append(_fixed(text[at:end], here))
            at = end
    return tuple(parts), at


def _variable(text: str, at: int, place: Place) -> tuple[str, int]:
    end = text.find("}", at)
    name = text[at + 2 : end]
    if text[at : at + 2] != "${" or end < 0 or not _NAME.fullmatch(name):
        raise wrong(place, "a variable is written ${NAME}")
    return name, end + 1


def _fixed(text: str, place: Place) -> bytes:
    try:
        return unhex(text)
    except DecodeError as error:
        at = place._replace(column=place.column + error.offset)
        raise wrong(at, str(error).partition(" at position")[0].removeprefix("hex text: ")) from error


# ---- checking


def _check(steps: list[Step], known: dict[str, bytes]) -> None:
    """Variables are set before they are used, and what is wholly known is a command."""
    later: set[str] = set()
    for step in steps:
        used = step.command if isinstance(step, Send) else step.aid if isinstance(step, Select) else None
        used = step.value if isinstance(step, Assign) else used
        names = [] if used is None else list(used.names)
        for variable in names:
            if variable.name not in known and variable.name not in later:
                raise wrong(variable.place, f"${variable.name} is not set", f"before: ${variable.name} = HEX, or --set")
        is_known = used is not None and not any(variable.name in later for variable in names)
        if isinstance(step, Assign):
            if is_known and step.value is not None:
                known[step.name] = step.value.value(known)
                later.discard(step.name)
            else:
                later.add(step.name)
        elif isinstance(step, Send) and is_known:
            command_of(step, known)


def command_of(step: Send, variables: Mapping[str, bytes]) -> Command:
    """The command of a step. Raises UsageError for bytes that are none."""
    try:
        return Command.parse(step.command.value(variables))
    except DecodeError as error:
        raise wrong(step.command.place, f"this is no command: {error}", "CLA INS P1 P2 [Lc data] [Le]") from error
