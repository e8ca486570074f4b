"""Activation of contactless cards: RATS, ATS, PPS of type A; ATQB, ATTRIB of type B; the ATR that PC/SC makes up.

ISO 14443-4 section 5, ISO 14443-3 section 7, PC/SC part 3. Messages are without their CRC. What both types say in the
end is one value, `Limits`.
"""

from __future__ import annotations

from functools import reduce
from operator import xor
from typing import Final

import msgspec

from keywright.errors import DecodeError
from keywright.iso7816.timing import MAX_FWI, frame_waiting_time

FRAME_SIZES: Final = (16, 24, 32, 40, 48, 64, 96, 128, 256, 512, 1024, 2048, 4096)
"""FSD or FSC in bytes by FSDI or FSCI; the reserved codes D to F are read as C."""
DEFAULT_FSCI: Final = 2
DEFAULT_FWI: Final = 4
RATS: Final = 0xE0
PPS: Final = 0xD0
PPS0: Final = 0x01
_HAS_PPS1: Final = 0x10
ATQB: Final = 0x50
ATTRIB: Final = 0x1D
_HAS_TA, _HAS_TB, _HAS_TC = 0x10, 0x20, 0x40
_NAD_BIT, _CID_BIT = 1, 2
_STORAGE_CARD: Final = bytes.fromhex("804F0CA000000306")


def frame_size(code: int) -> int:
    """FSD or FSC in bytes for a code of 0 to 15."""
    return FRAME_SIZES[min(code, len(FRAME_SIZES) - 1)]


def frame_code(size: int) -> int:
    """The largest code whose frame fits `size` bytes. Raises ValueError below 16."""
    if size < FRAME_SIZES[0]:
        raise ValueError(f"a frame has at least {FRAME_SIZES[0]} bytes, not {size}")
    return max(code for code, limit in enumerate(FRAME_SIZES) if limit <= size)


class Limits(msgspec.Struct, frozen=True):
    """What activation has settled. fsc: bytes the card takes; fsd: bytes the reader takes; both with header and CRC."""

    fsc: int = 32
    fsd: int = 256
    fwi: int = DEFAULT_FWI
    sfgi: int = 0
    cid: int | None = None
    """The card's number if the block header carries it, else None."""
    takes_nad: bool = False

    @property
    def fwt(self) -> float:
        """Frame waiting time in seconds."""
        return frame_waiting_time(self.fwi)


class Rats(msgspec.Struct, frozen=True):
    """Request for answer to select: what the reader takes, and the number it gives the card (5.1)."""

    fsdi: int = 8
    cid: int = 0

    @classmethod
    def parse(cls, raw: bytes) -> Rats:
        """Read a RATS. Raises DecodeError; CID 15 is reserved."""
        if len(raw) != 2 or raw[0] != RATS:
            raise DecodeError("a RATS is E0 and one byte", min(len(raw), 2))
        if raw[1] & 0x0F == 0x0F:
            raise DecodeError("CID 15 is reserved", 1)
        return cls(raw[1] >> 4, raw[1] & 0x0F)

    def build(self) -> bytes:
        """The bytes of this RATS. Raises ValueError."""
        if not 0 <= self.fsdi <= 15 or not 0 <= self.cid <= 14:
            raise ValueError("FSDI is 0 to 15, a CID 0 to 14")
        return bytes((RATS, self.fsdi << 4 | self.cid))


