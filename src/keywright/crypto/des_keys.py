"""What makes eight, sixteen or twenty-four bytes a DES key: parity, and the keys that are none (NIST SP 800-67 3.3)."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from keywright.crypto.compare import equal
from keywright.errors import PolicyError

_PART = 8

_BAD: Final = tuple(
    bytes.fromhex(key)
    for key in (
        # weak
        "0101010101010101 FEFEFEFEFEFEFEFE E0E0E0E0F1F1F1F1 1F1F1F1F0E0E0E0E "
        # semi-weak, in pairs
        "01FE01FE01FE01FE FE01FE01FE01FE01 1FE01FE00EF10EF1 E01FE01FF10EF10E "
        "01E001E001F101F1 E001E001F101F101 1FFE1FFE0EFE0EFE FE1FFE1FFE0EFE0E "
        "011F011F010E010E 1F011F010E010E01 E0FEE0FEF1FEF1FE FEE0FEE0FEF1FEF1"
    ).split()
)


def odd_parity(key: bytes) -> bytes:
    """`key` with the lowest bit of each byte set so that the byte has an odd number of ones; DES ignores that bit."""
    return bytes(_odd(byte) for byte in key)


def has_odd_parity(key: bytes) -> bool:
    """Whether every byte has an odd number of ones; in time that depends on the length only."""
    return equal(key, odd_parity(key))


def check_des_key(key: bytes) -> None:
    """Raise PolicyError for a weak or semi-weak part, or two parts next to each other that are the same.

    `key`: K1 || K2 or K1 || K2 || K3. Parity bits do not count. K1 = K3 is what a two-key key is and not refused.
    """
    if len(key) not in (2 * _PART, 3 * _PART):
        raise ValueError(f"a triple DES key has 16 or 24 bytes, not {len(key)}")
    whole = odd_parity(key)
    parts = [whole[at : at + _PART] for at in range(0, len(whole), _PART)]
    # Sums of flags, not `any`: no part and no candidate is left out.
    if sum(equal(part, bad) for part in parts for bad in _BAD):
        raise PolicyError("a part of the DES key is weak or semi-weak", hint="make new components or a new key")
    if sum(equal(first, second) for first, second in pairwise(parts)):
        raise PolicyError("two parts of the triple DES key are the same: it is single DES", hint="make a new key")


def _odd(byte: int) -> int:
    folded = byte >> 1
    folded ^= folded >> 4
    folded ^= folded >> 2
    folded ^= folded >> 1
    return (byte & 0xFE) | (folded & 1 ^ 1)
