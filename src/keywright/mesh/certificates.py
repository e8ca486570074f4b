"""Device certificates: what they must say, and the path from one to a trusted root (MshPRT 5.5, RFC 5280 6.1).

A device certificate proves which public key belongs to which Device UUID, and nothing about the provisioner. Every rule
that is broken is named; nothing is accepted in part. Revocation lists are not asked for: see `cbp.CertificatePolicy`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from keywright.crypto.chains import ChainCertificate, read_certificate, verify_with_issuer
from keywright.crypto.ec import EcPublicKey
from keywright.crypto.inspection import Inspected, inspect_certificate
from keywright.errors import AuthenticationError, DecodeError, PolicyError
from keywright.mesh.ends import CURVE
from keywright.mesh.models.composition import Composition

ECDSA_WITH_SHA256: Final = "1.2.840.10045.4.3.2"
MOST_INTERMEDIATES: Final = 15
"""Records 0002 to 0010 (MshPRT 5.4.2.6)."""
FORBIDDEN: Final = {
    "2.5.29.17": "subjectAltName",
    "2.5.29.33": "policyMappings",
    "2.5.29.30": "nameConstraints",
    "2.5.29.36": "policyConstraints",
    "2.5.29.37": "extendedKeyUsage",
    "2.5.29.54": "inhibitAnyPolicy",
}
"""Extensions that a device certificate must not have, by object identifier (MshPRT 5.5)."""
_UNHANDLED: Final = {oid: name for oid, name in FORBIDDEN.items() if oid not in {"2.5.29.17", "2.5.29.37"}}
"""What a CA may limit its path with and this does not work out, so that such a CA is refused."""
_STRONG: Final = frozenset(
    {
        ECDSA_WITH_SHA256,
        "1.2.840.10045.4.3.3",
        "1.2.840.10045.4.3.4",
        "1.2.840.113549.1.1.11",
        "1.2.840.113549.1.1.12",
        "1.2.840.113549.1.1.13",
    }
)
"""ECDSA and RSA (PKCS #1 1.5) with SHA-256, SHA-384, SHA-512: what signs intermediate certificates."""
_NAME: Final = re.compile(
    r"(?P<uuid>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
    r"(?: BCID:(?P<company>[0-9a-fA-F]{4}) BPID:(?P<product>[0-9a-fA-F]{4}))?"
)
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_DEVICE: Final = "device certificate"
_RULES: Final = "MshPRT 5.5"
_PATH: Final = "RFC 5280 6.1"


class DeviceCertificate(msgspec.Struct, frozen=True):
    """What an accepted device certificate says."""

    der: bytes
    uuid: bytes
    public_key: EcPublicKey
    """On P-256: the OOB public key of the device."""
    vendor: str
    company: int | None
    """BCID; None: the certificate says neither company nor product."""
    product: int | None
    """BPID."""
    not_before: str
    not_after: str

    def __repr__(self) -> str:
        return f"<DeviceCertificate of {uuid_text(self.uuid)}>"

    @property
    def certified(self) -> tuple[int, int] | None:
        """Company and product, None if the certificate says neither."""
        return None if self.company is None or self.product is None else (self.company, self.product)

    def check_composition(self, composition: Composition) -> None:
        """As `check_product`. A certificate that says neither company nor product has nothing to check."""
        if self.certified is not None:
            check_product(self.certified, composition)


class _Link(NamedTuple):
    """A certificate in its place of the path."""

    name: str
    said: Inspected
    chained: ChainCertificate


def read_device_certificate(der: bytes, uuid: bytes) -> DeviceCertificate:
    """A device certificate for the device with this UUID; its signature and validity are for `check_path`.

    Raises AuthenticationError, naming the rule of MshPRT 5.5 that it breaks.
    """
    return _device(_link(_DEVICE, der), uuid)


def check_path(
    der: bytes, intermediates: Sequence[bytes], roots: Sequence[bytes], *, uuid: bytes, at: str
) -> DeviceCertificate:
    """Accept a device certificate by its path to one of `roots`, at a time (RFC 5280 6.1).

    intermediates: in the order of their records, each signs the one before it, the first the device certificate. roots:
    DER of the CA certificates that are trusted. at: UTC, as 2026-01-02T03:04:05Z. Raises AuthenticationError, naming
    the certificate and the rule; ValueError for `at` in another form.
    """
    check_time(at)
    device = _link(_DEVICE, der)
    accepted = _device(device, uuid)
    if len(intermediates) > MOST_INTERMEDIATES:
        raise _refused(f"{len(intermediates)} intermediate certificates", "there are at most 15", "MshPRT 5.4.2.6")
    between = [_link(f"intermediate certificate {place}", one) for place, one in enumerate(intermediates, 1)]
    for link in between:
        if link.said.subject == link.said.issuer:
            raise _refused(link.name, "it is a root, which nobody but us may bring", "MshPRT 5.4.2.6")
    # A vendor's intermediate may be what is trusted; what comes after it proves nothing more.
    path = [device, *itertools.takewhile(lambda link: link.said.der not in roots, between)]
    for place, link in enumerate(path):
        if place:
            _check_authority(link, place - 1)
        _check_validity(link, at)
    for below, above in itertools.pairwise(path):
        _check_issued(below, above)
    anchor = _anchor(path[-1], roots)
    _check_authority(anchor, len(path) - 1)
    _check_validity(anchor, at)
    return accepted


def check_product(certified: tuple[int, int], composition: Composition) -> None:
    """Company and product of a certificate are those of Composition Data page 0, read from the node (MshPRT 5.5).

    Raises AuthenticationError: the node is to be reset.
    """
    found = composition.cid, composition.pid
    if certified != found:
        raise AuthenticationError(
            f"the node is not what its certificate says: CID {found[0]:04X} PID {found[1]:04X}, certified is "
            f"BCID {certified[0]:04X} BPID {certified[1]:04X} ({_RULES})",
            hint="reset the node and keep it out of the network",
        )


def check_root(der: bytes) -> None:
    """Whether a certificate can be trusted to issue others at all. Raises PolicyError, for who configures it."""
    try:
        _check_authority(_link("trusted root", der), 0)
    except AuthenticationError as error:
        raise PolicyError(str(error), hint="give the DER of a CA certificate") from error


def check_time(at: str) -> None:
    """Raise ValueError for a time that is not written as 2026-01-02T03:04:05Z."""
    if not _TIME.fullmatch(at):
        raise ValueError(f"a time as 2026-01-02T03:04:05Z, not {at!r}")


def uuid_text(uuid: bytes) -> str:
    """A UUID in canonical form: lower case, with hyphens (RFC 4122 3)."""
    text = uuid.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


# ---- the rules of a device certificate -----------------------------------------------------------------------------


def _device(link: _Link, uuid: bytes) -> DeviceCertificate:
    said = link.said
    key = said.public_key
    if key is None or key.curve != CURVE:
        raise _refused(_DEVICE, "its key is not on P-256")
    if len(said.organizations) != 1:
        raise _refused(_DEVICE, "its subject names one organization, the vendor")
    if len(said.common_names) != 1:
        raise _refused(_DEVICE, "its subject has one common name")
    name = _NAME.fullmatch(said.common_names[0])
    if name is None:
        raise _refused(_DEVICE, "its common name is a UUID in lower case, with BCID and BPID or neither")
    if name["uuid"] != uuid_text(uuid):
        raise _refused(_DEVICE, f"it is for {name['uuid']}, the device is {uuid_text(uuid)}")
    company, product = (int(name[one], 16) if name[one] else None for one in ("company", "product"))
    return DeviceCertificate(
        said.der, uuid, key, said.organizations[0], company, product, said.not_before, said.not_after
    )


def _check_kind(said: Inspected) -> None:
    """What is neither key nor name."""
    if said.signature_algorithm != ECDSA_WITH_SHA256:
        raise _refused(_DEVICE, "it is signed with another algorithm than ecdsa-with-SHA256")
    usage, constraints = said.usage(), said.constraints()
    if usage is None:
        raise _refused(_DEVICE, "it has no keyUsage")
    if usage != {"keyAgreement"}:
        raise _refused(_DEVICE, f"its keyUsage is {', '.join(sorted(usage)) or 'empty'}, not keyAgreement alone")
    if constraints is None:
        raise _refused(_DEVICE, "it has no basicConstraints")
    if constraints.is_ca:
        raise _refused(_DEVICE, "its basicConstraints say CA")
    if constraints.path_length is not None:
        raise _refused(_DEVICE, "its basicConstraints have a path length")


def _link(name: str, der: bytes) -> _Link:
    """Read a certificate. What the library would refuse as a whole is named before it sees it."""
    try:
        said = inspect_certificate(der)
        if said.version != 3:
            raise _refused(name, f"it is X.509 version {said.version}, not 3")
        for oid, forbidden in (FORBIDDEN if name == _DEVICE else _UNHANDLED).items():
            if oid in said.extensions:
                raise _refused(name, f"it has the extension {forbidden}")
        if name == _DEVICE:
            _check_kind(said)
        return _Link(name, said, read_certificate(der))
    except DecodeError as error:
        raise _refused(name, str(error), "RFC 5280 4") from error


# ---- the path -------------------------------------------------------------------------------------------------------


def _check_authority(link: _Link, below: int) -> None:
    """A CA certificate with `below` others of its kind between it and the device certificate."""
    if link.said.signature_algorithm not in _STRONG:
        raise _refused(link.name, f"it is signed with {link.said.signature_algorithm}, which is not accepted", _PATH)
    if not link.chained.may_sign:
        raise _refused(link.name, "it is not that of a CA that may sign certificates", _PATH)
    if link.chained.path_length is not None and link.chained.path_length < below:
        raise _refused(
            link.name, f"its path length is {link.chained.path_length}, and {below} CA certificates follow it", _PATH
        )


def _check_validity(link: _Link, at: str) -> None:
    if at < link.said.not_before:
        raise _refused(link.name, f"it is valid from {link.said.not_before}, and it is {at}", _PATH)
    if at > link.said.not_after:
        raise _refused(link.name, f"it expired at {link.said.not_after}", _PATH)


def _check_issued(below: _Link, above: _Link) -> None:
    if below.said.issuer != above.said.subject:
        raise _refused(below.name, f"its issuer is another than the {above.name}", _PATH)
    try:
        verify_with_issuer(below.chained, above.chained)
    except AuthenticationError as error:
        raise _refused(below.name, f"the {above.name} did not sign it", _PATH) from error


def _anchor(last: _Link, roots: Sequence[bytes]) -> _Link:
    named = [link for link in (_link("trusted root", root) for root in roots) if link.said.subject == last.said.issuer]
    if not named:
        raise _refused(last.name, "no trusted root is its issuer", _PATH)
    for link in named:
        try:
            _check_issued(last, link)
        except AuthenticationError:
            continue
        return link
    raise _refused(last.name, "the trusted root of its issuer's name did not sign it", _PATH)


def _refused(name: str, why: str, clause: str = _RULES) -> AuthenticationError:
    return AuthenticationError(f"{name} not accepted: {why} ({clause})")
