"""The compact remote format: commands end to end, one answer for all (ETSI TS 102 226 5.1).

A command is CLA INS P1 P2 P3 and data; only its instruction tells whether P3 is Lc or Le. No Le follows data.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from typing import Annotated, Final

from keywright.codec.record import U8, U16, Record, Rest
from keywright.errors import DecodeError
from keywright.iso7816.apdu import Command

GET_RESPONSE: Final = 0xC0
SIM_CLASS: Final = 0xA0


class Management(enum.Enum):
    """What the receiving application manages; some instructions mean different things to each."""

    FILES = "RFM"
    APPLICATIONS = "RAM"


class P3(enum.Enum):
    """What the fifth byte of a command is."""

    LC = "Lc"
    LE = "Le"


def _table(lc: str, le: str) -> dict[int, P3]:
    return {int(ins, 16): P3.LC for ins in lc.split()} | {int(ins, 16): P3.LE for ins in le.split()}


_ISO: Final = _table(
    lc="04 10 14 20 24 26 28 2C 32 44 88 A2 A4 D4 D6 DB DC E0 E2 E4 E6 E8 FE",
    le="12 84 B0 B2 C0 CA CB",
)
"""TS 102 221 and TS 102 222, GPCS 11.1; class A0 is TS 51.011, whose instructions are among them."""
INSTRUCTIONS: Final = {
    Management.FILES: _ISO | _table(lc="FA", le="F2"),  # STATUS, SLEEP
    Management.APPLICATIONS: _ISO | _table(lc="22 2A 50 70 78 7A 82 D8 EC F0 F2", le=""),  # GET STATUS has data
}
"""What P3 is, for each instruction a receiver knows."""


class CompactResponse(Record, frozen=True):
    """What the card answers: commands executed, the failing one included; status and data of the last one."""

    executed: U8
    sw: U16
    data: Annotated[bytes, Rest()] = b""


class UnknownInstructionError(DecodeError):
    """An instruction whose P3 nobody can tell: what follows cannot be cut into commands."""


def compact_commands(data: bytes, management: Management) -> Iterator[Command]:
    """The commands of a string, one after the other, so that those before a fault are had. Raises DecodeError."""
    table, start, end = INSTRUCTIONS[management], 0, len(data)
    while start < end:
        if end - start < 5:
            raise DecodeError("a command has 5 bytes at least", end)
        cla, ins, p1, p2, p3 = data[start : start + 5]
        kind = table.get(ins)
        if kind is None:
            raise UnknownInstructionError(f"instruction {ins:02X}: nobody knows whether its P3 is Lc or Le", start + 1)
        start += 5
        if kind is P3.LE:
            yield Command(cla, ins, p1, p2, b"", p3)
            continue
        if p3 > end - start:
            raise DecodeError(f"{p3} bytes of data are due, {end - start} are there", end)
        yield Command(cla, ins, p1, p2, data[start : start + p3])
        start += p3


def compact_string(commands: Iterable[Command], management: Management) -> bytes:
    """Commands end to end; Le after data is left out, as GET RESPONSE fetches it.

    Raises ValueError for a command that the receiver would read in another way than it is meant.
    """
    return b"".join(_encode(command, INSTRUCTIONS[management].get(command.ins)) for command in commands)


def _encode(command: Command, kind: P3 | None) -> bytes:
    if kind is None:
        raise ValueError(f"instruction {command.ins:02X} has no place in the compact format")
    if command.extended or len(command.data) > 255:
        raise ValueError("the compact format has no commands of extended length")
    if kind is P3.LE and command.data:
        raise ValueError(f"instruction {command.ins:02X} with data: its P3 is Le in the compact format")
    if kind is P3.LC and not command.data and command.le:
        raise ValueError(f"instruction {command.ins:02X} without data: its P3 is Lc in the compact format")
    p3 = len(command.data) if kind is P3.LC else (command.le or 0) & 0xFF
    return bytes((command.cla, command.ins, command.p1, command.p2, p3)) + command.data