class Ats(msgspec.Struct, frozen=True):
    """Answer to select (5.2). An interface byte that is None is absent and has its default; `fsci` None: no T0."""

    fsci: int | None = DEFAULT_FSCI
    ta: int | None = None
    tb: int | None = None
    tc: int | None = None
    historical: bytes = b""

    @classmethod
    def parse(cls, raw: bytes) -> Ats:
        """Read an ATS. Raises DecodeError for a length TL that is wrong, or one too short for what T0 announces."""
        if not raw or raw[0] != len(raw):
            raise DecodeError(f"TL does not count the {len(raw)} bytes of this ATS", 0)
        if len(raw) == 1:
            return cls(None)
        t0 = raw[1]
        if t0 & 0x80:
            raise DecodeError("b8 of T0 is reserved", 1)
        names = [name for bit, name in ((_HAS_TA, "ta"), (_HAS_TB, "tb"), (_HAS_TC, "tc")) if t0 & bit]
        end = 2 + len(names)
        if len(raw) < end:
            raise DecodeError("the ATS ends inside its interface bytes", len(raw))
        return cls(t0 & 0x0F, **dict(zip(names, raw[2:end], strict=True)), historical=raw[end:])

    def build(self) -> bytes:
        """The bytes of this ATS. Raises ValueError."""
        given = [(bit, b) for bit, b in ((_HAS_TA, self.ta), (_HAS_TB, self.tb), (_HAS_TC, self.tc)) if b is not None]
        if self.fsci is None:
            if given or self.historical:
                raise ValueError("an ATS without T0 is its length alone")
            return b"\x01"
        if not 0 <= self.fsci <= 15:
            raise ValueError("FSCI is 0 to 15")
        body = bytes((sum(bit for bit, _ in given) | self.fsci, *(value for _, value in given))) + self.historical
        return bytes((len(body) + 1,)) + body

    @property
    def fwi(self) -> int:
        """Frame waiting time integer; the reserved 15 is read as the default."""
        value = DEFAULT_FWI if self.tb is None else self.tb >> 4
        return value if value <= MAX_FWI else DEFAULT_FWI

    @property
    def sfgi(self) -> int:
        """Start-up frame guard time integer; the reserved 15 is read as 0."""
        value = 0 if self.tb is None else self.tb & 0x0F
        return value if value <= MAX_FWI else 0

    @property
    def takes_cid(self) -> bool:
        """Whether block headers may carry the card's number; without TC they may."""
        return self.tc is None or bool(self.tc & _CID_BIT)

    @property
    def takes_nad(self) -> bool:
        """Whether block headers may carry a node address."""
        return self.tc is not None and bool(self.tc & _NAD_BIT)

    def rates(self, *, to_card: bool) -> tuple[int, ...]:
        """Divisors in one direction that TA offers, 1 (106 kbit/s) among them always."""
        bits = (self.ta or 0) if to_card else (self.ta or 0) >> 4
        return (1, *(divisor for bit, divisor in ((1, 2), (2, 4), (4, 8)) if bits & bit))

    def limits(self, rats: Rats) -> Limits:
        """What RATS and this ATS settle together."""
        fsc = frame_size(DEFAULT_FSCI if self.fsci is None else self.fsci)
        cid = rats.cid if self.takes_cid and rats.cid else None
        return Limits(fsc, frame_size(rats.fsdi), self.fwi, self.sfgi, cid, self.takes_nad)


class TypeAPps(msgspec.Struct, frozen=True):
    """PPS request of type A (5.3): divisors by code 0 to 3 (1, 2, 4, 8) towards the card (DRI) and back (DSI)."""

    cid: int = 0
    dri: int = 0
    dsi: int = 0

    @classmethod
    def parse(cls, raw: bytes) -> TypeAPps:
        """Read a PPS request, with PPS1 or without. Raises DecodeError."""
        if not raw or raw[0] & 0xF0 != PPS or raw[0] & 0x0F == 0x0F:
            raise DecodeError("a PPS starts with D0 to DE", 0)
        if len(raw) == 2 and raw[1] == PPS0:
            return cls(raw[0] & 0x0F)
        if len(raw) != 3 or raw[1] != PPS0 | _HAS_PPS1:
            raise DecodeError("PPS0 is 01, or 11 before PPS1", min(1, len(raw)))
        if raw[2] & 0xF0:
            raise DecodeError("the upper bits of PPS1 are reserved", 2)
        return cls(raw[0] & 0x0F, raw[2] & 3, raw[2] >> 2)

    def build(self) -> bytes:
        """The bytes of this PPS request, always with PPS1. Raises ValueError."""
        if not (0 <= self.cid <= 14 and 0 <= self.dri <= 3 and 0 <= self.dsi <= 3):
            raise ValueError("a CID is 0 to 14, a divisor code 0 to 3")
        return bytes((PPS | self.cid, PPS0 | _HAS_PPS1, self.dsi << 2 | self.dri))

    def answer(self) -> bytes:
        """What the card sends back: the start byte."""
        return bytes((PPS | self.cid,))


