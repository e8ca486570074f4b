"""CBC under changing IVs on one kept context: a new context for each message costs several times as much."""

from __future__ import annotations

from collections.abc import Callable
from typing import final


@final
class AnyIv:
    """A CBC context whose chaining block is its only state, used for messages that each have an IV of their own.

    CBC computes E(P xor previous): XORing the first block with `iv xor previous` makes the context act as if
    it had been made with `iv`.
    """

    __slots__ = ("_block", "_last", "_update")

    def __init__(self, update: Callable[[bytes], bytes], block: int) -> None:
        """`update` of a context made with an IV of zeros; `block` is the cipher's block size in bytes."""
        self._update = update
        self._block = block
        self._last = 0

    def encrypt(self, iv: bytes, data: bytes) -> bytes:
        """`iv` one block, `data` whole blocks. Raises ValueError for anything else."""
        block = self._block
        if len(iv) != block or len(data) % block:
            raise ValueError(f"CBC needs an IV of {block} bytes and whole blocks")
        if not data:
            return b""
        first = int.from_bytes(data[:block]) ^ int.from_bytes(iv) ^ self._last
        out = self._update(first.to_bytes(block) + data[block:])
        self._last = int.from_bytes(out[-block:])
        return out

    def decrypt(self, iv: bytes, data: bytes) -> bytes:
        """`iv` one block, `data` whole blocks. Raises ValueError for anything else."""
        block = self._block
        if len(iv) != block or len(data) % block:
            raise ValueError(f"CBC needs an IV of {block} bytes and whole blocks")
        if not data:
            return b""
        out = self._update(data)
        first = int.from_bytes(out[:block]) ^ int.from_bytes(iv) ^ self._last
        self._last = int.from_bytes(data[-block:])
        return first.to_bytes(block) + out[block:]
