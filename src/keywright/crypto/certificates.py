"""X.509 certificates of the line: its own CA, the device certificates it issues, and their check (RFC 5280).

x509 takes 50 ms to import, so every function here imports it at its first call. The library's builder issues
several thousand certificates a second on one core, so there is no DER template of our own.
"""

from __future__ import annotations

import hashlib
import string
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from keywright.codec.ber import item, items
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.errors import AuthenticationError, DecodeError, PolicyError

if TYPE_CHECKING:
    import datetime as dt

    from cryptography import x509

    Validity: TypeAlias = tuple[dt.datetime, dt.datetime]
    """From when and until when, aware."""

_SEQUENCE = 0x30
_BIT_STRING = 0x03
_PRINTABLE = frozenset(string.ascii_letters + string.digits + " '()+,-./:=?")


class OutsideKey(Protocol):
    """A private key that is elsewhere, in a token: it signs digests."""

    @property
    def public(self) -> EcPublicKey:
        """Its public key."""
        ...

    def sign_digest(self, digest: bytes) -> bytes:
        """ECDSA over a digest, r || s, each as wide as the curve."""
        ...


SigningKey: TypeAlias = EcPrivateKey | OutsideKey


class Certificate(NamedTuple):
    """What a certificate says. `der` are the bytes as received: they are what is stored, hashed and verified."""

    der: bytes
    subject: str
    """Common name of the subject."""
    subject_serial: str
    """Serial number attribute of the subject, empty if there is none; not the number of the certificate."""
    issuer: str
    """Common name of the issuer."""
    serial_number: int
    not_before: dt.datetime
    not_after: dt.datetime
    public_key: EcPublicKey
    is_ca: bool
    """basicConstraints says CA, and keyUsage (which must be there) allows certificate signatures."""


@final
class Issuer:
    """A CA key with its certificate, ready to issue many device certificates."""

    __slots__ = ("_authority", "_constraints", "_key", "_name", "_usage", "certificate")

    def __init__(self, key: SigningKey, certificate: bytes) -> None:
        """Take the CA's key and its DER certificate. Raises PolicyError if that does not allow this key to issue."""
        from cryptography import x509  # noqa: PLC0415 - see the module's docstring

        self.certificate = load_certificate(certificate)
        if not self.certificate.is_ca or self.certificate.public_key != key.public:
            raise PolicyError("the CA certificate does not allow this key to issue certificates")
        self._key = key
        self._name = x509.load_der_x509_certificate(certificate).subject
        self._authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(_key_id(key.public))
        self._constraints = x509.BasicConstraints(ca=False, path_length=None)
        self._usage = _key_usage(ca=False)

    def issue(
        self,
        *,
        common_name: str,
        subject_serial: str,
        public_key: EcPublicKey,
        serial_number: int,
        not_before: dt.datetime,
        not_after: dt.datetime,
    ) -> bytes:
        """A device certificate as DER; everything but the signature follows from the arguments.

        The key may sign and agree (digitalSignature, keyAgreement). `serial_number`: 1 to 159 bits, never used before
        by this CA. Times are aware; their fraction of a second is dropped.
        Raises ValueError for values X.509 does not take, PolicyError for a validity beyond the CA's own.
        """
        _check_aware(not_before, not_after)
        if not_after > self.certificate.not_after or not_before < self.certificate.not_before:
            raise PolicyError("a device certificate is valid only while that of its CA is")
        builder = (
            _builder(_name(common_name, subject_serial), self._name, public_key, serial_number, not_before, not_after)
            .add_extension(self._constraints, critical=True)
            .add_extension(self._usage, critical=True)
            .add_extension(_key_id(public_key), critical=False)
            .add_extension(self._authority, critical=False)
        )
        return _sign(builder, self._key)


