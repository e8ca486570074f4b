"""HMAC (FIPS 198-1) in one call; AES-CMAC is a method of the key."""

from __future__ import annotations

import hashlib
import hmac

from keywright.crypto.compare import equal
from keywright.errors import AuthenticationError


def hmac_tag(key: bytes, message: bytes, hash_name: str = "sha256") -> bytes:
    """HMAC of `message`, as long as the hash."""
    return hmac.digest(key, message, hash_name)


def verify_hmac(tag: bytes, key: bytes, message: bytes, hash_name: str = "sha256", *, tag_bytes: int = 32) -> None:
    """Check a tag of exactly `tag_bytes` bytes, the leftmost of the HMAC. Raises AuthenticationError."""
    most = hashlib.new(hash_name).digest_size
    if not 8 <= tag_bytes <= most:
        raise ValueError(f"HMAC with {hash_name} is checked with a tag of 8 to {most} bytes, not {tag_bytes}")
    if not equal(tag, hmac_tag(key, message, hash_name)[:tag_bytes]):
        raise AuthenticationError("HMAC not accepted")
