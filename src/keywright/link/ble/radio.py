"""A Bluetooth host of this process on some controller, as a client: scan and connect. For asynchronous callers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final, final

from keywright.errors import KeywrightError, LinkError, UsageError
from keywright.link.ble.connection import Connection
from keywright.link.ble.library import errors_of, require_bumble
from keywright.link.ble.pipe import GOOD_MTU, LEAST_MTU, Advertisement, Pipe

if TYPE_CHECKING:
    from bumble.controller import Controller
    from bumble.device import Device
    from bumble.link import LocalLink
    from bumble.transport.common import Transport, TransportSink, TransportSource


NAME: Final = "keywright"
CONNECT_S: Final = 10.0
_CANCEL_S: Final = 0.5
_NOT_MEASURED: Final = 127
_TIMED_OUT: Final = 0x08
"""Error code of a connection that timed out (Bluetooth Core 6.0, Vol 1 Part F 1.3)."""


@final
class VirtualAir:
    """The air between virtual controllers of one event loop: no hardware, no loss, no distance."""

    def __init__(self) -> None:
        """Raise UsageError without the extra `ble`."""
        require_bumble()
        from bumble.link import LocalLink  # noqa: PLC0415 - loads only where Bluetooth is meant

        self.link: LocalLink = LocalLink()

    def add(self, name: str, source: TransportSource | None = None, sink: TransportSink | None = None) -> Controller:
        """A new controller. source, sink: what its host is reached by."""
        from bumble import hci  # noqa: PLC0415 - loads only where Bluetooth is meant
        from bumble.controller import Controller  # noqa: PLC0415 - as above

        controller = Controller(name, host_source=source, host_sink=sink, link=self.link)

        def cancel(_command: Any) -> hci.HCI_StatusReturnParameters:
            """LE Create Connection Cancel (Core 6.0, Vol 4 Part E 7.8.13), which bumble's own answers and forgets."""
            pending, controller.pending_le_connection = controller.pending_le_connection, None
            if pending is None:
                return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.COMMAND_DISALLOWED_ERROR)
            controller.send_hci_packet(
                hci.HCI_LE_Connection_Complete_Event(
                    status=hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR,
                    connection_handle=0,
                    role=hci.Role.CENTRAL,
                    peer_address_type=pending.peer_address.address_type,
                    peer_address=pending.peer_address,
                    connection_interval=0,
                    peripheral_latency=0,
                    supervision_timeout=0,
                    central_clock_accuracy=0,
                )
            )
            return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.SUCCESS)

        controller.on_hci_le_create_connection_cancel_command = cancel
        return controller

    def remove(self, controller: Controller) -> None:
        """A controller is gone; whoever was connected to it is told so, as by a link that timed out."""
        from bumble.core import BaseBumbleError  # noqa: PLC0415 - loads only where Bluetooth is meant
        from bumble.ll import TerminateInd  # noqa: PLC0415 - as above

        controller.le_legacy_advertiser.stop()
        for advertising in controller.advertising_sets.values():
            advertising.stop()
        for connection in controller.le_connections.values():
            with contextlib.suppress(BaseBumbleError):  # the other end is gone too
                connection.send_ll_control_pdu(TerminateInd(_TIMED_OUT))
        self.link.controllers.discard(controller)


