"""One tray of simulated fobs for several processes of the line: one journal still has one writer.

A fob is with whoever powered it on last. Commands of anybody else are refused, as a fob in somebody else's reader
would not hear them; what a host that ends had on is powered off.
"""

from __future__ import annotations

import selectors
import socket
from typing import Final, Protocol, final

from keywright.fob.pool import POWER_OFF, POWER_ON, Frames, frame

_CHUNK: Final = 1 << 18
_LOST: Final = 1
_AT_ONCE: Final = 8
"""Answers sent in one piece."""
_SEND_S: Final = 5.0
"""A host that takes nothing for so long is given up, so that the others need not wait for it."""
_ELSEWHERE: Final = b"the fob stands on another station now"


class Answering(Protocol):
    """What a tray is to those who share it."""

    def answer(self, kind: int, name: str, payload: bytes, /) -> bytes:
        """Answer one message about one fob."""
        ...


@final
class Host:
    """One process of the line, and the messages it sends."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        sock.settimeout(_SEND_S)
        self.sock = sock
        self.frames = Frames()


@final
class SharedTray:
    """Who has which fob."""

    def __init__(self, tray: Answering) -> None:
        self._tray = tray
        self._with: dict[str, Host] = {}

    def answer(self, host: Host, kind: int, name: str, payload: bytes) -> bytes:
        """The message for one message of a host; empty for a removal."""
        if kind == POWER_ON:
            if self._with.get(name, host) is not host:
                self._tray.answer(POWER_OFF, name, b"")
            self._with[name] = host
        elif self._with.get(name) is not host:
            return b"" if kind == POWER_OFF else frame(_LOST, name, _ELSEWHERE)
        elif kind == POWER_OFF:
            del self._with[name]
        return self._tray.answer(kind, name, payload)

    def leave(self, host: Host) -> None:
        """A host has ended: its fobs lose their power, and finish nothing."""
        for name in [name for name, holder in self._with.items() if holder is host]:
            del self._with[name]
            self._tray.answer(POWER_OFF, name, b"")


def serve_many(control: socket.socket, listener: socket.socket, tray: Answering) -> None:
    """Answer whoever connects to `listener`, until the other end of `control` closes."""
    shared = SharedTray(tray)
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ, None)
        selector.register(listener, selectors.EVENT_READ, None)
        while True:
            for key, _ in selector.select():
                if key.fileobj is control:
                    return
                if key.fileobj is listener:
                    sock, _ = listener.accept()
                    selector.register(sock, selectors.EVENT_READ, Host(sock))
                elif not _heard(shared, key.data):
                    selector.unregister(key.fileobj)
                    key.data.sock.close()
                    shared.leave(key.data)


def _heard(shared: SharedTray, host: Host) -> bool:
    """Answer what a host sent; False when it has ended."""
    try:
        data = host.sock.recv(_CHUNK)
        if not data:
            return False
        out: list[bytes] = []
        for message in host.frames.feed(data):
            out.append(shared.answer(host, *message))
            if len(out) == _AT_ONCE:
                host.sock.sendall(b"".join(out))
                out.clear()
        host.sock.sendall(b"".join(out))
    except (OSError, UnicodeDecodeError):
        return False
    return True
