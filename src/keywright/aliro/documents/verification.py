"""What a reader checks of a document, in the order of Aliro 1.0 7.4, with a name for each failure.

Any failure means no access. The names are for logs, tests and the reader status; a device sees the status only.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, Self, TypeAlias, get_args

import msgspec

from keywright.aliro.documents.document import ACCESS, CURVE, REVOCATION, Document, SecurityObject, SignedItem, Validity
from keywright.aliro.documents.reading import elements, of_kind
from keywright.crypto.chains import ChainCertificate, read_certificate, verify_with_issuer, verify_with_key
from keywright.crypto.compare import equal
from keywright.crypto.cose import KID, X5CHAIN, Sign1, verify_parts
from keywright.crypto.ec import EcPublicKey
from keywright.errors import AuthenticationError, DecodeError

Check: TypeAlias = Literal[
    "issuer key",
    "issuer certificate",
    "signature",
    "format",
    "elements",
    "digests",
    "docType",
    "time",
    "certificate time",
    "iteration",
    "device key",
]
"""What a document may fail at."""
CHECKS: Final[tuple[Check, ...]] = get_args(Check)

_STATUS: Final[dict[Check, int]] = {
    "issuer key": 0x0003,
    "issuer certificate": 0x0003,
    "signature": 0x0003,
    "format": 0x0006,
    "elements": 0x0007,
    "digests": 0x0007,
    "docType": 0x0007,
    "time": 0x0002,
    "certificate time": 0x0002,
    "iteration": 0x0002,
    "device key": 0x0007,
}
"""Reader status of each failure: 0002 expired, 0003 not trusted, 0006 bad format, 0007 bad content. Ours to choose: the
conformance text asks for a first byte 00 only."""
_KID_BYTES: Final = 8
_CHAIN: Final = 4
"""Longest chain of certificates that is looked at."""


class DocumentRefusedError(AuthenticationError):
    """A document that gives no access. `check` is what it failed at, `status` the reader status for the device."""

    def __init__(self, check: Check, why: str) -> None:
        super().__init__(f"document refused ({check}): {why}")
        self.check = check
        self.status = _STATUS[check]


class Trust(msgspec.Struct, frozen=True):
    """Whose documents a reader takes."""

    issuers: Mapping[bytes, EcPublicKey]
    """Keys of Credential Issuers by key identifier."""
    authorities: tuple[EcPublicKey, ...] = ()
    """Keys of Credential Issuer CAs, for documents that bring a certificate."""

    @classmethod
    def of(cls, issuers: Iterable[EcPublicKey], authorities: Iterable[EcPublicKey] = ()) -> Self:
        """Trust in keys, each under the identifier that `issuer_kid` gives it."""
        return cls({issuer_kid(key): key for key in issuers}, tuple(authorities))


class Policy(msgspec.Struct, frozen=True):
    """What is open or disputed about documents."""

    iteration_window: int = 8
    """An Access Document this much older than the newest of its issuer is void; younger ones hold (7.2.3 as quoted by
    three implementations and asked for by the conformance text). 1: none older than the newest."""
    demands_device_key: bool = True
    """An Access Document names the key it is for. False: one that names none holds for every device, which is for
    documents of test suites only; a key that is named must be the device's either way."""


DEFAULT: Final = Policy()


class Verified(msgspec.Struct, frozen=True):
    """What a document says that passed every check."""

    doc_type: str
    issuer: EcPublicKey
    validity: Validity
    elements: Mapping[str, Any]
    """Decoded value by identifier, of the namespace named as the document."""
    device_key: EcPublicKey | None
    time_verification_required: bool
    time_verified: bool
    """Whether the reader knew the time."""


class _Signer(msgspec.Struct, frozen=True):
    key: EcPublicKey
    certificate: ChainCertificate | None = None


def issuer_kid(key: EcPublicKey) -> bytes:
    """The key identifier of a Credential Issuer, 8 bytes of SHA-256 over "key-identifier" and the point (7.2.1)."""
    return hashlib.sha256(b"key-identifier" + key.point).digest()[:_KID_BYTES]


def verify(
    document: Document,
    trust: Trust,
    *,
    doc_type: str,
    device_key: EcPublicKey | None = None,
    now: int | None = None,
    iterations: Mapping[EcPublicKey, int] | None = None,
    policy: Policy = DEFAULT,
) -> Verified:
    """Check a document that a device gave.

    doc_type: what was asked for. device_key: of AUTH1; must be given for an Access Document. now: None for a reader
    that does not know the time. iterations: the greatest validityIteration seen of each issuer for this type of
    document; what the document's is, is in the result, and the caller's to keep.
    Raises DocumentRefusedError for the first check that fails.
    """
    signer = _issuer(document, trust, now)
    security = _security_object(document, signer)
    _check_digests(document, security)
    if not doc_type == document.doc_type == security.doc_type:
        raise DocumentRefusedError("docType", f"{document.doc_type!r} signed as {security.doc_type!r}, not {doc_type}")
    _check_time(security, signer.certificate, now)
    _check_iteration(security, (iterations or {}).get(signer.key, 0), policy)
    if doc_type == ACCESS and (policy.demands_device_key or security.device_key is not None):
        _check_device_key(security.device_key, device_key)
    return Verified(
        doc_type=doc_type,
        issuer=signer.key,
        validity=security.validity,
        elements={item.identifier: item.value for item in document.items.get(doc_type, ())},
        device_key=security.device_key,
        time_verification_required=security.time_verification_required,
        time_verified=now is not None,
    )


