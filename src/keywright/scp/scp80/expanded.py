"""The expanded remote format: command and response scripts as BER-TLV (ETSI TS 102 226 5.2).

It is the content of SCP80 packets to some applications, and the body of SCP81 messages.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final, Self

import msgspec

from keywright.codec.ber import item, read_length
from keywright.errors import DecodeError
from keywright.iso7816.apdu import Command, Response

COMMANDS: Final = 0xAA
COMMANDS_INDEFINITE: Final = 0xAE
RESPONSES: Final = 0xAB
RESPONSES_INDEFINITE: Final = 0xAF
_INDEFINITE: Final = 0x80
_END: Final = b"\0\0"

C_APDU: Final = 0x22
R_APDU: Final = 0x23
COMPREHENSION: Final = 0x80
"""Some cards want A2 instead of 22."""
EXECUTED: Final = 0x80
IMMEDIATE_ACTION: Final = 0x81
ERROR_ACTION: Final = 0x82
CHAINING: Final = 0x83
BAD_FORMAT: Final = 0x90

PROACTIVE_SESSION: Final = b"\x81"
"""Immediate action: indicate a proactive session."""
EARLY_RESPONSE: Final = b"\x82"
"""Immediate action: answer before the script is executed."""
SUSPENSION_ERROR: Final = 0x01

TRUNCATED: Final = 0x62F1
"""Status word: the response was cut because it did not fit; the script ends."""


class Chaining(enum.IntEnum):
    """Value of the script chaining object in a command (83), which is the first one of its script."""

    FIRST = 0x01
    FIRST_KEPT = 0x11
    MORE = 0x02
    LAST = 0x03


class ChainingResult(enum.IntEnum):
    """Its value in a response."""

    NO_PREVIOUS = 1
    NOT_SUPPORTED = 2
    UNABLE = 3


class BadFormat(enum.IntEnum):
    """What was wrong with a script (90)."""

    UNKNOWN_TAG = 1
    WRONG_LENGTH = 2
    LENGTH_NOT_FOUND = 3


class Script(msgspec.Struct, frozen=True):
    """A command script: its objects in order, (tag, value) as they are."""

    objects: tuple[tuple[int, bytes], ...] = ()
    indefinite: bool = False

    @classmethod
    def of(
        cls,
        commands: Iterable[Command],
        *,
        chaining: Chaining | None = None,
        immediate_action: bytes | None = None,
        error_action: bytes | None = None,
        indefinite: bool = False,
        comprehension_tags: bool = False,
    ) -> Self:
        """A script of these commands, each with its Le. `error_action` empty: none."""
        tag = C_APDU | (COMPREHENSION if comprehension_tags else 0)
        head = [
            (CHAINING, bytes((chaining,)) if chaining is not None else None),
            (IMMEDIATE_ACTION, immediate_action),
            (ERROR_ACTION, error_action),
        ]
        objects = [(number, value) for number, value in head if value is not None]
        objects += [(tag, command.encode()) for command in commands]
        return cls(tuple(objects), indefinite)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """A whole and well-formed script. Raises DecodeError; a card that says what is wrong uses `content`."""
        body, indefinite = content(data, COMMANDS, COMMANDS_INDEFINITE)
        return cls(tuple(_objects(body)), indefinite)

    def build(self) -> bytes:
        """Its bytes."""
        return _template(self.objects, COMMANDS_INDEFINITE if self.indefinite else COMMANDS, self.indefinite)

    @property
    def commands(self) -> tuple[Command, ...]:
        """Its commands. Raises DecodeError when one of them is none."""
        return tuple(Command.parse(value) for tag, value in self.objects if tag & ~COMPREHENSION == C_APDU)

    def get(self, tag: int) -> bytes | None:
        """Value of the first object with this tag, None if there is none."""
        return next((value for found, value in self.objects if found == tag), None)


class ScriptResponse(msgspec.Struct, frozen=True):
    """A response script. `executed` counts command objects; the indefinite form has none by its table."""

    responses: tuple[Response, ...] = ()
    executed: int | None = None
    immediate_action: int | None = None
    chaining: int | None = None
    bad_format: int | None = None
    indefinite: bool = False

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Both forms, objects in any order, unknown ones skipped. Raises DecodeError."""
        body, indefinite = content(data, RESPONSES, RESPONSES_INDEFINITE)
        found = _objects(body)
        responses = tuple(Response.parse(value) for tag, value in found if tag & ~COMPREHENSION == R_APDU)
        numbers = {tag: value for tag, value in found if tag in (EXECUTED, IMMEDIATE_ACTION, CHAINING, BAD_FORMAT)}

        def number(tag: int) -> int | None:
            value = numbers.get(tag)
            if value is None:
                return None
            if not 1 <= len(value) <= 4:
                raise DecodeError(f"tag {tag:02X}: a number of {len(value)} bytes")
            return int.from_bytes(value)

        return cls(
            responses, number(EXECUTED), number(IMMEDIATE_ACTION), number(CHAINING), number(BAD_FORMAT), indefinite
        )

    def build(self) -> bytes:
        """Its bytes."""
        first = [(EXECUTED, self.executed), (IMMEDIATE_ACTION, self.immediate_action), (CHAINING, self.chaining)]
        objects = [(tag, _number(value)) for tag, value in first if value is not None]
        objects += [(R_APDU, response.encode()) for response in self.responses]
        if self.bad_format is not None:
            objects.append((BAD_FORMAT, _number(self.bad_format)))
        return _template(objects, RESPONSES_INDEFINITE if self.indefinite else RESPONSES, self.indefinite)

    @property
    def truncated(self) -> bool:
        """Whether data is missing at its end (62F1)."""
        return bool(self.responses) and self.responses[-1].sw == TRUNCATED


