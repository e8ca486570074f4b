"""Messages on a stream socket: a length of four bytes, big-endian, then so many bytes."""

from __future__ import annotations

import socket
from typing import Final

LIMIT: Final = 1 << 24


def send(stream: socket.socket, body: bytes) -> None:
    """Send one frame. Raises OSError when the other end is gone, ValueError for a frame that is too long."""
    if len(body) > LIMIT:
        raise ValueError(f"a message of {len(body)} bytes")
    stream.sendall(len(body).to_bytes(4) + body)


def receive(stream: socket.socket) -> bytes:
    """Take one frame. Raises EOFError when the other end is gone, also in the middle, TimeoutError, OSError."""
    size = int.from_bytes(_exactly(stream, 4))
    if size > LIMIT:
        raise EOFError(f"a frame of {size} bytes is none of ours")
    return _exactly(stream, size)


def _exactly(stream: socket.socket, size: int) -> bytes:
    data = stream.recv(size) if size else b""
    while len(data) < size:
        more = stream.recv(size - len(data))
        if not more:
            raise EOFError("the other end is gone")
        data += more
    return data
