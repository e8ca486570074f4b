"""Streams of bytes over TCP to many at once: every connection has an endpoint of its own, and time passes for all."""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol, final

from keywright.errors import LinkError
from keywright.link.sockets import listen
from keywright.sansio.endpoint import Endpoint

logger = logging.getLogger(__name__)

_CHUNK: Final = 1 << 14
_STEP_S: Final = 0.2
_SEND_TIMEOUT_S: Final = 10.0


class Served(Endpoint[Any], Protocol):
    """What stands behind one connection."""

    def closed(self) -> None:
        """The other side is gone."""
        ...


@final
class StreamServer:
    """Listens, and serves whoever connects until told to stop. `port` is the real one if 0 was asked for."""

    def __init__(
        self, host: str, port: int, make: Callable[[], Served], *, remote: bool = False, most: int = 16
    ) -> None:
        """Listen. make(): the endpoint of a new connection. most: connections at once; further ones are closed.

        Raises PolicyError for a host that is not loopback unless `remote`, LinkError if the port is taken.
        """
        self._listener = listen(host, port, remote=remote)
        self._listener.setblocking(False)
        self._make = make
        self._most = most
        self._served: dict[socket.socket, Served] = {}
        self.port: int = self._listener.getsockname()[1]

    def run(self, stop: Callable[[], bool]) -> Iterator[tuple[Served, Any]]:
        """Serve until `stop()`, which is asked several times a second; what endpoints tell comes out."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            while not stop():
                for key, _ in selector.select(self._wait()):
                    if key.fileobj is self._listener:
                        self._accept(selector)
                    else:
                        self._receive(selector, key.fileobj)
                for connection, endpoint in list(self._served.items()):
                    self._send(selector, connection, endpoint)
                    for event in endpoint.events():
                        yield endpoint, event

    def close(self) -> None:
        """Give up the port and every connection."""
        for connection, endpoint in self._served.items():
            connection.close()
            endpoint.closed()
        self._served.clear()
        self._listener.close()

    def _wait(self) -> float:
        now = time.monotonic()
        deadlines = [endpoint.deadline() for endpoint in self._served.values()]
        nearest = min((deadline for deadline in deadlines if deadline is not None), default=now + _STEP_S)
        return min(_STEP_S, max(0.0, nearest - now))

    def _accept(self, selector: selectors.BaseSelector) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError as error:
            logger.info("not accepted reason=%s", error)
            return
        if len(self._served) >= self._most:
            logger.info("connection refused reason=%s are served already", self._most)
            connection.close()
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(_SEND_TIMEOUT_S)
        self._served[connection] = self._make()
        selector.register(connection, selectors.EVENT_READ)

    def _receive(self, selector: selectors.BaseSelector, connection: Any) -> None:
        try:
            data = connection.recv(_CHUNK)
        except OSError as error:
            logger.info("connection lost reason=%s", error)
            data = b""
        if data:
            self._served[connection].receive(data, time.monotonic())
        else:
            self._drop(selector, connection)

    def _send(self, selector: selectors.BaseSelector, connection: socket.socket, endpoint: Served) -> None:
        octets = b"".join(endpoint.outgoing(time.monotonic()))
        if not octets:
            return
        try:
            connection.sendall(octets)
        except OSError as error:
            logger.info("connection lost reason=%s", error)
            self._drop(selector, connection)

    def _drop(self, selector: selectors.BaseSelector, connection: socket.socket) -> None:
        selector.unregister(connection)
        endpoint = self._served.pop(connection)
        endpoint.closed()
        connection.close()


@final
class Stream:
    """One connection, as its caller sees it."""

    def __init__(self, connection: socket.socket, name: str) -> None:
        self.name = name
        self._socket = connection

    def send(self, data: bytes) -> None:
        """Send all of it. Raises LinkError."""
        try:
            self._socket.settimeout(_SEND_TIMEOUT_S)
            self._socket.sendall(data)
        except OSError as error:
            raise LinkError(f"{self.name}: not sent: {error}", delivered=None, hint="connect again") from error

    def receive(self, timeout_s: float) -> bytes:
        """What has come, at least one byte; empty if nothing did in time. Raises LinkError if the other side closes."""
        try:
            self._socket.settimeout(max(timeout_s, 1e-3))
            data = self._socket.recv(_CHUNK)
        except TimeoutError:
            return b""
        except OSError as error:
            raise LinkError(f"{self.name}: {error}", delivered=None, hint="connect again") from error
        if not data:
            raise LinkError(f"{self.name}: the other side has closed the connection", delivered=None)
        return data

    def close(self) -> None:
        """Close it; twice does no harm."""
        with contextlib.suppress(OSError):
            self._socket.close()
