"""X25519 (RFC 7748) and Ed25519 (RFC 8032), each as one private and one public form."""

from __future__ import annotations

from typing import final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from keywright.crypto.key import Key
from keywright.errors import AuthenticationError


@final
class X25519Key(Key):
    """A private key of 32 bytes for key agreement."""

    __slots__ = ("_key",)

    def __init__(self, raw_key: bytes, label: str = "X25519") -> None:
        """Take 32 bytes; they are clamped when used (RFC 7748 5). Raises ValueError for another size."""
        if len(raw_key) != 32:
            raise ValueError(f"{label}: an X25519 key has 32 bytes, not {len(raw_key)}")
        super().__init__(raw_key, label)
        self._key = X25519PrivateKey.from_private_bytes(raw_key)

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return self._key.public_key().public_bytes_raw()

    def agree(self, peer: bytes) -> bytes:
        """The shared secret, 32 bytes. Raises AuthenticationError for a wrong size or if it would be all zero."""
        try:
            return self._key.exchange(X25519PublicKey.from_public_bytes(peer))
        except ValueError as error:
            raise AuthenticationError("public key not accepted for key agreement") from error


@final
class Ed25519Key(Key):
    """A private key of 32 bytes for signatures."""

    __slots__ = ("_key",)

    def __init__(self, raw_key: bytes, label: str = "Ed25519") -> None:
        """Take the seed of 32 bytes. Raises ValueError for another size."""
        if len(raw_key) != 32:
            raise ValueError(f"{label}: an Ed25519 key has 32 bytes, not {len(raw_key)}")
        super().__init__(raw_key, label)
        self._key = Ed25519PrivateKey.from_private_bytes(raw_key)

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return self._key.public_key().public_bytes_raw()

    def sign(self, data: bytes) -> bytes:
        """The signature over `data`, 64 bytes; the same every time."""
        return self._key.sign(data)


def verify_ed25519(public: bytes, signature: bytes, data: bytes) -> None:
    """Check a signature over `data`. Raises AuthenticationError, also for a public key that is not one."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except (InvalidSignature, ValueError) as error:
        raise AuthenticationError("signature not accepted") from error
