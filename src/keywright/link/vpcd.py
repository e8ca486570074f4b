"""A device as a card in the virtual reader `vpcd` (vsmartcard), so that every PC/SC program finds it.

Either end may dial. With DEVICENAME `/dev/null:0x8C7B` the driver listens, on all interfaces, and the card dials
(`connect`): to insert and to remove the card is to connect and to close. With DEVICENAME `127.0.0.1:0x8C7B` the
driver dials (`serve`), one port for each of its two slots, and aborts pcscd if a connection is refused or closed:
end pcscd before such a server.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import final

from keywright.errors import LinkError
from keywright.link.sockets import UNKNOWN_ERROR, Loop, Station, dial, listen, sendable
from keywright.sansio import Device

PORT = 35963
"""First slot's port; the second slot's is the next."""

POWER_OFF, POWER_ON, RESET, GET_ATR = 0x00, 0x01, 0x02, 0x04

_NO_ATR = b"\x00"
_DIAL_TIMEOUT_S = 10.0
_TRIES = 16
"""How many free ports are looked at for one whose next is free too."""


@final
class Slot:
    """The card's side of the vpcd messages for one slot.

    A payload of one byte is a control, and only GET_ATR is answered; a longer one is an APDU. Power on after power
    off is a cold reset, RESET a warm one: both end every session.
    """

    def __init__(self, device: Device) -> None:
        self._device = device

    def connected(self) -> None:
        """The card is in the reader, without power yet."""
        self._device.reset()

    def receive(self, message: bytes, /) -> bytes | None:
        """The answer to one message, None if it has none; never empty, for an empty answer hangs the driver."""
        if len(message) > 1:
            return sendable(self._device.handle(message))
        control = message[0] if message else None
        if control == GET_ATR:
            return self._device.atr
        if control in (POWER_OFF, POWER_ON, RESET):
            self._device.reset()
        return None


@final
class EmptySlot:
    """The second slot of a driver that dials; the wire has no way to say that a slot is empty.

    No answer stops pcscd before it serves anyone, an empty one hangs the driver, a closed connection aborts pcscd.
    An ATR of one byte that is no TS makes a card that no program can connect to (all tried on pcscd 1.9.9).
    """

    def connected(self) -> None:
        """Nothing to reset."""

    def receive(self, message: bytes, /) -> bytes | None:
        """The ATR that is none; a status word should an APDU come all the same."""
        if len(message) > 1:
            return UNKNOWN_ERROR
        return _NO_ATR if message == bytes([GET_ATR]) else None


@final
class VpcdServer:
    """Serves a device as a virtual card until `stop`, or two devices in the two slots."""

    def __init__(self, device: Device, second: Device | None = None) -> None:
        self._slots: list[Slot | EmptySlot] = [Slot(device), EmptySlot() if second is None else Slot(second)]
        self._loop = Loop()

    def serve(
        self, host: str = "127.0.0.1", port: int = PORT, on_ready: Callable[[int, int], object] | None = None
    ) -> None:
        """Listen for a driver that dials: the card at `port`, the other slot at the next one; serve until `stop`.

        port 0: two free ports that follow each other. on_ready(port, port of the other slot) is called once both
        listen. Raises PolicyError if the host is not loopback, LinkError if a port is taken.
        """
        first, second = _listen_twice(host, port)
        if on_ready is not None:
            on_ready(first.getsockname()[1], second.getsockname()[1])
        self._loop.run([Station(slot, port) for slot, port in zip(self._slots, (first, second), strict=True)])

    def connect(self, host: str = "127.0.0.1", port: int = PORT) -> None:
        """Dial a driver that listens, which inserts the card; serve until `stop` or until the driver hangs up.

        A second device dials the next port. Raises LinkError if no driver listens there.
        """
        stations = []
        for number, slot in enumerate(self._slots):
            if isinstance(slot, Slot):
                connection = dial(host, port + number, _DIAL_TIMEOUT_S, "is pcscd running, with the vpcd driver?")
                stations.append(Station(slot, connection=connection))
        self._loop.run(stations)

    def stop(self) -> None:
        """Make `serve` or `connect` return, which removes the card; any thread or signal handler may call it."""
        self._loop.stop()

    def close(self) -> None:
        """Give up what `stop` needs; only when nothing is served."""
        self._loop.close()


def _listen_twice(host: str, port: int, tries: int = _TRIES) -> tuple[socket.socket, socket.socket]:
    """Listeners at `port` and at the next one, where the driver looks for its second slot. Raises as `serve`."""
    first = listen(host, port)
    try:
        return first, listen(host, first.getsockname()[1] + 1)
    except LinkError:
        first.close()
        if port or tries == 1:
            raise
    return _listen_twice(host, 0, tries - 1)
