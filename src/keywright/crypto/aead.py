"""Authenticated encryption: AES-GCM with 12-byte nonces, AES-CCM with 13, and AES-SIV, which has none to repeat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, AESSIV

from keywright.crypto.aes import AesKey
from keywright.crypto.key import Key
from keywright.errors import AuthenticationError

GCM_NONCE_BYTES = 12
CCM_NONCE_BYTES = 13
_TAG_BYTES = 16


def seal_gcm(key: AesKey, nonce: bytes, plaintext: bytes, associated: bytes = b"") -> bytes:
    """Ciphertext || 16-byte tag (NIST SP 800-38D). `nonce`: 12 bytes, never twice with one key. Raises ValueError."""
    _check_nonce(nonce)
    return AESGCM(key.reveal()).encrypt(nonce, plaintext, associated)


def open_gcm(key: AesKey, nonce: bytes, sealed: bytes, associated: bytes = b"") -> bytes:
    """Inverse of `seal_gcm`. Raises AuthenticationError if the tag does not fit."""
    opened = try_gcm(key, nonce, sealed, associated)
    if opened is None:
        raise AuthenticationError("sealed data not accepted")
    return opened


def try_gcm(key: AesKey, nonce: bytes, sealed: bytes, associated: bytes = b"") -> bytes | None:
    """`open_gcm` for who tries one key after the other: None if the tag does not fit."""
    _check_nonce(nonce)
    if len(sealed) < _TAG_BYTES:
        return None
    try:
        return AESGCM(key.reveal()).decrypt(nonce, sealed, associated)
    except InvalidTag:
        return None


@final
class CcmKey(Key):
    """AES-128 key for CCM with 13-byte nonces (RFC 3610 with L = 2), as Bluetooth and IEEE 802.15.4 use it."""

    __slots__ = ("_contexts",)

    def __init__(self, raw_key: bytes, label: str = "AES-CCM") -> None:
        """Take 16 bytes. Raises ValueError for another size."""
        if len(raw_key) != 16:
            raise ValueError(f"{label}: an AES-128 key has 16 bytes, not {len(raw_key)}")
        super().__init__(raw_key, label)
        self._contexts: dict[int, AESCCM] = {}

    def seal(self, nonce: bytes, plaintext: bytes, associated: bytes = b"", *, mic_bytes: int = 8) -> bytes:
        """Ciphertext || MIC. `nonce`: 13 bytes, never twice with one key. Raises ValueError for sizes CCM lacks."""
        return self._context(mic_bytes).encrypt(nonce, plaintext, associated)

    def open(self, nonce: bytes, sealed: bytes, associated: bytes = b"", *, mic_bytes: int = 8) -> bytes:
        """Inverse of `seal`. Raises AuthenticationError if the MIC does not fit, also if there is no room for one."""
        if len(sealed) < mic_bytes:
            raise AuthenticationError("sealed data not accepted")
        try:
            return self._context(mic_bytes).decrypt(nonce, sealed, associated)
        except InvalidTag as error:
            raise AuthenticationError("sealed data not accepted") from error

    def _context(self, mic_bytes: int) -> AESCCM:
        kept = self._contexts.get(mic_bytes)
        if kept is None:
            kept = self._contexts[mic_bytes] = AESCCM(self._raw, tag_length=mic_bytes)
        return kept


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
