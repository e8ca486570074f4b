"""Certificates of readers, profile 0000: compressed, whole, issued and verified (Aliro 1.0 14.1 has the examples).

The profile leaves so little open that a certificate is a handful of values: its X.509 form is rebuilt from these byte
for byte, and a certificate that differs from what would be rebuilt is not of the profile.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, ClassVar, Final

import msgspec

from keywright.aliro.dates import build_certificate_time, parse_certificate_time
from keywright.codec.ber import find, item, items
from keywright.codec.tlv import Template, tag
from keywright.codec.values import mistyped
from keywright.crypto.compare import equal
from keywright.crypto.ec import EcPublicKey
from keywright.crypto.signing import Signer
from keywright.errors import AuthenticationError, DecodeError

CURVE: Final = "P-256"
PROFILE: Final = bytes(2)
"""Profile 0000, the only one there is."""
SERIAL_BYTES: Final = 20
"""Longest serial number (RFC 5280 4.1.2.2; aliro-actuator)."""
NAME_BYTES: Final = 32
"""Longest common name, in UTF-8 (aliro-actuator)."""
DEFAULT_NOT_BEFORE: Final = 1577836800
"""2020-01-01T00:00:00Z."""
DEFAULT_NOT_AFTER: Final = 2493072000
"""2049-01-01T00:00:00Z."""

_SEQUENCE, _SET, _INTEGER, _BIT_STRING, _OCTETS = 0x30, 0x31, 0x02, 0x03, 0x04
_UTF8, _UTC_TIME, _GENERALIZED_TIME = 0x0C, 0x17, 0x18
_VERSION_3: Final = bytes.fromhex("A003020102")
_ECDSA_SHA256: Final = bytes.fromhex("300A06082A8648CE3D040302")
_COMMON_NAME: Final = bytes.fromhex("0603550403")
_P256_KEY: Final = bytes.fromhex("301306072A8648CE3D020106082A8648CE3D030107")
_AUTHORITY: Final = bytes.fromhex("0603551D23")
_OTHER_EXTENSIONS: Final = bytes.fromhex("300C0603551D130101FF04023000300E0603551D0F0101FF040403020780")
"""basicConstraints, critical and empty; keyUsage, critical: digitalSignature."""
_KEY_ID: Final = (0xA3, _SEQUENCE, _SEQUENCE)
_KEY_ID_BYTES: Final = 20
_NOT_ACCEPTED: Final = "reader certificate not accepted"


class CompressedCertificate(Template, frozen=True, kw_only=True):
    """The values of a certificate, each as its contents in X.509; what has its default is left out."""

    strict: ClassVar[bool] = True

    serial: Annotated[bytes, tag(0x80)] = b"\x01"
    issuer: Annotated[bytes, tag(0x81)] = b"issuer"
    not_before: Annotated[bytes, tag(0x82)] = b"200101000000Z"
    not_after: Annotated[bytes, tag(0x83)] = b"490101000000Z"
    subject: Annotated[bytes, tag(0x84)] = b"subject"
    public_key: Annotated[bytes, tag(0x85)]
    """00, then the uncompressed point: contents of a BIT STRING."""
    signature: Annotated[bytes, tag(0x86)]
    """00, then the DER signature."""


class ReaderCertificate(msgspec.Struct, frozen=True):
    """What a reader certificate says. Nothing of it is verified yet."""

    serial: int
    issuer: str
    subject: str
    not_before: int
    """Seconds since 1970, UTC, as all times here."""
    not_after: int
    public_key: EcPublicKey
    """Of the reader: what verifies its signature in AUTH1."""
    signature: bytes
    """DER, of the issuer."""


def parse(compressed: bytes) -> ReaderCertificate:
    """Read a compressed certificate. Raises DecodeError for any other bytes and any other profile."""
    return _read(_values(compressed))


def decompress(compressed: bytes, issuer_key: EcPublicKey) -> bytes:
    """The X.509 certificate as DER. Raises DecodeError.

    The key identifier of its issuer is not in the compressed form: it is that of `issuer_key`, which the device was
    provisioned with. With another key the bytes differ, and the signature does not fit.
    """
    values = _values(compressed)
    _read(values)
    return _whole(values, key_id(issuer_key))


def compress(der: bytes) -> bytes:
    """The compressed form of an X.509 certificate. Raises DecodeError for one that is not of profile 0000."""
    try:
        ((_, inside),) = items(der)
        (_, signed), _, (_, signature) = items(inside)
        _, (_, serial), _, (_, issuer), (_, validity), (_, subject), (_, key_info), _ = items(signed)
        (_, not_before), (_, not_after) = items(validity)
        _, (_, public_key) = items(key_info)
        identifier = _authority_of(signed)
        # A negative number has no leading zero to lose, so rebuilding it gives other bytes and it is refused below.
        values = CompressedCertificate(
            serial=serial.lstrip(b"\0") or b"\0",
            issuer=_name_in(issuer),
            not_before=not_before,
            not_after=not_after,
            subject=_name_in(subject),
            public_key=public_key,
            signature=signature,
        )
        _read(values)
    except DecodeError as error:
        raise DecodeError(f"not a certificate of profile 0000: {error}", error.offset) from error
    except ValueError as error:
        raise DecodeError("not a certificate of profile 0000: it has other parts") from error
    if _whole(values, identifier) != der:
        raise DecodeError("not a certificate of profile 0000: it is written in another way")
    return _wrap(values)


def issue(
    signer: Signer,
    public_key: EcPublicKey,
    *,
    serial: int = 1,
    issuer: str = "issuer",
    subject: str = "subject",
    not_before: int = DEFAULT_NOT_BEFORE,
    not_after: int = DEFAULT_NOT_AFTER,
) -> bytes:
    """A certificate for a reader's key as DER, by the key of a Reader System Issuer; `compress` makes it short.

    `serial`: 1 to 159 bits, the caller's to use once. Times are seconds since 1970, UTC. Raises ValueError for a value
    that the profile has no room for.
    """
    if not 0 < serial < 1 << (8 * SERIAL_BYTES - 1):
        raise ValueError(f"serial: a number of 1 to {8 * SERIAL_BYTES - 1} bits")
    if signer.public.curve != CURVE or public_key.curve != CURVE:
        raise ValueError(f"Aliro has keys on {CURVE} only")
    if not_after < not_before:
        raise ValueError("not_after: before not_before")
    values = CompressedCertificate(
        serial=serial.to_bytes((serial.bit_length() + 7) // 8),
        issuer=_name_bytes("issuer", issuer),
        not_before=build_certificate_time(not_before),
        not_after=build_certificate_time(not_after),
        subject=_name_bytes("subject", subject),
        public_key=b"\0" + public_key.point,
        signature=b"\0",
    )
    identifier = key_id(signer.public)
    signature = _der_signature(signer.sign(_to_be_signed(values, identifier)))
    return _whole(msgspec.structs.replace(values, signature=b"\0" + signature), identifier)


def verify(compressed: bytes, issuer_key: EcPublicKey, *, now: int | None = None) -> ReaderCertificate:
    """What a device does with a certificate: rebuild it, check it with the issuer key it was provisioned with.

    `now`: None for a device without a clock it trusts, which takes the certificate at any time. The profile fixes
    everything else a chain is checked for (no CA, digitalSignature), so that a certificate that says otherwise does not
    come out of `decompress`. Raises DecodeError, AuthenticationError.
    """
    values = _values(compressed)
    found = _read(values)
    try:
        issuer_key.verify_der(found.signature, _to_be_signed(values, key_id(issuer_key)))
    except AuthenticationError as error:
        raise AuthenticationError(f"{_NOT_ACCEPTED}: not of this issuer") from error
    if now is not None and not found.not_before <= now <= found.not_after:
        raise AuthenticationError(f"{_NOT_ACCEPTED}: not valid at this time")
    return found


def reader_key(compressed: bytes, issuer_key: EcPublicKey, *, now: int | None = None) -> EcPublicKey | None:
    """The reader's key of a certificate that `verify` accepts; None for one that it does not."""
    try:
        return verify(compressed, issuer_key, now=now).public_key
    except (DecodeError, AuthenticationError):
        return None


