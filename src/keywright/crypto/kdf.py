"""Key derivation functions: SP 800-108 in counter mode, ANSI X9.63, HKDF, scrypt."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Final

_SIZES: Final = {"sha256": 32, "sha384": 48, "sha512": 64}
"""Digest sizes, bytes: asking a new hash for its own takes as long as hashing."""


def sp800_108_counter(
    prf: Callable[[bytes], bytes],
    *,
    label: bytes,
    context: bytes,
    length_bytes: int,
    counter_bytes: int = 1,
    length_field_bytes: int = 2,
) -> bytes:
    """Derive `length_bytes` bytes by counter mode (NIST SP 800-108r1, 4.1).

    Every PRF input is i || label || 00 || context || L: i counts from 1 in `counter_bytes`, L is the length of the
    result in bits in `length_field_bytes` (0: no L); both big-endian. Raises ValueError if i or L cannot hold it.
    """
    tail = label + b"\x00" + context
    if length_field_bytes:
        tail += _big_endian(length_bytes * 8, length_field_bytes)
    derived = prf(_big_endian(1, counter_bytes) + tail)
    counter = 1
    while len(derived) < length_bytes:
        counter += 1
        derived += prf(_big_endian(counter, counter_bytes) + tail)
    return derived[:length_bytes]


def x963(shared_secret: bytes, shared_info: bytes, length_bytes: int, hash_name: str = "sha256") -> bytes:
    """Derive `length_bytes` bytes from a shared secret (ANSI X9.63-2001 5.6.3, SEC 1 3.6.1; counter of 4 bytes)."""
    derived = b""
    counter = 0
    while len(derived) < length_bytes:
        counter += 1
        derived += hashlib.new(hash_name, shared_secret + counter.to_bytes(4) + shared_info).digest()
    return derived[:length_bytes]


def hkdf(ikm: bytes, salt: bytes, info: bytes, length_bytes: int, hash_name: str = "sha256") -> bytes:
    """Extract and expand `length_bytes` bytes (RFC 5869). Raises ValueError above 255 times the hash size."""
    size = _SIZES.get(hash_name) or hashlib.new(hash_name).digest_size
    if length_bytes > 255 * size:
        raise ValueError(f"HKDF gives at most {255 * size} bytes with {hash_name}")
    pseudo_random_key = hmac.digest(salt or bytes(size), ikm, hash_name)
    if length_bytes <= size:
        return hmac.digest(pseudo_random_key, info + b"\x01", hash_name)[:length_bytes]
    derived = block = b""
    counter = 0
    while len(derived) < length_bytes:
        counter += 1
        block = hmac.digest(pseudo_random_key, block + info + counter.to_bytes(1), hash_name)
        derived += block
    return derived[:length_bytes]


def scrypt(
    password: bytes, salt: bytes, cost: int, block_size: int, parallelization: int, *, length_bytes: int
) -> bytes:
    """Derive `length_bytes` bytes from a password (RFC 7914): N, r, p; takes 128 N r bytes of memory.

    Raises ValueError for an N that is no power of two above 1, or r or p of 0.
    """
    room = 128 * block_size * (cost + parallelization + 2)
    return hashlib.scrypt(password, salt=salt, n=cost, r=block_size, p=parallelization, maxmem=room, dklen=length_bytes)


def _big_endian(value: int, size: int) -> bytes:
    try:
        return value.to_bytes(size)
    except OverflowError:
        raise ValueError(f"{value} does not fit into {size} bytes of a derivation input") from None
