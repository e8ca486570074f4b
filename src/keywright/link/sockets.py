"""Sockets of links: listen, dial, messages of two length bytes (big-endian), the loop that serves without threads."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import threading
from collections.abc import Sequence
from typing import Protocol, final

from keywright.errors import LinkError, PolicyError

logger = logging.getLogger(__name__)

MAX_MESSAGE = 0xFFFF
UNKNOWN_ERROR = b"\x6f\x00"
_WRONG_LENGTH = b"\x67\x00"
_CHUNK = 1 << 16
_SEND_TIMEOUT_S = 10.0
_ACCEPT_STEP_S = 0.2
_LOOPBACK_NET = 127
# The vpcd driver sends length and payload in two segments and waits for the ACK of the first: without this each
# APDU costs 40 ms. Linux takes the option back by itself, so it is set again after every recv.
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


@final
class Framer:
    """Cuts a byte stream into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes as they come; return the payloads that are now whole."""
        buffer = self._buffer
        buffer += data
        messages: list[bytes] = []
        at = 0
        while len(buffer) - at >= 2:
            end = at + 2 + int.from_bytes(buffer[at : at + 2], "big")
            if end > len(buffer):
                break
            messages.append(bytes(buffer[at + 2 : end]))
            at = end
        del buffer[:at]
        return messages


def frame(payload: bytes) -> bytes:
    """Length and payload. Raises ValueError if it is longer than 65535 bytes."""
    if len(payload) > MAX_MESSAGE:
        raise ValueError(f"payload: {len(payload)} bytes, at most {MAX_MESSAGE}")
    return len(payload).to_bytes(2, "big") + payload


def sendable(answer: bytes) -> bytes:
    """A device's answer, or a status word in place of one that this wire or its other end cannot take.

    Empty: 6F00, for a response has at least a status word and none at all hangs the vpcd driver. Longer than 65535
    bytes: 6700.
    """
    if not answer:
        return UNKNOWN_ERROR
    return answer if len(answer) <= MAX_MESSAGE else _WRONG_LENGTH


def listen(host: str, port: int, *, remote: bool = False) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises PolicyError for a host that is not loopback unless `remote`, LinkError if the port cannot be had.
    """
    if not remote and not is_loopback(host):
        raise PolicyError(
            f"{host}: a simulated device listens on loopback only", hint="use 127.0.0.1; whoever connects can use it"
        )
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError, UnicodeError) as error:  # UnicodeError: no name of a host
        why = getattr(error, "strerror", None) or str(error)
        raise LinkError(f"{host}:{port}: cannot listen: {why}", delivered=False, hint="choose another port") from error


@final
class Acceptor:
    """Listens and gives out connections one at a time. `port` is the real one if 0 was asked for."""

    def __init__(self, host: str, port: int, *, remote: bool = False) -> None:
        """Listen. Raises as `listen` does."""
        self._listener = listen(host, port, remote=remote)
        self._listener.settimeout(_ACCEPT_STEP_S)
        self._stopped = threading.Event()
        self.port: int = self._listener.getsockname()[1]

    def accept(self) -> socket.socket | None:
        """The next connection, without Nagle's delay; None once `stop` was called. Raises LinkError."""
        while not self._stopped.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError as error:
                raise LinkError(f"cannot accept: {error}", delivered=False) from error
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        return None

    def stop(self) -> None:
        """Make `accept` return None; any thread may call it."""
        self._stopped.set()

    def close(self) -> None:
        """Give up the port."""
        self.stop()
        self._listener.close()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host in ("localhost", "::1"):
        return True
    try:
        return socket.inet_pton(socket.AF_INET, host)[0] == _LOOPBACK_NET
    except (OSError, ValueError):
        return False


def dial(host: str, port: int, timeout_s: float, hint: str) -> socket.socket:
    """A connected socket without Nagle's delay. Raises LinkError."""
    try:
        connection = socket.create_connection((host, port), timeout=timeout_s)
    except UnicodeError as error:
        raise LinkError(f"{host}:{port}: not the name of a host", delivered=False, hint="check the address") from error
    except OSError as error:
        why = error.strerror or str(error)
        raise LinkError(f"{host}:{port}: cannot connect: {why}", delivered=False, hint=hint) from error
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


class Peer(Protocol):
    """What stands behind a served connection."""

    def connected(self) -> None:
        """A connection was made."""
        ...

    def receive(self, message: bytes, /) -> bytes | None:
        """The answer to a message, None for no answer."""
        ...


@final
class Station:
    """One served peer: a listener that takes one connection at a time, or a connection that was dialled."""

    def __init__(
        self, peer: Peer, listener: socket.socket | None = None, connection: socket.socket | None = None
    ) -> None:
        self.peer = peer
        self.listener = listener
        self.connection: socket.socket | None = None
        self._framer = Framer()
        if connection is not None:
            self.attach(connection)

    def accept(self) -> None:
        """Take the connection that waits."""
        if self.listener is not None:
            connection, _ = self.listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.attach(connection)

    def attach(self, connection: socket.socket) -> None:
        """Serve this connection from now on."""
        connection.settimeout(_SEND_TIMEOUT_S)
        self._framer = Framer()
        self.connection = connection
        self.peer.connected()

    def pump(self) -> bool:
        """Read what has come and answer it; False once the other side is gone (the connection is closed then)."""
        connection = self.connection
        if connection is None:
            return False
        try:
            data = connection.recv(_CHUNK)
            if _QUICKACK is not None:
                connection.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
            for message in self._framer.feed(data):
                answer = self.peer.receive(message)
                if answer is not None:
                    connection.sendall(frame(answer))
        except OSError as error:
            logger.info("connection lost reason=%s", error)
            data = b""
        if not data:
            connection.close()
            self.connection = None
        return bool(data)

    def close(self) -> None:
        """Close what is open."""
        for end in (self.connection, self.listener):
            if end is not None:
                end.close()
        self.connection = self.listener = None


@final
class Loop:
    """Serves stations in the calling thread until `stop`, which any thread or signal handler may call."""

    def __init__(self) -> None:
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)

    def run(self, stations: Sequence[Station]) -> None:
        """Serve until `stop`, or until no station has a connection or a listener; then close all of them."""
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._wake_read, selectors.EVENT_READ)
                for station in stations:
                    _watch(selector, station)
                while len(selector.get_map()) > 1:
                    for key, _ in selector.select():
                        if key.data is None:
                            os.read(self._wake_read, 1)
                            return
                        _serve(selector, key)
        finally:
            for station in stations:
                station.close()

    def stop(self) -> None:
        """Make `run` return; if it does not run, the next one returns at once."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"x")

    def close(self) -> None:
        """Give up the pipe."""
        os.close(self._wake_read)
        os.close(self._wake_write)


def _watch(selector: selectors.BaseSelector, station: Station) -> None:
    """Wait for the connection's bytes, or for a connection: a second one waits until the first has gone."""
    waiting = station.connection or station.listener
    if waiting is not None:
        selector.register(waiting, selectors.EVENT_READ, station)


def _serve(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    station: Station = key.data
    if station.connection is None:
        selector.unregister(key.fileobj)
        with contextlib.suppress(OSError):
            station.accept()
        _watch(selector, station)
        return
    # Unregistered first: a closed socket cannot be, and its number may already belong to another one.
    selector.unregister(key.fileobj)
    station.pump()
    _watch(selector, station)
