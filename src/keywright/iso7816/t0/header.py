"""The command header of T=0 and what a card may say to it (ISO 7816-3 10.3), for both ends."""

from __future__ import annotations

from enum import Enum
from typing import Final

from keywright.codec.record import U8, Record
from keywright.iso7816.channels import is_gp, is_secured

GET_RESPONSE: Final = 0xC0
ENVELOPE: Final = 0xC2
MAX_P3: Final = 256
NULL: Final = 0x60
_GSM: Final = 0xA0
_FURTHER: Final = 0x40
_ISO_SM: Final = 0x0C
_SENDS: Final = frozenset({0x70, 0x84, 0xB0, 0xB2, GET_RESPONSE, 0xCA})
"""MANAGE CHANNEL, GET CHALLENGE, READ BINARY, READ RECORD, GET RESPONSE, GET DATA: the card sends, if there is data."""
_SENDS_GSM: Final = frozenset({0x12, 0xB0, 0xB2, GET_RESPONSE, 0xF2})
"""FETCH, READ BINARY, READ RECORD, GET RESPONSE, STATUS of GSM 11.11."""


class Header(Record, frozen=True):
    """The five bytes that begin every command of T=0."""

    cla: U8
    ins: U8
    p1: U8
    p2: U8
    p3: U8

    @property
    def is_legal(self) -> bool:
        """Whether T=0 can carry it: class FF begins a PPS, and INS 6x and 9x could not be told from status bytes."""
        return self.cla != 0xFF and self.ins >> 4 not in (6, 9)


class Procedure(Enum):
    """What the next character of a card means after the header and after each portion of data."""

    ALL = "all bytes that remain travel now"
    ONE = "one byte travels now"
    NULL = "wait on"
    STATUS = "first byte of the status word"
    ILLEGAL = "none of these"


def procedure(byte: int, ins: int, *, lax: bool = False) -> Procedure:
    """What a procedure byte means. lax: the least bit of INS may differ, as in the days of programming voltage."""
    mask = 0xFE if lax else 0xFF
    if byte == NULL:
        return Procedure.NULL
    if byte >> 4 in (6, 9):
        return Procedure.STATUS
    if byte & mask == ins & mask:
        return Procedure.ALL
    if byte & mask == (ins ^ 0xFF) & mask:
        return Procedure.ONE
    return Procedure.ILLEGAL


def takes_data(header: Header) -> bool:
    """Whether a usual card takes data with this instruction, rather than sends it.

    Nothing in the header says so: a T=0 card knows its instructions. Under secure messaging every command carries a
    MAC. Odd instructions take data (a BER-TLV data object); a class that is GSM's has its own list.
    """
    if header.cla == _GSM:
        return header.ins not in _SENDS_GSM
    if header.ins == GET_RESPONSE:
        return False
    return carries_mac(header.cla) or header.ins not in _SENDS


def carries_mac(cla: int) -> bool:
    """Whether a class says that the command is under secure messaging, GlobalPlatform's or that of ISO 7816-4."""
    return is_secured(cla) or (not is_gp(cla) and not cla & _FURTHER and bool(cla & _ISO_SM))
