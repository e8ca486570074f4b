"""AES keys that keep their contexts and never show themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

from keywright.crypto.cbc import AnyIv
from keywright.crypto.key import Key

_BLOCK = 16
_ZERO = bytes(_BLOCK)
_MASK = (1 << 128) - 1
_KCV_BLOCK = b"\x01" * _BLOCK


@final
class AesKey(Key):
    """AES-128, -192 or -256 key; contexts are made at first use and kept. One object per session and thread."""

    __slots__ = ("_cbc", "_cbc_open", "_cmac", "_ecb", "_ecb_open")

    _cmac: CMAC | None
    _ecb: Callable[[bytes], bytes] | None
    _ecb_open: Callable[[bytes], bytes] | None
    _cbc: AnyIv | None
    _cbc_open: AnyIv | None

    def __init__(self, raw_key: bytes, label: str = "AES") -> None:
        """Take a key of 16, 24 or 32 bytes; `label` names it in messages. Raises ValueError for another size."""
        if len(raw_key) not in (16, 24, 32):
            raise ValueError(f"{label}: an AES key has 16, 24 or 32 bytes, not {len(raw_key)}")
        self._raw = raw_key
        self._label = label
        self._cmac = self._ecb = self._ecb_open = self._cbc = self._cbc_open = None

    def cmac(self, message: bytes) -> bytes:
        """AES-CMAC, 16 bytes (NIST SP 800-38B)."""
        kept = self._cmac
        if kept is None:
            kept = self._cmac = CMAC(algorithms.AES(self._raw))
        mac = kept.copy()
        mac.update(message)
        return mac.finalize()

    def encrypt_blocks(self, blocks: bytes) -> bytes:
        """Raw AES of n*16 bytes, each block alone (ECB)."""
        kept = self._ecb
        if kept is None:
            kept = self._ecb = Cipher(algorithms.AES(self._raw), modes.ECB()).encryptor().update
        return kept(_whole(blocks))

    def decrypt_blocks(self, blocks: bytes) -> bytes:
        """Inverse of `encrypt_blocks`."""
        kept = self._ecb_open
        if kept is None:
            kept = self._ecb_open = Cipher(algorithms.AES(self._raw), modes.ECB()).decryptor().update
        return kept(_whole(blocks))

    def encrypt_cbc(self, iv: bytes, data: bytes) -> bytes:
        """CBC without padding; `iv` 16 bytes, `data` n*16 bytes."""
        kept = self._cbc
        if kept is None:
            update = Cipher(algorithms.AES(self._raw), modes.CBC(_ZERO)).encryptor().update
            kept = self._cbc = AnyIv(update, _BLOCK)
        return kept.encrypt(iv, data)

    def decrypt_cbc(self, iv: bytes, data: bytes) -> bytes:
        """Inverse of `encrypt_cbc`; padding, if any, is left in place."""
        kept = self._cbc_open
        if kept is None:
            kept = self._cbc_open = AnyIv(
                Cipher(algorithms.AES(self._raw), modes.CBC(_ZERO)).decryptor().update, _BLOCK
            )
        return kept.decrypt(iv, data)

    def kcv(self, over: Literal["ones", "zeros"] = "ones") -> bytes:
        """Key check value, 3 bytes: AES of sixteen 01 bytes (GPCS B.6), or of zeros as some cards have it."""
        return self.encrypt_blocks(_KCV_BLOCK if over == "ones" else bytes(len(_KCV_BLOCK)))[:3]


def cmac_subkeys(key: AesKey) -> tuple[bytes, bytes]:
    """K1 and K2 of CMAC (NIST SP 800-38B 6.1), for messages that the library's CMAC does not take; secret as the key.

    The doubling neither branches nor indexes on secret bits.
    """
    zero = int.from_bytes(key.encrypt_blocks(_ZERO))
    k1 = (zero << 1 & _MASK) ^ 0x87 * (zero >> 127)
    k2 = (k1 << 1 & _MASK) ^ 0x87 * (k1 >> 127)
    return k1.to_bytes(_BLOCK), k2.to_bytes(_BLOCK)


def _whole(blocks: bytes) -> bytes:
    # The kept context would hold back a rest and put it before the next call's blocks.
    if len(blocks) % _BLOCK:
        raise ValueError("AES takes whole blocks of 16 bytes")
    return blocks
