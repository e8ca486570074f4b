"""Certificates of SCP11 in both formats, GlobalPlatform's own (7F21) and X.509, and what a chain of them must be.

One verifier for both ends: the card uses it on the off-card entity's chain, the host on the card's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from keywright.codec.ber import spans
from keywright.codec.tlv import item, items
from keywright.crypto.chains import ChainCertificate, read_certificate, verify_with_issuer, verify_with_key
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.errors import AuthenticationError, DecodeError, PolicyError
from keywright.scp.scp11.messages import (
    CERTIFICATE,
    CERTIFICATE_STORE,
    CURVE_PARAMETERS,
    PARAMETER_OF_CURVE,
    SIGNATURE,
    USAGE_AGREE,
    USAGE_VERIFY,
    CertificateBody,
    CertificateKey,
)
from keywright.scp.scp11.profile import Profile

Side: TypeAlias = Literal["host", "card"]
"""Whose certificate it is: the off-card entity's (KLOC) or the card's (KLCC)."""

_SEQUENCE: Final = 0x30
_POLICY_ARCS: Final = ("1.2.840.114283.100.0.10.2.1.", "1.2.840.114283.100.0.1.2.1.")
"""Before the number of a place: the arc that cards in the field want, and the one said to be the standard's [?]."""
LEAF_POLICY: Final[dict[Side, int]] = {"host": 0, "card": 10}
ROOT_POLICY: Final[dict[Side, int]] = {"host": 20, "card": 30}
INTERMEDIATE_POLICY: Final[dict[Side, int]] = {"host": 40, "card": 50}
_ID_BYTES: Final = range(1, 17)
_VERIFIES: Final = 0x80
_AGREES: Final = 0x80


class WrongPlaceError(AuthenticationError):
    """A certificate that is genuine, perhaps, but not for the place it stands in."""


class AuthorisationError(PolicyError):
    """A certificate with BF20 where that is not supported."""


class Certificate(msgspec.Struct, frozen=True):
    """What SCP11 asks of a certificate, whatever its format. Nothing of it is verified yet."""

    raw: bytes
    serial: int
    issuer_id: bytes
    """CA or KA identifier 42; with X.509 the authority key identifier. Empty if there is none."""
    subject_id: bytes
    """Subject identifier 5F20; with X.509 the subject key identifier. Empty if there is none."""
    may_verify: bool
    """Its key verifies signatures of certificates."""
    may_agree: bool
    """Its key agrees on keys."""
    public_key: EcPublicKey | None
    """None for a key of another kind, at the upper end of a chain."""
    valid_from: str
    """YYYYMMDD, empty if not said."""
    valid_until: str
    """YYYYMMDD."""
    authorisation: bytes | None = None
    """Inside BF20; None without. What stands for it in X.509 is not known [?], so there it is always None."""
    path_length: int | None = None
    x509: ChainCertificate | None = None
    signed: bytes = b""
    """What the signature of GlobalPlatform's format covers: all before 5F37, without the header of 7F21."""
    signature: bytes = b""

    @property
    def is_x509(self) -> bool:
        """Whether it is X.509, not GlobalPlatform's format."""
        return self.x509 is not None


def parse_certificate(raw: bytes) -> Certificate:
    """Read one certificate of either format. Raises DecodeError."""
    if raw[:1] == bytes((_SEQUENCE,)):
        return _from_x509(read_certificate(raw))
    found = items(raw)
    if [number for number, _ in found] != [CERTIFICATE]:
        raise DecodeError("neither an X.509 certificate nor one of GlobalPlatform's format")
    return _from_body(raw, found[0][1])


def split_certificates(data: bytes) -> tuple[bytes, ...]:
    """The certificates that stand one after the other, each with its header. Raises DecodeError for anything else."""
    parts, at = [], 0
    for number, _, stop in spans(data, 0, len(data)):
        if number not in (_SEQUENCE, CERTIFICATE):
            raise DecodeError(f"an object {number:X} among certificates", at)
        parts.append(data[at:stop])
        at = stop
    return tuple(parts)


def parse_certificate_stores(data: bytes) -> tuple[tuple[bytes, ...], ...]:
    """Chains in an answer to GET DATA BF21: a bare list, or one or more objects BF21. Raises DecodeError."""
    found = items(data)
    if found and all(number == CERTIFICATE_STORE for number, _ in found):
        return tuple(split_certificates(value) for _, value in found)
    return (split_certificates(data),)


