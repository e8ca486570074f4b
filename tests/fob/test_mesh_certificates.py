"""Certificates of mesh devices over TLS on loopback, with a CA of the test's; and servers that misbehave."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keywright.errors import AuthenticationError, KeywrightError, LinkError, UsageError, WireError
from keywright.fob.mesh_certificates import certificate_server, get, retrieve_chain
from keywright.link.https import Fetched, https_get, tls_client
from keywright.mesh.cbp import CertificatePolicy
from keywright.mesh.certificate_uri import uri_data
from keywright.mesh.certificates import check_path
from keywright.mesh.retrieval import CertificateServer, Chain, Published
from support.mesh_line import Line, enrolled, make_unit
from support.mesh_pki import AT, UUID, authority, device_certificate, key, root
from support.tls_server import running, server_certificate

DER = device_certificate(key("device").public, issuer=authority(2))
CHAIN = Chain(DER, authority(2).intermediates)


@contextmanager
def saying(context: ssl.SSLContext, say: Callable[[ssl.SSLSocket], None]) -> Iterator[int]:
    """A server of one connection that says what it likes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                connection, _ = listener.accept()
                with context.wrap_socket(connection, server_side=True) as tls:
                    tls.settimeout(5.0)
                    tls.recv(4096)
                    say(tls)
            except OSError:
                return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
    thread.join(5.0)


def test_a_chain_comes_over_https_and_is_followed_to_the_root(tmp_path: Path) -> None:
    context, pem = server_certificate(tmp_path)
    answers = CertificateServer("/oob", {UUID: Published(*_published())})
    with running(certificate_server(answers, ("127.0.0.1", 0), context)) as port:
        base = f"https://localhost:{port}/oob"
        chain = retrieve_chain(base, UUID, tls_client(pem))
        assert chain == CHAIN
        assert retrieve_chain(base, UUID, tls_client(pem), certificate=DER) == CHAIN
        with pytest.raises(WireError, match="404: it knows no such device"):
            retrieve_chain(base, bytes(16), tls_client(pem))
    found = check_path(chain.certificate, chain.intermediates, (root().root,), uuid=UUID, at=AT)
    assert found.public_key == key("device").public


def test_a_device_becomes_a_node_by_what_its_vendor_serves(tmp_path: Path) -> None:
    """From the beacon to the node: records over the air, certificates over TLS, static OOB besides."""
    context, pem = server_certificate(tmp_path)
    answers = CertificateServer("/oob", {UUID: Published(*_published())})
    with running(certificate_server(answers, ("127.0.0.1", 0), context)) as port:
        unit = make_unit({0: uri_data(f"https://localhost:{port}/oob")})
        policy = CertificatePolicy(roots=(root().root,), hosts=("localhost",))
        client = tls_client(pem)
        enrolled(Line(unit, certificates=policy, server=lambda request: get(request, client)))


def _published() -> tuple[bytes, tuple[bytes, ...]]:
    return DER, authority(2).intermediates


def test_a_server_that_nobody_vouches_for_is_not_asked(tmp_path: Path) -> None:
    context, pem = server_certificate(tmp_path)
    other = server_certificate(tmp_path, "vendor.example")
    server = certificate_server(CertificateServer("/oob", {}), ("127.0.0.1", 0), context)
    with running(server) as port:
        for host, trusted in (("localhost", other[1]), ("127.0.0.1", pem)):
            with pytest.raises(AuthenticationError, match=f"the server {host} is not accepted"):
                retrieve_chain(f"https://{host}:{port}/oob", UUID, tls_client(trusted))
        with pytest.raises(AuthenticationError, match=r"self.signed"):
            retrieve_chain(f"https://localhost:{port}/oob", UUID, tls_client())


