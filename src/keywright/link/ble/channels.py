"""L2CAP channels that a GATT service leads to (Bluetooth Core, Vol 3 Part A 3.4), both ends. For asynchronous callers.

The service has a characteristic to read, which says where the channel is, and one to write, which says what the client
has chosen. A channel carries octets in order; what of them is a message, its ends know.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol, final

from keywright.errors import KeywrightError, LinkError
from keywright.link.ble.library import errors_of
from keywright.link.ble.pipe import GOOD_MTU, Clock, Linked, arun_pipe
from keywright.link.ble.radio import CONNECT_S, Radio
from keywright.link.ble.server import FLAGS, INTERVAL_MS, ROOM

logger = logging.getLogger(__name__)

SDU_BYTES: Final = 512
"""The longest SDU that is taken; a longer message comes in several."""
_GRACE_S: Final = 1.0


class ChannelService(NamedTuple):
    """UUIDs: 4 hex digits, or 8-4-4-4-12."""

    service: str
    place: str
    """To be read: where the channel is."""
    choice: str
    """To be written, before the channel is opened."""


class ChannelEnd(Linked, Protocol):
    """Endpoint: the end of one channel."""

    def receive(self, data: bytes, now: float) -> None:
        """Take the octets of one SDU."""
        ...

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Octets to send now."""
        ...

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        ...

    def events(self) -> Sequence[Any]:
        """What has happened."""
        ...


class Station(Protocol):
    """What a server of channels asks, and tells."""

    @property
    def service(self) -> ChannelService:
        """The service to show."""
        ...

    def place(self, psm: int) -> bytes:
        """What the service says about a channel at that PSM."""
        ...

    def advertising(self, address: str) -> tuple[Sequence[bytes], float | None]:
        """AD structures for that own address, and after how many seconds to ask again (None: never)."""
        ...

    def connected(self, choice: bytes, now: float) -> ChannelEnd:
        """A client has opened a channel after it wrote this choice. Raises KeywrightError to refuse it."""
        ...

    def told(self, end: ChannelEnd, event: Any) -> None:
        """An end has told something; what `told` does may make any end want to send."""
        ...

    def served(self, wake: Callable[[], None]) -> None:
        """Serving begins. wake(), in the event loop: ends were told to send something outside of `told`."""
        ...


@final
class Channel:
    """The octets of one open channel: what `arun_pipe` runs an end over."""

    def __init__(self, raw: Any, name: str) -> None:
        """raw: bumble's channel."""
        self.name = name
        self._raw = raw
        self._lost = ""
        self._received: asyncio.Queue[bytes | None] = asyncio.Queue()
        raw.sink = self._received.put_nowait
        raw.on("close", self._closed)
        raw.connection.on("disconnection", self._disconnected)

    async def send(self, value: bytes) -> None:
        """Hand octets over, in order. Raises LinkError if the channel is gone."""
        self._check()
        with errors_of(f"{self.name}: cannot send", delivered=None):
            self._raw.write(value)

    async def receive(self, timeout_s: float | None) -> bytes | None:
        """The octets of the next SDU, None if none came in time or after `wake`. Raises LinkError once it is gone."""
        if self._received.empty():
            self._check()
        try:
            async with asyncio.timeout(timeout_s):
                value = await self._received.get()
        except TimeoutError:
            return None
        if value is None:
            self._check()
        return value

    def wake(self) -> None:
        """Let `receive` return now: the end may have something to send."""
        self._received.put_nowait(None)

    async def close(self) -> None:
        """Disconnect, once what was sent is out; twice does no harm."""
        if not self._lost:
            with contextlib.suppress(TimeoutError, KeywrightError), errors_of("disconnect"):
                async with asyncio.timeout(_GRACE_S):
                    await self._raw.drained.wait()
                    await self._raw.connection.disconnect()
            self._lost = f"{self.name}: the channel is closed"

    def _closed(self) -> None:
        self._end(f"{self.name}: the peer has closed the channel")

    def _disconnected(self, reason: int) -> None:
        self._end(f"{self.name}: disconnected (HCI reason {reason:02X})")

    def _end(self, why: str) -> None:
        self._lost = self._lost or why
        self._received.put_nowait(None)

    def _check(self) -> None:
        if self._lost:
            raise LinkError(self._lost, delivered=None)


