"""COSE_Sign1 (RFC 9052 4.2), ES256 and ES384 (RFC 9053 2.1); algorithm and key id are always protected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from keywright.codec.cbor import Tag, decode, encode
from keywright.crypto.ec import EcPublicKey
from keywright.crypto.signing import BY_NUMBER, Signer, algorithm_of, verify
from keywright.errors import AuthenticationError, DecodeError

TAG: Final = 18
"""CBOR tag of COSE_Sign1 (RFC 9052 2)."""
ALG: Final = 1
CRIT: Final = 2
KID: Final = 4
X5CHAIN: Final = 33
"""Labels of header parameters (RFC 9052 3.1, RFC 9360 2)."""
_CONTEXT: Final = "Signature1"
_PARTS: Final = 4


class Sign1(NamedTuple):
    """What was signed: the protected header and the bytes of the payload; and the header that was not."""

    protected: dict[Any, Any]
    payload: bytes
    unprotected: dict[Any, Any]


def sign_cose(protected: Mapping[Any, Any], payload: bytes, signer: Signer, *, external: bytes = b"") -> bytes:
    """A tagged COSE_Sign1; the algorithm is added to the protected header. `external`: bytes signed but not sent."""
    return encode(Tag(TAG, sign_parts(protected, {}, payload, signer, external=external)))


def sign_parts(
    protected: Mapping[Any, Any],
    unprotected: Mapping[Any, Any],
    payload: bytes,
    signer: Signer,
    *,
    external: bytes = b"",
) -> list[Any]:
    """The four parts of a COSE_Sign1, for a message that carries it without its tag; as `sign_cose` otherwise."""
    header = encode({**protected, ALG: algorithm_of(signer.public).number})
    signature = signer.sign(_to_be_signed(header, external, payload))
    return [header, dict(unprotected), payload, signature]


def verify_cose(
    data: bytes, key_for: Callable[[Mapping[Any, Any]], EcPublicKey], *, external: bytes = b"", tagged: bool = True
) -> Sign1:
    """Check a COSE_Sign1 with the key that `key_for` has for both headers together, protected parameters first.

    Raises DecodeError if it is none, or not encoded deterministically; AuthenticationError if the signature is not
    accepted, the algorithm is not protected or not that of the key's curve, or `crit` is there.
    """
    return verify_parts(_message(data, tagged=tagged), key_for, external=external)


def verify_parts(
    message: object, key_for: Callable[[Mapping[Any, Any]], EcPublicKey], *, external: bytes = b""
) -> Sign1:
    """As `verify_cose`, for the decoded parts of a COSE_Sign1 that came inside a message."""
    header, found, signature = _parts(message)
    if CRIT in found.protected:
        raise AuthenticationError("signature not accepted")
    key = key_for({**found.unprotected, **found.protected})
    alg = found.protected.get(ALG)
    verify(
        key,
        BY_NUMBER.get(alg) if isinstance(alg, int) else None,
        signature,
        _to_be_signed(header, external, found.payload),
    )
    return found


def _message(data: bytes, *, tagged: bool) -> object:
    message = decode(data)
    if not tagged:
        return message
    if not isinstance(message, Tag) or message.tag != TAG:
        raise DecodeError("not a tagged COSE_Sign1 (RFC 9052 4.2)")
    return message.value


def _parts(message: object) -> tuple[bytes, Sign1, bytes]:
    if not isinstance(message, list) or len(message) != _PARTS:
        raise DecodeError("not a COSE_Sign1 (RFC 9052 4.2)")
    header, unprotected, payload, signature = message
    if not all(isinstance(part, bytes) for part in (header, payload, signature)) or not isinstance(unprotected, dict):
        raise DecodeError("not a COSE_Sign1 (RFC 9052 4.2)")
    protected = decode(header) if header else {}
    if not isinstance(protected, dict):
        raise DecodeError("not a COSE_Sign1 (RFC 9052 4.2)")
    if not unprotected.keys().isdisjoint(protected):
        raise DecodeError("a header parameter stands in both headers (RFC 9052 3)")
    return header, Sign1(protected, payload, unprotected), signature


def _to_be_signed(header: bytes, external: bytes, payload: bytes) -> bytes:
    """Sig_structure (RFC 9052 4.4)."""
    return encode([_CONTEXT, header, external, payload])