def _issuer(document: Document, trust: Trust, now: int | None) -> _Signer:
    """Whose key must have signed: that of the certificate, if a CA is trusted that issued it, else that of the kid."""
    unprotected = document.issuer_auth[1]
    if not isinstance(unprotected, dict):
        raise DocumentRefusedError("format", "IssuerAuth is no COSE_Sign1")
    chain, kid = unprotected.get(X5CHAIN), unprotected.get(KID)
    chain = [chain] if isinstance(chain, bytes) else chain
    if chain is not None and (trust.authorities or kid is None):
        return _by_certificate(chain, trust.authorities, now)
    key = trust.issuers.get(kid) if isinstance(kid, bytes) else None
    if key is None:
        raise DocumentRefusedError("issuer key", "no key of this identifier is trusted" if kid else "none is named")
    return _Signer(key)


def _by_certificate(chain: object, authorities: tuple[EcPublicKey, ...], now: int | None) -> _Signer:
    """The key of the first certificate of a chain that ends at a trusted authority (RFC 9360 2)."""
    try:
        listed = [of_kind(one, bytes, "x5chain") for one in elements(chain, _CHAIN, "x5chain")]
        certificates = [read_certificate(one) for one in listed]
        for one, above in itertools.pairwise(certificates):
            verify_with_issuer(one, above)
    except (DecodeError, AuthenticationError) as error:
        raise DocumentRefusedError("issuer certificate", str(error)) from error
    leaf = certificates[0]
    # Below a CA's certificate there are no more others of CAs than it allows (RFC 5280 4.2.1.9).
    if any(one.path_length is not None and below > one.path_length for below, one in enumerate(certificates[1:])):
        raise DocumentRefusedError("issuer certificate", "the chain is longer than its certificates allow")
    if not leaf.may_attest or leaf.public_key is None or leaf.public_key.curve != CURVE:
        raise DocumentRefusedError("issuer certificate", "its key is not for signing documents")
    if not any(_signed_by(certificates[-1], authority) for authority in authorities):
        raise DocumentRefusedError("issuer certificate", "issued by nobody who is trusted")
    if now is not None and not all(one.not_before <= now <= one.not_after for one in certificates):
        raise DocumentRefusedError("certificate time", "the certificate is not valid now")
    return _Signer(leaf.public_key, leaf)


def _signed_by(certificate: ChainCertificate, key: EcPublicKey) -> bool:
    try:
        verify_with_key(certificate, key)
    except AuthenticationError:
        return False
    return True


def _security_object(document: Document, signer: _Signer) -> SecurityObject:
    try:
        found: Sign1 = verify_parts(list(document.issuer_auth), lambda _header: signer.key)
    except AuthenticationError as error:
        raise DocumentRefusedError("signature", "not of this issuer") from error
    except DecodeError as error:
        raise DocumentRefusedError("format", str(error)) from error
    try:
        return SecurityObject.parse(found.payload)
    except DecodeError as error:
        raise DocumentRefusedError("format", str(error)) from error


def _check_digests(document: Document, security: SecurityObject) -> None:
    """Every element that was given must be one that was signed, and none twice."""
    if not document.items.get(document.doc_type):
        raise DocumentRefusedError("elements", "no element of its namespace was released")
    for name, items in document.items.items():
        _check_items(name, items, security.digests.get(name, {}))


def _check_items(name: str, items: tuple[SignedItem, ...], digests: Mapping[int, bytes]) -> None:
    for item in items:
        signed = digests.get(item.digest_id)
        if signed is None or not equal(signed, item.digest()):
            raise DocumentRefusedError("digests", f"element {item.identifier!r} of {name} is not what was signed")
    if len({item.identifier for item in items}) != len(items):
        raise DocumentRefusedError("elements", "an element twice")


def _check_time(security: SecurityObject, certificate: ChainCertificate | None, now: int | None) -> None:
    validity = security.validity
    if certificate is not None and not certificate.not_before <= validity.signed <= certificate.not_after:
        raise DocumentRefusedError("certificate time", "signed when the issuer's certificate was not valid")
    if now is None:
        if security.time_verification_required:
            raise DocumentRefusedError("time", "it demands a reader that knows the time")
    elif not validity.valid_from <= now <= validity.valid_until:
        raise DocumentRefusedError("time", "not valid now")


def _check_iteration(security: SecurityObject, newest: int, policy: Policy) -> None:
    iteration = security.validity.iteration
    if iteration is None or iteration >= newest:
        return
    if security.doc_type == REVOCATION or newest - iteration >= policy.iteration_window:
        raise DocumentRefusedError("iteration", f"{iteration}, and {newest} has been seen of this issuer")


def _check_device_key(signed: EcPublicKey | None, key: EcPublicKey | None) -> None:
    if key is None:
        raise TypeError("an Access Document is verified for a device's key")
    if signed != key:
        raise DocumentRefusedError("device key", "the document is for another key")