async def open_channel(
    radio: Radio,
    address: str,
    service: ChannelService,
    choose: Callable[[bytes], tuple[int, bytes]],
    *,
    timeout_s: float = CONNECT_S,
) -> Channel:
    """Connect, read where the channel is, write what was chosen, and open it.

    choose(place): the PSM, and what to write. Raises LinkError, and what `choose` raises.
    """
    what = f"ble:{address}"
    raw = await radio.connected(address, timeout_s)
    try:
        async with asyncio.timeout(timeout_s):
            return await _opened(raw, what, service, choose)
    except TimeoutError as error:
        await _dropped(raw)
        raise LinkError(f"{what}: the device does not answer", delivered=False) from error
    except BaseException:
        await _dropped(raw)
        raise


async def _opened(
    raw: Any, what: str, service: ChannelService, choose: Callable[[bytes], tuple[int, bytes]]
) -> Channel:
    from bumble.core import UUID  # noqa: PLC0415 - loads only where Bluetooth is meant
    from bumble.device import Peer  # noqa: PLC0415 - as above
    from bumble.l2cap import LeCreditBasedChannelSpec  # noqa: PLC0415 - as above

    peer = Peer(raw)
    with errors_of(f"{what}: lost while its services were looked at"):
        await peer.request_mtu(GOOD_MTU)
        services = await peer.discover_service(UUID(service.service))
        if not services:
            raise LinkError(f"{what}: no service {service.service}", delivered=False)
        found = {one.uuid: one for one in await services[0].discover_characteristics()}
        missing = [uuid for uuid in (service.place, service.choice) if UUID(uuid) not in found]
        if missing:
            raise LinkError(f"{what}: service {service.service} lacks {missing[0]}", delivered=False)
        place = await found[UUID(service.place)].read_value()
    psm, choice = choose(bytes(place))
    with errors_of(f"{what}: no channel at PSM {psm:04X}"):
        await found[UUID(service.choice)].write_value(choice, with_response=True)
        spec = LeCreditBasedChannelSpec(psm, mtu=SDU_BYTES, mps=GOOD_MTU)
        return Channel(await raw.create_l2cap_channel(spec), what)


async def _dropped(raw: Any) -> None:
    with contextlib.suppress(KeywrightError), errors_of("disconnect"):
        await raw.disconnect()


async def serve_channels(
    radio: Radio,
    station: Station,
    *,
    most: int = 4,
    clock: Clock = time.monotonic,
    on_ready: asyncio.Event | None = None,
) -> None:
    """Advertise and serve channels, several at once, until cancelled. most: connections at a time.

    on_ready is set once the first advertisement is out. Raises LinkError.
    """
    server = _Server(radio, station, most, clock, on_ready)
    try:
        await server.run()
    finally:
        await server.stop()


