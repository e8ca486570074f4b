"""Certificate-based provisioning: what a provisioner accepts, and how it gets a certificate (MshPRT 5.4.2.6).

Before the device is invited: its records, its vendor's server where those are not enough, the rules of the certificate
and the path to a trusted root. The result is the device's public key. It proves the device to the provisioner and
nothing to the device, so an OOB method is asked for besides unless the policy says otherwise.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeAlias

import msgspec

from keywright.crypto.inspection import inspect_certificate
from keywright.errors import AuthenticationError, PolicyError
from keywright.mesh.beacons import SUPPORTS_CERTIFICATES, SUPPORTS_RECORDS
from keywright.mesh.certificate_uri import host_of, read_uri_data
from keywright.mesh.certificates import DeviceCertificate, check_path, check_root, read_device_certificate, uuid_text
from keywright.mesh.messages import RecordRequest, RecordResponse, RecordsGet, RecordsList
from keywright.mesh.oob import Method
from keywright.mesh.policy import Policy
from keywright.mesh.record_fetch import FetchLimits, fetch_records
from keywright.mesh.records import BASE_URI, DEVICE_CERTIFICATE, FIRST_INTERMEDIATE, LAST_INTERMEDIATE
from keywright.mesh.retrieval import Chain, HttpAnswer, HttpGet, retrieve

Question: TypeAlias = RecordsGet | RecordRequest | HttpGet
Answer: TypeAlias = RecordsList | RecordResponse | HttpAnswer


class CertificatePolicy(msgspec.Struct, frozen=True):
    """What a provisioner wants of certificates."""

    roots: tuple[bytes, ...]
    """DER of the CA certificates that are trusted; one at least."""
    required: bool = True
    """Whether a device without a certificate is refused. If not, whoever plays the device need only offer none."""
    revoked: frozenset[bytes] = frozenset()
    """Device UUIDs that are refused, whatever they show."""
    needs_method: bool = True
    """Whether an OOB method is wanted besides: a certificate authenticates the device alone."""
    hosts: tuple[str, ...] = ()
    """Servers that may be asked for certificates, lower case. A device names the server, so it is not simply asked."""
    limits: FetchLimits = FetchLimits()

    def __post_init__(self) -> None:
        """Raise PolicyError for what is no root."""
        if not self.roots:
            raise PolicyError(
                "certificates are wanted and no root is trusted", hint="give the vendor's root certificate"
            )
        for root in self.roots:
            check_root(root)

    def with_certificate(self, policy: Policy) -> Policy:
        """The policy for a device whose certificate was accepted: its key is used, and a method besides."""
        methods = tuple(method for method in policy.methods if method != Method.NONE or not self.needs_method)
        return msgspec.structs.replace(policy, needs_oob_key=True, methods=methods)


def obtain_certificate(
    policy: CertificatePolicy, uuid: bytes, *, at: str, oob_information: int | None = None, uri: bytes = b""
) -> Generator[Question, Any, DeviceCertificate | None]:
    """Dialogue: the accepted certificate of a device, None where it offers none and need not. It is sent `Answer`s.

    oob_information: of its beacon, None if none was seen; then it is asked only if a certificate is required, because
    a device that knows no records ends the session over it. uri: URI AD data it advertises, empty for none. at: the
    time, UTC, as 2026-01-02T03:04:05Z. Raises AuthenticationError, PolicyError, WireError, DecodeError.
    """
    if uuid in policy.revoked:
        raise AuthenticationError(
            f"{uuid_text(uuid)} is revoked by our own list", hint="keep the device out of the network"
        )
    records: dict[int, bytes] = {}
    if policy.required if oob_information is None else oob_information & SUPPORTS_RECORDS:
        records = yield from fetch_records(_is_wanted, policy.limits)
    where = records.get(BASE_URI, b"")
    if not where and oob_information is not None and oob_information & SUPPORTS_CERTIFICATES:
        where = uri
    certificate = records.get(DEVICE_CERTIFICATE, b"")
    if not certificate and not where:
        if policy.required:
            raise PolicyError(
                "the device offers no certificate", hint="allow devices without one, or give its public key another way"
            )
        return None
    chain = Chain(
        certificate,
        tuple(records[one] for one in range(FIRST_INTERMEDIATE, LAST_INTERMEDIATE + 1) if one in records),
    )
    if certificate:
        read_device_certificate(certificate, uuid)  # what breaks a rule is not worth a question elsewhere
    if where and (not certificate or not (chain.intermediates or _is_named(certificate, policy.roots))):
        chain = yield from _retrieve(policy, where, uuid, certificate)
    return check_path(chain.certificate, chain.intermediates, policy.roots, uuid=uuid, at=at)


def _retrieve(
    policy: CertificatePolicy, where: bytes, uuid: bytes, certificate: bytes
) -> Generator[HttpGet, HttpAnswer, Chain]:
    base = read_uri_data(where)
    host = host_of(base)
    if host not in policy.hosts:
        raise PolicyError(
            f"the device has its certificates at {host}, which is not asked",
            hint="allow this server, if it is the vendor's",
        )
    return (yield from retrieve(base, uuid, certificate=certificate))


def _is_wanted(record: int) -> bool:
    return record in (BASE_URI, DEVICE_CERTIFICATE) or FIRST_INTERMEDIATE <= record <= LAST_INTERMEDIATE


def _is_named(certificate: bytes, roots: tuple[bytes, ...]) -> bool:
    """Whether one of the roots has the name of the certificate's issuer."""
    issuer = inspect_certificate(certificate).issuer
    return any(inspect_certificate(root).subject == issuer for root in roots)