def test_other_methods_have_an_answer(tmp_path: Path) -> None:
    context, pem = server_certificate(tmp_path)
    server = certificate_server(CertificateServer("/oob", {}), ("127.0.0.1", 0), context)
    with (
        running(server) as port,
        socket.create_connection(("127.0.0.1", port)) as plain,
        tls_client(pem).wrap_socket(plain, server_hostname="localhost") as tls,
    ):
        tls.sendall(b"DELETE /oob?x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert tls.recv(100).startswith(b"HTTP/1.1 405 ")


def drip(tls: ssl.SSLSocket) -> None:
    tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(100):
        tls.sendall(b"x")
        time.sleep(0.02)


def drip_head(tls: ssl.SSLSocket) -> None:
    for letter in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200:
        tls.sendall(bytes((letter,)))
        time.sleep(0.02)


def says(data: bytes) -> Callable[[ssl.SSLSocket], None]:
    return lambda tls: tls.sendall(data)


def silent(tls: ssl.SSLSocket) -> None:
    tls.recv(1)


HEAD = b"HTTP/1.1 200 OK\r\n"
MISBEHAVING: dict[str, tuple[Callable[[ssl.SSLSocket], None], type[KeywrightError], str]] = {
    "a body in drops": (drip, LinkError, r"no whole answer in 0\.4 s"),
    "a head in drops": (drip_head, LinkError, r"no whole answer in 0\.4 s"),
    "silence": (silent, LinkError, "no whole answer"),
    "nothing": (lambda _: None, WireError, "not a whole answer"),
    "no HTTP": (says(b"220 mail ready\r\n\r\n"), WireError, "not a whole answer"),
    "too much": (
        says(HEAD + b"Content-Length: 70000\r\n\r\n" + bytes(70000)),
        WireError,
        "more than 65536",
    ),
    "chunks too many": (
        says(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"fff0\r\n" + bytes(0xFFF0) + b"\r\n20\r\n" * 2
        ),
        WireError,
        "more than 65536|not a whole answer",
    ),
    "cut short": (says(HEAD + b"Content-Length: 10\r\n\r\nabc"), WireError, "missing|not a whole answer"),
    "no length": (says(HEAD + b"\r\nabc"), WireError, "only ends with the connection"),
    "headers without end": (says(HEAD + b"A: b\r\n" * 200), WireError, "not a whole answer"),
}


@pytest.mark.parametrize("case", MISBEHAVING)
def test_a_server_that_misbehaves_does_not_hold_us(case: str, tmp_path: Path) -> None:
    say, error, why = MISBEHAVING[case]
    context, pem = server_certificate(tmp_path)
    timeout_s = 0.4 if error is LinkError else 5.0
    with saying(context, say) as port, pytest.raises(error, match=why):
        https_get(f"https://localhost:{port}/", accept="a/b", context=tls_client(pem), timeout_s=timeout_s)


def test_a_redirect_is_an_answer_like_another(tmp_path: Path) -> None:
    context, pem = server_certificate(tmp_path)
    head = b"HTTP/1.1 302 Found\r\nLocation: https://other.example/\r\nContent-Length: 0\r\n\r\n"
    with saying(context, says(head)) as port:
        found = https_get(f"https://localhost:{port}/", accept="a/b", context=tls_client(pem))
    assert found == Fetched(302, "", b"")


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(LinkError, match="cannot be asked"):
        https_get(f"https://localhost:{port}/", accept="a/b", context=tls_client(), timeout_s=2.0)


@pytest.mark.parametrize("uri", ["http://localhost/", "ftp://localhost/", "https:///x", "https://u@localhost/", "x"])
def test_only_https_is_fetched(uri: str) -> None:
    with pytest.raises(UsageError, match="only https"):
        https_get(uri, accept="a/b", context=tls_client())


def test_a_context_that_verifies_nobody_is_refused() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    with pytest.raises(UsageError, match="verifies nobody"):
        https_get("https://localhost/", accept="a/b", context=context)
    with pytest.raises(UsageError, match="no certificate in PEM"):
        tls_client("nonsense")