def verify_whole(der: bytes, issuer_key: EcPublicKey, *, now: int | None = None) -> ReaderCertificate:
    """As `verify`, for the X.509 form; also its key identifier must be that of the issuer key."""
    found = verify(compress(der), issuer_key, now=now)
    if not equal(_authority_of(_first(der)), key_id(issuer_key)):
        raise AuthenticationError(f"{_NOT_ACCEPTED}: not of this issuer")
    return found


def key_id(key: EcPublicKey) -> bytes:
    """The key identifier of profile 0000: SHA-1 of the uncompressed point, 20 bytes."""
    return hashlib.sha1(key.point, usedforsecurity=False).digest()


def key_slot(point: bytes) -> bytes:
    """By what a device names its credential to a reader: the first 8 bytes of SHA-1 of the uncompressed point."""
    return hashlib.sha1(point, usedforsecurity=False).digest()[:8]


def _values(compressed: bytes) -> CompressedCertificate:
    match items(compressed):
        case [(0x30, inside)]:
            pass
        case _:
            raise DecodeError("not a compressed reader certificate")
    match items(inside):
        case [(0x04, profile), (0x30, body)]:
            if profile != PROFILE:
                raise DecodeError(f"certificate profile {profile.hex().upper()}, not 0000")
            return CompressedCertificate.parse(body)
    raise DecodeError("not a compressed reader certificate")


