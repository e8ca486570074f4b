"""Answer to reset, complete: structure, checks, and what its interface bytes say (ISO 7816-3 section 8)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import xor
from typing import Final

import msgspec

from keywright.errors import DecodeError
from keywright.iso7816.timing import CLOCK_HZ, DI, FI, FMAX_HZ, Speed

MAX_ATR = 33
GLOBAL: Final = 15
"""T=15 is no protocol: the interface bytes behind it are global (8.2.3)."""
DEFAULT_WI: Final = 10
DEFAULT_IFSC: Final = 32
DEFAULT_BWI: Final = 4
DEFAULT_CWI: Final = 13
_CLOCK_STOP: Final = {0: "not supported", 1: "state L", 2: "state H", 3: "no preference"}
_CLASSES: Final = ((1, "A"), (2, "B"), (4, "C"))


class SpecificMode(msgspec.Struct, frozen=True):
    """TA2 (8.3): the one protocol, whether a warm reset may change the mode, whether TA1 holds without PPS."""

    protocol: int
    can_change: bool
    implicit: bool
    """Fi and Di are set by the card's own rule, not by TA1."""


class T1Parameters(msgspec.Struct, frozen=True):
    """Interface bytes specific to T=1 (11.4): sizes and waiting times of blocks, and the code that closes them."""

    ifsc: int = DEFAULT_IFSC
    bwi: int = DEFAULT_BWI
    cwi: int = DEFAULT_CWI
    crc: bool = False


class Supply(msgspec.Struct, frozen=True):
    """First TA after T=15 (8.3): in which state the clock may stop, and the classes of supply voltage."""

    clock_stop: str
    classes: str


