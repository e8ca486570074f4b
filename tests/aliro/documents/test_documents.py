"""Documents as bytes: the example of the specification, what was built comes back, and what cannot be read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.aliro.documents.document import (
    ACCESS,
    REVOCATION,
    Document,
    SecurityObject,
    SignedItem,
    Validity,
    digests_of,
)
from keywright.aliro.documents.exchange import (
    DeviceRequest,
    DeviceResponse,
    DocumentRequest,
    Status,
    answer_request,
    respond,
)
from keywright.codec.cbor import EMBEDDED, Tag, decode, encode
from keywright.errors import DecodeError
from support.aliro_documents import ACCESS_DATA, CREDENTIAL, VALIDITY, access_document, issuer, share
from support.vectors import Case, unhex, vectors

VECTOR = "digitalkey/aliro_stepup.json"


@vectors(VECTOR)
def test_the_request_of_the_specification_is_read_and_built(case: Case) -> None:
    request = DeviceRequest.parse(unhex(case["device_request"]))
    assert request == DeviceRequest((DocumentRequest(ACCESS, {"element2": True, "element4": True}),))
    assert request.build() == unhex(case["device_request"])


@vectors(VECTOR)
def test_the_response_of_the_specification_is_read_and_built_again_from_its_values(case: Case) -> None:
    data = unhex(case["device_response"])
    response = DeviceResponse.parse(data)
    assert response.build() == data
    document = response.document(ACCESS)
    assert document is not None
    (item,) = document.items[ACCESS]
    assert item.digest().hex() == case["disclosed_item_sha256"]
    protected, unprotected, payload, signature = document.issuer_auth
    security = SecurityObject.parse(payload)
    assert security.digests[ACCESS][item.digest_id] == item.digest()
    assert security.payload() == payload
    assert SignedItem.make(item.digest_id, item.random, item.identifier, item.value) == item
    again = Document(ACCESS, {ACCESS: (item,)}, (protected, unprotected, security.payload(), signature))
    assert DeviceResponse((again,)).build() == data
    assert security.validity == Validity(1717248602, 1717248602, 1748784602)
    assert security.time_verification_required


@vectors(VECTOR)
def test_a_device_with_the_whole_document_releases_what_the_specification_says(case: Case) -> None:
    answer = DeviceResponse.parse(unhex(case["device_response"])).documents[0]
    others = tuple(SignedItem.make(number, bytes(32), f"element{number + 1}", {0: 1}) for number in (0, 2))
    stored = Document(ACCESS, {ACCESS: (others[0], *answer.items[ACCESS], others[1])}, answer.issuer_auth)
    request = DeviceRequest((DocumentRequest(ACCESS, {"element2": True, "element4": True}),)).build()
    assert answer_request(request, [stored.build()]) == unhex(case["device_response"])


def test_a_device_releases_what_was_asked_for_and_nothing_else() -> None:
    key, revoked = issuer(), issuer().revocation_document({}, VALIDITY)
    elements = {name: access_document().items[ACCESS][0].value for name in ("a", "b", "c")}
    access = key.sign(ACCESS, elements, VALIDITY, device_key=CREDENTIAL)
    revocation = key.sign(REVOCATION, {"a": {0: 1, 1: 0}}, VALIDITY)

    def released(*asked: DocumentRequest) -> dict[str, list[str]]:
        response = respond(DeviceRequest(asked), [access, revocation, revoked])
        assert DeviceResponse.parse(response.build()) == response
        return {one.doc_type: [item.identifier for item in one.items[one.doc_type]] for one in response.documents}

    assert released(DocumentRequest(ACCESS, {"a": False, "c": True, "z": True})) == {ACCESS: ["a", "c"]}
    assert released(DocumentRequest(ACCESS, {"z": True})) == {}
    assert released(DocumentRequest("org.iso.18013.5.1.mDL", {"a": True})) == {}
    assert released(DocumentRequest(REVOCATION, {"a": True}), DocumentRequest(ACCESS, {"b": True})) == {
        ACCESS: ["b"],
        REVOCATION: ["a"],
    }


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"", Status.NOT_CBOR),
        (b"\xff", Status.NOT_CBOR),
        (encode({}), Status.NOT_VALID),
        (encode({"1": "2.0", "2": []}), Status.NOT_VALID),
        (encode({"1": "1.0", "2": []}), Status.NOT_VALID),
        (encode({"1": "1.0", "2": [{"1": b"x"}]}), Status.NOT_VALID),
        (encode({"1": "1.0", "2": [{"1": Tag(EMBEDDED, b"\xff")}]}), Status.NOT_VALID),
        (
            encode({"1": "1.0", "2": [{"1": Tag(EMBEDDED, encode({"1": {"aliro-a": {"a": 1}}, "5": "aliro-a"}))}]}),
            Status.NOT_VALID,
        ),
    ],
)
def test_a_request_that_cannot_be_read_is_answered_with_a_status(request_: bytes, status: int) -> None:
    assert DeviceResponse.parse(answer_request(request_, [access_document().build()])) == DeviceResponse((), status)


def test_a_stored_document_that_cannot_be_read_is_an_error_of_the_device() -> None:
    request = DeviceRequest((DocumentRequest(ACCESS, {"a": True}),)).build()
    with pytest.raises(DecodeError):
        answer_request(request, [b"\xa0"])


@share(5)
@given(ACCESS_DATA, st.integers(0, 253402300799), st.none() | st.integers(0, 2**64 - 1), st.booleans())
def test_what_an_issuer_built_is_read_as_it_was(data: Any, time: int, iteration: int | None, required: Any) -> None:
    validity = Validity(time, time, time, expected_update=time, iteration=iteration)
    document = access_document(data, validity, time_verification_required=required)
    assert Document.parse(document.build()) == document
    security = SecurityObject.parse(document.issuer_auth[2])
    assert (security.validity, security.device_key) == (validity, CREDENTIAL)
    assert security.time_verification_required == required
    assert security.digests == {ACCESS: digests_of(document.items[ACCESS])}


def test_no_prefix_and_no_changed_byte_is_the_same_document() -> None:
    data = DeviceResponse((access_document(),)).build()
    whole = DeviceResponse.parse(data)
    for at in range(len(data)):
        with pytest.raises(DecodeError):
            DeviceResponse.parse(data[:at])
        with contextlib.suppress(DecodeError):
            assert DeviceResponse.parse(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]) != whole


@given(st.binary(max_size=64))
def test_any_bytes_are_a_message_or_a_decode_error(data: bytes) -> None:
    readers: tuple[Callable[[bytes], Any], ...] = (
        DeviceRequest.parse,
        DeviceResponse.parse,
        Document.parse,
        SecurityObject.parse,
    )
    for parse in readers:
        with contextlib.suppress(DecodeError):
            parse(data)


def changed(path: tuple[Any, ...], value: object) -> bytes:
    """The payload of a document with another value at a place; None takes it out."""
    inside = decode(decode(access_document().issuer_auth[2]).value, dates=True)
    part = inside
    for key in path[:-1]:
        part = part[key]
    if value is None:
        del part[path[-1]]
    else:
        part[path[-1]] = value
    return encode(Tag(EMBEDDED, encode(inside)))


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("1",), "1.1", "version"),
        (("1",), None, "'1' missing"),
        (("2",), "SHA-512", "SHA-256"),
        (("3",), [], "digests"),
        (("3", ACCESS), {1: bytes(31)}, "digest"),
        (("3", ACCESS), {"1": bytes(32)}, "digest id"),
        (("4",), {}, "device key"),
        (("4", "1", 1), 3, "P-256"),
        (("4", "1", -1), 2, "P-256"),
        (("4", "1", -2), bytes(31), "device key"),
        (("4", "1", -3), bytes(32), "P-256"),
        (("5",), 5, "docType"),
        (("6", "1"), "2024-06-01T13:30:02Z", "no date"),
        (("6", "2"), Tag(0, "2024-06-01"), "validity: 2"),
        (("6", "3"), Tag(0, 5), "validity: 3"),
        (("6", "3"), Tag(1, 5), "no date"),
        (("6", "4"), 0, "no date"),
        (("6", "5"), -1, "iteration"),
        (("6", "5"), True, "iteration"),
        (("7",), 1, "timeVerificationRequired"),
    ],
)
def test_a_security_object_with_a_wrong_field_is_refused_and_the_field_named(
    path: tuple[Any, ...], value: object, named: str
) -> None:
    assert SecurityObject.parse(access_document().issuer_auth[2]).doc_type == ACCESS
    with pytest.raises(DecodeError, match=named):
        SecurityObject.parse(changed(path, value))


def test_fields_of_later_versions_are_passed_over_and_a_missing_flag_demands_no_clock() -> None:
    assert SecurityObject.parse(changed(("9",), "later")) == SecurityObject.parse(access_document().issuer_auth[2])
    assert not SecurityObject.parse(changed(("7",), None)).time_verification_required


@pytest.mark.parametrize(
    "items",
    [
        [{"1": 1, "2": bytes(15), "3": "a", "4": 1}],
        [{"1": -1, "2": bytes(16), "3": "a", "4": 1}],
        [{"1": 1, "2": bytes(16), "3": b"a", "4": 1}],
        [{"1": 1, "2": bytes(16), "3": "a"}],
        [[]],
        [],
    ],
)
def test_an_element_that_is_none_is_refused(items: list[Any]) -> None:
    listed = [Tag(EMBEDDED, encode(one)) for one in items]
    with pytest.raises(DecodeError):
        Document.read({"1": {"1": {ACCESS: listed}, "2": [b"", {}, b"", b""]}, "5": ACCESS})


def test_what_is_signed_is_in_the_order_of_its_encoding_whatever_it_was_made_of() -> None:
    digests = {name: {number: bytes(32) for number in (300, 2, 1)} for name in ("b", "aa", "a")}
    security = SecurityObject(ACCESS, digests, VALIDITY, CREDENTIAL)
    assert SecurityObject.parse(security.payload()) == security
    inside = decode(decode(security.payload()).value, dates=True)
    assert encode(Tag(EMBEDDED, encode(inside))) == security.payload()


def test_two_documents_of_a_type_and_two_digests_of_an_id_are_refused() -> None:
    with pytest.raises(DecodeError, match="two documents"):
        DeviceResponse((access_document(), access_document())).document(ACCESS)
    item = SignedItem.make(1, bytes(32), "a", 1)
    with pytest.raises(ValueError, match="twice"):
        digests_of([item, item])