def _wrap(values: CompressedCertificate) -> bytes:
    return item(_SEQUENCE, item(_OCTETS, PROFILE) + item(_SEQUENCE, values.build()))


def _read(values: CompressedCertificate) -> ReaderCertificate:
    if not 1 <= len(values.serial) <= SERIAL_BYTES:
        raise DecodeError(f"serial number of {len(values.serial)} bytes")
    if values.public_key[:2] != b"\0\x04" or not values.signature.startswith(b"\0"):
        raise DecodeError("a key or signature that is no whole number of bytes, or no uncompressed point")
    return ReaderCertificate(
        serial=int.from_bytes(values.serial),
        issuer=_text(values.issuer),
        subject=_text(values.subject),
        not_before=parse_certificate_time(values.not_before),
        not_after=parse_certificate_time(values.not_after),
        public_key=EcPublicKey.from_point(CURVE, values.public_key[1:]),
        signature=values.signature[1:],
    )


def _whole(values: CompressedCertificate, identifier: bytes) -> bytes:
    return item(_SEQUENCE, _to_be_signed(values, identifier) + _ECDSA_SHA256 + item(_BIT_STRING, values.signature))


def _to_be_signed(values: CompressedCertificate, identifier: bytes) -> bytes:
    authority = item(_SEQUENCE, item(0x80, identifier))
    extensions = item(_SEQUENCE, _AUTHORITY + item(_OCTETS, authority)) + _OTHER_EXTENSIONS
    return item(
        _SEQUENCE,
        _VERSION_3
        + item(_INTEGER, _unsigned(values.serial))
        + _ECDSA_SHA256
        + _name(values.issuer)
        + item(_SEQUENCE, _time(values.not_before) + _time(values.not_after))
        + _name(values.subject)
        + item(_SEQUENCE, _P256_KEY + item(_BIT_STRING, values.public_key))
        + item(0xA3, item(_SEQUENCE, extensions)),
    )


def _unsigned(number: bytes) -> bytes:
    """Contents of an INTEGER: shortest, with a leading zero where the first bit would make it negative."""
    shortest = number.lstrip(b"\0") or b"\0"
    return b"\0" + shortest if shortest[0] & 0x80 else shortest


def _time(value: bytes) -> bytes:
    return item(_UTC_TIME if len(value) == len("YYMMDDhhmmssZ") else _GENERALIZED_TIME, value)


def _name(common_name: bytes) -> bytes:
    return item(_SEQUENCE, item(_SET, item(_SEQUENCE, _COMMON_NAME + item(_UTF8, common_name))))


def _name_in(name: bytes) -> bytes:
    """The common name in the contents of a Name; what else there may be shows when the certificate is rebuilt."""
    found = find(name, _SET, _SEQUENCE, _UTF8)
    if found is None:
        raise DecodeError("a name without a common name in UTF-8")
    return found


def _name_bytes(what: str, name: str) -> bytes:
    if not isinstance(name, str):
        raise mistyped(name, "str")
    raw = name.encode()
    if not 1 <= len(raw) <= NAME_BYTES:
        raise ValueError(f"{what}: a name of 1 to {NAME_BYTES} bytes of UTF-8")
    return raw


def _text(name: bytes) -> str:
    if not 1 <= len(name) <= NAME_BYTES:
        raise DecodeError(f"a name of {len(name)} bytes")
    try:
        return name.decode()
    except UnicodeDecodeError as error:
        raise DecodeError("a name that is not UTF-8") from error


def _first(der: bytes) -> bytes:
    """Contents of tbsCertificate."""
    found = find(der, _SEQUENCE, _SEQUENCE)
    return b"" if found is None else found


def _authority_of(signed: bytes) -> bytes:
    """The authority key identifier; empty if it is not where the profile has it."""
    extension = find(signed, *_KEY_ID, _OCTETS)
    identifier = None if extension is None else find(extension, _SEQUENCE, 0x80)
    if identifier is None or len(identifier) != _KEY_ID_BYTES:
        raise DecodeError("no authority key identifier of 20 bytes in the first extension")
    return identifier


def _der_signature(raw: bytes) -> bytes:
    """The halves r and s as SEQUENCE of two INTEGERs (RFC 3279 2.2.3)."""
    half = len(raw) // 2
    return item(_SEQUENCE, item(_INTEGER, _unsigned(raw[:half])) + item(_INTEGER, _unsigned(raw[half:])))
