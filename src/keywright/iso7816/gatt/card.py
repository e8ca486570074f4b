"""The fob's end of the APDU service: a device behind GATT, over many connections one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, final

from keywright.errors import DecodeError, WireError
from keywright.iso7816.gatt.messages import ANSWER, ATR, COMMAND, ERROR, LEAST_MTU, RESET, SERVICE, Code, Joiner, cut
from keywright.iso7816.transport import CardEvent, Ran
from keywright.sansio.responder import Device

_COMPLETE_UUID128: Final = 0x07
"""AD type: complete list of 128-bit service UUIDs."""


@final
class GattCard:
    """Endpoint: frames are the values written and notified. A connection is a power cycle of the device behind."""

    def __init__(self, device: Device) -> None:
        self.is_closed = False
        """Whether the connection is to be ended: never from this side."""
        self._device = device
        self._mtu = LEAST_MTU
        self._joiner = Joiner((COMMAND, RESET))
        self._values: list[bytes] = []
        self._is_answering = False
        self._values_at = 0.0
        self._events: list[CardEvent] = []

    @property
    def pipe(self) -> tuple[str, str, str]:
        """UUIDs of the service and its characteristics."""
        service, write, notify = SERVICE
        return (service, write, notify)

    @property
    def advertising(self) -> Sequence[bytes]:
        """AD structure that tells of the service."""
        uuid = bytes.fromhex(SERVICE[0].replace("-", ""))[::-1]
        return (bytes((len(uuid) + 1, _COMPLETE_UUID128)) + uuid,)

    def connected(self, mtu: int, now: float) -> None:
        """A client listens, on a connection with this ATT_MTU: it is told the answer to reset."""
        self._mtu = mtu
        self.reset(now)
        self._put(ATR, self._device.atr, now)

    def disconnected(self, why: str, now: float) -> None:
        """The connection is gone; so are the sessions of the device."""
        del why
        self.reset(now)

    def reset(self, now: float) -> None:
        """Reset the device behind, and begin anew."""
        del now
        self._device.reset()
        self._joiner.forget()
        self._values = []
        self._is_answering = False

    def parity_error(self, now: float) -> None:
        """There are none on this transport."""

    def receive(self, data: bytes, now: float) -> None:
        """Take one value; what is none is answered with an error."""
        try:
            message = self._joiner.take(data, now)
        except (DecodeError, WireError):
            self._put(ERROR, bytes((Code.BAD_VALUE,)), now)
            return
        match message:
            case (kind, octets) if kind == COMMAND and self._is_answering:
                del octets
                self._put(ERROR, bytes((Code.BUSY,)), now)
            case (kind, octets) if kind == COMMAND:
                self._put(ANSWER, self._device.handle(octets), now)
                self._is_answering = True
                self._events.append(Ran(octets))
            case (_, _):
                self.reset(now)
                self._put(ATR, self._device.atr, now)
            case None:
                pass

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Values to notify now; also notes that a message was not whole in time."""
        if self._joiner.until is not None and now >= self._joiner.until:
            self._joiner.forget()
            self._put(ERROR, bytes((Code.TIMEOUT,)), now)
        values, self._values = self._values, []
        self._is_answering = False
        return values

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        return self._values_at if self._values else self._joiner.until

    def events(self) -> Sequence[CardEvent]:
        """What has happened."""
        events, self._events = self._events, []
        return events

    def _put(self, kind: int, message: bytes, now: float) -> None:
        self._values += cut(kind, message, self._mtu)
        self._values_at = now
