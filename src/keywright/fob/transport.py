"""A device in this process, reached block by block over T=0, T=1, ISO 14443-4 or GATT instead of by whole APDUs.

What a host sees is a link like any other. Underneath, both ends of the transport run against each other in virtual
time, so nothing waits; a line that fails as planned may stand between them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from keywright.errors import DecodeError, LinkError
from keywright.iso7816.atr import Atr, T1Parameters, build
from keywright.iso7816.ats import Atqb, Ats, Rats, TypeAPps, atr_of_type_a, atr_of_type_b
from keywright.iso7816.gatt import GattCard, GattHost
from keywright.iso7816.iso14443 import Iso14443Card, Iso14443Profile, Iso14443Reader
from keywright.iso7816.line import Channel, Line, LineExchange, clean
from keywright.iso7816.t0 import T0Card, T0Host, T0Profile
from keywright.iso7816.t1 import T1Card, T1Host
from keywright.iso7816.t1.profile import of_atr
from keywright.iso7816.transport import Failed
from keywright.sansio.responder import Device

_IFS: Final = 254
_MTU: Final = 247
_FSCI: Final = 8
_TYPE_A_BYTES: Final = (0x80, 0x80, 0x02)
"""TA: 106 kbit/s only; TB: FWI 8, SFGI 0; TC: the card's number may stand in a header."""
_PUPI: Final = b"KWRT"
_FWI: Final = 8


@final
class TransportLink:
    """An `Exchange` over both ends of a transport. Every failure of the blocks is a LinkError.

    RESYNCH and whatever takes the card down have `delivered` None if the command may have run: a secure session above
    is then closed by its own layer. A card that is down stays so until `reset`, as with a real reader.
    """

    def __init__(
        self, name: str, line: Line, atr: bytes, *, extended: bool, start: Callable[[Line], None] | None = None
    ) -> None:
        """atr: what the card shows over this transport. start: what precedes the first command after every reset."""
        self.name, self.atr, self.extended = name, atr, extended
        self.line = line
        self._exchange = LineExchange(line, name)
        self._start = start
        self._is_open = True
        self._begin()

    def exchange(self, command: bytes, /) -> bytes:
        """The device's answer. Raises LinkError, also after `close`."""
        self._check()
        return self._exchange.exchange(command)

    def reset(self) -> bytes:
        """Reset the device, begin anew on both ends, and return the ATR. Raises LinkError."""
        self._check()
        self.line.reset()
        self._begin()
        return self.atr

    def close(self) -> None:
        """Give the link up; twice does no harm."""
        self._is_open = False

    def _begin(self) -> None:
        if self._start is not None:
            self._start(self.line)

    def _check(self) -> None:
        if not self._is_open:
            raise LinkError(f"{self.name}: the link is closed", delivered=False)


def _historical(device: Device) -> bytes:
    try:
        return Atr.parse(device.atr).historical
    except DecodeError:
        return b""


def _settle(line: Line) -> None:
    """Wait for what was asked before the first command. Raises LinkError when the card does not give it."""
    end = line.settle()[-1]
    if isinstance(end, Failed):
        raise LinkError(f"the card cannot be reached: {end.text}", delivered=False, hint="reset the card")


def _t0(device: Device, channel: Channel, name: str) -> TransportLink:
    profile = T0Profile()
    line = Line(T0Host(profile), T0Card(device, profile), channel)
    return TransportLink(name, line, build(_historical(device), (0,)), extended=False)


def _t1(device: Device, channel: Channel, name: str, *, crc: bool) -> TransportLink:
    atr = build(_historical(device), (1,), T1Parameters(ifsc=_IFS, crc=crc))
    profile = of_atr(Atr.parse(atr))
    host = T1Host(profile.for_sessions())

    def start(line: Line) -> None:
        host.request_ifs(_IFS, line.now)
        _settle(line)

    return TransportLink(name, Line(host, T1Card(device, profile), channel), atr, extended=True, start=start)


def _nfc_a(device: Device, channel: Channel, name: str) -> TransportLink:
    ats = Ats(_FSCI, *_TYPE_A_BYTES, _historical(device))
    reader = Iso14443Reader(Iso14443Profile(type="A"))

    def start(line: Line) -> None:
        reader.activate(line.now, Rats(), TypeAPps())
        _settle(line)

    card = Iso14443Card(device, Iso14443Profile(type="A"), ats)
    return TransportLink(name, Line(reader, card, channel), atr_of_type_a(ats), extended=True, start=start)


def _nfc_b(device: Device, channel: Channel, name: str) -> TransportLink:
    atqb = Atqb(_PUPI, bytes(4), fsci=_FSCI, fwi=_FWI)
    reader = Iso14443Reader(Iso14443Profile(type="B"))

    def start(line: Line) -> None:
        reader.attach(line.now, atqb)
        _settle(line)

    card = Iso14443Card(device, Iso14443Profile(type="B"), atqb)
    return TransportLink(name, Line(reader, card, channel), atr_of_type_b(atqb), extended=True, start=start)


def _t1_lrc(device: Device, channel: Channel, name: str) -> TransportLink:
    return _t1(device, channel, name, crc=False)


def _t1_crc(device: Device, channel: Channel, name: str) -> TransportLink:
    return _t1(device, channel, name, crc=True)


def _gatt(device: Device, channel: Channel, name: str) -> TransportLink:
    card = GattCard(device)
    host = GattHost(_MTU)
    line = Line(host, card, channel)
    card.connected(_MTU, line.now)

    def start(line: Line) -> None:
        host.request_reset(line.now)
        _settle(line)

    return TransportLink(name, line, device.atr, extended=True, start=start)


TRANSPORTS: Final = {"t0": _t0, "t1": _t1_lrc, "t1-crc": _t1_crc, "nfc-a": _nfc_a, "nfc-b": _nfc_b, "gatt": _gatt}
"""Names of transports, as the parameter of a `sim` URI has them."""


def over(device: Device, transport: str, channel: Channel = clean, name: str = "") -> TransportLink:
    """A link to `device` over a transport of `TRANSPORTS`.

    channel: what the line does to frames. Raises ValueError for a transport that is none, LinkError when the line is
    so bad that the card cannot be activated.
    """
    make = TRANSPORTS.get(transport)
    if make is None:
        raise ValueError(f"no transport {transport!r}; there are {', '.join(TRANSPORTS)}")
    return make(device, channel, name or transport)
