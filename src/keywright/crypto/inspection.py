"""What a certificate says, rule by rule, for profiles that have to name the rule that is broken (RFC 5280 4.1, 4.2).

`chains.read_certificate` answers whether a certificate has its place in a chain. This takes one apart and judges
nothing, so that what the library would refuse as a whole (a path length of no CA) can be refused by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec

from keywright.codec.ber import items
from keywright.crypto.ec import EcPublicKey
from keywright.errors import DecodeError

if TYPE_CHECKING:
    from cryptography import x509

_BOOLEAN: Final = 0x01
_INTEGER: Final = 0x02
_BIT_STRING: Final = 0x03
_OCTET_STRING: Final = 0x04
_OID: Final = 0x06
_SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0
_EXTENSIONS: Final = 0xA3
_UNIQUE_IDS: Final = (0x81, 0x82, 0xA1, 0xA2)

KEY_USAGE: Final = "2.5.29.15"
BASIC_CONSTRAINTS: Final = "2.5.29.19"
USAGES: Final = (
    "digitalSignature",
    "contentCommitment",
    "keyEncipherment",
    "dataEncipherment",
    "keyAgreement",
    "keyCertSign",
    "cRLSign",
    "encipherOnly",
    "decipherOnly",
)
"""By bit of keyUsage (RFC 5280 4.2.1.3)."""


class Extension(NamedTuple):
    """One extension; `value` is DER."""

    is_critical: bool
    value: bytes


class BasicConstraints(NamedTuple):
    """RFC 5280 4.2.1.9."""

    is_ca: bool
    path_length: int | None


class Inspected(NamedTuple):
    """A certificate taken apart, nothing of it verified. Object identifiers are dotted."""

    der: bytes
    version: int
    """1, 2 or 3, as people count."""
    signature_algorithm: str
    subject: bytes
    """Name as DER."""
    issuer: bytes
    """Name as DER."""
    common_names: tuple[str, ...]
    organizations: tuple[str, ...]
    not_before: str
    """UTC, as 2026-01-02T03:04:05Z: such texts compare as their times do."""
    not_after: str
    public_key: EcPublicKey | None
    """None for a key that is not on an elliptic curve we use."""
    extensions: dict[str, Extension]

    def usage(self) -> frozenset[str] | None:
        """What the key may do, None without keyUsage. Raises DecodeError."""
        found = self.extensions.get(KEY_USAGE)
        if found is None:
            return None
        bits = _only(found.value, _BIT_STRING)
        if not bits or bits[0] > 7:
            raise DecodeError("a keyUsage that is no BIT STRING")
        number = int.from_bytes(bits[1:]) >> bits[0] << bits[0]
        width = 8 * (len(bits) - 1)
        return frozenset(name for bit, name in enumerate(USAGES) if bit < width and number >> (width - 1 - bit) & 1)

    def constraints(self) -> BasicConstraints | None:
        """What basicConstraints says, None without it. Raises DecodeError."""
        found = self.extensions.get(BASIC_CONSTRAINTS)
        if found is None:
            return None
        is_ca, path_length = False, None
        for tag, value in items(_only(found.value, _SEQUENCE)):
            if tag == _BOOLEAN and len(value) == 1 and path_length is None:
                is_ca = bool(value[0])
            elif tag == _INTEGER and value:
                path_length = int.from_bytes(value, signed=True)
            else:
                raise DecodeError("basicConstraints with something else in it")
        return BasicConstraints(is_ca, path_length)


def inspect_certificate(der: bytes) -> Inspected:
    """Take one DER certificate apart. Raises DecodeError for any other bytes."""
    from cryptography import x509  # noqa: PLC0415 - takes 50 ms

    signed, algorithm = _signed_part(der)
    fields = items(signed)
    version = 1
    if fields and fields[0][0] == _VERSION:
        version = int.from_bytes(_only(fields.pop(0)[1], _INTEGER)) + 1
    if len(fields) < 6 or fields[1] != (_SEQUENCE, algorithm):
        raise DecodeError("a certificate with two signature algorithms, or with a field missing")
    extensions: dict[str, Extension] = {}
    for tag, value in fields[6:]:
        if tag == _EXTENSIONS:
            extensions = _extensions(value)
        elif tag not in _UNIQUE_IDS:
            raise DecodeError(f"a certificate with a field {tag:02X}")
    try:
        loaded = x509.load_der_x509_certificate(der)
        return Inspected(
            der=der,
            version=version,
            signature_algorithm=loaded.signature_algorithm_oid.dotted_string,
            subject=loaded.subject.public_bytes(),
            issuer=loaded.issuer.public_bytes(),
            common_names=_attributes(loaded.subject, x509.NameOID.COMMON_NAME),
            organizations=_attributes(loaded.subject, x509.NameOID.ORGANIZATION_NAME),
            not_before=f"{loaded.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}",
            not_after=f"{loaded.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
            public_key=_key(loaded),
            extensions=extensions,
        )
    except x509.InvalidVersion as error:
        raise DecodeError(f"a certificate of X.509 version {version}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise DecodeError("not a certificate that can be read") from error


def _signed_part(der: bytes) -> tuple[bytes, bytes]:
    """Content of tbsCertificate, and of the signatureAlgorithm beside it."""
    parts = items(_only(der, _SEQUENCE))
    if [tag for tag, _ in parts] != [_SEQUENCE, _SEQUENCE, _BIT_STRING]:
        raise DecodeError("not a certificate that can be read")
    return parts[0][1], parts[1][1]


def _only(data: bytes, tag: int) -> bytes:
    found = items(data)
    if len(found) != 1 or found[0][0] != tag:
        raise DecodeError(f"one {tag:02X} was due")
    return found[0][1]


def _extensions(data: bytes) -> dict[str, Extension]:
    found: dict[str, Extension] = {}
    for tag, content in items(_only(data, _SEQUENCE)):
        parts = items(content)
        is_critical = len(parts) == 3 and parts[1] == (_BOOLEAN, b"\xff")
        if tag != _SEQUENCE or [one for one, _ in parts] not in (
            [_OID, _OCTET_STRING],
            [_OID, _BOOLEAN, _OCTET_STRING],
        ):
            raise DecodeError("an extension that is none")
        oid = _dotted(parts[0][1])
        if oid in found:
            raise DecodeError(f"an extension twice: {oid}")
        found[oid] = Extension(is_critical, parts[-1][1])
    return found


def _dotted(content: bytes) -> str:
    if not content or content[-1] & 0x80:
        raise DecodeError("an object identifier that is none")
    arcs, value = [], 0
    for octet in content:
        value = value << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def _attributes(name: x509.Name, oid: x509.ObjectIdentifier) -> tuple[str, ...]:
    return tuple(str(attribute.value) for attribute in name.get_attributes_for_oid(oid))


def _key(loaded: x509.Certificate) -> EcPublicKey | None:
    try:
        key = loaded.public_key()
        return EcPublicKey(key) if isinstance(key, ec.EllipticCurvePublicKey) else None
    except (DecodeError, UnsupportedAlgorithm, ValueError):
        return None