def issue_ca_certificate(
    key: SigningKey,
    *,
    common_name: str,
    serial_number: int,
    not_before: dt.datetime,
    not_after: dt.datetime,
) -> bytes:
    """A self-signed CA certificate as DER, which may sign end-entity certificates only (pathLenConstraint 0).

    Times and errors as `Issuer.issue`.
    """
    from cryptography import x509  # noqa: PLC0415 - see the module's docstring

    name = _name(common_name)
    builder = (
        _builder(name, name, key.public, serial_number, not_before, not_after)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(_key_id(key.public), critical=False)
    )
    return _sign(builder, key)


def issue_device_certificate(
    ca_key: EcPrivateKey,
    ca_certificate: bytes,
    *,
    common_name: str,
    subject_serial: str,
    public_key: EcPublicKey,
    serial_number: int,
    not_before: dt.datetime,
    not_after: dt.datetime,
) -> bytes:
    """One device certificate as DER: `Issuer.issue`, for who needs a single one."""
    return Issuer(ca_key, ca_certificate).issue(
        common_name=common_name,
        subject_serial=subject_serial,
        public_key=public_key,
        serial_number=serial_number,
        not_before=not_before,
        not_after=not_after,
    )


def load_certificate(der: bytes) -> Certificate:
    """Read a DER certificate with an elliptic curve key, verifying nothing. Raises DecodeError for any other bytes."""
    from cryptography import x509  # noqa: PLC0415 - see the module's docstring

    try:
        loaded = x509.load_der_x509_certificate(der)
        return Certificate(
            der=der,
            subject=_attribute(loaded.subject, x509.NameOID.COMMON_NAME),
            subject_serial=_attribute(loaded.subject, x509.NameOID.SERIAL_NUMBER),
            issuer=_attribute(loaded.issuer, x509.NameOID.COMMON_NAME),
            serial_number=loaded.serial_number,
            not_before=loaded.not_valid_before_utc,
            not_after=loaded.not_valid_after_utc,
            public_key=_public_key(loaded),
            is_ca=_is_ca(loaded.extensions),
        )
    except DecodeError:
        raise
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion) as error:
        raise DecodeError("not a certificate that can be read") from error


def verify_device_certificate(
    certificate: Certificate,
    ca: Certificate,
    *,
    public_key: EcPublicKey | None = None,
    at: dt.datetime | None = None,
) -> None:
    """Check that `ca` issued this end-entity certificate (RFC 5280 6.1.3; a chain of two, no revocation).

    `public_key`: the key it must be for; `at`: an aware time at which both must be valid. Raises AuthenticationError.
    """
    from cryptography import x509  # noqa: PLC0415 - see the module's docstring

    if certificate.is_ca or not ca.is_ca:
        raise AuthenticationError("certificate not accepted: wrong kind of certificate in its place")
    try:
        x509.load_der_x509_certificate(certificate.der).verify_directly_issued_by(
            x509.load_der_x509_certificate(ca.der)
        )
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise AuthenticationError(f"certificate not accepted: not issued by {ca.subject}") from error
    if public_key is not None and certificate.public_key != public_key:
        raise AuthenticationError("certificate not accepted: it is for another key")
    if at is not None and not all(one.not_before <= at <= one.not_after for one in (certificate, ca)):
        raise AuthenticationError("certificate not accepted: not valid at that time")


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: EcPublicKey,
    serial_number: int,
    not_before: dt.datetime,
    not_after: dt.datetime,
) -> x509.CertificateBuilder:
    from cryptography import x509  # noqa: PLC0415 - see the module's docstring

    _check_aware(not_before, not_after)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key.library_key())
        .serial_number(serial_number)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )


def _check_aware(*times: dt.datetime) -> None:
    if any(time.tzinfo is None for time in times):
        raise ValueError("the validity of a certificate takes times with a time zone")


def certificate_request(key: SigningKey, *, common_name: str) -> bytes:
    """A PKCS #10 request (RFC 2986) of a CA for its certificate, DER: basicConstraints CA, keyCertSign and cRLSign."""
    from cryptography import x509  # noqa: PLC0415 - see the module's docstring

    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(_name(common_name))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
    )
    if isinstance(key, EcPrivateKey):
        return _signed(builder, key)
    # A request names the key that signs it, so the throwaway signature is over another key's information: its
    # SubjectPublicKeyInfo is replaced by ours of the same curve, which has the same length.
    stand_in = _throwaway(key.public.curve)
    information = _to_be_signed(_signed(builder, stand_in))
    if information.count(stand_in.public.spki()) != 1:
        raise ValueError("a request whose public key is not found in it")
    information = information.replace(stand_in.public.spki(), key.public.spki())
    return _with_signature(information, _signed(builder, stand_in), key)


