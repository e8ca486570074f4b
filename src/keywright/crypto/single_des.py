"""Single DES, for over-the-air packets of old SIMs: broken since long, and refused unless somebody asks for it."""

from __future__ import annotations

from typing import Final, final

from keywright.crypto.des import TripleDesKey
from keywright.crypto.key import Key

_BYTES: Final = 8


@final
class DesKey(Key):
    """Single DES key. The library has triple DES only, which with K || K || K is single DES."""

    __slots__ = ("_triple",)

    def __init__(self, raw_key: bytes, label: str = "DES") -> None:
        """Take 8 bytes; parity bits are kept as given. Raises ValueError for another size."""
        if len(raw_key) != _BYTES:
            raise ValueError(f"{label}: a DES key has 8 bytes, not {len(raw_key)}")
        super().__init__(raw_key, label)
        self._triple = TripleDesKey(raw_key * 2, label)

    def encrypt_blocks(self, blocks: bytes) -> bytes:
        """Raw DES of n*8 bytes, each block alone (ECB)."""
        return self._triple.encrypt_blocks(blocks)

    def decrypt_blocks(self, blocks: bytes) -> bytes:
        """Inverse of `encrypt_blocks`."""
        return self._triple.decrypt_blocks(blocks)

    def encrypt_cbc(self, iv: bytes, data: bytes) -> bytes:
        """CBC without padding; `iv` 8 bytes, `data` n*8 bytes."""
        return self._triple.encrypt_cbc(iv, data)

    def decrypt_cbc(self, iv: bytes, data: bytes) -> bytes:
        """Inverse of `encrypt_cbc`; padding, if any, is left in place."""
        return self._triple.decrypt_cbc(iv, data)

    def kcv(self) -> bytes:
        """Key check value, 3 bytes: DES of eight 00 bytes."""
        return self._triple.kcv()
