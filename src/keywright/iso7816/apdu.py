"""Command and response APDUs as values (ISO 7816-4 section 5; cases 1 to 4, short and extended).

They hold nothing that could hold them, so the collector need not look at them (`gc=False`): there are many.
"""

from __future__ import annotations

from typing import Self

import msgspec

from keywright.errors import DecodeError

SHORT_LE = 256
EXTENDED_LE = 65_536
_SHORT_LE_FIELDS = tuple(bytes((le & 0xFF,)) for le in range(SHORT_LE + 1))


class Command(msgspec.Struct, frozen=True, gc=False):
    """A command APDU.

    `le` is the number of answer bytes expected: None when there is no Le field, 0 for "all there are"
    (256 short, 65 536 extended). `extended` fixes the coding of Lc and Le; it is decided before secure
    messaging, because a C-MAC covers Lc as it is coded.
    """

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes = b""
    le: int | None = None
    extended: bool = False

    def encode(self) -> bytes:
        """The bytes of this command. Raises ValueError when a field does not fit its coding."""
        data, le = self.data, self.le
        if self.extended:
            return bytes((self.cla, self.ins, self.p1, self.p2)) + _extended_body(data, le)
        if len(data) > 255:
            raise ValueError(f"{len(data)} bytes of data do not fit a short APDU")
        if le is not None and not 0 <= le <= SHORT_LE:
            raise ValueError(f"Le {le} does not fit a short APDU")
        tail = b"" if le is None else _SHORT_LE_FIELDS[le]
        if data:
            return bytes((self.cla, self.ins, self.p1, self.p2, len(data))) + data + tail
        return bytes((self.cla, self.ins, self.p1, self.p2)) + tail

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read one command. Raises DecodeError for bytes of no case (a card answers those with 6700)."""
        size = len(raw)
        if size < 4:
            raise DecodeError("a command has at least 4 bytes", size)
        cla, ins, p1, p2 = raw[:4]
        if size == 4:
            return cls(cla, ins, p1, p2)
        lc = raw[4]
        if size == 5:
            return cls(cla, ins, p1, p2, b"", lc)
        if lc:
            if size == 5 + lc:
                return cls(cla, ins, p1, p2, raw[5:])
            if size == 6 + lc:
                return cls(cla, ins, p1, p2, raw[5:-1], raw[-1])
            raise DecodeError(f"Lc {lc:02X} does not match {size} bytes", 4)
        return cls(cla, ins, p1, p2, *_parse_extended(raw), True)


def _extended_body(data: bytes, le: int | None) -> bytes:
    if len(data) > 65_535:
        raise ValueError(f"{len(data)} bytes of data do not fit an extended APDU")
    if le is not None and not 0 <= le <= EXTENDED_LE:
        raise ValueError(f"Le {le} does not fit an extended APDU")
    tail = b"" if le is None else (le & 0xFFFF).to_bytes(2)
    if data:
        return b"\0" + len(data).to_bytes(2) + data + tail
    return b"\0" + tail if tail else b""


def _parse_extended(raw: bytes) -> tuple[bytes, int | None]:
    size = len(raw)
    if size == 7:
        return b"", int.from_bytes(raw[5:7])
    if size > 7:
        lc = int.from_bytes(raw[5:7])
        if lc and size == 7 + lc:
            return raw[7:], None
        if lc and size == 9 + lc:
            return raw[7:-2], int.from_bytes(raw[-2:])
    raise DecodeError(f"extended length fields do not match {size} bytes", 4)


class Response(msgspec.Struct, frozen=True, gc=False):
    """A response APDU: data and the status word."""

    data: bytes
    sw: int = 0x9000

    def encode(self) -> bytes:
        """Data and the two status bytes."""
        return self.data + self.sw.to_bytes(2)

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read one answer. Raises DecodeError for fewer than two bytes or a first status byte that is none."""
        if len(raw) < 2:
            raise DecodeError("an answer has at least a status word of 2 bytes", len(raw))
        sw = raw[-2] << 8 | raw[-1]
        if sw >> 12 not in (6, 9):
            raise DecodeError(f"{sw:04X} is no status word (6xxx or 9xxx)", len(raw) - 2)
        return cls(raw[:-2], sw)
