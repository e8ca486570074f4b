"""A virtual air for several processes: whoever connects to it gets a controller of its own there, spoken to in HCI.

It is a stream socket that carries HCI packets with their type octet (Bluetooth Core 6.0, Vol 4 Part A 2), so that any
host of bumble can join: `tcp-client:HOST:PORT` or `unix:PATH`. It keeps to this machine: whoever can connect is on the
air.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import TYPE_CHECKING, Final, final

from keywright.errors import LinkError, PolicyError, UsageError
from keywright.link.ble.radio import Radio, VirtualAir
from keywright.link.sockets import is_loopback

if TYPE_CHECKING:
    from bumble.controller import Controller
    from bumble.transport.common import StreamPacketSource

logger = logging.getLogger(__name__)

SCHEME: Final = "air:"
"""Before HOST:PORT, in place of a controller as bumble writes it."""
_NAME: Final = "shared air"


@final
class SharedAir:
    """An air that others are let on to; made by `at` and `behind`, given up with `close`."""

    def __init__(self, air: VirtualAir) -> None:
        self.air = air
        self._server: asyncio.Server | None = None
        self._guests: set[_Guest] = set()

    @classmethod
    async def at(cls, air: VirtualAir, host: str, port: int) -> SharedAir:
        """Let others on to `air` at a TCP port of this machine; 0 takes a free one. Raises OSError, PolicyError."""
        if not is_loopback(host):
            raise PolicyError(f"{SCHEME}{host}:{port}: an air is for this machine alone", hint="use 127.0.0.1")
        shared = cls(air)
        shared._server = await asyncio.get_running_loop().create_server(lambda: _Guest(shared._guests, air), host, port)
        return shared

    @classmethod
    async def behind(cls, air: VirtualAir, path: str) -> SharedAir:
        """The same at a local socket, which who may enter its folder can reach. Raises OSError."""
        shared = cls(air)
        loop = asyncio.get_running_loop()
        shared._server = await loop.create_unix_server(lambda: _Guest(shared._guests, air), path)
        return shared

    @property
    def uri(self) -> str:
        """How a host of this machine joins an air that was made by `at`."""
        if self._server is None:
            raise AssertionError("made by `at`")
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"{SCHEME}{host}:{port}"

    async def close(self) -> None:
        """Let nobody on any more, and drop who is; twice does no harm."""
        if self._server is not None:
            self._server.close()
        for guest in tuple(self._guests):
            guest.leave()


@final
class _Guest(asyncio.Protocol):
    """One host at the other end of a socket, and its controller here."""

    def __init__(self, guests: set[_Guest], air: VirtualAir) -> None:
        self._guests = guests
        self._air = air
        self._transport: asyncio.Transport | None = None
        self._source: StreamPacketSource | None = None
        self._controller: Controller | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        from bumble.transport.common import StreamPacketSource  # noqa: PLC0415 - loads only where Bluetooth is meant

        assert isinstance(transport, asyncio.Transport)  # of a stream socket
        self._transport = transport
        self._source = StreamPacketSource()
        self._controller = self._air.add(_NAME, self._source, self)
        self._guests.add(self)

    def data_received(self, data: bytes) -> None:
        if self._source is None or self._transport is None:
            return
        try:
            self._source.data_received(data)
        except Exception as error:  # noqa: BLE001 - whatever bumble makes of octets that are no HCI
            logger.warning("%s: a host sends what is no HCI: %r", _NAME, error)
            self.leave()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.leave()

    def on_packet(self, packet: bytes) -> None:
        """What its controller says to the host."""
        if self._transport is not None:
            self._transport.write(packet)

    def leave(self) -> None:
        """The host is gone: so are its connections."""
        if self._controller is not None:
            self._air.remove(self._controller)
        if self._transport is not None:
            self._transport.close()
        self._controller = self._source = self._transport = None
        self._guests.discard(self)


async def open_shared(text: str, air: VirtualAir, address: str = "") -> tuple[Radio, SharedAir | None]:
    """A host on the air that `air:HOST:PORT` names. Whoever is first there is the air itself, and gives it back too.

    air: what to be it with. Raises as `Radio.open`, UsageError for no HOST:PORT, PolicyError for another machine.
    """
    host, _, port = text.removeprefix(SCHEME).rpartition(":")
    if not host or not port.isascii() or not port.isdecimal() or int(port) > 0xFFFF:
        raise UsageError(f"ble:?hci={text}: this needs HOST:PORT", hint="for example hci=air:127.0.0.1:35965")
    try:
        shared = await SharedAir.at(air, host, int(port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return await Radio.open(f"tcp-client:{host}:{port}", address=address), None
        raise LinkError(f"ble:?hci={text}: cannot listen: {error.strerror}", delivered=False) from error
    try:
        return await Radio.open(air=air, address=address), shared
    except BaseException:
        await shared.close()
        raise
