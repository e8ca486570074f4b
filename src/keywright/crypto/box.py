"""A sealed box: bytes that only the holder of one X25519 key can open, for a purpose that both sides name.

An ephemeral key agrees with the recipient's (RFC 7748); HKDF-SHA256 (RFC 5869) over the shared secret, both public
keys as salt and the purpose as info gives one AES-256-GCM key, used once. Who sealed it is not authenticated: whoever
needs that signs the box.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from keywright.crypto.aead import GCM_NONCE_BYTES, open_gcm, seal_gcm
from keywright.crypto.aes import AesKey
from keywright.crypto.curve25519 import X25519Key
from keywright.crypto.kdf import hkdf
from keywright.errors import AuthenticationError

_PUBLIC_BYTES: Final = 32
_LABEL: Final = b"keywright sealed box 1\x00"
_NONCE: Final = bytes(GCM_NONCE_BYTES)
"""A fixed nonce: the key is new for each box."""


def seal_box(recipient: bytes, plaintext: bytes, purpose: bytes, rng: Callable[[int], bytes]) -> bytes:
    """Ephemeral public key (32 bytes) || ciphertext || tag. `recipient`: X25519 public key.

    Raises AuthenticationError for a public key that is none.
    """
    ephemeral = X25519Key(rng(32), "ephemeral")
    key = _key(ephemeral.agree(recipient), ephemeral.public, recipient, purpose)
    return ephemeral.public + seal_gcm(key, _NONCE, plaintext, purpose)


def open_box(own: X25519Key, box: bytes, purpose: bytes) -> bytes:
    """What is in the box. Raises AuthenticationError if it was sealed to another key or for another purpose."""
    ephemeral, sealed = box[:_PUBLIC_BYTES], box[_PUBLIC_BYTES:]
    if len(ephemeral) != _PUBLIC_BYTES:
        raise AuthenticationError("sealed box not accepted")
    return open_gcm(_key(own.agree(ephemeral), ephemeral, own.public, purpose), _NONCE, sealed, purpose)


def _key(shared: bytes, ephemeral: bytes, recipient: bytes, purpose: bytes) -> AesKey:
    return AesKey(hkdf(shared, ephemeral + recipient, _LABEL + purpose, 32), "sealed box")
