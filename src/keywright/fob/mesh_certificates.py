"""Certificates of mesh devices over real HTTPS: the client's dialogue driven, the vendor's server run (MshPRT 5.6)."""

from __future__ import annotations

import http.server
import ssl
from typing import Final

from keywright.link.https import https_get
from keywright.mesh.retrieval import (
    CERTIFICATE_TYPE,
    MOST_BODY,
    CertificateServer,
    Chain,
    HttpAnswer,
    HttpGet,
    retrieve,
)
from keywright.sansio.dialogue import drive

TIMEOUT_S: Final = 10.0


def get(request: HttpGet, context: ssl.SSLContext, timeout_s: float = TIMEOUT_S) -> HttpAnswer:
    """Do one request of the dialogue. Raises as `https_get`."""
    fetched = https_get(request.uri, accept=request.accept, context=context, timeout_s=timeout_s, most=MOST_BODY)
    return HttpAnswer(*fetched)


def retrieve_chain(
    base: str, uuid: bytes, context: ssl.SSLContext, *, certificate: bytes = b"", timeout_s: float = TIMEOUT_S
) -> Chain:
    """The certificates of a device from its vendor's server. Raises as `retrieve` and `https_get`."""
    return drive(retrieve(base, uuid, certificate=certificate), lambda request: get(request, context, timeout_s))


def certificate_server(
    answers: CertificateServer, address: tuple[str, int], context: ssl.SSLContext
) -> http.server.ThreadingHTTPServer:
    """A server that listens there over TLS; run its `serve_forever`. context: of a server, with certificate and key.

    Raises OSError if it cannot listen.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        """Carries requests to `answers`."""

        protocol_version = "HTTP/1.1"
        timeout = TIMEOUT_S

        def answer(self) -> None:
            given = answers.handle(self.command, self.path)
            self.send_response(given.status)
            self.send_header("Content-Type", given.content_type or CERTIFICATE_TYPE)
            self.send_header("Content-Length", str(len(given.body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            if self.command != "HEAD":
                self.wfile.write(given.body)

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = answer  # noqa: N815 - named by the library

        def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - named by the library
            """Say nothing: who asks for which device is nobody else's matter."""

    server = http.server.ThreadingHTTPServer(address, Handler)
    # The handshake is the thread's of the connection, so that a silent client does not keep the others waiting.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return server
