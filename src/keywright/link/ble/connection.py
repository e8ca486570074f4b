"""One connection to a peripheral, with the pipe that this side listens to. For asynchronous callers."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, final

from keywright.errors import KeywrightError, LinkError
from keywright.link.ble.library import errors_of
from keywright.link.ble.pipe import LEAST_MTU, Pipe

if TYPE_CHECKING:
    from bumble.gatt_client import CharacteristicProxy


@final
class Connection:
    """A connection; made by `Radio.connect`."""

    def __init__(self, raw: Any, name: str) -> None:
        """raw: bumble's connection."""
        self.name = name
        self._raw = raw
        self._write: CharacteristicProxy[bytes] | None = None
        self._lost = ""
        self._values: asyncio.Queue[bytes | None] = asyncio.Queue()
        raw.on("disconnection", self._disconnected)

    @property
    def mtu(self) -> int:
        """ATT_MTU of the connection."""
        mtu: int = self._raw.att_mtu
        return mtu

    async def listen(self, pipe: Pipe, mtu: int) -> None:
        """Exchange the ATT_MTU (once in a connection), find the service, enable its notifications. Raises LinkError."""
        from bumble.core import UUID  # noqa: PLC0415 - loads only where Bluetooth is meant
        from bumble.device import Peer  # noqa: PLC0415 - as above

        peer = Peer(self._raw)
        of_service, of_write, of_notify = pipe
        with errors_of(f"{self.name}: lost while its services were looked at"):
            if mtu > LEAST_MTU:
                await peer.request_mtu(mtu)
            services = await peer.discover_service(UUID(of_service))
            if not services:
                raise LinkError(f"{self.name}: no service {of_service}", delivered=False)
            found = await services[0].discover_characteristics()
            write, notify = (
                next((one for one in found if one.uuid == UUID(uuid)), None) for uuid in (of_write, of_notify)
            )
            if write is None or notify is None:
                raise LinkError(
                    f"{self.name}: service {of_service} lacks {of_write if write is None else of_notify}",
                    delivered=False,
                )
            await notify.subscribe(self._values.put_nowait)
        self._write = write

    async def send(self, value: bytes) -> None:
        """Write without response. Raises LinkError if the connection is gone; ValueError if it does not fit."""
        self._check()
        if len(value) > self.mtu - 3:
            raise ValueError(f"a value of {len(value)} octets at an ATT_MTU of {self.mtu}")
        assert self._write is not None  # `connect` gives no connection without it
        with errors_of(f"{self.name}: cannot send", delivered=None):
            await self._write.write_value(value)

    async def receive(self, timeout_s: float | None) -> bytes | None:
        """The next value notified, None if none came in time. Raises LinkError once the connection is gone."""
        if self._values.empty():
            self._check()
        try:
            async with asyncio.timeout(timeout_s):
                value = await self._values.get()
        except TimeoutError:
            return None
        if value is None:
            self._check()
        return value

    async def close(self) -> None:
        """Disconnect; twice does no harm."""
        if not self._lost:
            with contextlib.suppress(KeywrightError), errors_of("disconnect"):
                await self._raw.disconnect()
            self._lost = f"{self.name}: the connection is closed"

    def _disconnected(self, reason: int) -> None:
        self._lost = self._lost or f"{self.name}: disconnected (HCI reason {reason:02X})"
        self._values.put_nowait(None)

    def _check(self) -> None:
        if self._lost:
            raise LinkError(self._lost, delivered=None)
