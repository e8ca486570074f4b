"""Two- and three-key triple DES, for cards and master keys that still have it."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from keywright.crypto.key import Key

_BLOCK = 8
_ZERO = bytes(_BLOCK)


@final
class TripleDesKey(Key):
    """Triple DES key; the ECB contexts are made at first use and kept. One object per session and thread.

    Parity bits are kept as given: DES ignores them, and a key check value does not change with them.
    """

    __slots__ = ("_ecb", "_ecb_open")

    def __init__(self, raw_key: bytes, label: str = "3DES") -> None:
        """Take K1 || K2 (16 bytes) or K1 || K2 || K3 (24 bytes). Raises ValueError for another size."""
        if len(raw_key) not in (16, 24):
            raise ValueError(f"{label}: a triple DES key has 16 or 24 bytes, not {len(raw_key)}")
        super().__init__(raw_key, label)
        self._ecb: Callable[[bytes], bytes] | None = None
        self._ecb_open: Callable[[bytes], bytes] | None = None

    def encrypt_blocks(self, blocks: bytes) -> bytes:
        """Raw triple DES of n*8 bytes, each block alone (ECB)."""
        kept = self._ecb
        if kept is None:
            kept = self._ecb = Cipher(self._algorithm(), modes.ECB()).encryptor().update
        return kept(_whole(blocks))

    def decrypt_blocks(self, blocks: bytes) -> bytes:
        """Inverse of `encrypt_blocks`."""
        kept = self._ecb_open
        if kept is None:
            kept = self._ecb_open = Cipher(self._algorithm(), modes.ECB()).decryptor().update
        return kept(_whole(blocks))

    def encrypt_cbc(self, iv: bytes, data: bytes) -> bytes:
        """CBC without padding; `iv` 8 bytes, `data` n*8 bytes."""
        return Cipher(self._algorithm(), modes.CBC(iv)).encryptor().update(_whole(data))

    def decrypt_cbc(self, iv: bytes, data: bytes) -> bytes:
        """Inverse of `encrypt_cbc`; padding, if any, is left in place."""
        return Cipher(self._algorithm(), modes.CBC(iv)).decryptor().update(_whole(data))

    def kcv(self) -> bytes:
        """Key check value, 3 bytes: triple DES of eight 00 bytes (GPCS B.6)."""
        return self.encrypt_blocks(_ZERO)[:3]

    def _algorithm(self) -> TripleDES:
        # Always 24 bytes: the library is about to drop its own K1 || K2 || K1 expansion.
        return TripleDES((self._raw + self._raw[:8])[:24])


def _whole(data: bytes) -> bytes:
    # The kept contexts would hold back a rest and put it before the next call's blocks.
    if len(data) % _BLOCK:
        raise ValueError("triple DES takes whole blocks of 8 bytes")
    return data
