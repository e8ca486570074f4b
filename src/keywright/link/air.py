"""An air between processes of one machine: advertising data as datagrams, in real time.

One process listens at a port and is the air; the others send to it. What anybody sends, all others hear. It is for
trying out both roles without a radio, so it keeps to the loopback interface and takes 31 octets at most, as an
advertisement does.
"""

from __future__ import annotations

import ipaddress
import selectors
import socket
import time
from collections.abc import Callable
from typing import Any, Final, final

from keywright.errors import LinkError, PolicyError
from keywright.sansio.endpoint import Endpoint

LONGEST: Final = 31
"""Octets of legacy advertising data."""
HELLO_S: Final = 1.0
"""How often whoever is not the air says that it is there."""
FORGET_S: Final = 5.0
"""How long the air sends to somebody who says nothing."""


@final
class Datagrams:
    """The air at HOST:PORT: whoever is first there is the air itself, the others reach it."""

    def __init__(self, host: str, port: int, *, chance: Callable[[], float]) -> None:
        """Raises PolicyError for a host that is not loopback, LinkError if the port cannot be used."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            address = None
        if address is None or not address.is_loopback:
            raise PolicyError(f"air:{host}:{port}: an air is for this machine alone", hint="use 127.0.0.1")
        self.chance = chance
        self._peers: dict[Any, float] = {}
        self._hello_at = 0.0
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._air = self._take(host, port)
            self.port: int = self._socket.getsockname()[1] if self._air is None else port
        except OSError as error:
            self._socket.close()
            raise LinkError(f"air:{host}:{port}: {error.strerror}", delivered=False) from error

    def _take(self, host: str, port: int) -> tuple[str, int] | None:
        """Be the air, if nobody is; else where it is."""
        try:
            self._socket.bind((host, port))
        except OSError:
            if not port:
                raise
            return (host, port)
        return None

    @property
    def now(self) -> float:
        """Seconds of a clock that never goes back."""
        return time.monotonic()

    def run(self, endpoint: Endpoint[Any], seconds: float, stop: Callable[[], bool] = lambda: False) -> None:
        """Put an endpoint on the air until `stop()` or for that long."""
        end = self.now + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            while not stop() and (now := self.now) < end:
                for frame in endpoint.outgoing(now):
                    self._send(frame)
                if stop():
                    return
                self._greet(now)
                due = endpoint.deadline()
                until = min(time for time in (end, now + HELLO_S, due) if time is not None)
                if selector.select(max(0.0, until - self.now)):
                    frame = self._hear()
                    if frame:
                        endpoint.receive(frame, self.now)

    def close(self) -> None:
        """Leave the air; if this process was the air, nobody hears anything any more."""
        self._socket.close()

    def _greet(self, now: float) -> None:
        if self._air is not None and now >= self._hello_at:
            self._hello_at = now + HELLO_S
            self._to(self._air, b"")

    def _send(self, frame: bytes, sender: Any = None) -> None:
        if self._air is not None:
            self._to(self._air, frame)
            return
        self._peers = {peer: seen for peer, seen in self._peers.items() if self.now - seen < FORGET_S}
        for peer in self._peers:
            if peer != sender:
                self._to(peer, frame)

    def _to(self, peer: Any, frame: bytes) -> None:
        try:
            self._socket.sendto(frame, peer)
        except OSError:
            return  # nobody there any more, as on any air

    def _hear(self) -> bytes:
        try:
            frame, sender = self._socket.recvfrom(LONGEST + 1)
        except OSError:
            return b""
        if len(frame) > LONGEST or (self._air is not None and sender[:2] != self._air):
            return b""
        if self._air is None:
            self._peers[sender] = self.now
            if frame:
                self._send(frame, sender)
        return frame
