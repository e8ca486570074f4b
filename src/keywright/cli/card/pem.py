"""Public keys and certificates as PEM, in the blocks that `cli.keyring` reads."""

from __future__ import annotations

import base64
import textwrap
from typing import Final

from keywright.crypto.ec import EcPublicKey

_COLUMNS: Final = 64
_SEQUENCE: Final = 0x30


def public_key_pem(key: EcPublicKey) -> str:
    """A public key (SubjectPublicKeyInfo)."""
    return _block("PUBLIC KEY", key.spki())


def certificate_pem(raw: bytes) -> str:
    """A certificate, X.509 or of GlobalPlatform's format."""
    return _block("CERTIFICATE" if raw[:1] == bytes((_SEQUENCE,)) else "GP CERTIFICATE", raw)


def _block(kind: str, data: bytes) -> str:
    """RFC 7468."""
    lines = textwrap.wrap(base64.b64encode(data).decode(), _COLUMNS)
    return "\n".join((f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----", ""))
