"""APDUs over TCP: two length bytes (big-endian) and the APDU, both ways.

A connection is a card in its reader: connecting powers the device up, so a reset is a new connection. The wire has no
ATR. One client at a time; the next one waits.
"""

from __future__ import annotations

import contextlib
import socket
import time
from typing import final

from keywright.errors import LinkError
from keywright.link.sockets import MAX_MESSAGE, Framer, Loop, Station, dial, frame, listen, sendable
from keywright.sansio import Device

_CONNECT_TIMEOUT_S = 10.0
_HINT = "is `keywright element serve` running there?"


@final
class TcpLink:
    """A link to a device behind a TCP port."""

    def __init__(self, host: str, port: int, *, timeout_s: float = 60.0, extended: bool = True) -> None:
        """Connect. timeout_s: how long a whole answer may take, counted from the command. Raises LinkError."""
        self.name = f"tcp:{host}:{port}"
        self.atr = b""
        self.extended = extended
        self._address = (host, port)
        self._timeout_s = timeout_s
        self._connection: socket.socket | None = None
        self._connect()

    def exchange(self, command: bytes, /) -> bytes:
        """Send a command and wait for its answer. Raises LinkError; the link is then dead until `reset`."""
        connection = self._connection
        if connection is None:
            raise LinkError(f"{self.name}: not connected", delivered=False, hint="reset the link")
        if len(command) > MAX_MESSAGE:
            raise LinkError(f"{self.name}: {len(command)} bytes, at most {MAX_MESSAGE} can be sent", delivered=False)
        deadline = time.monotonic() + self._timeout_s
        try:
            connection.settimeout(self._timeout_s)
            connection.sendall(frame(command))
        except OSError as error:
            self._drop()
            raise LinkError(f"{self.name}: not sent: {error}", delivered=False, hint="reset the link") from error
        try:
            return _receive(connection, deadline)
        except OSError as error:
            self._drop()
            raise LinkError(f"{self.name}: no answer: {error}", delivered=None, hint="reset and probe") from error

    def reset(self) -> bytes:
        """Connect anew, which resets the device. The ATR is always empty. Raises LinkError."""
        self._drop()
        self._connect()
        return self.atr

    def close(self) -> None:
        """Close the connection."""
        self._drop()

    def _connect(self) -> None:
        host, port = self._address
        self._connection = dial(host, port, _CONNECT_TIMEOUT_S, _HINT)

    def _drop(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.close()
            self._connection = None


def _receive(connection: socket.socket, deadline: float) -> bytes:
    """The next message. Raises OSError (TimeoutError if it is not whole by the deadline, however many bytes came)."""
    framer = Framer()
    while (left := deadline - time.monotonic()) > 0:
        connection.settimeout(left)
        data = connection.recv(1 << 16)
        if not data:
            raise ConnectionError("the other side closed the connection")
        messages = framer.feed(data)
        if messages:
            return messages[0]
    raise TimeoutError("timed out")


@final
class TcpServer:
    """Serves a device on a TCP port. `port` is the real one if 0 was asked for."""

    def __init__(self, device: Device, host: str = "127.0.0.1", port: int = 0, *, remote: bool = False) -> None:
        """Listen. Raises PolicyError if the host is not loopback unless `remote`, LinkError if the port is taken."""
        listener = listen(host, port, remote=remote)
        self.port: int = listener.getsockname()[1]
        self._station = Station(_Plugged(device), listener)
        self._loop = Loop()

    def serve(self) -> None:
        """Serve in this thread until `stop`."""
        self._loop.run([self._station])

    def stop(self) -> None:
        """Make `serve` return; any thread or signal handler may call it."""
        self._loop.stop()

    def close(self) -> None:
        """Give up the port; only when `serve` does not run."""
        self._station.close()
        self._loop.close()


class _Plugged:
    """A device that is powered up by a connection."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def connected(self) -> None:
        self._device.reset()

    def receive(self, message: bytes, /) -> bytes:
        return sendable(self._device.handle(message))