def verify_signature(certificate: Certificate, key: EcPublicKey, profile: Profile) -> None:
    """Check a certificate with the key of who is said to have signed it. Raises AuthenticationError.

    In GlobalPlatform's format the signature is r || s; DER is taken as well, because some issuers write it.
    """
    if certificate.x509 is not None:
        verify_with_key(certificate.x509, key)
        return
    signature, hash_name = certificate.signature, gp_hash(key, profile)
    may_be_der = signature.startswith(bytes((_SEQUENCE,)))
    if not may_be_der:
        key.verify(signature, certificate.signed, hash_name)
        return
    try:
        key.verify_der(signature, certificate.signed, hash_name)
    except AuthenticationError:
        key.verify(signature, certificate.signed, hash_name)


def gp_hash(key: EcPublicKey, profile: Profile) -> str:
    """Hash of signatures in GlobalPlatform's format by this key."""
    if profile.gp_hash == "sha256":
        return "sha256"
    return {32: "sha256", 48: "sha384"}.get(key.width, "sha512")


class Chain:
    """A chain under verification: certificates are added from the one below the root to the last.

    `anchor`: the root's key, or its certificate.
    """

    __slots__ = ("_anchor", "_deeper", "_format", "_last", "_profile", "_side", "first", "leaf")

    def __init__(self, anchor: EcPublicKey | Certificate, side: Side, profile: Profile) -> None:
        self._anchor = anchor
        self._side: Side = side
        self._profile = profile
        self._format: bool | None = None
        self._deeper: int | None = anchor.path_length if isinstance(anchor, Certificate) else None
        self._last = anchor if isinstance(anchor, Certificate) else None
        self.first: Certificate | None = None
        self.leaf: Certificate | None = None

    def add(self, certificate: Certificate, *, last: bool) -> None:
        """Verify the next certificate.

        Raises DecodeError (format, or another than before), WrongPlaceError (usage, policy, depth),
        AuthorisationError (BF20 in a CA's certificate), AuthenticationError (signature, or another issuer).
        """
        if self.leaf is not None:
            raise WrongPlaceError("a certificate after the last one of a chain")
        if self._format is not None and certificate.is_x509 is not self._format:
            raise DecodeError("certificates of two formats in one chain")
        self._check_place(certificate, last=last)
        self._check_signature(certificate)
        self._format = certificate.is_x509
        self.first = self.first or certificate
        self._last = certificate
        if last:
            self.leaf = certificate
        else:
            self._go_deeper(certificate)

    def _check_place(self, certificate: Certificate, *, last: bool) -> None:
        fits = certificate.may_agree if last else certificate.may_verify
        if last and self._side == "card" and not certificate.is_x509:
            # Deployed cards have a certificate whose usage is that of a CA.
            fits = certificate.may_agree or certificate.may_verify
        if not fits or certificate.public_key is None:
            raise WrongPlaceError("the usage of a certificate does not fit its place in the chain")
        if not last and self._deeper == 0:
            raise WrongPlaceError("a chain longer than its certificates allow")
        if not last and certificate.authorisation is not None:
            raise AuthorisationError("an authorisation in a CA's certificate")
        if certificate.x509 is not None:
            self._check_policy(certificate.x509.policies, last=last)

    def _check_policy(self, policies: tuple[str, ...], *, last: bool) -> None:
        rule = self._profile.policies
        if rule == "ignored" or (rule == "if-present" and not policies):
            return
        wanted = policy_names((LEAF_POLICY if last else INTERMEDIATE_POLICY)[self._side])
        if not set(wanted) & set(policies):
            raise WrongPlaceError("the policies of a certificate do not name its place in the chain")

    def _check_signature(self, certificate: Certificate) -> None:
        above = self._last
        if above is None:
            assert isinstance(self._anchor, EcPublicKey), "a certificate would stand in _last"
            verify_signature(certificate, self._anchor, self._profile)
            return
        if above.subject_id and certificate.issuer_id and above.subject_id != certificate.issuer_id:
            raise AuthenticationError("a certificate of another issuer than the one before it")
        if above.x509 is not None and certificate.x509 is not None:
            verify_with_issuer(certificate.x509, above.x509)
        elif above.public_key is None:
            raise AuthenticationError("certificate not accepted: its issuer's key is of another kind")
        else:
            verify_signature(certificate, above.public_key, self._profile)

    def _go_deeper(self, certificate: Certificate) -> None:
        limits = [certificate.path_length, self._deeper - 1 if self._deeper is not None else None]
        known = [limit for limit in limits if limit is not None]
        self._deeper = min(known) if known else None


