"""JSON Web Signature in compact form (RFC 7515 7.1), ES256 and ES384 (RFC 7518 3.4)."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from keywright.crypto.ec import EcPublicKey
from keywright.crypto.signing import BY_NAME, Signer, algorithm_of, verify
from keywright.errors import AuthenticationError, DecodeError

_COMPACT: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)\.([A-Za-z0-9_-]+)")


class Jws(NamedTuple):
    """What was signed: the protected header and the bytes of the payload."""

    header: dict[str, Any]
    payload: bytes


def sign_jws(header: Mapping[str, Any], payload: bytes, signer: Signer) -> str:
    """The compact form; `alg` is added to the header. Raises ValueError for a curve without an algorithm."""
    full = {**header, "alg": algorithm_of(signer.public).name}
    text = json.dumps(full, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
    signed = f"{encode(text)}.{encode(payload)}"
    return f"{signed}.{encode(signer.sign(signed.encode()))}"


def read_jws(text: str) -> Jws:
    """Header and payload, unverified: to find the key by. Raises DecodeError."""
    return _parts(text)[0]


def verify_jws(text: str, key_for: Callable[[Mapping[str, Any]], EcPublicKey]) -> Jws:
    """Check a compact JWS with the key that `key_for` has for its header.

    Raises DecodeError if it is none, AuthenticationError if the signature or algorithm is not accepted. A header with
    `crit` is refused (RFC 7515 4.1.11): no extension is understood here.
    """
    found, signed, signature = _parts(text)
    if "crit" in found.header:
        raise AuthenticationError("signature not accepted")
    alg = found.header.get("alg")
    verify(key_for(found.header), BY_NAME.get(alg) if isinstance(alg, str) else None, signature, signed)
    return found


def encode(data: bytes) -> str:
    """Base64url without padding (RFC 7515 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """The bytes of base64url without padding. Raises DecodeError, also when another text would give the same bytes."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise DecodeError("not base64url (RFC 7515 2)") from error
    if encode(data) != text:
        raise DecodeError("not base64url (RFC 7515 2)")
    return data


def _parts(text: str) -> tuple[Jws, bytes, bytes]:
    match = _COMPACT.fullmatch(text)
    if match is None:
        raise DecodeError("not a JWS in compact form (RFC 7515 7.1)")
    try:
        header = json.loads(decode(match[1]), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise DecodeError("not the header of a JWS (RFC 7515 4)") from error
    if not isinstance(header, dict):
        raise DecodeError("not the header of a JWS (RFC 7515 4)")
    return Jws(header, decode(match[2])), f"{match[1]}.{match[2]}".encode(), decode(match[3])


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """RFC 7515 4: the names in a header are unique."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice")
    return found
