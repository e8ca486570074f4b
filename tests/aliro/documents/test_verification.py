"""What a reader checks of a document: six signed examples, each check for itself, and their order."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from keywright.aliro import certificates
from keywright.aliro.documents.document import ACCESS, REVOCATION, Document, SecurityObject, SignedItem, Validity
from keywright.aliro.documents.exchange import DeviceResponse
from keywright.aliro.documents.revocation_data import OVERWRITE, RevocationData
from keywright.aliro.documents.verification import CHECKS, DocumentRefusedError, Policy, Trust, Verified, verify
from keywright.codec.cbor import encode
from keywright.crypto.chains import issue_certificate, read_certificate
from keywright.crypto.cose import KID, X5CHAIN, sign_parts
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.errors import DecodeError
from support.aliro_documents import (
    AUTHORITY,
    CREDENTIAL,
    DAY,
    EVERYTHING,
    ISSUER,
    NOW,
    OTHER,
    VALIDITY,
    access_document,
    issuer,
)
from support.vectors import Case, document, unhex, vectors

VECTORS = "digitalkey/aliro_access_documents_signed.json"
FILE = document(VECTORS)
TRUST = Trust.of([ISSUER.public])
OF_ANY_DEVICE = Policy(demands_device_key=False)


def checked(given: Document, trust: Trust = TRUST, **how: Any) -> Verified:
    fields: dict[str, Any] = {"doc_type": ACCESS, "device_key": CREDENTIAL, "now": NOW, **how}
    return verify(given, trust, **fields)


def refused(given: Document, trust: Trust = TRUST, **how: Any) -> str:
    with pytest.raises(DocumentRefusedError) as error:
        checked(given, trust, **how)
    assert error.value.status >> 8 == 0
    assert f"({error.value.check})" in str(error.value)
    return error.value.check


@vectors(VECTORS)
def test_a_signed_example(case: Case) -> None:
    key = EcPublicKey.from_point("P-256", unhex(FILE["issuer_public_key"]))
    trust = Trust({unhex(FILE["kid"]): key})
    given = DeviceResponse.parse(unhex(case["device_response"])).document(ACCESS)
    assert DeviceResponse(() if given is None else (given,)).build() == unhex(case["device_response"])
    if given is None:
        assert case["expected"] == "no document returned"
        return
    how = {"now": FILE["now_epoch"], "policy": OF_ANY_DEVICE}
    required = case["checks"]["time_verification_required"]
    failing = {"DOCTYPE_MISMATCH": "docType", "TAMPERED": "digests"}.get(case["name"])
    assert (failing is not None) == case["expected"].startswith("reject")
    if failing is not None:
        assert refused(given, trust, **how) == failing
        return
    found = checked(given, trust, **how)
    assert (found.elements, found.issuer) == ({"element9": True}, key)
    assert found.validity.valid_from == FILE["valid_from_epoch"]
    assert found.validity.valid_until == FILE["valid_until_epoch"]
    assert found.validity.iteration == {"WITH_VI": 1}.get(case["name"])
    assert found.time_verification_required == required
    # These examples name no key of a device: what a reader demands otherwise.
    assert refused(given, trust, now=FILE["now_epoch"]) == "device key"
    for now in (FILE["valid_from_epoch"] - 1, FILE["valid_until_epoch"] + 1):
        assert refused(given, trust, now=now, policy=OF_ANY_DEVICE) == "time"
    for now in (FILE["valid_from_epoch"], FILE["valid_until_epoch"]):
        assert checked(given, trust, now=now, policy=OF_ANY_DEVICE).time_verified
    if required:
        assert refused(given, trust, now=None, policy=OF_ANY_DEVICE) == "time"
    else:
        assert not checked(given, trust, now=None, policy=OF_ANY_DEVICE).time_verified
    if found.validity.iteration is not None:
        strict = msgspec.structs.replace(OF_ANY_DEVICE, iteration_window=1)
        assert checked(given, trust, now=FILE["now_epoch"], policy=strict, iterations={key: 1}) == found
        newer: dict[str, Any] = {"now": FILE["now_epoch"], "policy": strict, "iterations": {key: 2}}
        assert refused(given, trust, **newer) == "iteration"


def test_a_document_that_is_as_it_should_be() -> None:
    found = checked(access_document())
    assert found == Verified(
        doc_type=ACCESS,
        issuer=ISSUER.public,
        validity=VALIDITY,
        elements={"floor1": EVERYTHING.value()},
        device_key=CREDENTIAL,
        time_verification_required=False,
        time_verified=True,
    )
    revocation = issuer().revocation_document({"list": RevocationData(OVERWRITE)}, VALIDITY)
    assert verify(revocation, TRUST, doc_type=REVOCATION, now=NOW).device_key is None


def with_header(given: Document, header: Mapping[int, Any]) -> Document:
    protected, _, *rest = given.issuer_auth
    return Document(given.doc_type, given.items, (protected, dict(header), *rest))


def security(given: Document) -> SecurityObject:
    return SecurityObject.parse(given.issuer_auth[2])


def of_payload(payload: bytes) -> Document:
    """The document with something else signed by the issuer."""
    parts = sign_parts({}, {KID: issuer().kid}, payload, ISSUER)
    return Document(ACCESS, access_document().items, tuple(parts))


def each_failure() -> dict[str, tuple[Document, dict[str, Any]]]:
    """For each check a document that fails at it, and at nothing else."""
    good = access_document()
    (item,) = good.items[ACCESS]
    signed = good.issuer_auth
    chain = certificates.issue(AUTHORITY, ISSUER.public)
    certified = issuer(certificates=(chain,), kid=b"").access_document(CREDENTIAL, {"floor1": EVERYTHING}, VALIDITY)
    late = Validity(certificates.DEFAULT_NOT_BEFORE - 1, NOW - DAY, NOW + DAY)
    signed_before = issuer(certificates=(chain,)).access_document(CREDENTIAL, {"floor1": EVERYTHING}, late)
    by_authority = Trust.of([], [AUTHORITY.public])
    return {
        "issuer key": (good, {"trust": Trust.of([OTHER.public])}),
        "issuer certificate": (certified, {"trust": Trust.of([], [OTHER.public])}),
        "signature": (Document(ACCESS, good.items, (*signed[:3], bytes(64))), {}),
        "format": (of_payload(encode({})), {}),
        "elements": (Document(ACCESS, {}, signed), {}),
        "digests": (
            Document(ACCESS, {ACCESS: (SignedItem.make(1, item.random, "floor2", item.value),)}, signed),
            {},
        ),
        "docType": (
            issuer().sign(
                ACCESS, {"floor1": EVERYTHING.value()}, VALIDITY, device_key=CREDENTIAL, signed_as=REVOCATION
            ),
            {},
        ),
        "time": (good, {"now": NOW + DAY + 1}),
        "certificate time": (signed_before, {"trust": by_authority}),
        "iteration": (
            access_document(validity=msgspec.structs.replace(VALIDITY, iteration=1)),
            {"iterations": {ISSUER.public: 9}},
        ),
        "device key": (good, {"device_key": OTHER.public}),
    }


def test_each_check_has_a_document_that_fails_at_it_alone() -> None:
    failures = each_failure()
    assert tuple(failures) == CHECKS
    for check, (given, how) in failures.items():
        assert refused(given, **how) == check


def test_what_is_signed_and_cannot_be_read_is_of_bad_format() -> None:
    good = access_document()
    for payload in (b"", b"\xa0", encode({}), security(good).payload()[:-1]):
        assert refused(of_payload(payload)) == "format"
    protected, unprotected, payload, signature = good.issuer_auth
    several: tuple[tuple[Any, ...], ...] = (
        (protected, [], payload, signature),
        (1, unprotected, payload, signature),
        (b"", {KID: 1}, 1, 1),
    )
    for broken in several:
        assert refused(Document(ACCESS, good.items, broken)) in {"format", "issuer key"}


def test_a_failure_that_comes_earlier_in_7_4_is_the_one_that_is_named() -> None:
    """Each document fails at all checks from one on."""
    (item,) = access_document().items[ACCESS]
    other = SignedItem.make(1, item.random, "floor2", item.value)
    old = Validity(NOW - 9 * DAY, NOW - 9 * DAY, NOW - 8 * DAY, iteration=1)
    how: dict[str, Any] = {"iterations": {ISSUER.public: 20}, "device_key": OTHER.public}
    base = issuer().sign(ACCESS, {"floor1": item.value}, old, device_key=CREDENTIAL, signed_as=REVOCATION)
    tampered = Document(ACCESS, {ACCESS: (other,)}, base.issuer_auth)
    unsigned = Document(ACCESS, {ACCESS: (other,)}, (*base.issuer_auth[:3], bytes(64)))
    right_type = access_document(validity=old)
    in_time = access_document(validity=msgspec.structs.replace(VALIDITY, iteration=1))
    assert refused(unsigned, Trust.of([]), **how) == "issuer key"
    assert refused(unsigned, **how) == "signature"
    assert refused(tampered, **how) == "digests"
    assert refused(base, **how) == "docType"
    assert refused(right_type, **how) == "time"
    assert refused(in_time, **how) == "iteration"
    assert refused(access_document(), **how) == "device key"


@pytest.mark.parametrize("doc_type", [REVOCATION, "org.iso.18013.5.1.mDL"])
def test_another_document_than_the_one_asked_for_is_refused(doc_type: str) -> None:
    assert refused(access_document(), doc_type=doc_type) == "docType"


@pytest.mark.parametrize("asked", [0, 1, 2, 8, 9])
def test_iterations_as_the_conformance_text_has_them(asked: int) -> None:
    """Table 8-37: after 9, a document of 3 is granted and one of 1 is denied."""
    given = access_document(validity=msgspec.structs.replace(VALIDITY, iteration=asked))
    if asked <= 1:
        assert refused(given, iterations={ISSUER.public: 9}) == "iteration"
    else:
        assert checked(given, iterations={ISSUER.public: 9}).validity.iteration == asked
    assert checked(given, iterations={OTHER.public: 99}).issuer == ISSUER.public
    strict = Policy(iteration_window=1)
    if asked < 9:
        assert refused(given, iterations={ISSUER.public: 9}, policy=strict) == "iteration"


def test_a_revocation_document_older_than_the_newest_is_void() -> None:
    for iteration, void in ((8, True), (9, False), (10, False)):
        given = issuer().revocation_document(
            {"list": RevocationData(OVERWRITE)}, msgspec.structs.replace(VALIDITY, iteration=iteration)
        )
        how: dict[str, Any] = {"doc_type": REVOCATION, "iterations": {ISSUER.public: 9}}
        if void:
            assert refused(given, **how) == "iteration"
        else:
            assert checked(given, **how).doc_type == REVOCATION


def test_a_reader_without_a_clock_takes_what_does_not_demand_one() -> None:
    assert not checked(access_document(), now=None).time_verified
    assert refused(access_document(time_verification_required=True), now=None) == "time"
    assert checked(access_document(time_verification_required=True)).time_verification_required


def test_an_access_document_needs_the_key_of_a_device_and_names_one() -> None:
    with pytest.raises(TypeError):
        checked(access_document(), device_key=None)
    nameless = issuer().sign(ACCESS, {"floor1": EVERYTHING.value()}, VALIDITY)
    assert refused(nameless) == "device key"
    assert checked(nameless, policy=OF_ANY_DEVICE).device_key is None
    assert refused(access_document(), device_key=OTHER.public, policy=OF_ANY_DEVICE) == "device key"


def test_every_element_given_is_checked_in_whatever_namespace() -> None:
    good = access_document()
    stray = SignedItem.make(1, bytes(32), "floor1", 1)
    assert refused(Document(ACCESS, {**good.items, "other": (stray,)}, good.issuer_auth)) == "digests"
    assert refused(Document(ACCESS, {"other": good.items[ACCESS]}, good.issuer_auth)) == "elements"
    (item,) = good.items[ACCESS]
    assert refused(Document(ACCESS, {ACCESS: (item, item)}, good.issuer_auth)) == "elements"


def test_every_byte_of_a_document_counts() -> None:
    response = DeviceResponse((access_document(time_verification_required=True),)).build()
    for at in range(len(response)):
        changed = response[:at] + bytes([response[at] ^ 1]) + response[at + 1 :]
        try:
            given = DeviceResponse.parse(changed).document(ACCESS)
        except DecodeError:
            continue
        if given is None or DeviceResponse.parse(changed).status:
            continue
        assert refused(given)


def certified(chain: tuple[bytes, ...], key: EcPrivateKey = ISSUER, **how: Any) -> Document:
    document = issuer(key, certificates=chain, **how).access_document(CREDENTIAL, {"floor1": EVERYTHING}, VALIDITY)
    return DeviceResponse.parse(DeviceResponse((document,)).build()).documents[0]


def test_a_certificate_of_a_trusted_authority_stands_for_the_key() -> None:
    good = certificates.issue(AUTHORITY, ISSUER.public)
    trust = Trust.of([], [OTHER.public, AUTHORITY.public])
    for kid in (b"", None):
        assert checked(certified((good,), kid=kid), trust).issuer == ISSUER.public
    assert refused(certified((good,), kid=b""), TRUST) == "issuer certificate"
    # Where no authority is trusted, a key identifier beside the certificate still counts.
    assert checked(certified((good,)), TRUST).issuer == ISSUER.public
    # Where one is, the certificate decides: its end is the end of the key.
    both = Trust.of([ISSUER.public], [AUTHORITY.public])
    ended = certificates.issue(AUTHORITY, ISSUER.public, not_after=NOW - 2 * DAY)
    assert refused(certified((ended,)), both) == "certificate time"
    assert checked(certified((good,)), both).issuer == ISSUER.public


def test_a_certificate_that_does_not_hold_is_refused() -> None:
    trust = Trust.of([], [AUTHORITY.public])
    good = certificates.issue(AUTHORITY, ISSUER.public)
    assert refused(certified((good,), OTHER, kid=b""), trust) == "signature"
    assert refused(certified((good[:-1] + bytes([good[-1] ^ 1]),)), trust) == "issuer certificate"
    assert refused(certified((b"\x30\x00",)), trust) == "issuer certificate"
    assert refused(certified((good,) * 5), trust) == "issuer certificate"
    chains: list[Any] = [[], [1], "x", {}]
    for chain in chains:
        assert refused(with_header(certified((good,)), {X5CHAIN: chain}), trust) == "issuer certificate"
    headers: list[dict[int, Any]] = [{}, {KID: 1}, {KID: b"nobody"}]
    for header in headers:
        assert refused(with_header(access_document(), header), TRUST) == "issuer key"


def test_a_certificate_holds_now_and_when_the_document_was_signed() -> None:
    trust = Trust.of([], [AUTHORITY.public])
    until_yesterday = certificates.issue(AUTHORITY, ISSUER.public, not_after=NOW - 1)
    assert refused(certified((until_yesterday,)), trust) == "certificate time"
    assert not checked(certified((until_yesterday,)), trust, now=None).time_verified
    since_today = certificates.issue(AUTHORITY, ISSUER.public, not_before=NOW - 1)
    assert refused(certified((since_today,)), trust) == "certificate time"
    assert refused(certified((since_today,)), trust, now=None) == "certificate time"


def ca_certificate(
    key: EcPrivateKey, above: bytes | None, subject: str, public_key: EcPublicKey, path_length: int
) -> bytes:
    validity = (dt.datetime(2020, 1, 1, tzinfo=dt.UTC), dt.datetime(2040, 1, 1, tzinfo=dt.UTC))
    return issue_certificate(
        key,
        None if above is None else read_certificate(above),
        subject=subject,
        public_key=public_key,
        serial_number=1,
        validity=validity,
        path_length=path_length,
    )


def test_a_chain_is_followed_to_the_authority() -> None:
    root = ca_certificate(AUTHORITY, None, "root", AUTHORITY.public, 1)
    middle = ca_certificate(AUTHORITY, root, "issuer", OTHER.public, 0)
    leaf = certificates.issue(OTHER, ISSUER.public, issuer="issuer")
    trust = Trust.of([], [AUTHORITY.public])
    assert checked(certified((leaf, middle)), trust).issuer == ISSUER.public
    assert checked(certified((leaf, middle, root)), trust).issuer == ISSUER.public
    assert refused(certified((leaf,)), trust) == "issuer certificate"
    assert refused(certified((middle, leaf)), trust) == "issuer certificate"
    # The key of a CA signs certificates, not documents.
    assert refused(certified((middle,), OTHER), trust) == "issuer certificate"


@pytest.mark.parametrize(("of_root", "of_middle", "accepted"), [(2, 1, True), (1, 1, False), (2, 0, False)])
def test_a_chain_is_no_longer_than_its_certificates_allow(*, of_root: int, of_middle: int, accepted: bool) -> None:
    lower = EcPrivateKey.from_scalar("P-256", bytes([5] * 32))
    root = ca_certificate(AUTHORITY, None, "root", AUTHORITY.public, of_root)
    middle = ca_certificate(AUTHORITY, root, "middle", OTHER.public, of_middle)
    low = ca_certificate(OTHER, middle, "low", lower.public, 0)
    leaf = certificates.issue(lower, ISSUER.public, issuer="low")
    chain, trust = certified((leaf, low, middle, root)), Trust.of([], [AUTHORITY.public])
    if accepted:
        assert checked(chain, trust).issuer == ISSUER.public
    else:
        assert refused(chain, trust) == "issuer certificate"