def _sign(builder: x509.CertificateBuilder, key: SigningKey) -> bytes:
    if isinstance(key, EcPrivateKey):
        return _signed(builder, key)
    by_throwaway = _signed(builder, _throwaway(key.public.curve))
    return _with_signature(_to_be_signed(by_throwaway), by_throwaway, key)


def _signed(builder: x509.CertificateBuilder | x509.CertificateSigningRequestBuilder, key: EcPrivateKey) -> bytes:
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - see the module's docstring
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415 - see the module's docstring

    by_width: dict[int, type[hashes.SHA256 | hashes.SHA384]] = {32: hashes.SHA256, 48: hashes.SHA384}
    algorithm = by_width.get(key.public.width, hashes.SHA512)()
    return builder.sign(key.library_key(), algorithm).public_bytes(Encoding.DER)


@cache
def _throwaway(curve: str) -> EcPrivateKey:
    """A key that signs what the library will not put together unsigned; its signatures are thrown away."""
    return EcPrivateKey.generate(curve)


def _to_be_signed(der: bytes) -> bytes:
    """The first of the three parts of a certificate or request: what is signed."""
    return _parts(der)[0]


def _parts(der: bytes) -> list[bytes]:
    ((_, inside),) = items(der)
    return [item(tag, value) for tag, value in items(inside)]


def _with_signature(signed: bytes, by_throwaway: bytes, key: OutsideKey) -> bytes:
    """`signed`, the algorithm that the throwaway signature names, and the key's own signature (RFC 5280 4.1.1.3)."""
    width = key.public.width
    digest = hashlib.new({32: "sha256", 48: "sha384"}.get(width, "sha512"), signed).digest()
    raw = key.sign_digest(digest)
    value = encode_dss_signature(int.from_bytes(raw[:width]), int.from_bytes(raw[width:]))
    return item(_SEQUENCE, signed + _parts(by_throwaway)[1] + item(_BIT_STRING, b"\x00" + value))


def _name(common_name: str, subject_serial: str = "") -> x509.Name:
    from cryptography import x509  # noqa: PLC0415 - see the module's docstring

    parts = [x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)]
    if subject_serial:
        if not set(subject_serial) <= _PRINTABLE or len(subject_serial) > 64:
            # X.520 SerialNumber: PrintableString (SIZE (1..64)); the library checks neither.
            raise ValueError("a serial number in a certificate is at most 64 of letters, digits, space and '()+,-./:=?")
        parts.append(x509.NameAttribute(x509.NameOID.SERIAL_NUMBER, subject_serial))
    return x509.Name(parts)


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    from cryptography import x509  # noqa: PLC0415 - see the module's docstring

    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _key_id(key: EcPublicKey) -> x509.SubjectKeyIdentifier:
    """The leftmost 160 bits of SHA-256 of the point (RFC 7093 2, method 1)."""
    from cryptography import x509  # noqa: PLC0415 - see the module's docstring

    return x509.SubjectKeyIdentifier(hashlib.sha256(key.point).digest()[:20])


def _public_key(loaded: x509.Certificate) -> EcPublicKey:
    key = loaded.public_key()
    if not isinstance(key, EllipticCurvePublicKey):
        raise DecodeError("a certificate for a key that is not on an elliptic curve")
    return EcPublicKey(key)


def _attribute(name: x509.Name, oid: x509.ObjectIdentifier) -> str:
    return next((str(attribute.value) for attribute in name.get_attributes_for_oid(oid)), "")


def _is_ca(extensions: x509.Extensions) -> bool:
    from cryptography import x509  # noqa: PLC0415 - see the module's docstring

    try:
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return constraints.ca and usage.key_cert_sign