class Atr(msgspec.Struct, frozen=True):
    """A parsed answer to reset. `interface` maps names as in the standard ("TA1" ...) to their byte."""

    direct: bool
    interface: dict[str, int]
    protocols: tuple[int, ...]
    historical: bytes

    @classmethod
    def parse(cls, raw: bytes) -> Atr:
        """Read an ATR of 2 to 33 bytes. Raises DecodeError for a wrong first byte, length or check byte TCK."""
        if not 2 <= len(raw) <= MAX_ATR:
            raise DecodeError(f"an ATR has 2 to {MAX_ATR} bytes, not {len(raw)}", len(raw))
        if raw[0] not in (0x3B, 0x3F):
            raise DecodeError(f"an ATR starts with 3B or 3F, not {raw[0]:02X}", 0)
        interface, offset = _interface_bytes(raw)
        protocols = tuple(value & 0x0F for name, value in interface.items() if name.startswith("TD")) or (0,)
        end = offset + (raw[1] & 0x0F)
        has_tck = any(protocols)
        if len(raw) != end + has_tck:
            raise DecodeError(f"an ATR of this form has {end + has_tck} bytes, not {len(raw)}", min(end, len(raw)))
        if has_tck and reduce(xor, raw[1:]):
            raise DecodeError("the check byte TCK of the ATR is wrong", end)
        offered = tuple(dict.fromkeys(p for p in protocols if p != GLOBAL))
        return cls(raw[0] == 0x3B, interface, offered, raw[offset:end])

    def encode(self) -> bytes:
        """The bytes of this ATR; `protocols` is not read, the TD bytes say it.

        Raises ValueError for more than 15 historical bytes, a name that is no interface byte, one whose TD is missing
        or says that it is absent, and more than 33 bytes in all.
        """
        if len(self.historical) > 15:
            raise ValueError("an ATR holds at most 15 historical bytes")
        left = dict(self.interface)
        level, head = 1, bytearray((0x3B if self.direct else 0x3F,))
        presence = self._presence(1)
        head.append(presence << 4 | len(self.historical))
        while presence:
            for bit, letter in ((1, "A"), (2, "B"), (4, "C"), (8, "D")):
                if presence & bit:
                    head.append(left.pop(f"T{letter}{level}"))
            if presence & 8 and head[-1] >> 4 != self._presence(level + 1):
                raise ValueError(f"TD{level} does not announce the bytes that follow it")
            presence, level = self._presence(level + 1) if presence & 8 else 0, level + 1
        if left:
            raise ValueError(f"interface bytes that nothing announces: {', '.join(left)}")
        whole = bytes(head) + self.historical
        if any(value & 0x0F for name, value in self.interface.items() if name.startswith("TD")):
            whole += bytes((reduce(xor, whole[1:]),))
        if len(whole) > MAX_ATR:
            raise ValueError(f"an ATR has at most {MAX_ATR} bytes, not {len(whole)}")
        return whole

    def _presence(self, level: int) -> int:
        return sum(
            bit for bit, letter in ((1, "A"), (2, "B"), (4, "C"), (8, "D")) if f"T{letter}{level}" in self.interface
        )

    @property
    def default_protocol(self) -> int:
        """The protocol used when none is negotiated: that of TA2, or the first one offered (T=0 if none is)."""
        mode = self.specific_mode
        if mode is not None:
            return mode.protocol
        return self.protocols[0] if self.protocols else 0

    @property
    def fi(self) -> int | None:
        """Fi offered by TA1, 372 without it, None for a reserved value."""
        return FI.get(self._ta1 >> 4)

    @property
    def di(self) -> int | None:
        """Di offered by TA1, 1 without it, None for a reserved value."""
        return DI.get(self._ta1 & 0x0F)

    @property
    def max_clock_hz(self) -> float | None:
        """Highest clock that TA1 allows, None for a reserved value."""
        return FMAX_HZ.get(self._ta1 >> 4)

    @property
    def extra_guard_time(self) -> int:
        """N of TC1: further etu between characters to the card; 255 means the least the protocol allows."""
        return self.interface.get("TC1", 0)

    @property
    def specific_mode(self) -> SpecificMode | None:
        """What TA2 says; None in negotiable mode, where a PPS may follow. Behind a TD1 of T=15 the byte is not TA2."""
        ta2 = self.interface.get("TA2")
        if ta2 is None or self.interface["TD1"] & 0x0F == GLOBAL:
            return None
        return SpecificMode(ta2 & 0x0F, not ta2 & 0x80, bool(ta2 & 0x10))

    @property
    def waiting_integer(self) -> int:
        """WI of T=0 (TC2)."""
        return self.interface.get("TC2", DEFAULT_WI)

    @property
    def t1(self) -> T1Parameters:
        """Parameters of T=1, with the defaults for what is not there."""
        found = self._behind(1)
        times = found.get("B", DEFAULT_BWI << 4 | DEFAULT_CWI)
        return T1Parameters(found.get("A", DEFAULT_IFSC), times >> 4, times & 0x0F, bool(found.get("C", 0) & 1))

    @property
    def supply(self) -> Supply:
        """Clock stop and voltage classes; without the byte the clock may not stop and the class is A."""
        value = self._behind(GLOBAL).get("A", 1)
        return Supply(_CLOCK_STOP[value >> 6], "".join(name for bit, name in _CLASSES if value & bit))

    def speed(self, clock_hz: float = CLOCK_HZ) -> Speed:
        """What TA1 offers, to be used after a PPS or in specific mode; the default for reserved values."""
        return Speed(self.fi or 372, self.di or 1, clock_hz)

    def faults(self) -> tuple[str, ...]:
        """What the standard forbids although the structure is right, in words; empty for a clean ATR."""
        return tuple(self._faults())

    @property
    def _ta1(self) -> int:
        return self.interface.get("TA1", 0x11)

    def _behind(self, protocol: int) -> dict[str, int]:
        """Letters to bytes of the first group behind a TD of `protocol`, from the third on (T=15: from the second)."""
        level = 2
        if protocol == GLOBAL and self.interface.get("TD1", 0) & 0x0F == GLOBAL:
            level = 1
        while (td := self.interface.get(f"TD{level}")) is not None:
            level += 1
            if td & 0x0F == protocol:
                return {
                    name: self.interface[f"T{name}{level}"] for name in "ABC" if f"T{name}{level}" in self.interface
                }
        return {}

    def _faults(self) -> Iterator[str]:
        if self.fi is None or self.di is None:
            yield f"TA1 {self._ta1:02X} is reserved"
        named = [value & 0x0F for name, value in self.interface.items() if name.startswith("TD")]
        if named and named[0] == GLOBAL:
            yield "TD1 names T=15, which is no protocol"
        if named != sorted(named):
            yield "protocols are not named in ascending order"
        mode = self.specific_mode
        if mode is not None and mode.protocol not in self.protocols:
            yield f"TA2 sets T={mode.protocol}, which is not offered"
        if self.waiting_integer == 0:
            yield "WI is 0, which is reserved"
        if 1 in self.protocols:
            yield from self._t1_faults()

    def _t1_faults(self) -> Iterator[str]:
        t1 = self.t1
        if t1.ifsc in (0x00, 0xFF):
            yield f"IFSC {t1.ifsc:02X} is reserved"
        if t1.bwi > 9:
            yield f"BWI {t1.bwi} is reserved"
        if self._behind(1).get("C", 0) & 0xFE:
            yield "reserved bits of the T=1 error detection byte are set"


