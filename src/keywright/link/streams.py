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
_MOST_PENDING: Final = 1 << 20


class Served(Endpoint[Any], Protocol):
    """What stands behind one connection."""

    def closed(self) -> None:
        """The other side is gone."""
        ...


class _Connection:
    """One served connection, and what it has not taken yet."""

    def __init__(self, link: socket.socket, endpoint: Served) -> None:
        self.link = link
        self.endpoint = endpoint
        self.pending = bytearray()

    def receive(self) -> bool:
        """Take what has come; False once the other side is gone."""
        try:
            data = self.link.recv(_CHUNK)
        except BlockingIOError:
            return True
        except OSError as error:
            logger.info("connection lost reason=%s", error)
            return False
        if data:
            self.endpoint.receive(data, time.monotonic())
        return bool(data)

    def send(self) -> bool:
        """Send what can be sent now; False if the other side is gone, or takes nothing of what is told to it."""
        self.pending += b"".join(self.endpoint.outgoing(time.monotonic()))
        try:
            while self.pending:
                del self.pending[: self.link.send(self.pending)]
        except BlockingIOError:
            pass
        except OSError as error:
            logger.info("connection lost reason=%s", error)
            return False
        if len(self.pending) > _MOST_PENDING:
            logger.info("connection dropped reason=nothing is read")
            return False
        return True

    def close(self) -> None:
        """Tell the endpoint, and close."""
        self.endpoint.closed()
        self.link.close()


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
        self._served: dict[socket.socket, _Connection] = {}
        self.port: int = self._listener.getsockname()[1]

    def run(self, stop: Callable[[], bool]) -> Iterator[tuple[Served, Any]]:
        """Serve until `stop()`, which is asked several times a second; what endpoints tell comes out."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            while not stop():
                for key, events in selector.select(self._wait()):
                    if key.fileobj is self._listener:
                        self._accept(selector)
                    elif events & selectors.EVENT_READ and not key.data.receive():
                        self._drop(selector, key.data)
                for connection in list(self._served.values()):
                    is_there = connection.send()
                    for event in connection.endpoint.events():
                        yield connection.endpoint, event
                    if is_there:
                        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.pending else 0)
                        selector.modify(connection.link, wanted, connection)
                    else:
                        self._drop(selector, connection)

    def close(self) -> None:
        """Give up the port and every connection."""
        for connection in self._served.values():
            connection.close()
        self._served.clear()
        self._listener.close()

    def _wait(self) -> float:
        now = time.monotonic()
        deadlines = [connection.endpoint.deadline() for connection in self._served.values()]
        nearest = min((deadline for deadline in deadlines if deadline is not None), default=now + _STEP_S)
        return min(_STEP_S, max(0.0, nearest - now))

    def _accept(self, selector: selectors.BaseSelector) -> None:
        try:
            link, _ = self._listener.accept()
        except OSError as error:
            logger.info("not accepted reason=%s", error)
            return
        if len(self._served) >= self._most:
            logger.info("connection refused reason=%s are served already", self._most)
            link.close()
            return
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.setblocking(False)
        connection = self._served[link] = _Connection(link, self._make())
        selector.register(link, selectors.EVENT_READ, connection)

    def _drop(self, selector: selectors.BaseSelector, connection: _Connection) -> None:
        selector.unregister(connection.link)
        del self._served[connection.link]
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