@final
class Radio:
    """A Bluetooth host. Made by `open`; give it up with `close`."""

    def __init__(
        self, device: Device, name: str, transport: Transport | None, on: tuple[VirtualAir, Controller] | None
    ) -> None:
        """on: the virtual controller, and the air it is on."""
        self.device = device
        """Of bumble; for `server` and for tests."""
        self.name = name
        self._transport = transport
        self._on = on
        self._connecting = asyncio.Lock()
        self._scans: list[asyncio.Queue[Advertisement]] = []
        device.on("advertisement", self._heard)

    @classmethod
    async def open(cls, hci: str = "", *, air: VirtualAir | None = None, address: str = "") -> Radio:
        """A host on the controller that `hci` names, as bumble writes it (usb:0, tcp-client:HOST:PORT, pty:PATH ...).

        Without `hci`, on a virtual controller, which hears the others of the same `air`. address: random static
        address, drawn if empty. Raises UsageError without the extra `ble`, LinkError if there is no such controller.
        """
        require_bumble()
        from bumble.device import Device, DeviceConfiguration  # noqa: PLC0415 - loads only where Bluetooth is meant
        from bumble.hci import Address  # noqa: PLC0415 - as above
        from bumble.host import Host  # noqa: PLC0415 - as above

        own = Address(address) if address else Address.generate_static_address()
        name = f"ble:?hci={hci}" if hci else "ble:"
        config = DeviceConfiguration(name=NAME, address=own, keystore="None", gatt_service_enabled=True)
        transport = on = None
        if hci:
            transport = await _transport(hci, name)
            host = Host(transport.source, transport.sink)
        else:
            air = air or VirtualAir()
            controller, host = _virtual(air)
            on = (air, controller)
        radio = cls(Device(config=config, host=host), name, transport, on)
        radio.device.random_address = radio.device.static_address = own
        try:
            async with asyncio.timeout(CONNECT_S):
                with errors_of(f"{name}: the controller does not start"):
                    await radio.device.power_on()
        except TimeoutError as error:
            await radio.close()
            raise LinkError(
                f"{name}: the controller does not answer", delivered=False, hint="see that it speaks HCI"
            ) from error
        except KeywrightError:
            await radio.close()
            raise
        return radio

    @property
    def address(self) -> str:
        """Address under which others see this host."""
        return str(self.device.random_address)

    async def scan(self) -> AsyncIterator[Advertisement]:
        """What is heard, as it comes, until the caller leaves the loop. Raises LinkError."""
        heard: asyncio.Queue[Advertisement] = asyncio.Queue()
        self._scans.append(heard)
        try:
            if len(self._scans) == 1:
                with errors_of(f"{self.name}: cannot scan"):
                    await self.device.start_scanning(filter_duplicates=False)
            while True:
                yield await heard.get()
        finally:
            self._scans.remove(heard)
            if not self._scans:
                with contextlib.suppress(KeywrightError), errors_of("scan"):
                    await self.device.stop_scanning()

    async def connect(
        self, address: str, pipe: Pipe, *, mtu: int = GOOD_MTU, timeout_s: float = CONNECT_S
    ) -> Connection:
        """Connect, exchange the ATT_MTU, find the service of `pipe`, and listen to it.

        address: as `Advertisement` has it, or the name of a device. mtu: the most to ask for, 23 asks for nothing.
        Raises LinkError: nobody there, no such service, or the connection lost.
        """
        if mtu < LEAST_MTU:
            raise ValueError(f"ATT_MTU is {LEAST_MTU} or more, not {mtu}")
        what = f"ble:{address}"
        raw = await self.connected(address, timeout_s)
        connection = Connection(raw, what)
        try:
            async with asyncio.timeout(timeout_s):
                await connection.listen(pipe, mtu)
        except TimeoutError as error:
            await connection.close()
            raise LinkError(f"{what}: the device does not answer", delivered=False) from error
        except BaseException:
            await connection.close()
            raise
        return connection

    async def connected(self, address: str, timeout_s: float = CONNECT_S) -> Any:
        """A connection of bumble, for what is not a pipe. Raises LinkError: nobody there."""
        async with self._connecting:
            return await self._connected(address, f"ble:{address}", timeout_s)

    async def close(self) -> None:
        """Give the controller up; twice does no harm."""
        with contextlib.suppress(Exception):  # a controller that is gone cannot be told to stop
            async with asyncio.timeout(1.0):
                await self.device.power_off()
        if self._transport is not None:
            await self._transport.close()
            self._transport = None
        if self._on is not None:
            air, controller = self._on
            air.remove(controller)
            self._on = None

    async def _connected(self, address: str, what: str, timeout_s: float) -> Any:
        from bumble.core import TimeoutError as NobodyError  # noqa: PLC0415 - loads only where Bluetooth is meant

        hint = "see that the device is near and advertises"
        try:
            # A controller that says nothing of an attempt that was cancelled is not waited for.
            async with asyncio.timeout(timeout_s + _CANCEL_S):
                with errors_of(f"{what}: cannot connect", hint):
                    try:
                        return await self.device.connect_le(address, timeout=timeout_s)
                    except NobodyError as error:
                        raise LinkError(f"{what}: nobody answers", delivered=False, hint=hint) from error
        except TimeoutError as error:
            raise LinkError(f"{what}: nobody answers", delivered=False, hint=hint) from error

    def _heard(self, heard: Any) -> None:
        measured = None if heard.rssi == _NOT_MEASURED else heard.rssi
        one = Advertisement(str(heard.address), bytes(heard.data_bytes), measured, heard.is_connectable)
        for queue in self._scans:
            queue.put_nowait(one)


async def _transport(hci: str, name: str) -> Transport:
    from bumble.transport import open_transport  # noqa: PLC0415 - loads only where Bluetooth is meant

    hint = "write it as bumble does: usb:0, tcp-client:HOST:PORT, serial:PATH, pty:PATH, hci-socket:0"
    try:
        with errors_of(f"{name}: cannot open the controller", hint):
            return await open_transport(hci)
    except (ValueError, AssertionError, ImportError, TypeError, IndexError) as error:
        raise UsageError(f"{name}: no controller by that name ({error})", hint=hint) from error


def _virtual(air: VirtualAir) -> tuple[Controller, Any]:
    from bumble.host import Host  # noqa: PLC0415 - loads only where Bluetooth is meant
    from bumble.transport.common import AsyncPipeSink  # noqa: PLC0415 - as above

    controller = air.add(NAME)
    return controller, Host(controller, AsyncPipeSink(controller))
