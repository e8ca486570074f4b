"""Padding of the secure channels: 80, then zeros to a whole block (ISO 9797-1 method 2)."""

from __future__ import annotations

_TAILS = {block: tuple(b"\x80" + bytes(block - 1 - n) for n in range(block)) for block in (8, 16)}
_AES_TAILS = _TAILS[16]


def pad80(data: bytes, block: int = 16) -> bytes:
    """Pad to a multiple of `block` bytes (16 for AES, 8 for DES); always adds at least one."""
    if block == 16:
        return data + _AES_TAILS[len(data) % 16]
    return data + _TAILS[block][len(data) % block]


def unpad80(data: bytes) -> bytes:
    """Remove the padding, however many zeros it has: a card of the OpenSCP recordings adds a whole block more.

    Raises ValueError when there is no 80 before the zeros.
    """
    body = data.rstrip(b"\0")
    if not body.endswith(b"\x80"):
        raise ValueError("padding")
    return body[:-1]
