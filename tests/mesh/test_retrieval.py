"""Certificates over HTTP, each end alone and both together: URIs, queries, bodies, statuses, and what is not taken."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.errors import AuthenticationError, DecodeError, KeywrightError, WireError
from keywright.mesh.certificate_uri import (
    DEVICE_CERTIFICATE,
    INTERMEDIATES,
    Query,
    check_base,
    host_of,
    read_ndef,
    read_printed,
    read_uri_data,
    uri_data,
)
from keywright.mesh.multipart import Part, build_multipart, parse_multipart
from keywright.mesh.retrieval import (
    CERTIFICATE_TYPE,
    CertificateServer,
    Chain,
    HttpAnswer,
    HttpGet,
    Published,
    retrieve,
)
from keywright.sansio.dialogue import drive
from support.mesh_pki import UUID, authority, device_certificate, key
from support.vectors import load, unhex

_, URIS, NDEF = load("mesh/certificate_based.json")
SAMPLE_UUID = unhex(load("mesh/certificate_based.json")[0]["device_uuid"])
BASE = "https://vendor.example/oob"
DER = device_certificate(key("device").public, issuer=authority(2))
BETWEEN = authority(2).intermediates
ALL = Published(DER, BETWEEN)
TEXT = Part("text/plain", b"hello")


def served(published: Published | None = None) -> Callable[[HttpGet], HttpAnswer]:
    server = CertificateServer("/oob", {UUID: published or ALL})
    return lambda request: server.handle("GET", request.uri.removeprefix("https://vendor.example"))


# ---- where ---------------------------------------------------------------------------------------------------------


def test_the_standards_uris() -> None:
    base = URIS["base_uri"]
    assert uri_data(base) == unhex(URIS["base_uri_record_hex"])
    assert read_uri_data(unhex(URIS["base_uri_record_hex"])) == base
    assert f"{base}?{Query(SAMPLE_UUID).build()}" == URIS["uri_all"]
    one = Query(SAMPLE_UUID, (DEVICE_CERTIFICATE,))
    assert f"{base}?{one.build()}" == URIS["uri_device_certificate"]
    assert Query.parse(URIS["uri_device_certificate"].partition("?")[2]) == one
    assert next(retrieve(base, SAMPLE_UUID)) == HttpGet(URIS["uri_device_certificate"], CERTIFICATE_TYPE)


def test_the_standards_tag() -> None:
    base, uuid = read_ndef(unhex(NDEF["ndef"]))
    assert uuid == SAMPLE_UUID
    assert base == "https://mesh.example.com/omb"  # an erratum of the sample, for "oob"


@pytest.mark.parametrize(
    "tag",
    [
        "",
        "d1013f5503" + b"a.example/?uuid=".hex(),  # http
        "d1010655046d657368" + "2f",  # no UUID
        "d101065504c3b6c3b6c3",  # no ASCII
        "d1010755046d65736869",  # longer than it says
        "91010655046d6573682f",  # not the last record
    ],
)
def test_another_tag_is_refused(tag: str) -> None:
    with pytest.raises(DecodeError, match=r"MshPRT 5\.6"):
        read_ndef(bytes.fromhex(tag))


@pytest.mark.parametrize("place", range(5))
def test_each_octet_before_the_uri_of_a_tag_counts(place: int) -> None:
    tag = bytearray(unhex(NDEF["ndef"]))
    read_ndef(bytes(tag))
    tag[place] ^= 1
    with pytest.raises(DecodeError, match="of one record with an https URI"):
        read_ndef(bytes(tag))


def test_a_printed_code_may_be_in_capitals() -> None:
    text = f"HTTPS://VENDOR.EXAMPLE/OOB?UUID={UUID.hex().upper()}"
    assert read_printed(text) == ("https://vendor.example/OOB", UUID)
    assert host_of("https://Vendor.example:444/x") == "vendor.example"
    assert host_of("https://[::1]:444") == "[::1]"


@pytest.mark.parametrize(
    "base",
    [
        "",
        "http://vendor.example/oob",
        "https:vendor.example",
        "https://",
        "https:///oob",
        "https://user@vendor.example/oob",
        "https://user:word@vendor.example/oob",
        "https://vendor.example/oob?x=1",
        "https://vendor.example/oob#x",
        "https://vendor.example/o ob",
        "https://vendor.example/\r\nHost: x",
        "https://vendor.example\\@other.example/",
        "https://vendor.example:x/",
        "https://v\u00f6.example/",
        "file:///etc/passwd",
        "https://vendor.example/" + "a" * 2000,
    ],
)
def test_what_is_no_base_uri_is_not_asked(base: str) -> None:
    with pytest.raises(DecodeError, match=r"https, host and path"):
        check_base(base)


@pytest.mark.parametrize("data", ["", "16" + b"//a.example".hex(), "17c3b6", "17", "172f2f61203a"])
def test_uri_data_of_another_kind_are_refused(data: str) -> None:
    with pytest.raises(DecodeError, match=r"MshPRT 5\.6"):
        read_uri_data(bytes.fromhex(data))


@given(st.binary(max_size=80))
def test_any_uri_data_and_tag_are_read_or_refused(data: bytes) -> None:
    for read in (read_uri_data, read_ndef, lambda one: read_printed(one.decode("latin-1"))):
        try:
            read(data)
        except DecodeError:
            continue
    with contextlib.suppress(DecodeError):
        assert uri_data(read_uri_data(b"\x17" + data)) == b"\x17" + data


@pytest.mark.parametrize(
    "text",
    [
        "",
        "uuid=",
        f"uuid={UUID.hex()}",
        "uuid=70CF7C97-32A3-45B6-9149-4810D2E9CBF4",
        "content=device-certificate",
        "uuid=70cf7c97-32a3-45b6-9149-4810d2e9cbf4&content=private-key",
        "uuid=70cf7c97-32a3-45b6-9149-4810d2e9cbf4&other=1",
        "uuid=70cf7c97-32a3-45b6-9149-4810d2e9cbf4&content=device-certificate&content=device-certificate",
    ],
)
def test_another_query_is_refused(text: str) -> None:
    with pytest.raises(DecodeError, match="a query"):
        Query.parse(text)


def test_a_query_for_what_there_is_not_is_not_built() -> None:
    with pytest.raises(ValueError, match="no content"):
        Query(UUID, ("private-key",)).build()


# ---- several items in one body -------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=5))
def test_parts_come_back_as_they_were(bodies: list[bytes]) -> None:
    parts = [Part(CERTIFICATE_TYPE, body) for body in bodies]
    whole = build_multipart(parts)
    assert parse_multipart(whole.content_type, whole.body) == parts


def test_a_body_has_parts() -> None:
    with pytest.raises(ValueError, match="has parts"):
        build_multipart([])


GOOD_BODY = b"--x\r\nContent-Type: a/b\r\n\r\none\r\n--x\r\ncontent-type: a/b\r\nContent-ID: 1\r\n\r\ntwo\r\n--x--"


def test_a_body_of_somebody_else() -> None:
    expected = [Part("a/b", b"one"), Part("a/b", b"two")]
    for kind in ("multipart/mixed; boundary=x", 'Multipart/Mixed;boundary="x"'):
        assert parse_multipart(kind, GOOD_BODY) == expected


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/mixed", GOOD_BODY),
        ("multipart/related; boundary=x", GOOD_BODY),
        ("multipart/mixed; boundary=x; charset=y", GOOD_BODY),
        ("multipart/mixed; boundary=y", GOOD_BODY),
        ("multipart/mixed; boundary=x", b"preamble\r\n" + GOOD_BODY),
        ("multipart/mixed; boundary=x", GOOD_BODY + b"\r\nepilogue"),
        ("multipart/mixed; boundary=x", GOOD_BODY[:-2]),
        ("multipart/mixed; boundary=x", b""),
        ("multipart/mixed; boundary=x", b"--x\r\n\r\n--x--"),
        ("multipart/mixed; boundary=x", b"--xContent-Type: a/b\r\n\r\none\r\n--x--"),
        ("multipart/mixed; boundary=x", b"--x\r\nContent-Type a/b\r\n\r\none\r\n--x--"),
        ("multipart/mixed; boundary=x", b"--x\r\nContent-Type: a/b\r\nContent-Type: a/b\r\n\r\none\r\n--x--"),
        ("multipart/mixed; boundary=x", b"--x\r\nContent-Transfer-Encoding: base64\r\n\r\nb25l\r\n--x--"),
        ("multipart/mixed; boundary=x", b"--x\r\nA: b\r\n\r\n\r\n" * 65 + b"--x--"),
    ],
)
def test_a_body_that_could_be_read_in_two_ways_is_refused(kind: str, body: bytes) -> None:
    with pytest.raises(WireError, match=r"multipart|a part"):
        parse_multipart(kind, body)


@given(st.binary(max_size=120))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    for data in (body, b"--x\r\n" + body + b"\r\n--x--"):
        try:
            parse_multipart("multipart/mixed; boundary=x", data)
        except WireError:
            continue


# ---- the server ----------------------------------------------------------------------------------------------------


def test_the_server_answers_every_form_of_query() -> None:
    server = CertificateServer("/oob", {UUID: Published(DER, BETWEEN[:1], {"8001-manual": TEXT})})
    query = f"/oob?{Query(UUID).build()}"
    one = server.handle("GET", f"{query}&content=device-certificate")
    assert one == HttpAnswer(200, CERTIFICATE_TYPE, DER)
    alone = server.handle("GET", f"{query}&content=vendor-intermediate-certs")
    assert parse_multipart(alone.content_type, alone.body) == [Part(CERTIFICATE_TYPE, BETWEEN[0])]
    assert server.handle("GET", f"{query}&content=8001-manual") == HttpAnswer(200, "text/plain", b"hello")
    every = server.handle("GET", query)
    both = [Part(CERTIFICATE_TYPE, DER), Part(CERTIFICATE_TYPE, BETWEEN[0])]
    assert parse_multipart(every.content_type, every.body) == [*both, TEXT]
    two = server.handle("GET", f"{query}&content=device-certificate&content=vendor-intermediate-certs")
    assert parse_multipart(two.content_type, two.body) == both
    partial = server.handle("GET", f"{query}&content=device-certificate&content=8001-leaflet")
    assert partial == one


def test_the_server_refuses_by_the_statuses_of_the_standard() -> None:
    other = bytes(16)
    server = CertificateServer("/oob", {UUID: Published(DER), other: Published(is_revoked=True)})
    query = Query(UUID).build()
    assert server.handle("GET", f"/other?{query}").status == 404
    assert server.handle("GET", f"/oob?{Query(bytes(15) + b'x').build()}").status == 404
    assert server.handle("GET", f"/oob?{query}&content=vendor-intermediate-certs").status == 404
    assert server.handle("POST", f"/oob?{query}").status == 405
    assert server.handle("GET", f"/oob?{Query(other).build()}").status == 410
    for target in ("/oob", "/oob?", "/oob?x=1", f"/oob?{query}&content=x", f"/oob?{query}&", f"/oob?{query}?"):
        assert server.handle("GET", target).status == 501, target


@given(st.text(max_size=80), st.text(max_size=10))
def test_every_request_has_an_answer(target: str, method: str) -> None:
    server = CertificateServer("/oob", {UUID: ALL})
    assert server.handle(method, f"/oob?uuid={target}").status in {200, 404, 405, 410, 501}


# ---- the client ----------------------------------------------------------------------------------------------------


def test_the_client_gets_what_the_server_has() -> None:
    assert drive(retrieve(BASE, UUID), served()) == Chain(DER, BETWEEN)
    assert drive(retrieve(BASE, UUID), served(Published(DER))) == Chain(DER)
    assert drive(retrieve(BASE, UUID, certificate=DER), served(Published(b"", BETWEEN))) == Chain(DER, BETWEEN)


MANY = build_multipart([Part(CERTIFICATE_TYPE, BETWEEN[0])] * 16)
MIXED = build_multipart([Part(CERTIFICATE_TYPE, BETWEEN[0]), TEXT])
BAD = build_multipart([Part(CERTIFICATE_TYPE, BETWEEN[0]), Part(CERTIFICATE_TYPE, BETWEEN[1][:-1])])
FIRST: dict[str, tuple[HttpAnswer, type[KeywrightError], str]] = {
    "404": (HttpAnswer(404), WireError, "404: it knows no such device"),
    "405": (HttpAnswer(405), WireError, "405: it takes no GET"),
    "410": (HttpAnswer(410), AuthenticationError, "410: the certificate of 70cf7c97-.* is revoked"),
    "501": (HttpAnswer(501), WireError, "501: it does not know this query"),
    "a redirect": (HttpAnswer(302, CERTIFICATE_TYPE, DER), WireError, "302: a redirect, which is not followed"),
    "206": (HttpAnswer(206, CERTIFICATE_TYPE, DER), WireError, "206, which the standard has no meaning for"),
    "500": (HttpAnswer(500), WireError, "500, which"),
    "another type": (HttpAnswer(200, "application/octet-stream", DER), WireError, "not application/pkix-cert"),
    "a type with more": (HttpAnswer(200, "application/pkix-cert; x=y", DER), WireError, "not application/pkix-cert"),
    "no type": (HttpAnswer(200, "", DER), WireError, "not application/pkix-cert"),
    "several": (HttpAnswer(200, MIXED.content_type, MIXED.body), WireError, "not application/pkix-cert"),
    "too much": (HttpAnswer(200, CERTIFICATE_TYPE, DER + bytes(1 << 16)), WireError, "more than 65536"),
    "cut": (HttpAnswer(200, CERTIFICATE_TYPE, DER[:-1]), WireError, "a device-certificate that is none"),
    "PEM": (HttpAnswer(200, CERTIFICATE_TYPE, b"-----BEGIN CERTIFICATE-----"), WireError, "that is none"),
}
SECOND: dict[str, tuple[HttpAnswer, type[KeywrightError], str]] = {
    "410": (HttpAnswer(410), AuthenticationError, "revoked"),
    "500": (HttpAnswer(500), WireError, "500"),
    "one alone": (HttpAnswer(200, CERTIFICATE_TYPE, BETWEEN[0]), WireError, "not multipart/mixed"),
    "sixteen": (HttpAnswer(200, MANY.content_type, MANY.body), WireError, "16 intermediate certificates, not 1 to 15"),
    "one of another type": (HttpAnswer(200, MIXED.content_type, MIXED.body), WireError, "as 'text/plain'"),
    "one that is bad": (
        HttpAnswer(200, BAD.content_type, BAD.body),
        WireError,
        "vendor-intermediate-certs that is none",
    ),
}


@pytest.mark.parametrize("case", FIRST)
def test_a_device_certificate_that_is_not_as_asked_for_is_refused(case: str) -> None:
    answer, error, why = FIRST[case]
    with pytest.raises(error, match=why):
        drive(retrieve(BASE, UUID), lambda _: answer)


@pytest.mark.parametrize("case", SECOND)
def test_one_bad_part_spoils_all(case: str) -> None:
    answer, error, why = SECOND[case]
    with pytest.raises(error, match=why):
        drive(retrieve(BASE, UUID, certificate=DER), lambda _: answer)


def test_the_client_asks_for_intermediates_by_name() -> None:
    request = next(retrieve(BASE, UUID, certificate=DER))
    assert request == HttpGet(f"{BASE}?{Query(UUID, (INTERMEDIATES,)).build()}", "multipart/mixed")
