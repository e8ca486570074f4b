"""Padding of the secure channels: 80, then zeros to a whole block (ISO 9797-1 method 2)."""

from __future__ import annotations

_TAILS = tuple(b"\x80" + bytes(15 - n) for n in range(16))


def pad80(data: bytes) -> bytes:
    """Pad to a multiple of 16 bytes; always adds at least one."""
    return data + _TAILS[len(data) % 16]


def unpad80(data: bytes) -> bytes:
    """Remove the padding, however many zeros it has: a card of the OpenSCP recordings adds a whole block more.

    Raises ValueError when there is no 80 before the zeros.
    """
    body = data.rstrip(b"\0")
    if not body.endswith(b"\x80"):
        raise ValueError("padding")
    return body[:-1]
