"""SCP03 session keys from a static key that only encrypts single blocks, or only derives from data (Amd D 4.1.5).

A session key block is CMAC(K, F || context) with F = 00 x 11 || constant || 00 || L || number. With S8 that message has
two blocks, so the block is E(E(F) xor K1 xor context): E(F) xor K1 does not depend on the session. It is the *mask* of
that key, constant and number; mask xor context is what a token encrypts to derive the session key inside
(CKM_AES_ECB_ENCRYPT_DATA). With S16 the message has three blocks and no such mask exists: E(E(F) xor host challenge)
is needed in the middle, so the static key must be able to encrypt.

A mask says nothing about other outputs of E, so it need not be secret; a changed one gives another session key, which
shows at the card cryptogram.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from keywright.scp.scp03.keys import derivation_block

Encrypt: TypeAlias = Callable[[bytes], bytes]
"""The static key as AES-ECB over whole blocks."""

_BLOCK: Final = 16
_LOW: Final = (1 << 128) - 1


def mask(encrypt: Encrypt, constant: int, size: int) -> bytes:
    """The masks of a session key of `size` bytes joined: 16 bytes for AES-128, 32 for AES-192 and -256."""
    return derivation_data(encrypt, constant, size, bytes(_BLOCK))


def masked(mask_blocks: bytes, context: bytes) -> bytes:
    """What to encrypt for a session key in S8: each mask block xor the context of 16 bytes. ValueError for others."""
    if len(context) != _BLOCK or len(mask_blocks) % _BLOCK:
        raise ValueError("masks are whole blocks, and they serve a context of 16 bytes (S8) alone")
    return _xor(mask_blocks, context * (len(mask_blocks) // _BLOCK))


def derivation_data(encrypt: Encrypt, constant: int, size: int, context: bytes) -> bytes:
    """What to encrypt for a session key in S8 or S16: the last CMAC block of each 16 bytes, joined.

    `context`: 16 or 32 bytes. Calls `encrypt` once for S8 and twice for S16. ValueError for other contexts.
    """
    if len(context) not in (_BLOCK, 2 * _BLOCK):
        raise ValueError("a context has 16 bytes (S8) or 32 (S16)")
    count = -(-size // _BLOCK)
    first = b"".join(derivation_block(constant, size, number) for number in range(1, count + 1))
    encrypted = encrypt(first + bytes(_BLOCK))
    chained, zero = encrypted[:-_BLOCK], int.from_bytes(encrypted[-_BLOCK:])
    if len(context) > _BLOCK:
        chained = encrypt(_xor(chained, context[:_BLOCK] * count))
    # K1 of CMAC (SP 800-38B 6.1); the doubling neither branches nor indexes on secret bits.
    k1 = ((zero << 1 & _LOW) ^ 0x87 * (zero >> 127)).to_bytes(_BLOCK)
    return _xor(chained, _xor(k1, context[-_BLOCK:]) * count)


def _xor(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one) ^ int.from_bytes(other)).to_bytes(len(one))
