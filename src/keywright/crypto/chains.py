"""X.509 certificates of a chain in which every link has its own limits: read, verify, issue (RFC 5280 4.2, 6.1).

Unlike `certificates`, which is about the two links of the line, this takes any number of them, keys that are not of an
elliptic curve at the upper end, key usage by itself, path lengths and policies.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.utils import CryptographyDeprecationWarning as _Warned

from keywright.codec.tlv import find
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.errors import AuthenticationError, DecodeError

if TYPE_CHECKING:
    from cryptography import x509

    from keywright.crypto.certificates import Validity

_SERIAL_NUMBER = (0x30, 0x30, 0x02)
"""Certificate, tbsCertificate, serialNumber."""
_NOT_ACCEPTED = "certificate not accepted: its signature"


class ChainCertificate(NamedTuple):
    """What a chain asks of a certificate. `der` are the bytes as received: they are what is verified."""

    der: bytes
    serial_number: int
    subject: bytes
    """Name as DER."""
    issuer: bytes
    """Name as DER."""
    subject_key_id: bytes
    """Empty if there is none."""
    authority_key_id: bytes
    """Empty if there is none."""
    public_key: EcPublicKey | None
    """None for a key that is not on an elliptic curve we use."""
    may_sign: bool
    """basicConstraints says CA, and keyUsage has keyCertSign."""
    may_agree: bool
    """No CA, and keyUsage has keyAgreement."""
    path_length: int | None
    policies: tuple[str, ...]
    """Object identifiers of certificatePolicies, dotted."""
    valid_from: str
    """First day of its validity, YYYYMMDD in UTC."""
    valid_until: str
    """Last day of its validity."""
    may_attest: bool
    """No CA, and keyUsage, if there is one, has digitalSignature."""
    not_before: int
    """First second of its validity, since 1970."""
    not_after: int
    """Last second."""


def read_certificate(der: bytes) -> ChainCertificate:
    """Read one DER certificate, verifying nothing.

    Raises DecodeError for any other bytes, and for a critical extension that a chain does not look at.
    """
    from cryptography import x509  # noqa: PLC0415 - takes 50 ms

    serial = find(der, *_SERIAL_NUMBER)
    if not serial or serial[0] & 0x80 or not any(serial):
        # The library reads it still, and warns at every use (RFC 5280 4.1.2.2).
        raise DecodeError("a certificate whose serial number is not positive")
    try:
        loaded = x509.load_der_x509_certificate(der)
        found = _read(der, loaded)
    except DecodeError:
        raise
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion, _Warned) as error:
        raise DecodeError("not a certificate that can be read") from error
    if not der.endswith(b"\0" + loaded.signature):
        # The library reads a BIT STRING that ends within a byte as well: the same signature in other bytes.
        raise DecodeError("a signature that is not a whole number of bytes")
    return found


def verify_with_key(certificate: ChainCertificate, key: EcPublicKey) -> None:
    """Check the signature of a certificate with a key of which nothing else is known. Raises AuthenticationError."""
    from cryptography import x509  # noqa: PLC0415 - takes 50 ms

    loaded = x509.load_der_x509_certificate(certificate.der)
    try:
        hashed = loaded.signature_hash_algorithm
        algorithm = loaded.signature_algorithm_parameters
        if hashed is None or not isinstance(algorithm, ec.ECDSA):
            raise AuthenticationError(_NOT_ACCEPTED)
        key.verify_der(loaded.signature, loaded.tbs_certificate_bytes, hashed.name)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise AuthenticationError(_NOT_ACCEPTED) from error


def verify_with_issuer(certificate: ChainCertificate, issuer: ChainCertificate) -> None:
    """Check that `issuer` issued a certificate: names, signature, and that it may (RFC 5280 6.1.3, 6.1.4).

    Its key may be of any kind. Path lengths are the caller's, who knows the chain. Raises AuthenticationError.
    """
    from cryptography import x509  # noqa: PLC0415 - takes 50 ms

    if not issuer.may_sign:
        raise AuthenticationError("certificate not accepted: its issuer may not issue certificates")
    try:
        x509.load_der_x509_certificate(certificate.der).verify_directly_issued_by(
            x509.load_der_x509_certificate(issuer.der)
        )
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise AuthenticationError(_NOT_ACCEPTED) from error


def key_identifier(key: EcPublicKey) -> bytes:
    """Name of a key, 20 bytes: the leftmost 160 bits of SHA-256 of its point (RFC 7093 2, method 1)."""
    return hashlib.sha256(key.point).digest()[:20]


def issue_certificate(
    key: EcPrivateKey,
    issuer: ChainCertificate | None,
    *,
    subject: str,
    public_key: EcPublicKey,
    serial_number: int,
    validity: Validity,
    path_length: int | None = None,
    policies: tuple[str, ...] = (),
    organization: str = "",
    denies_ca: bool = False,
) -> bytes:
    """A certificate for `public_key` as DER, signed by `key`; self-signed when `issuer` is None.

    `path_length` None: the key may agree (keyAgreement), nothing else; a number: it may sign certificates, with so
    many CA certificates between it and the last one. `policies` dotted; usage and policies are critical. `denies_ca`:
    whether a certificate that is of no CA says so in basicConstraints. ECDSA with the SHA-2 as wide as the key. Raises
    ValueError for values that X.509 does not take.
    """
    from cryptography import x509  # noqa: PLC0415 - takes 50 ms
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - see above
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415 - see above

    attributes = [x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, organization)] if organization else []
    name = x509.Name([*attributes, x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)])
    above = name if issuer is None else x509.load_der_x509_certificate(issuer.der).subject
    authority = issuer.subject_key_id if issuer is not None else key_identifier(key.public)
    builder = (
        x509.CertificateBuilder(above, name, public_key.library_key(), serial_number, *validity)
        .add_extension(x509.SubjectKeyIdentifier(key_identifier(public_key)), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(authority, None, None), critical=False)
        .add_extension(_usage(sign=path_length is not None), critical=True)
    )
    if path_length is not None or denies_ca:
        limits = x509.BasicConstraints(ca=path_length is not None, path_length=path_length)
        builder = builder.add_extension(limits, critical=True)
    if policies:
        listed = [x509.PolicyInformation(x509.ObjectIdentifier(policy), None) for policy in policies]
        builder = builder.add_extension(x509.CertificatePolicies(listed), critical=True)
    by_width: dict[int, type[hashes.SHA256 | hashes.SHA384]] = {32: hashes.SHA256, 48: hashes.SHA384}
    algorithm = by_width.get(key.public.width, hashes.SHA512)()
    return builder.sign(key.library_key(), algorithm).public_bytes(Encoding.DER)


def _usage(*, sign: bool) -> x509.KeyUsage:
    from cryptography import x509  # noqa: PLC0415 - takes 50 ms

    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=not sign,
        key_cert_sign=sign,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _read(der: bytes, loaded: x509.Certificate) -> ChainCertificate:
    from cryptography import x509  # noqa: PLC0415 - takes 50 ms

    subject_key_id = authority_key_id = b""
    usage: x509.KeyUsage | None = None
    constraints: x509.BasicConstraints | None = None
    policies: tuple[str, ...] = ()
    for extension in loaded.extensions:
        match extension.value:
            case x509.SubjectKeyIdentifier() as found:
                subject_key_id = found.digest
            case x509.AuthorityKeyIdentifier() as found:
                authority_key_id = found.key_identifier or b""
            case x509.KeyUsage() as found:
                usage = found
            case x509.BasicConstraints() as found:
                constraints = found
            case x509.CertificatePolicies() as found:
                policies = tuple(policy.policy_identifier.dotted_string for policy in found)
            case _ if extension.critical:
                raise DecodeError(f"a critical extension {extension.oid.dotted_string} that means nothing here")
    is_ca = constraints is not None and constraints.ca
    return ChainCertificate(
        der=der,
        serial_number=loaded.serial_number,
        subject=loaded.subject.public_bytes(),
        issuer=loaded.issuer.public_bytes(),
        subject_key_id=subject_key_id,
        authority_key_id=authority_key_id,
        public_key=_key(loaded),
        may_sign=is_ca and usage is not None and usage.key_cert_sign,
        may_agree=not is_ca and usage is not None and usage.key_agreement,
        path_length=constraints.path_length if constraints is not None else None,
        policies=policies,
        valid_from=loaded.not_valid_before_utc.strftime("%Y%m%d"),
        valid_until=loaded.not_valid_after_utc.strftime("%Y%m%d"),
        may_attest=not is_ca and (usage is None or usage.digital_signature),
        not_before=int(loaded.not_valid_before_utc.timestamp()),
        not_after=int(loaded.not_valid_after_utc.timestamp()),
    )


def _key(loaded: x509.Certificate) -> EcPublicKey | None:
    try:
        key = loaded.public_key()
        return EcPublicKey(key) if isinstance(key, ec.EllipticCurvePublicKey) else None
    except (DecodeError, UnsupportedAlgorithm):
        return None