def _interface_bytes(raw: bytes) -> tuple[dict[str, int], int]:
    found: dict[str, int] = {}
    present, offset, level = raw[1] >> 4, 2, 1
    while present:
        following = 0
        for bit, letter in ((1, "A"), (2, "B"), (4, "C"), (8, "D")):
            if present & bit:
                if offset >= len(raw):
                    raise DecodeError("the ATR ends inside its interface bytes", offset)
                found[f"T{letter}{level}"] = raw[offset]
                following = raw[offset] >> 4 if letter == "D" else following
                offset += 1
        present, level = following, level + 1
    return found, offset


def build(historical: bytes = b"", protocols: tuple[int, ...] = (1,), t1: T1Parameters | None = None) -> bytes:
    """An ATR at default speed naming `protocols`, with up to 15 historical bytes.

    t1: the parameters of T=1 to state, where it is the last protocol named. Raises ValueError for more historical
    bytes, for a protocol that does not exist (0 to 14), and for `t1` without T=1 in the last place.
    """
    if len(historical) > 15:
        raise ValueError("an ATR holds at most 15 historical bytes")
    if not all(0 <= protocol <= 14 for protocol in protocols):
        raise ValueError("a transmission protocol is T=0 to T=14")
    if t1 is not None:
        return _with_t1(historical, protocols, t1)
    if not any(protocols):
        return bytes((0x3B, len(historical))) + historical
    chain = [*protocols]
    head = bytes((0x3B, 0x80 | len(historical)))
    for index, protocol in enumerate(chain):
        head += bytes((protocol | (0x80 if index + 1 < len(chain) else 0),))
    body = head + historical
    return body + bytes((reduce(xor, body[1:]),))


def _with_t1(historical: bytes, protocols: tuple[int, ...], t1: T1Parameters) -> bytes:
    if not protocols or protocols[-1] != 1:
        raise ValueError("parameters of T=1 follow T=1 as the last protocol")
    chain = protocols if len(protocols) > 1 else (1, 1)
    last = len(chain)
    interface = {f"TD{level}": 0x80 | protocol for level, protocol in enumerate(chain[:-1], 1)}
    interface[f"TD{last}"] = (0x70 if t1.crc else 0x30) | 1
    interface |= {f"TA{last + 1}": t1.ifsc, f"TB{last + 1}": t1.bwi << 4 | t1.cwi}
    if t1.crc:
        interface[f"TC{last + 1}"] = 1
    return Atr(direct=True, interface=interface, protocols=protocols, historical=historical).encode()
