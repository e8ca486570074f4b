"""Which bits of a message nothing covers: they are left out of the tampering, each for a reason that stands here."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from typing import NamedTuple

from keywright.iso7816.apdu import Command
from keywright.iso7816.channels import is_chained, is_gp

INITIALIZE_UPDATE = 0x50
EXTERNAL_AUTHENTICATE = 0x82
BEGIN_R_MAC_SESSION = 0x7A
_IN_PARTS = (0xD8, 0xE4, 0xE6)
"""PUT KEY, DELETE, INSTALL: what P1 b8 says of them is that more is to come."""
_MORE = 0x80
GET_RESPONSE = 0xC0
_MANAGE_SECURITY_ENVIRONMENT = 0x22
_PERFORM_SECURITY_OPERATION = 0x2A
_MORE_TO_COME = 0x61
_GP, _FURTHER, _SM_FURTHER, _SM_GP = 0x80, 0x40, 0x20, 0x04


class Message(NamedTuple):
    """What one side sent. `opening`: before the session is open. `covered`: by the level of the session.

    `implicit`: in a session that its first protected command opened.
    """

    protocol: str
    raw: bytes
    command: bytes
    opening: bool
    covered: bool
    implicit: bool = False

    @property
    def is_answer(self) -> bool:
        """Whether the card sent it."""
        return self.raw is not self.command

    @property
    def ins(self) -> int:
        """Instruction of the command that it is, or answers."""
        return self.command[1]


class Part(enum.Enum):
    """What a flipped bit does to a message."""

    SEALED = "its protection fails, and the session is over"
    FRAMING = "it cannot be read; the gap it leaves ends the session with the next command"
    SEGMENT = "it becomes the first of several parts, which are protected at the end; nothing comes of it"


class Rule(NamedTuple):
    """Bits that are left out, and why."""

    why: str
    excludes: Callable[[Message], Iterable[int]]


def _bits(first: int, end: int) -> range:
    """All bits of the bytes from `first` to before `end`; bit 0 is the highest of the first byte."""
    return range(8 * first, 8 * end)


def _data(message: Message) -> tuple[int, int]:
    """Where the data field of a command begins and ends."""
    size = len(Command.parse(message.command).data)
    start = 7 if size and message.command[4] == 0 else 5
    return (start, start + size) if size else (4, 4)


def _unprotected(message: Message) -> Iterable[int]:
    return () if message.opening or message.covered else _bits(0, len(message.raw))


def _channel(message: Message) -> Iterable[int]:
    if message.is_answer:
        return ()
    kept = (_GP, _SM_FURTHER) if message.raw[0] & _FURTHER else (_GP, _SM_GP)
    return (bit for bit in range(8) if 0x80 >> bit not in kept)


def _suspending(message: Message) -> Iterable[int]:
    return range(1, 8) if message.implicit and not message.is_answer else ()


def _le(message: Message) -> Iterable[int]:
    return () if message.is_answer else _bits(_data(message)[1], len(message.raw))


def _status(message: Message) -> Iterable[int]:
    size = len(message.raw)
    return _bits(size - 2, size) if message.is_answer and not message.opening else ()


def _announcement(message: Message) -> Iterable[int]:
    external_only = message.protocol == "SCP10" and message.raw[1:3] == bytes((_MANAGE_SECURITY_ENVIRONMENT, 0x81))
    return (17,) if external_only and not message.is_answer else ()


def _get_response(message: Message) -> Iterable[int]:
    size = len(message.raw)
    if message.is_answer:
        return _bits(size - 2, size) if message.raw[-2] == _MORE_TO_COME else ()
    return _bits(0, size) if message.ins == GET_RESPONSE else ()


def _part_of_certificate(message: Message) -> Iterable[int]:
    raw = message.raw
    if message.is_answer or message.ins != _PERFORM_SECURITY_OPERATION or not is_chained(raw[0]):
        return ()
    return (16,) if is_gp(raw[0]) else ()


def _kdd(message: Message) -> Iterable[int]:
    return _bits(0, 10) if _answers_initialize_update(message) else ()


def _i(message: Message) -> Iterable[int]:
    return _bits(12, 13) if _answers_initialize_update(message) and message.protocol == "SCP03" else ()


def _answers_initialize_update(message: Message) -> bool:
    return message.is_answer and message.opening and message.ins == INITIALIZE_UPDATE


RULES = (
    Rule("commands at a level without C-MAC, answers at one without R-MAC: the host asked for no protection of them",
         _unprotected),
    Rule("in the class byte, channel number, command chaining and reserved bits: no MAC of GlobalPlatform covers them",
         _channel),
    Rule("the secure messaging bit in an implicit session of SCP02: a command without it is one outside of secure "
         "messaging, which suspends the session",
         _suspending),
    Rule("Le, which secure messaging does not cover", _le),
    Rule("the status word of an answer in an open session: one flipped bit of `9000` makes an error, and errors bear "
         "no R-MAC",
         _status),
    Rule("the bit of MANAGE SECURITY ENVIRONMENT that announces INTERNAL AUTHENTICATE in SCP10, where none follows",
         _announcement),
    Rule("P1 b8 of a chained part of a certificate in SCP11: either mark is taken for more to come",
         _part_of_certificate),
    Rule("GET RESPONSE and the status word before it, which belong to the transport", _get_response),
    Rule("key diversification data in the answer to INITIALIZE UPDATE", _kdd),
    Rule('"i" in the answer to INITIALIZE UPDATE of SCP03', _i),
)  # fmt: skip # a rule reads better in two lines
"""In every protocol whose messages are APDUs."""


def parts(message: Message) -> dict[int, Part]:
    """Bits that may be flipped, from the first byte's highest, with what that does."""
    left_out = {bit for rule in RULES for bit in rule.excludes(message)}
    return {bit: _part(message, bit) for bit in _bits(0, len(message.raw)) if bit not in left_out}


def _part(message: Message, bit: int) -> Part:
    raw = message.raw
    if not message.is_answer and bit in _bits(4, _data(message)[0]):
        return Part.FRAMING
    if not message.is_answer and not message.opening and bit // 8 in (1, 2):
        ins, p1 = (byte ^ (0x80 >> bit % 8 if bit // 8 == at else 0) for at, byte in enumerate(raw[1:3], 1))
        if ins in _IN_PARTS and p1 & _MORE:
            return Part.SEGMENT
    return Part.SEALED
