"""Authenticated encryption: AES-GCM with 12-byte nonces, and AES-SIV, which has none to repeat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV

from keywright.crypto.aes import AesKey
from keywright.crypto.key import Key
from keywright.errors import AuthenticationError

GCM_NONCE_BYTES = 12
_TAG_BYTES = 16


def seal_gcm(key: AesKey, nonce: bytes, plaintext: bytes, associated: bytes = b"") -> bytes:
    """Ciphertext || 16-byte tag (NIST SP 800-38D). `nonce`: 12 bytes, never twice with one key. Raises ValueError."""
    _check_nonce(nonce)
    return AESGCM(key.reveal()).encrypt(nonce, plaintext, associated)


def open_gcm(key: AesKey, nonce: bytes, sealed: bytes, associated: bytes = b"") -> bytes:
    """Inverse of `seal_gcm`. Raises AuthenticationError if the tag does not fit."""
    _check_nonce(nonce)
    if len(sealed) < _TAG_BYTES:
        raise AuthenticationError("sealed data not accepted")
    try:
        return AESGCM(key.reveal()).decrypt(nonce, sealed, associated)
    except InvalidTag as error:
        raise AuthenticationError("sealed data not accepted") from error


@final
class SivKey(Key):
    """AES-SIV key (RFC 5297): two AES keys of one size, 32, 48 or 64 bytes together."""

    __slots__ = ("_siv",)

    def __init__(self, raw_key: bytes, label: str = "AES-SIV") -> None:
        """Take both halves. Raises ValueError for another size."""
        if len(raw_key) not in (32, 48, 64):
            raise ValueError(f"{label}: an AES-SIV key has 32, 48 or 64 bytes, not {len(raw_key)}")
        super().__init__(raw_key, label)
        self._siv = AESSIV(raw_key)

    def seal(self, plaintext: bytes, associated: Sequence[bytes] = ()) -> bytes:
        """16-byte synthetic IV || ciphertext; equal inputs give equal bytes. `associated`: at most 126 strings."""
        return self._siv.encrypt(plaintext, list(associated))

    def open(self, sealed: bytes, associated: Sequence[bytes] = ()) -> bytes:
        """Inverse of `seal`. Raises AuthenticationError if the synthetic IV does not fit."""
        try:
            return self._siv.decrypt(sealed, list(associated))
        except InvalidTag as error:
            raise AuthenticationError("sealed data not accepted") from error


def _check_nonce(nonce: bytes) -> None:
    if len(nonce) != GCM_NONCE_BYTES:
        raise ValueError(f"AES-GCM takes a nonce of {GCM_NONCE_BYTES} bytes here, not {len(nonce)}")