def verify_chain(
    certificates: Sequence[Certificate],
    anchors: Iterable[EcPublicKey | Certificate],
    side: Side,
    profile: Profile,
    *,
    today: str | None = None,
) -> Certificate:
    """Verify a whole chain, last certificate last, up to one of `anchors`; returns the last one.

    An anchor may itself be the first certificate of the chain. `today`: YYYYMMDD, at which all must be valid; None
    checks no dates. Raises AuthenticationError, DecodeError, PolicyError.
    """
    if not certificates:
        raise AuthenticationError("certificate not accepted: there is none")
    if today is not None:
        _check_dates(certificates, today)
    failure: AuthenticationError | None = None
    for anchor in anchors:
        chain = Chain(anchor, side, profile)
        is_first = isinstance(anchor, Certificate) and anchor.raw == certificates[0].raw
        below = certificates[1:] if is_first else certificates
        try:
            for number, certificate in enumerate(below, 1):
                chain.add(certificate, last=number == len(below))
        except AuthenticationError as error:
            failure = error
            continue
        if chain.leaf is not None:
            return chain.leaf
    raise failure or AuthenticationError("certificate not accepted: no root to verify it with")


def policy_names(*places: int) -> tuple[str, ...]:
    """Object identifiers of places in a chain, under both arcs."""
    return tuple(f"{arc}{place}" for place in places for arc in _POLICY_ARCS)


def issue_gp(
    key: EcPrivateKey,
    *,
    serial: bytes,
    issuer: bytes,
    subject: bytes,
    public_key: EcPublicKey,
    expires: str,
    effective: str | None = None,
    signs: bool = False,
    authorisation: bytes | None = None,
    profile: Profile,
) -> bytes:
    """A certificate of GlobalPlatform's format, signed r || s.

    `serial`, `issuer`, `subject`: 1 to 16 bytes; dates YYYYMMDD. `signs`: for a CA's key; else the key agrees.
    Raises ValueError.
    """
    body = CertificateBody(
        serial=serial,
        issuer=issuer,
        subject=subject,
        usage=USAGE_VERIFY if signs else USAGE_AGREE,
        effective=None if effective is None else bytes.fromhex(effective),
        expires=bytes.fromhex(expires),
        authorisation=authorisation,
        public_key=CertificateKey(public_key.point, PARAMETER_OF_CURVE[public_key.curve]),
        signature=b"",
    )
    if not all(len(name) in _ID_BYTES for name in (serial, issuer, subject)):
        raise ValueError("serial number and identifiers of a certificate have 1 to 16 bytes")
    signed = body.build().removesuffix(item(SIGNATURE, b""))
    return item(CERTIFICATE, signed + item(SIGNATURE, key.sign(signed, gp_hash(key.public, profile))))


def _from_x509(found: ChainCertificate) -> Certificate:
    return Certificate(
        raw=found.der,
        serial=found.serial_number,
        issuer_id=found.authority_key_id,
        subject_id=found.subject_key_id,
        may_verify=found.may_sign,
        may_agree=found.may_agree,
        public_key=found.public_key,
        valid_from=found.valid_from,
        valid_until=found.valid_until,
        path_length=found.path_length,
        x509=found,
    )


def _from_body(raw: bytes, inside: bytes) -> Certificate:
    body = CertificateBody.parse(inside)
    if not body.serial or not body.issuer or not body.subject:
        raise DecodeError("a certificate without serial number, issuer or subject")
    if body.public_key.curve not in CURVE_PARAMETERS:
        raise DecodeError(f"no curve {body.public_key.curve:02X}")
    agrees = len(body.usage) > 1 and bool(body.usage[1] & _AGREES)
    return Certificate(
        raw=raw,
        serial=int.from_bytes(body.serial),
        issuer_id=body.issuer,
        subject_id=body.subject,
        may_verify=bool(body.usage) and bool(body.usage[0] & _VERIFIES),
        may_agree=agrees,
        public_key=EcPublicKey.from_point(CURVE_PARAMETERS[body.public_key.curve], body.public_key.point),
        valid_from=body.effective.hex() if body.effective is not None else "",
        valid_until=body.expires.hex(),
        authorisation=body.authorisation,
        signed=_before_signature(inside),
        signature=body.signature,
    )


def _before_signature(inside: bytes) -> bytes:
    """What was signed, as it was received: the tag 5F37 is the last one, as the class demands."""
    end = spans(inside, 0, len(inside))[-2][2]
    return inside[:end]


def _check_dates(certificates: Iterable[Certificate], today: str) -> None:
    for certificate in certificates:
        if not certificate.valid_from <= today <= certificate.valid_until:
            when = f"from {certificate.valid_from} to {certificate.valid_until}"
            raise AuthenticationError(f"certificate not accepted: not valid today, but {when}")