@final
class _Server:
    def __init__(self, radio: Radio, station: Station, most: int, clock: Clock, on_ready: asyncio.Event | None) -> None:
        self._radio = radio
        self._device = radio.device
        self._station = station
        self._most = most
        self._clock = clock
        self._on_ready = on_ready
        self._choices: dict[Any, bytes] = {}
        self._connections: set[Any] = set()
        self._channels: dict[Channel, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._listening: Any = None
        self._starting: asyncio.Task[None] | None = None
        self._device.on("connection", self._connected)

    async def run(self) -> None:
        self._show()
        self._station.served(self._wake)
        while True:
            self._changed.clear()
            again_s = await self._advertise() if len(self._connections) < self._most else None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(again_s):
                    await self._changed.wait()

    async def stop(self) -> None:
        """Close all channels and advertise no more."""
        self._device.remove_listener("connection", self._connected)
        for task in self._channels.values():
            task.cancel()
        if self._channels:
            await asyncio.wait(self._channels.values())
        if self._starting is not None:
            await asyncio.wait([self._starting])
        with contextlib.suppress(Exception):  # of a controller that is gone
            async with asyncio.timeout(_GRACE_S):
                await self._device.stop_advertising()
                for connection in tuple(self._connections):
                    if connection.handle in self._device.connections:
                        await connection.disconnect()
        if self._listening is not None:
            self._listening.close()

    # ---- the service ------------------------------------------------------------------------------------------

    def _show(self) -> None:
        from bumble import gatt, gatt_server  # noqa: PLC0415 - loads only where Bluetooth is meant
        from bumble.l2cap import LeCreditBasedChannelSpec  # noqa: PLC0415 - as above

        spec = LeCreditBasedChannelSpec(mtu=SDU_BYTES, mps=GOOD_MTU)
        self._listening = self._device.create_l2cap_server(spec, self._opened)
        service = self._station.service
        place: gatt.Characteristic[bytes] = gatt.Characteristic(
            service.place,
            gatt.Characteristic.Properties.READ,
            gatt.Characteristic.Permissions.READABLE,
            self._station.place(self._listening.psm),
        )
        choice: gatt.Characteristic[bytes] = gatt.Characteristic(
            service.choice,
            gatt.Characteristic.Properties.WRITE,
            gatt.Characteristic.Permissions.WRITEABLE,
            gatt.CharacteristicValue(write=self._chosen),
        )
        server = gatt_server.Server(self._device)
        self._device.gatt_server = server
        self._device.add_default_services()
        server.add_service(gatt.Service(service.service, [place, choice]))

    async def _advertise(self) -> float | None:
        structures, again_s = self._station.advertising(self._radio.address)
        data = FLAGS + b"".join(structures)
        if len(data) > ROOM:
            raise ValueError(f"{len(data)} octets do not fit an advertisement, which has {ROOM}")
        # Cancelled in the middle it would leave bumble with an advertising set that it can neither use nor remove.
        self._starting = asyncio.create_task(self._start(data))
        await asyncio.shield(self._starting)
        if self._on_ready is not None:
            self._on_ready.set()
        return again_s

    async def _start(self, data: bytes) -> None:
        with errors_of(f"{self._radio.name}: cannot advertise"):
            await self._device.stop_advertising()
            await self._device.start_advertising(
                advertising_data=data,
                advertising_interval_min=INTERVAL_MS,
                advertising_interval_max=INTERVAL_MS,
            )

    # ---- what clients do --------------------------------------------------------------------------------------

    def _connected(self, connection: Any) -> None:
        self._connections.add(connection)
        connection.on("disconnection", lambda _: self._disconnected(connection))
        self._changed.set()

    def _disconnected(self, connection: Any) -> None:
        self._connections.discard(connection)
        self._choices.pop(connection, None)
        self._changed.set()

    def _chosen(self, connection: Any, value: bytes) -> None:
        self._choices[connection] = bytes(value)

    def _opened(self, raw: Any) -> None:
        connection = raw.connection
        channel = Channel(raw, f"ble:{connection.peer_address}")
        try:
            end = self._station.connected(self._choices.get(connection, b""), self._clock())
        except KeywrightError as error:
            logger.warning("%s: refused: %s", channel.name, error)
            task = asyncio.ensure_future(channel.close())
        else:
            task = asyncio.ensure_future(self._run(end, channel))
        self._channels[channel] = task
        task.add_done_callback(lambda _: self._channels.pop(channel, None))

    async def _run(self, end: ChannelEnd, channel: Channel) -> None:
        async for event in arun_pipe(end, end, channel, clock=self._clock):
            self._station.told(end, event)
            self._wake()

    def _wake(self) -> None:
        for channel in self._channels:
            channel.wake()
