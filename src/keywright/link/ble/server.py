"""A GATT server that shows the pipes of peripherals, one connection at a time. For asynchronous callers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, final

from keywright.errors import KeywrightError
from keywright.link.ble.library import errors_of
from keywright.link.ble.pipe import GOOD_MTU, Clock, Peripheral, Pipe
from keywright.link.ble.radio import Radio

if TYPE_CHECKING:
    from bumble.gatt import Characteristic

logger = logging.getLogger(__name__)

INTERVAL_MS: Final = 100.0
"""Between advertisements."""
ROOM: Final = 31
"""Octets of AD structures in an advertisement, and as many in a scan response."""
FLAGS: Final = bytes.fromhex("020106")
"""Generally discoverable, no BR/EDR."""

Told = Callable[[Peripheral, Any], None]


async def serve(
    radio: Radio,
    peripherals: Sequence[Peripheral],
    *,
    mtu: int = GOOD_MTU,
    on_event: Told = lambda *_: None,
    clock: Clock = time.monotonic,
) -> None:
    """Advertise and serve until cancelled. mtu: the greatest ATT_MTU to take. Raises LinkError.

    on_event(peripheral, event) is called in the event loop for what a peripheral tells.
    """
    server = _Server(radio, peripherals, mtu, on_event, clock)
    try:
        await server.run()
    finally:
        await server.stop()


@final
class _Server:
    def __init__(self, radio: Radio, peripherals: Sequence[Peripheral], mtu: int, on_event: Told, clock: Clock) -> None:
        self._device = radio.device
        self._name = radio.name
        self._peripherals = peripherals
        self._mtu = mtu
        self._on_event = on_event
        self._clock = clock
        self._connection: Any = None
        self._listened: set[int] = set()
        self._shown: list[Pipe] = []
        self._starting: asyncio.Task[None] | None = None
        self._advertised: tuple[bytes, bytes] | None = None
        self._notify: list[Characteristic[bytes]] = []
        self._happened: asyncio.Queue[Callable[[], None]] = asyncio.Queue()
        self._device.on("connection", self._connected)

    async def run(self) -> None:
        while True:
            drop = await self._turn()
            if drop and self._connection is not None:
                with contextlib.suppress(KeywrightError), errors_of("disconnect"):
                    await self._connection.disconnect()
            elif self._connection is None:
                with errors_of(f"{self._name}: cannot advertise"):
                    await self._show()
            try:
                async with asyncio.timeout(self._timeout()):
                    (await self._happened.get())()
                while not self._happened.empty():
                    self._happened.get_nowait()()
            except TimeoutError:
                pass

    async def stop(self) -> None:
        """Drop the connection and advertise no more."""
        self._device.remove_listener("connection", self._connected)
        if self._starting is not None:
            await asyncio.wait([self._starting])
        with contextlib.suppress(Exception):  # of a controller that is gone
            await self._device.stop_advertising()
            # One that is lost already would never tell that it is.
            if self._connection is not None and self._connection.handle in self._device.connections:
                async with asyncio.timeout(1.0):
                    await self._connection.disconnect()

    # ---- what the peripherals do ------------------------------------------------------------------------------

    async def _turn(self) -> bool:
        """Send what is due and tell what happened; whether the connection is to be dropped."""
        drop = False
        for number, peripheral in enumerate(self._peripherals):
            values = peripheral.outgoing(self._clock())
            if number in self._listened:
                for value in values:
                    with contextlib.suppress(KeywrightError), errors_of("notify"):
                        await self._device.notify_subscriber(self._connection, self._notify[number], value)
                drop |= peripheral.is_closed
            for event in peripheral.events():
                self._on_event(peripheral, event)
        return drop

    def _timeout(self) -> float | None:
        times = [due for one in self._peripherals if (due := one.deadline()) is not None]
        return max(0.0, min(times) - self._clock()) if times else None

    # ---- what the world does ----------------------------------------------------------------------------------

    def _connected(self, connection: Any) -> None:
        def begin() -> None:
            self._advertised = None
            self._connection = connection

        connection.on("disconnection", lambda reason: self._happened.put_nowait(lambda: self._disconnected(reason)))
        self._happened.put_nowait(begin)

    def _disconnected(self, reason: int) -> None:
        self._connection = None
        listened, self._listened = self._listened, set()
        for number in listened:
            self._peripherals[number].disconnected(f"disconnected (HCI reason {reason:02X})", self._clock())

    def _subscribed(self, number: int, *, listens: bool) -> None:
        if self._connection is None or listens == (number in self._listened):
            return
        peripheral = self._peripherals[number]
        if listens:
            self._listened.add(number)
            peripheral.connected(self._connection.att_mtu, self._clock())
        else:
            self._listened.discard(number)
            peripheral.disconnected("the client listens no more", self._clock())

    def _written(self, number: int, value: bytes) -> None:
        if number in self._listened:
            self._peripherals[number].receive(value, self._clock())

    # ---- what is shown ----------------------------------------------------------------------------------------

    async def _show(self) -> None:
        """Between connections: the services that there are now, and advertisements that tell of them."""
        pipes = [one.pipe for one in self._peripherals]
        if pipes != self._shown:
            self._build(pipes)
        advertised = _advertised([one.advertising for one in self._peripherals])
        if advertised != self._advertised:
            self._advertised = advertised
            self._starting = asyncio.create_task(
                self._device.start_advertising(
                    advertising_data=advertised[0],
                    scan_response_data=advertised[1],
                    advertising_interval_min=INTERVAL_MS,
                    advertising_interval_max=INTERVAL_MS,
                )
            )
            # Cancelled in the middle it would leave bumble with an advertising set that it can neither use nor remove.
            await asyncio.shield(self._starting)

    def _build(self, pipes: list[Pipe]) -> None:
        from bumble import gatt, gatt_server  # noqa: PLC0415 - loads only where Bluetooth is meant

        # A server of bumble can take services, not give them up: a new one, which the next connection will see.
        server = gatt_server.Server(self._device)
        server.max_mtu = self._mtu
        self._device.gatt_server = server
        self._device.add_default_services()
        self._notify = []
        for number, (service, of_write, of_notify) in enumerate(pipes):
            write: Characteristic[bytes] = gatt.Characteristic(
                of_write,
                gatt.Characteristic.Properties.WRITE_WITHOUT_RESPONSE,
                gatt.Characteristic.Permissions.WRITEABLE,
                gatt.CharacteristicValue(write=self._writer(number)),
            )
            notify: Characteristic[bytes] = gatt.Characteristic(
                of_notify, gatt.Characteristic.Properties.NOTIFY, gatt.Characteristic.Permissions(0), b""
            )
            notify.on("subscription", self._subscriber(number))
            server.add_service(gatt.Service(service, [write, notify]))
            self._notify.append(notify)
        self._shown = pipes

    def _writer(self, number: int) -> Callable[[Any, bytes], None]:
        def written(_: Any, value: bytes) -> None:
            self._happened.put_nowait(lambda: self._written(number, bytes(value)))

        return written

    def _subscriber(self, number: int) -> Callable[..., None]:
        def subscribed(_: Any, notifies: bool, __: bool) -> None:  # noqa: FBT001 - bumble's own signature
            self._happened.put_nowait(lambda: self._subscribed(number, listens=notifies))

        return subscribed


def _advertised(structures: Sequence[Sequence[bytes]]) -> tuple[bytes, bytes]:
    """Advertising data and scan response: each structure where there is room for it, else nowhere."""
    parts = [FLAGS, b""]
    for structure in (one for some in structures for one in some):
        for place, part in enumerate(parts):
            if len(part) + len(structure) <= ROOM:
                parts[place] = part + structure
                break
        else:
            logger.warning("no room in an advertisement for %s", structure.hex())
    return parts[0], parts[1]
