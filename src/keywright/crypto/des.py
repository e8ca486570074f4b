"""Two- and three-key triple DES, for cards and master keys that still have it.

Single DES exists only inside: in the retail MAC of ISO 9797-1 and where SCP02 encrypts an ICV with half a key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from keywright.crypto.cbc import AnyIv
from keywright.crypto.key import Key

_BLOCK = 8
_HALF = 8
_ZERO = bytes(_BLOCK)


@final
class TripleDesKey(Key):
    """Triple DES key; contexts are made at first use and kept. One object per session and thread.

    Parity bits are kept as given: DES ignores them, and a key check value does not change with them.
    """

    __slots__ = ("_cbc", "_cbc_open", "_ecb", "_ecb_open", "_single")

    def __init__(self, raw_key: bytes, label: str = "3DES") -> None:
        """Take K1 || K2 (16 bytes) or K1 || K2 || K3 (24 bytes). Raises ValueError for another size."""
        if len(raw_key) not in (16, 24):
            raise ValueError(f"{label}: a triple DES key has 16 or 24 bytes, not {len(raw_key)}")
        super().__init__(raw_key, label)
        self._ecb: Callable[[bytes], bytes] | None = None
        self._ecb_open: Callable[[bytes], bytes] | None = None
        self._cbc: AnyIv | None = None
        self._cbc_open: AnyIv | None = None
        self._single: AnyIv | None = None

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
        kept = self._cbc
        if kept is None:
            kept = self._cbc = AnyIv(Cipher(self._algorithm(), modes.CBC(_ZERO)).encryptor().update, _BLOCK)
        return kept.encrypt(iv, data)

    def decrypt_cbc(self, iv: bytes, data: bytes) -> bytes:
        """Inverse of `encrypt_cbc`; padding, if any, is left in place."""
        kept = self._cbc_open
        if kept is None:
            kept = self._cbc_open = AnyIv(Cipher(self._algorithm(), modes.CBC(_ZERO)).decryptor().update, _BLOCK)
        return kept.decrypt(iv, data)

    def cbc_mac(self, iv: bytes, blocks: bytes) -> bytes:
        """Full triple DES MAC, 8 bytes: the last block of CBC (ISO 9797-1 algorithm 1).

        `blocks` is the padded message, at least one block. Raises ValueError otherwise.
        """
        return self.encrypt_cbc(iv, _some(blocks))[-_BLOCK:]

    def retail_mac(self, iv: bytes, blocks: bytes) -> bytes:
        """Single DES CBC with K1, the last block with triple DES; 8 bytes (ISO 9797-1 algorithm 3).

        `blocks` is the padded message, at least one block. Raises ValueError otherwise, and for a 24-byte key.
        """
        head, last = blocks[:-_BLOCK], _some(blocks)[-_BLOCK:]
        chained = self._first_half().encrypt(iv, head)[-_BLOCK:] or iv
        return self.encrypt_cbc(chained, last)

    def encrypt_single(self, block: bytes) -> bytes:
        """One block of 8 bytes under single DES with K1 (GPCS E.3.4). Raises ValueError for a 24-byte key."""
        if len(block) != _BLOCK:
            raise ValueError("single DES takes one block of 8 bytes here")
        return self._first_half().encrypt(_ZERO, block)

    def kcv(self) -> bytes:
        """Key check value, 3 bytes: triple DES of eight 00 bytes (GPCS B.6)."""
        return self.encrypt_blocks(_ZERO)[:3]

    def _algorithm(self) -> TripleDES:
        # Always 24 bytes: the library is about to drop its own K1 || K2 || K1 expansion.
        return TripleDES((self._raw + self._raw[:8])[:24])

    def _first_half(self) -> AnyIv:
        """Single DES with K1: the library has no single DES, but with three equal parts triple DES is that."""
        kept = self._single
        if kept is None:
            if len(self._raw) != 2 * _HALF:
                raise ValueError(f"{self._label}: only a key of two parts has a first half")
            single = TripleDES(self._raw[:_HALF] * 3)
            kept = self._single = AnyIv(Cipher(single, modes.CBC(_ZERO)).encryptor().update, _BLOCK)
        return kept


def _whole(data: bytes) -> bytes:
    # The kept contexts would hold back a rest and put it before the next call's blocks.
    if len(data) % _BLOCK:
        raise ValueError("triple DES takes whole blocks of 8 bytes")
    return data


def _some(blocks: bytes) -> bytes:
    if not blocks:
        raise ValueError("a MAC needs at least one block: pad first")
    return _whole(blocks)