class Atqb(msgspec.Struct, frozen=True):
    """Answer to request of type B (ISO 14443-3 7.9): identifier, application data, protocol info."""

    pupi: bytes
    application: bytes
    rates: int = 0
    fsci: int = DEFAULT_FSCI
    protocol: int = 1
    """Protocol type: 1 for ISO 14443-4."""
    fwi: int = DEFAULT_FWI
    adc: int = 0
    options: int = 0
    """b2: NAD is taken, b1: CID is taken."""
    extended: int | None = None

    @classmethod
    def parse(cls, raw: bytes) -> Atqb:
        """Read an ATQB of 12 or 13 bytes. Raises DecodeError."""
        if len(raw) not in (12, 13) or raw[0] != ATQB:
            raise DecodeError("an ATQB is 50 and 11 or 12 bytes", min(len(raw), 1))
        rates, sizes, times = raw[9:12]
        last = raw[12] if len(raw) == 13 else None
        return cls(raw[1:5], raw[5:9], rates, sizes >> 4, sizes & 15, times >> 4, times >> 2 & 3, times & 3, last)

    def build(self) -> bytes:
        """The bytes of this ATQB. Raises ValueError."""
        if len(self.pupi) != 4 or len(self.application) != 4:
            raise ValueError("PUPI and application data have 4 bytes each")
        if not (0 <= self.adc <= 3 and 0 <= self.options <= 3):
            raise ValueError("ADC and frame options have 2 bits each")
        if not all(0 <= value <= 15 for value in (self.fsci, self.protocol, self.fwi)):
            raise ValueError("frame size, protocol type and FWI have 4 bits each")
        tail = b"" if self.extended is None else bytes((self.extended,))
        return bytes((ATQB,)) + self.pupi + self.application + self.protocol_info + tail

    @property
    def protocol_info(self) -> bytes:
        """The three bytes that PC/SC shows too."""
        return bytes((self.rates, self.fsci << 4 | self.protocol, self.fwi << 4 | self.adc << 2 | self.options))

    @property
    def sfgi(self) -> int:
        """Start-up frame guard time integer, from the longer form."""
        value = (self.extended or 0) >> 4
        return value if value <= MAX_FWI else 0

    def limits(self, attrib: Attrib) -> Limits:
        """What this ATQB and an ATTRIB settle together."""
        cid = attrib.cid if self.options & 1 and attrib.cid else None
        fwi = self.fwi if self.fwi <= MAX_FWI else DEFAULT_FWI
        return Limits(frame_size(self.fsci), frame_size(attrib.fsdi), fwi, self.sfgi, cid, bool(self.options & 2))


class Attrib(msgspec.Struct, frozen=True):
    """Selection of a type B card (ISO 14443-3 7.10). `times` is Param 1, `rates` the upper half of Param 2."""

    pupi: bytes
    fsdi: int = 8
    cid: int = 0
    times: int = 0
    rates: int = 0
    protocol: int = 1
    higher: bytes = b""

    @classmethod
    def parse(cls, raw: bytes) -> Attrib:
        """Read an ATTRIB. Raises DecodeError; CID 15 and the upper half of Params 3 and 4 are reserved."""
        if len(raw) < 9 or raw[0] != ATTRIB:
            raise DecodeError("an ATTRIB is 1D and at least 8 bytes", min(len(raw), 1))
        times, sizes, protocol, cid = raw[5:9]
        if protocol & 0xF0 or cid > 14:
            raise DecodeError("reserved bits are set", 7)
        return cls(raw[1:5], sizes & 15, cid, times, sizes >> 4, protocol, raw[9:])

    def build(self) -> bytes:
        """The bytes of this ATTRIB. Raises ValueError."""
        if len(self.pupi) != 4:
            raise ValueError("a PUPI has 4 bytes")
        if not (0 <= self.cid <= 14 and all(0 <= value <= 15 for value in (self.fsdi, self.rates, self.protocol))):
            raise ValueError("a CID is 0 to 14, frame size, rates and protocol type have 4 bits each")
        head = bytes((self.times, self.rates << 4 | self.fsdi, self.protocol, self.cid))
        return bytes((ATTRIB,)) + self.pupi + head + self.higher


class AttribAnswer(msgspec.Struct, frozen=True):
    """Answer to ATTRIB: maximum buffer length index, the card's number, data of a higher layer."""

    mbli: int = 0
    cid: int = 0
    higher: bytes = b""

    @classmethod
    def parse(cls, raw: bytes) -> AttribAnswer:
        """Read an answer. Raises DecodeError for no byte."""
        if not raw:
            raise DecodeError("an answer to ATTRIB has at least 1 byte", 0)
        return cls(raw[0] >> 4, raw[0] & 15, raw[1:])

    def build(self) -> bytes:
        """The bytes of this answer. Raises ValueError."""
        if not (0 <= self.mbli <= 15 and 0 <= self.cid <= 15):
            raise ValueError("MBLI and CID have 4 bits each")
        return bytes((self.mbli << 4 | self.cid,)) + self.higher


def atr_of_type_a(ats: Ats) -> bytes:
    """The ATR that a PC/SC reader shows for this card: its historical bytes, at most 15, behind T=0 and T=1."""
    return _contactless(ats.historical[:15])


def atr_of_type_b(atqb: Atqb, mbli: int = 0) -> bytes:
    """The ATR that a PC/SC reader shows for this card: application data, protocol info, MBLI."""
    return _contactless(atqb.application + atqb.protocol_info + bytes((mbli << 4,)))


def atr_of_storage_card(standard: int, name: int) -> bytes:
    """The ATR that a PC/SC reader shows for a memory card; standard: one byte, name: two, of PC/SC part 3."""
    return _contactless(_STORAGE_CARD + bytes((standard,)) + name.to_bytes(2) + bytes(4))


def _contactless(historical: bytes) -> bytes:
    body = bytes((0x80 | len(historical), 0x80, 0x01)) + historical
    return b"\x3b" + body + bytes((reduce(xor, body),))
