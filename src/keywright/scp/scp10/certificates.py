"""Certificates of SCP10 (GPCS F.1.3.4): only their containers are fixed, so these are profiles to agree on.

| profile | value of 7F21 | what is signed |
| --- | --- | --- |
| A | 42, 5F20, 5F4C, 7F49, 9E | the objects before 9E, PKCS#1 v1.5 |
| B | 5F4E, 9E | the value of 5F4E, cut as the `Profile` says, PKCS#1 v1.5 |
| C | 5F38, 9E | what the signature carries, then 5F38: objects as in A, or values as in B (ISO/IEC 9796-2 scheme 1) |

Which one it is shows from its objects, whether objects or values are certified from P2 of the command. That is not
signed, so what reads as objects is never taken as values.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from keywright.codec.ber import item, spans
from keywright.crypto.rsa import RsaPrivateKey, RsaPublicKey
from keywright.errors import DecodeError
from keywright.scp.scp10.messages import (
    IDENTIFIER_BYTES,
    NOT_SELF_DESCRIPTIVE,
    SELF_DESCRIPTIVE,
    CertificateBody,
    ContentCertificate,
    PublicKeyObject,
    RecoverableCertificate,
)
from keywright.scp.scp10.profile import Profile

CERTIFICATE = 0x7F21
_SIGNATURE = 0x9E
_CONTENT = 0x5F4E
_REMAINDER = 0x5F38

Kind = Literal["A", "B", "C", "C values"]
"""A profile of certificates; "C values" is profile C over concatenated values."""


class Holder(msgspec.Struct, frozen=True):
    """Whom a certificate speaks of, and the key that it certifies."""

    name: bytes
    """Holder reference, 5F20."""
    public_key: RsaPublicKey
    issuer: bytes = b""
    """Issuer reference, 42."""
    authorisation: bytes = b""
    """Holder authorisation, 5F4C: what it means is the issuer's business."""

    def identifier(self, profile: Profile) -> bytes:
        """The 8 bytes that stand for the holder in what is signed. Raises DecodeError for a shorter reference."""
        if len(self.name) < IDENTIFIER_BYTES:
            raise DecodeError(f"a holder reference of {len(self.name)} bytes gives no identifier of 8")
        return self.name[-IDENTIFIER_BYTES:] if profile.identifier_end == "last" else self.name[:IDENTIFIER_BYTES]


class Certificate(msgspec.Struct, frozen=True):
    """A certificate as it travels: the 7F21 object, and P2 of the command that presents it."""

    encoded: bytes
    form: int = SELF_DESCRIPTIVE

    def verify(self, signer: RsaPublicKey, profile: Profile) -> Holder:
        """`verify_certificate` of this one."""
        return verify_certificate(self.encoded, self.form, signer, profile)


def verify_certificate(encoded: bytes, form: int, signer: RsaPublicKey, profile: Profile) -> Holder:
    """The holder of a 7F21 object that `signer` signed. `form`: BE or AE, P2 of the command that presents it.

    Raises DecodeError for a certificate that does not parse or does not fit `form`, AuthenticationError for its
    signature.
    """
    value = _value(encoded)
    described = form == SELF_DESCRIPTIVE
    first = spans(value, 0, len(value))[0][0] if value else 0
    if first == _REMAINDER:
        recoverable = RecoverableCertificate.parse(value)
        carried = signer.recover(recoverable.signature, recoverable.remainder)
        certified = carried + recoverable.remainder
    elif first == _CONTENT and not described:
        content = ContentCertificate.parse(value)
        signer.verify(content.signature, content.content, profile.certificate_hash)
        certified = content.content
    elif described:
        certified, signature = _split(value)
        signer.verify(signature, certified, profile.certificate_hash)
    else:
        raise DecodeError("this certificate describes itself")
    if described:
        return _described(certified)
    if _is_described(certified):
        # Read as values, objects would give a modulus that nobody chose and an attacker may factor.
        raise DecodeError("this certificate describes itself")
    return _cut(certified, profile)


def issue_certificate(kind: Kind, holder: Holder, signer: RsaPrivateKey, profile: Profile) -> Certificate:
    """Sign a certificate in one of the profiles. Raises ValueError for references that do not fit the profile."""
    values = kind in ("B", "C values")
    certified = _joined(holder, profile) if values else _body(holder).build()
    if kind in ("C", "C values"):
        room = signer.public.recoverable
        carried, remainder = certified[:room], certified[room:]
        signature = signer.sign_recoverable(carried, remainder)
        value = RecoverableCertificate(remainder, signature).build()
    else:
        signature = signer.sign(certified, profile.certificate_hash)
        value = ContentCertificate(certified, signature).build() if values else certified + item(_SIGNATURE, signature)
    return Certificate(item(CERTIFICATE, value), NOT_SELF_DESCRIPTIVE if values else SELF_DESCRIPTIVE)


def _value(encoded: bytes) -> bytes:
    found = spans(encoded, 0, len(encoded))
    if len(found) != 1 or found[0][0] != CERTIFICATE:
        raise DecodeError("a certificate is one 7F21 object")
    return encoded[found[0][1] :]


def _split(value: bytes) -> tuple[bytes, bytes]:
    """The certified objects and the signature, which comes last."""
    *certified, (tag, start, _) = spans(value, 0, len(value)) or [(0, 0, 0)]
    if tag != _SIGNATURE or not certified:
        raise DecodeError("a certificate ends in its signature, 9E")
    return value[: certified[-1][2]], value[start:]


def _body(holder: Holder) -> CertificateBody:
    key = PublicKeyObject(holder.public_key.modulus, holder.public_key.exponent)
    return CertificateBody(holder.issuer, holder.name, holder.authorisation, key)


def _is_described(certified: bytes) -> bool:
    try:
        CertificateBody.parse(certified)
    except DecodeError:
        return False
    return True


def _described(certified: bytes) -> Holder:
    body = CertificateBody.parse(certified)
    key = RsaPublicKey.from_numbers(body.public_key.modulus, body.public_key.exponent)
    return Holder(body.holder, key, body.issuer, body.authorisation)


def _joined(holder: Holder, profile: Profile) -> bytes:
    if (len(holder.issuer), len(holder.name)) != (profile.issuer_bytes, profile.holder_bytes):
        raise ValueError(f"references of {profile.issuer_bytes} and {profile.holder_bytes} bytes are due")
    exponent = holder.public_key.exponent
    if len(exponent) > profile.exponent_bytes:
        raise ValueError(f"an exponent of {profile.exponent_bytes} bytes is due")
    return holder.issuer + holder.name + holder.public_key.modulus + exponent.rjust(profile.exponent_bytes, b"\0")


def _cut(certified: bytes, profile: Profile) -> Holder:
    named = profile.issuer_bytes + profile.holder_bytes
    if len(certified) <= named + profile.exponent_bytes:
        raise DecodeError("the certified values are too short for a key", len(certified))
    issuer, name = certified[: profile.issuer_bytes], certified[profile.issuer_bytes : named]
    end = len(certified) - profile.exponent_bytes
    return Holder(name, RsaPublicKey.from_numbers(certified[named:end], certified[end:]), issuer)
