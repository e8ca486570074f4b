"""A Credential Issuer: it signs Access Documents for credentials, and Revocation Documents for readers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

from keywright.aliro.documents.access_data import AccessData
from keywright.aliro.documents.document import (
    ACCESS,
    CURVE,
    RANDOM_BYTES,
    REVOCATION,
    Document,
    SecurityObject,
    SignedItem,
    Validity,
    digests_of,
)
from keywright.aliro.documents.revocation_data import RevocationData
from keywright.aliro.documents.verification import issuer_kid
from keywright.codec.cbor import Cbor
from keywright.crypto.cose import KID, X5CHAIN, sign_parts
from keywright.crypto.ec import EcPublicKey
from keywright.crypto.signing import Signer


@final
class CredentialIssuer:
    """A key that signs documents, in memory or in an HSM, and how readers know it."""

    __slots__ = ("_header", "_rng", "_signer", "kid")

    def __init__(
        self,
        signer: Signer,
        rng: Callable[[int], bytes],
        *,
        certificates: tuple[bytes, ...] = (),
        kid: bytes | None = None,
    ) -> None:
        """Take the key.

        certificates: DER, the issuer's own first, for readers that trust a Credential Issuer CA; without, readers know
        the key itself by its identifier. kid: that identifier, if it is not the one of Aliro 1.0 7.2.1; empty for none.
        Raises ValueError for a key on another curve than P-256.
        """
        if signer.public.curve != CURVE:
            raise ValueError(f"Aliro has keys on {CURVE} only")
        self._signer = signer
        self._rng = rng
        self.kid = issuer_kid(signer.public) if kid is None else kid
        """Identifier of the key, which readers find it by."""
        header: dict[int, Any] = {KID: self.kid} if self.kid else {}
        if certificates:
            header[X5CHAIN] = certificates[0] if len(certificates) == 1 else list(certificates)
        self._header = header

    @property
    def public(self) -> EcPublicKey:
        """The public key, which readers trust."""
        return self._signer.public

    def access_document(
        self,
        credential: EcPublicKey,
        elements: Mapping[str, AccessData],
        validity: Validity,
        *,
        time_verification_required: bool = False,
    ) -> Document:
        """An Access Document for a credential's key. `elements` by identifier, in the order of their digest ids."""
        return self.sign(
            ACCESS,
            {name: data.value() for name, data in elements.items()},
            validity,
            device_key=credential,
            time_verification_required=time_verification_required,
        )

    def revocation_document(
        self,
        elements: Mapping[str, RevocationData],
        validity: Validity,
        *,
        time_verification_required: bool = False,
    ) -> Document:
        """A Revocation Document, which any credential may carry to readers."""
        return self.sign(
            REVOCATION,
            {name: data.value() for name, data in elements.items()},
            validity,
            time_verification_required=time_verification_required,
        )

    def sign(
        self,
        doc_type: str,
        elements: Mapping[str, Cbor],
        validity: Validity,
        *,
        device_key: EcPublicKey | None = None,
        time_verification_required: bool = False,
        signed_as: str | None = None,
    ) -> Document:
        """A document of whatever elements, also such as no reader accepts: for tests of readers.

        signed_as: the docType in what is signed, if it is to differ.
        """
        items = tuple(
            SignedItem.make(number, self._rng(RANDOM_BYTES), name, value)
            for number, (name, value) in enumerate(elements.items(), 1)
        )
        security = SecurityObject(
            doc_type=doc_type if signed_as is None else signed_as,
            digests={doc_type: digests_of(items)},
            validity=validity,
            device_key=device_key,
            time_verification_required=time_verification_required,
        )
        return self.sign_security_object(doc_type, items, security)

    def sign_security_object(self, doc_type: str, items: tuple[SignedItem, ...], security: SecurityObject) -> Document:
        """A document of items and whatever is to be signed of them."""
        parts = sign_parts({}, self._header, security.payload(), self._signer)
        return Document(doc_type, {doc_type: items}, tuple(parts))
