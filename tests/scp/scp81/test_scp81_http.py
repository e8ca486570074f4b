"""HTTP messages: what is whole is read however it comes, and what is ambiguous is refused."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.errors import WireError
from keywright.scp.scp81.http import (
    MOST_BODY,
    MOST_HEAD,
    HttpRequest,
    HttpResponse,
    RequestReader,
    ResponseReader,
    header,
)

REQUEST = HttpRequest(
    "POST", "/ram?cmd=1", (("Host", "admin.host"), ("X-Admin-From", "//se-id/eid/1")), b"\xaf\x80\0\0"
)
RESPONSE = HttpResponse(200, (("X-Admin-Protocol", "globalplatform-remote-admin/1.0"),), bytes(range(256)))


@pytest.mark.parametrize("chunk", [0, 1, 3, 100, 1000])
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_a_message_survives_however_it_is_cut(chunk: int, step: int) -> None:
    requests, responses = RequestReader(), ResponseReader()
    stream = REQUEST.encode(chunk) * 2
    found = [one for at in range(0, len(stream), step) for one in requests.feed(stream[at : at + step])]
    assert found == [REQUEST, REQUEST]
    stream = RESPONSE.encode(chunk) + RESPONSE.encode(chunk, tight=True)
    answers = [one for at in range(0, len(stream), step) for one in responses.feed(stream[at : at + step])]
    assert answers == [RESPONSE, RESPONSE]
    assert requests.is_empty
    assert responses.is_empty


def test_messages_look_as_cards_and_servers_write_them() -> None:
    first = HttpRequest("POST", "/", (("Host", "h"),))
    assert first.encode() == b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"
    body = HttpRequest("POST", "/", (), b"abc")
    assert body.encode(2) == b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    done = HttpResponse(204, (("X-Admin-Protocol", "p"),))
    assert done.encode(tight=True) == b"HTTP/1.1 204 No Content\r\nX-Admin-Protocol:p\r\n\r\n"
    with pytest.raises(ValueError, match="no body"):
        HttpResponse(204, (), b"x").encode()


@pytest.mark.parametrize("line", ["HTTP/1.1 200 OK", "HTTP/1.1 200 ", "HTTP/1.1 200", "HTTP/1.1 404 Not Found Here"])
def test_a_reason_may_be_anything(line: str) -> None:
    (answer,) = ResponseReader().feed(line.encode() + b"\r\ncontent-length:0\r\n\r\n")
    assert answer.status in (200, 404)


REFUSED = [
    b"POST / HTTP/1.0\r\n\r\n",
    b"POST /\r\n\r\n",
    b"POST  HTTP/1.1\r\n\r\n",
    b"POST / / HTTP/1.1\r\n\r\n",
    b"PO(ST / HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost : h\r\n\r\n",
    b"POST / HTTP/1.1\r\n folded\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: \xff\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: \0\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 1,1\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MOST_BODY + 1),
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\nx\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTrailer: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFF\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 20,
    b"POST / HTTP/1.1\r\nX: " + b"a" * MOST_HEAD,
    b"POST / HTTP/1.1\r\nX: " + b"a" * MOST_HEAD + b"\r\n\r\n",
]


@pytest.mark.parametrize("raw", REFUSED, ids=range(len(REFUSED)))
def test_what_could_be_read_in_two_ways_is_refused(raw: bytes) -> None:
    with pytest.raises(WireError):
        RequestReader().feed(raw)


@pytest.mark.parametrize(
    "raw", [b"HTTP/1.0 200 OK\r\n\r\n", b"HTTP/1.1 20 OK\r\n\r\n", b"200\r\n\r\n", b"HTTP/1.1 2x0 \r\n\r\n"]
)
def test_what_is_no_response_is_refused(raw: bytes) -> None:
    with pytest.raises(WireError):
        ResponseReader().feed(raw)


@pytest.mark.parametrize(
    "message",
    [
        HttpRequest("POST", "/\r\nX: y"),
        HttpRequest("PO ST", "/"),
        HttpRequest("POST", ""),
        HttpRequest("POST", "/", (("X", "a\r\nY: b"),)),
        HttpRequest("POST", "/", (("X\r\n", "a"),)),
        HttpRequest("POST", "/", (("", "a"),)),
        HttpRequest("POST", "/", (("X", "\xe9"),)),
        HttpRequest("POST", "/", (("Content-Length", "0"),)),
        HttpResponse(200, (("Transfer-Encoding", "chunked"),)),
    ],
)
def test_nothing_breaks_out_of_a_header(message: HttpRequest | HttpResponse) -> None:
    with pytest.raises(ValueError, match=r"header|start line"):
        message.encode()


def test_a_header_given_twice_is_refused_where_it_matters() -> None:
    assert header((("A", "1"), ("b", "2")), "a") == "1"
    assert REQUEST.get("HOST") == "admin.host"
    assert RESPONSE.get("x") is None
    with pytest.raises(WireError, match="twice"):
        header((("A", "1"), ("a", "1")), "A")


@given(st.binary(max_size=80), st.integers(0, 1000))
def test_any_bytes_are_read_or_refused(data: bytes, seed: int) -> None:
    stream = bytearray(REQUEST.encode(2) + data)
    stream[random.Random(seed).randrange(len(stream))] ^= 1 << seed % 8
    for reader in (RequestReader(), ResponseReader()):
        for raw in (data, bytes(stream)):
            try:
                reader.feed(raw)
            except WireError:
                break
