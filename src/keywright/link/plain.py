"""A stream of bytes over TCP without TLS, on loopback only: to look at the HTTP of SCP81, and for tests."""

from __future__ import annotations

import contextlib
import socket
from typing import Final, final

from keywright.errors import LinkError, PolicyError
from keywright.link.sockets import Acceptor, dial, is_loopback

_CHUNK: Final = 1 << 14
_CONNECT_TIMEOUT_S: Final = 10.0


@final
class PlainConnection:
    """One connection. Raises LinkError where it breaks."""

    def __init__(self, connection: socket.socket, timeout_s: float) -> None:
        """timeout_s: how long each step may take."""
        self._socket = connection
        self._timeout_s = timeout_s
        connection.settimeout(timeout_s)

    def send(self, data: bytes, /) -> None:
        """Send all of it."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise LinkError(f"not sent: {error}", delivered=None) from error

    def receive(self, timeout_s: float | None = None) -> bytes:
        """What has come, at least one byte; empty once the other side has closed."""
        try:
            self._socket.settimeout(self._timeout_s if timeout_s is None else timeout_s)
            return self._socket.recv(_CHUNK)
        except OSError as error:
            raise LinkError(f"nothing came: {error}", delivered=None) from error

    def close(self) -> None:
        """Close it; twice does no harm."""
        with contextlib.suppress(OSError):
            self._socket.close()


def connect(host: str, port: int, *, timeout_s: float = 30.0) -> PlainConnection:
    """Connect. Raises PolicyError for a host that is not loopback, LinkError if nobody listens."""
    if not is_loopback(host):
        raise PolicyError(f"{host}: without TLS on loopback only", hint="give both sides the pre-shared key")
    return PlainConnection(
        dial(host, port, _CONNECT_TIMEOUT_S, "is the administration server running there?"), timeout_s
    )


@final
class PlainServer:
    """Listens on loopback, one connection at a time. `port` is the real one if 0 was asked for."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, timeout_s: float = 30.0) -> None:
        """Listen. Raises PolicyError for a host that is not loopback, LinkError if the port is taken."""
        self._timeout_s = timeout_s
        self._acceptor = Acceptor(host, port)
        self.port: int = self._acceptor.port

    def accept(self) -> PlainConnection | None:
        """The next connection; None once `stop` was called. Raises LinkError."""
        connection = self._acceptor.accept()
        return None if connection is None else PlainConnection(connection, self._timeout_s)

    def stop(self) -> None:
        """Make `accept` return None; any thread may call it."""
        self._acceptor.stop()

    def close(self) -> None:
        """Give up the port."""
        self._acceptor.close()
