"""Keys of the token that sign: CA keys for certificates put together here, identities for digests."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, final

from keywright.crypto.certificates import Issuer, certificate_request
from keywright.crypto.ec import EcPublicKey
from keywright.errors import PolicyError
from keywright.production.hsm.messages import Issue, Request, Sign
from keywright.production.hsm.records import TokenRecord
from keywright.production.hsm.token import TokenSession
from keywright.production.hsm.token_registry import TokenRegistry

DIGEST_BYTES: Final = {"P-256": 32, "P-384": 48}


@final
class TokenKey:
    """A private key in the token, as `crypto.certificates.OutsideKey`."""

    __slots__ = ("_kind", "_object_id", "_session", "public")

    def __init__(self, session: TokenSession, record: TokenRecord) -> None:
        self._session = session
        self._kind = record.entry.purpose
        self._object_id = record.only_object(record.entry.purpose)
        self.public: EcPublicKey = session.public_key(self._object_id, record.entry.algorithm)

    def sign_digest(self, digest: bytes) -> bytes:
        """ECDSA over a digest, r || s."""
        return self._session.ecdsa(self._session.key(self._object_id, self._kind), digest)


@final
class Signing:
    """The signing keys on one session of the token; what is made for a CA is kept."""

    __slots__ = ("_clock", "_issuers", "_registry", "_session")

    def __init__(self, session: TokenSession, registry: TokenRegistry, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._session = session
        self._registry = registry
        self._issuers: dict[str, Issuer] = {}

    def issue(self, question: Issue) -> bytes:
        """A device certificate, DER."""
        record = self._originating(self._registry.find(question.ca, "ca", "CA"))
        issuer = self._issuers.get(record.name)
        if issuer is None:
            issuer = self._issuers[record.name] = Issuer(TokenKey(self._session, record), record.certificate)
        return issuer.issue(
            common_name=question.common_name,
            subject_serial=question.subject_serial,
            public_key=EcPublicKey.from_point(question.curve, question.point),
            serial_number=int.from_bytes(question.serial_number),
            not_before=datetime.fromtimestamp(question.not_before, UTC),
            not_after=datetime.fromtimestamp(question.not_after, UTC),
        )

    def request(self, question: Request) -> bytes:
        """A certificate request, DER."""
        record = self._registry.find(question.ca, "ca", "CA")
        return certificate_request(TokenKey(self._session, record), common_name=question.common_name)

    def sign(self, question: Sign) -> bytes:
        """A signature over a digest. Raises PolicyError for a digest that does not fit the curve."""
        record = self._registry.keys.get(question.name)
        if record is None or record.entry.purpose != "issuer":
            record = self._registry.find(question.name, "identity", "identity")
        self._originating(record)
        if len(question.digest) != DIGEST_BYTES[record.entry.algorithm]:
            raise PolicyError(f"{record.name!r} signs digests of {DIGEST_BYTES[record.entry.algorithm]} bytes")
        return TokenKey(self._session, record).sign_digest(question.digest)

    def public_key(self, name: str) -> EcPublicKey:
        """The public key of an identity or CA."""
        record = self._registry.keys.get(name)
        if record is None or record.entry.purpose not in ("ca", "identity", "issuer"):
            record = self._registry.find(name, "identity", "identity or CA")
        return self._session.public_key(record.only_object(record.entry.purpose), record.entry.algorithm)

    def _originating(self, record: TokenRecord) -> TokenRecord:
        self._registry.known.check_originates(record.name, self._clock())
        return record
