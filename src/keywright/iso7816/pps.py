"""Protocol and parameters selection, both ends (ISO 7816-3 section 9): the first exchange in negotiable mode, or none.

The host asks with `select`, a dialogue; the card answers with `PpsCard`. Silence is empty bytes.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import reduce
from operator import xor
from typing import Final, final

import msgspec

from keywright.errors import DecodeError, WireError
from keywright.iso7816.timing import CLOCK_HZ, DI, FI, Speed

PPSS: Final = 0xFF
DEFAULT_PPS1: Final = 0x11
_FIELDS: Final = ((0x10, "pps1"), (0x20, "pps2"), (0x40, "pps3"))


class Pps(msgspec.Struct, frozen=True):
    """One PPS, request or answer (9.2). A field that is None is absent."""

    protocol: int
    pps1: int | None = None
    pps2: int | None = None
    pps3: int | None = None

    @classmethod
    def parse(cls, raw: bytes) -> Pps:
        """Read one PPS. Raises DecodeError for a wrong start, length, reserved bit or check byte PCK."""
        if len(raw) < 3:
            raise DecodeError("a PPS has at least 3 bytes", len(raw))
        if raw[0] != PPSS:
            raise DecodeError(f"a PPS starts with FF, not {raw[0]:02X}", 0)
        if raw[1] & 0x80:
            raise DecodeError("b8 of PPS0 is reserved", 1)
        present = [name for bit, name in _FIELDS if raw[1] & bit]
        size = 3 + len(present)
        if len(raw) != size:
            raise DecodeError(f"a PPS of this form has {size} bytes, not {len(raw)}", min(size, len(raw)))
        if reduce(xor, raw):
            raise DecodeError("the check byte PCK is wrong", size - 1)
        return cls(raw[1] & 0x0F, **dict(zip(present, raw[2:-1], strict=True)))

    def build(self) -> bytes:
        """The bytes of this PPS. Raises ValueError for a protocol that is not 0 to 14 or a field that is no byte."""
        if not 0 <= self.protocol <= 14:
            raise ValueError("a transmission protocol is T=0 to T=14")
        given = [(bit, value) for bit, name in _FIELDS if (value := getattr(self, name)) is not None]
        body = bytes((PPSS, self.protocol | sum(bit for bit, _ in given), *(value for _, value in given)))
        return body + bytes((reduce(xor, body),))


class Agreed(msgspec.Struct, frozen=True):
    """What a PPS has settled: protocol, the byte Fi|Di in force, and PPS2 and PPS3 if the card kept them."""

    protocol: int
    pps1: int = DEFAULT_PPS1
    pps2: int | None = None
    pps3: int | None = None

    def speed(self, clock_hz: float = CLOCK_HZ) -> Speed:
        """Speed from here on."""
        return Speed(FI[self.pps1 >> 4], DI[self.pps1 & 0x0F], clock_hz)


def select(request: Pps) -> Generator[bytes, bytes, Agreed]:
    """Send `request`, be sent the card's answer (empty: none within 9600 etu), and return what holds (9.3).

    Raises WireError for silence and for any answer but an echo that may lack PPS1, PPS2 or PPS3: the card is then
    deactivated.
    """
    raw = yield request.build()
    if not raw:
        raise WireError("no answer to the PPS within the initial waiting time", hint="deactivate the card, or reset it")
    try:
        answer = Pps.parse(raw)
    except DecodeError as error:
        raise WireError(f"the answer to the PPS is none: {error}", hint="deactivate the card") from error
    if answer.protocol != request.protocol:
        raise WireError(f"the card answered T={answer.protocol} to a PPS for T={request.protocol}")
    for _, name in _FIELDS:
        value = getattr(answer, name)
        if value is not None and value != getattr(request, name):
            raise WireError(f"the card answered {name.upper()} {value:02X}, which was not asked")
    pps1 = DEFAULT_PPS1 if answer.pps1 is None else answer.pps1
    if pps1 >> 4 not in FI or pps1 & 0x0F not in DI:
        raise WireError(f"PPS1 {pps1:02X} is reserved")
    return Agreed(answer.protocol, pps1, answer.pps2, answer.pps3)


@final
class PpsCard:
    """The card's side: answers one PPS for what it offers, ignores everything else.

    protocols: what the ATR offers. pps1: the values of Fi|Di taken, besides 11; any other is left out of the answer.
    keeps: whether PPS2 and PPS3 are echoed. `agreed` is what holds, None until an answer was given.
    """

    def __init__(self, protocols: tuple[int, ...], pps1: frozenset[int] = frozenset(), *, keeps: bool = True) -> None:
        self._protocols = protocols
        self._pps1 = pps1 | {DEFAULT_PPS1}
        self._keeps = keeps
        self.agreed: Agreed | None = None

    def answer(self, raw: bytes) -> bytes:
        """The answer to the first bytes after the ATR; empty to stay silent: no PPS, a wrong PCK, not offered."""
        if self.agreed is not None:
            return b""
        try:
            request = Pps.parse(raw)
        except DecodeError:
            return b""
        if request.protocol not in self._protocols:
            return b""
        kept = Pps(
            request.protocol,
            request.pps1 if request.pps1 in self._pps1 else None,
            request.pps2 if self._keeps else None,
            request.pps3 if self._keeps else None,
        )
        self.agreed = Agreed(kept.protocol, DEFAULT_PPS1 if kept.pps1 is None else kept.pps1, kept.pps2, kept.pps3)
        return kept.build()
