"""Blocks of T=1 on the wire (ISO 7816-3 11.3), for both ends."""

from __future__ import annotations

from typing import Annotated, Final, Literal, NamedTuple, final

from keywright.codec.record import U8, Record, Rest, prefixed
from keywright.errors import DecodeError
from keywright.iso7816.edc import Edc

MAX_INF: Final = 254
_MORE: Final = 0x20
_I_NUMBER: Final = 0x40
_R_NUMBER: Final = 0x10
_RESPONSE: Final = 0x20

RESYNCH: Final = 0xC0
IFS: Final = 0xC1
ABORT: Final = 0xC2
WTX: Final = 0xC3
"""S-blocks by the PCB of their request; the response has b6 set."""
_INF_OF_S: Final = {RESYNCH: 0, IFS: 1, ABORT: 0, WTX: 1}

EDC_WRONG: Final = 1
OTHER: Final = 2
"""Error bits of an R-block; 0 is none."""


class Block(Record, frozen=True):
    """One block as it lies in bytes: node address, control byte, information field, check code."""

    nad: U8
    pcb: U8
    inf: Annotated[bytes, prefixed(1)]
    edc: Annotated[bytes, Rest(1, 2)]


class Received(NamedTuple):
    """A block that is valid by itself. `number` is N(S) or N(R), `error` the bits of an R-block.

    `request` is the PCB of an S-block's request, and `is_response` whether this is the response to it.
    """

    kind: Literal["I", "R", "S"]
    nad: int
    number: int = 0
    more: bool = False
    error: int = 0
    request: int = 0
    is_response: bool = False
    inf: bytes = b""


class Invalid(NamedTuple):
    """A block that is not: the error bits of the R-block that says so."""

    error: int


def i_pcb(number: int, *, more: bool) -> int:
    """Control byte of an I-block."""
    return number * _I_NUMBER | more * _MORE


def r_pcb(number: int, error: int = 0) -> int:
    """Control byte of an R-block that expects I-block `number`."""
    return 0x80 | number * _R_NUMBER | error


def seal(code: Edc, nad: int, pcb: int, inf: bytes = b"") -> bytes:
    """The bytes of a block, closed with its check code."""
    return code.close(bytes((nad, pcb, len(inf))) + inf)


def swapped(nad: int) -> int:
    """The node address of an answer: source and destination exchanged."""
    return (nad << 4 | nad >> 4) & 0xFF


def is_address(nad: int) -> bool:
    """Whether a node address may be used: b8 and b4 are zero, and source and destination differ or are both 0."""
    return not nad & 0x88 and (nad == 0 or nad >> 4 != nad & 0x0F)


def read(frame: bytes, code: Edc, largest: int) -> Received | Invalid:
    """What a frame of characters is. `largest`: bytes of INF that this side takes."""
    try:
        block = Block.parse(frame)
    except DecodeError:
        return Invalid(OTHER)
    if len(block.edc) != code.size:
        return Invalid(OTHER)
    if not code.holds(frame):
        return Invalid(EDC_WRONG)
    size = len(block.inf)
    if size > min(largest, MAX_INF):
        return Invalid(OTHER)
    return _by_pcb(block, size)


def _by_pcb(block: Block, size: int) -> Received | Invalid:
    pcb = block.pcb
    if not pcb & 0x80:
        is_bad = bool(pcb & 0x1F)
        found = Received("I", block.nad, pcb >> 6, bool(pcb & _MORE), inf=block.inf)
    elif not pcb & 0x40:
        is_bad = bool(pcb & 0x2C or pcb & 3 == 3 or size)
        found = Received("R", block.nad, pcb >> 4 & 1, error=pcb & 3)
    else:
        request = pcb & ~_RESPONSE
        is_bad = _INF_OF_S.get(request) != size or (
            (request == IFS and not 1 <= block.inf[0] <= MAX_INF) or (request == WTX and not block.inf[0])
        )
        found = Received("S", block.nad, request=request, is_response=bool(pcb & _RESPONSE), inf=block.inf)
    return Invalid(OTHER) if is_bad else found


@final
class Receiver:
    """Puts characters together into frames: the third one says how many follow, and a gap of CWT ends them anyway."""

    __slots__ = ("_buffer", "_gap", "_last", "_tail")

    def __init__(self, code: Edc, gap: float) -> None:
        """gap: CWT in seconds."""
        self._tail, self._gap = 3 + code.size, gap
        self._buffer = b""
        self._last = 0.0

    def add(self, data: bytes, now: float) -> bytes | None:
        """Take characters; the frame they complete, which may have too many of them, else None."""
        if self._buffer and now - self._last > self._gap:
            self._buffer = b""
        self._buffer += data
        self._last = now
        size = len(self._buffer)
        if size < 3 or (self._buffer[2] <= MAX_INF and size < self._buffer[2] + self._tail):
            return None
        return self.flush()

    def flush(self) -> bytes:
        """What there is, as a frame; empty afterwards."""
        frame, self._buffer = self._buffer, b""
        return frame

    @property
    def is_open(self) -> bool:
        """Whether a frame has begun and not ended."""
        return bool(self._buffer)

    def deadline(self) -> float | None:
        """When the gap is too long, None if no frame has begun."""
        return self._last + self._gap if self._buffer else None

    def is_cut(self, now: float) -> bool:
        """Whether the frame that has begun will not be completed."""
        due = self.deadline()
        return due is not None and now >= due