def is_expanded(data: bytes) -> bool:
    """Whether data for an application that takes both formats is a script: no class byte is AA or AE."""
    return data[:1] in (bytes((COMMANDS,)), bytes((COMMANDS_INDEFINITE,)))


def content(data: bytes, definite: int, indefinite: int) -> tuple[bytes, bool]:
    """What is inside a script, and whether its length was indefinite. Raises DecodeError."""
    tag = data[0] if data else 0
    if tag == indefinite:
        if data[1:2] != bytes((_INDEFINITE,)) or len(data) < 4 or not data.endswith(_END):
            raise DecodeError("a script of indefinite length begins with 80 and ends with 0000", len(data))
        return data[2:-2], True
    if tag != definite:
        raise DecodeError(f"a script begins with {definite:02X} or {indefinite:02X}")
    size, start = read_length(data, 1, len(data))
    if start + size != len(data):
        raise DecodeError(f"a script of {size} bytes, {len(data) - start} are there", start)
    return data[start:], False


def first_object(data: bytes) -> tuple[int, bytes, bytes]:
    """Tag and value of the first object, and what follows it. Raises ScriptFormatError.

    Tags have one byte here; a tag is judged by whoever knows which ones there are.
    """
    end = len(data)
    if end < 2:
        raise ScriptFormatError(BadFormat.LENGTH_NOT_FOUND, end)
    try:
        size, start = read_length(data, 1, end)
    except DecodeError as error:
        raise ScriptFormatError(BadFormat.WRONG_LENGTH, error.offset) from error
    if start + size > end:
        raise ScriptFormatError(BadFormat.WRONG_LENGTH, start)
    return data[0], data[start : start + size], data[start + size :]


class ScriptFormatError(DecodeError):
    """A script that is not well-formed; `kind` is what its response says in tag 90."""

    def __init__(self, kind: BadFormat, offset: int) -> None:
        super().__init__(kind.name.lower().replace("_", " "), offset)
        self.kind = kind


def _objects(body: bytes) -> list[tuple[int, bytes]]:
    found = []
    while body:
        tag, value, body = first_object(body)
        found.append((tag, value))
    return found


def _template(objects: Iterable[tuple[int, bytes]], tag: int, indefinite: bool) -> bytes:  # noqa: FBT001 - positional twice, here
    body = b"".join(item(number, value) for number, value in objects)
    return bytes((tag, _INDEFINITE)) + body + _END if indefinite else item(tag, body)


def _number(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8 or 1)
