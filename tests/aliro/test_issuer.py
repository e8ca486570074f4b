"""A Credential Issuer: keys wherever they are, and how readers find the key of a document."""

from __future__ import annotations

from typing import Any

import pytest

from keywright.aliro import certificates
from keywright.aliro.documents.document import ACCESS, REVOCATION, Document, SecurityObject
from keywright.aliro.documents.revocation_data import OVERWRITE, RevocationData
from keywright.aliro.documents.verification import Trust, issuer_kid, verify
from keywright.aliro.issuer import CredentialIssuer
from keywright.crypto.cose import KID, X5CHAIN
from support.aliro_documents import AUTHORITY, CREDENTIAL, EVERYTHING, ISSUER, NOW, VALIDITY, drawn, issuer
from support.signers import KEYS, Signing

CHAIN = (certificates.issue(AUTHORITY, ISSUER.public), certificates.issue(AUTHORITY, AUTHORITY.public))


def header(**how: Any) -> dict[int, Any]:
    document = issuer(**how).access_document(CREDENTIAL, {"a": EVERYTHING}, VALIDITY)
    protected, unprotected, _, signature = document.issuer_auth
    assert (protected, len(signature)) == (bytes.fromhex("A10126"), 64)
    return dict(unprotected)


def test_a_document_names_its_key_by_identifier_certificate_or_both() -> None:
    kid = issuer_kid(ISSUER.public)
    assert header() == {KID: kid}
    assert header(kid=b"own") == {KID: b"own"}
    assert header(kid=b"", certificates=CHAIN[:1]) == {X5CHAIN: CHAIN[0]}
    assert header(certificates=CHAIN) == {KID: kid, X5CHAIN: list(CHAIN)}
    assert header(kid=b"") == {}


def test_a_key_that_is_elsewhere_signs_like_one_in_memory() -> None:
    """All that an issuer asks of a key is the protocol of signers, which an HSM's keys have too."""
    outside = CredentialIssuer(Signing(ISSUER), drawn())
    document = outside.access_document(CREDENTIAL, {"a": EVERYTHING}, VALIDITY)
    trust = Trust.of([outside.public])
    assert verify(document, trust, doc_type=ACCESS, device_key=CREDENTIAL, now=NOW).issuer == ISSUER.public


def test_a_key_on_another_curve_is_refused() -> None:
    with pytest.raises(ValueError, match="P-256"):
        CredentialIssuer(KEYS["P-384"], drawn())


def test_elements_have_digests_in_their_order_and_random_bytes_of_their_own() -> None:
    document = issuer().access_document(CREDENTIAL, dict.fromkeys(("z", "a", "m"), EVERYTHING), VALIDITY)
    items = document.items[ACCESS]
    assert [(item.digest_id, item.identifier) for item in items] == [(1, "z"), (2, "a"), (3, "m")]
    assert len({item.random for item in items}) == 3
    assert {len(item.random) for item in items} == {32}
    # Without an element, its digest says nothing about it: the same value has another one.
    assert len({item.digest() for item in items}) == 3
    assert Document.parse(document.build()) == document


def test_a_revocation_document_is_for_no_device() -> None:
    document = issuer().revocation_document(
        {"list": RevocationData(OVERWRITE)}, VALIDITY, time_verification_required=True
    )
    security = SecurityObject.parse(document.issuer_auth[2])
    assert (security.doc_type, security.device_key, security.time_verification_required) == (REVOCATION, None, True)
