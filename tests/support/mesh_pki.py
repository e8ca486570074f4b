"""A vendor's certificates for the mesh tests, and certificates that break one rule each."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable, Mapping
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.mesh.pki import Authority

UUID = bytes.fromhex("70cf7c9732a345b691494810d2e9cbf4")
NAME = "70cf7c97-32a3-45b6-9149-4810d2e9cbf4"
VALIDITY = (dt.datetime(2026, 1, 1, tzinfo=dt.UTC), dt.datetime(2036, 1, 1, tzinfo=dt.UTC))
AT = "2026-06-01T00:00:00Z"
COMPANY, PRODUCT = 0x8001, 0x03FF


@functools.cache
def key(name: str) -> EcPrivateKey:
    """The same key for the same name, all through a run."""
    assert name
    return EcPrivateKey.generate("P-256")


@functools.cache
def root() -> Authority:
    """The vendor's root."""
    return Authority.begin(key("root"), "Vendor", serial_number=1, validity=VALIDITY)


@functools.cache
def authority(depth: int = 1) -> Authority:
    """A CA that many levels below the root."""
    if not depth:
        return root()
    above = authority(depth - 1)
    return above.subordinate(key(f"CA {depth}"), f"Vendor CA {depth}", serial_number=depth + 1, validity=VALIDITY)


def device_certificate(
    public_key: EcPublicKey, uuid: bytes = UUID, *, issuer: Authority | None = None, **changes: Any
) -> bytes:
    """A good certificate of a device."""
    values: dict[str, Any] = {
        "serial_number": 1000,
        "validity": VALIDITY,
        "company": COMPANY,
        "product": PRODUCT,
    } | changes
    return (issuer or authority()).certify(uuid, public_key, **values)


def usage(*names: str) -> x509.KeyUsage:
    """A keyUsage of these."""
    known = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: name in names for name in known})


_NO_CA = x509.BasicConstraints(ca=False, path_length=None)
_AGREES = usage("key_agreement")


def forge(
    *,
    subject: x509.Name | None = None,
    names: Mapping[x509.ObjectIdentifier, str | tuple[str, ...]] | None = None,
    public_key: Any = None,
    issuer: x509.Name | None = None,
    signer: Any = None,
    algorithm: Any = None,
    validity: tuple[dt.datetime, dt.datetime] = VALIDITY,
    basic: x509.ExtensionType | None = _NO_CA,
    key_usage: x509.ExtensionType | None = _AGREES,
    more: tuple[tuple[x509.ExtensionType, bool], ...] = (),
) -> bytes:
    """A device certificate below the root, good but for what is given."""
    parts = {x509.NameOID.ORGANIZATION_NAME: "Vendor", x509.NameOID.COMMON_NAME: NAME, **(names or {})}
    named = [
        x509.NameAttribute(oid, one)
        for oid, texts in parts.items()
        for one in ((texts,) if isinstance(texts, str) else texts)
    ]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject or x509.Name(named))
        .issuer_name(issuer or x509.load_der_x509_certificate(root().root).subject)
        .public_key(public_key or key("device").public.library_key())
        .serial_number(77)
        .not_valid_before(validity[0])
        .not_valid_after(validity[1])
    )
    for extension, is_critical in ((basic, True), (key_usage, False), *more):
        if extension is not None:
            builder = builder.add_extension(extension, critical=is_critical)
    return builder.sign(signer or key("root").library_key(), algorithm or hashes.SHA256()).public_bytes(Encoding.DER)


def rsa_key() -> rsa.RSAPrivateKey:
    """A key of another kind."""
    return rsa.generate_private_key(65537, 2048)


def p384_key() -> ec.EllipticCurvePrivateKey:
    """A key of another curve."""
    return ec.generate_private_key(ec.SECP384R1())


Forgery = Callable[[], bytes]
