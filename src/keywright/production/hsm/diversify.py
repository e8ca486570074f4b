"""From a diversification scheme to what a master in a token encrypts for one unit's keys, each by one derivation.

That works where a key is E(block) and the block can be computed outside: `ecb` by its nature, a CMAC of one block
(`kdf3`) and a CMAC of two blocks whose first is constant (`sp800-108` with a short context) by masks that were taken
when the master was made. A longer CMAC needs E(E(first) xor second) in the middle, which only a key that may encrypt,
or a token with SP 800-108, can give; triple DES is not derived in a token at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from keywright.crypto.diversification import ECB, LABELS, OWN, ecb_blocks
from keywright.crypto.templates import KDD_BYTES
from keywright.errors import PolicyError

SHORT_CONTEXT: Final = 14
"""Most bytes of a context of `sp800-108` that fit the second block beside the length field."""
_BLOCK: Final = 16
_LOW: Final = (1 << 128) - 1
_KDF3: Final = "kdf3"
_COUNTERS: Final = (1, 2)
_FIRST: Final = tuple(bytes((i,)) + label + b"\x00" for label in LABELS for i in _COUNTERS)


def master_masks(encrypt: Callable[[bytes], bytes]) -> dict[str, bytes]:
    """The masks of a new master, by one call of AES-ECB: subkey K1 of CMAC, and E of the six constant first blocks."""
    encrypted = encrypt(bytes(_BLOCK) + b"".join(_FIRST))
    return {"k1": _doubled(encrypted[:_BLOCK]), "first": encrypted[_BLOCK:]}


def blocks_for(scheme: str, context: bytes, key_bytes: int, masks: Mapping[str, bytes]) -> tuple[bytes, bytes, bytes]:
    """What the master encrypts for ENC, MAC and DEK. Raises PolicyError for a scheme that cannot be had in a token."""
    count = -(-key_bytes // _BLOCK)
    if scheme == ECB:
        return ecb_blocks(context, key_bytes)
    if scheme == _KDF3:
        if len(context) != KDD_BYTES:
            raise ValueError(f"key diversification data have {KDD_BYTES} bytes, not {len(context)}")
        enc, mac, dek = (
            b"".join(_xor(bytes((i, 0, 0, 0, x, 0)) + context, masks["k1"]) for i in range(1, count + 1))
            for x in (1, 2, 3)
        )
        return enc, mac, dek
    if scheme == OWN:
        return _short(context, key_bytes, masks)
    raise PolicyError(
        f"the scheme {scheme} is not derived in a token",
        hint=f'use scheme = "{ECB}", or keep to a software keystore',
    )


def _short(context: bytes, key_bytes: int, masks: Mapping[str, bytes]) -> tuple[bytes, bytes, bytes]:
    if len(context) > SHORT_CONTEXT:
        raise PolicyError(
            f"{OWN} with a context of {len(context)} bytes is not derived in this token: without SP 800-108 a master "
            f"that only derives serves at most {SHORT_CONTEXT} bytes",
            hint=f'use scheme = "{ECB}", which takes the same context',
        )
    last = context + (key_bytes * 8).to_bytes(2)
    k1 = masks["k1"]
    last = _xor(last, k1) if len(last) == _BLOCK else _xor((last + b"\x80").ljust(_BLOCK, b"\x00"), _doubled(k1))
    count, first = -(-key_bytes // _BLOCK), masks["first"]
    enc, mac, dek = (
        b"".join(_xor(first[at : at + _BLOCK], last) for at in range(start, start + count * _BLOCK, _BLOCK))
        for start in range(0, len(first), len(_COUNTERS) * _BLOCK)
    )
    return enc, mac, dek


def _doubled(block: bytes) -> bytes:
    """Times x in GF(2^128), as CMAC makes its subkeys (SP 800-38B 6.1), without branching on the block."""
    value = int.from_bytes(block)
    return ((value << 1 & _LOW) ^ 0x87 * (value >> 127)).to_bytes(_BLOCK)


def _xor(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one) ^ int.from_bytes(other)).to_bytes(_BLOCK)
