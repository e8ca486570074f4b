"""One GET over HTTPS: verified, bounded in time and size, following nobody anywhere.

For servers that a device names, so for addresses that an adversary may have chosen: TLS is verified against roots that
the caller gives or the system has, redirects are answers like others, and nothing of the environment (proxies, cookies,
passwords) goes along.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from keywright.errors import AuthenticationError, LinkError, UsageError, WireError

_PIECE: Final = 4096


class Fetched(NamedTuple):
    """An answer, whatever its status."""

    status: int
    content_type: str
    """Empty if there is none."""
    body: bytes


def tls_client(roots_pem: str | None = None) -> ssl.SSLContext:
    """A context that verifies the server and its name, TLS 1.2 upward. roots_pem: roots to trust, None: the system's.

    Raises UsageError for text that has no certificate.
    """
    try:
        context = ssl.create_default_context(cadata=roots_pem)
    except (ssl.SSLError, ValueError) as error:
        raise UsageError("no certificate in PEM to verify the server with", hint="give the CA of the server") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def https_get(
    uri: str,
    *,
    accept: str,
    context: ssl.SSLContext,
    timeout_s: float = 10.0,
    most: int = 1 << 16,
    clock: Callable[[], float] = time.monotonic,
) -> Fetched:
    """Get what is at `uri`. timeout_s: for all of it, from the connection to the last octet. most: octets of the body.

    Raises UsageError for what is no https URI or a context that verifies nobody, AuthenticationError for a server that
    is not whom it should be, LinkError, WireError.
    """
    parts = urlsplit(uri)
    if parts.scheme != "https" or not parts.hostname or parts.username is not None or parts.fragment:
        raise UsageError("only https is fetched, from a host without a user", hint="see the base URI of the device")
    if context.verify_mode != ssl.CERT_REQUIRED or not context.check_hostname:
        raise UsageError("a TLS context that verifies nobody", hint="use keywright.link.https.tls_client")
    until = clock() + timeout_s
    host = parts.hostname
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection = http.client.HTTPSConnection(host, parts.port, timeout=timeout_s, context=context)
        connection.response_class = _response_class(until, clock)
        try:
            connection.request("GET", target, headers={"Accept": accept, "Connection": "close"})
            with connection.getresponse() as response:
                return Fetched(response.status, response.headers.get("Content-Type", ""), _body(response, host, most))
        finally:
            connection.close()
    except ssl.SSLCertVerificationError as error:
        raise AuthenticationError(
            f"the server {host} is not accepted: {error.verify_message}", hint="give the CA that its certificate is of"
        ) from error
    except TimeoutError as error:
        raise LinkError(f"{host}: no whole answer in {timeout_s:g} s", delivered=None) from error
    except http.client.HTTPException as error:
        raise WireError(f"{host}: not a whole answer of HTTP/1.1 ({type(error).__name__})") from error
    except (OSError, ValueError) as error:  # ValueError: a port out of range, a NUL in the host
        raise LinkError(f"{host} cannot be asked: {error}", delivered=None) from error


def _body(response: http.client.HTTPResponse, host: str, most: int) -> bytes:
    if response.length is None and not response.chunked:
        raise WireError(f"{host}: an answer that only ends with the connection, so that nobody sees it cut short")
    body = bytearray()
    while piece := response.read(_PIECE):
        body += piece
        if len(body) > most:
            raise WireError(f"{host} sends more than {most} octets")
    if response.length:  # cut short: `read` with a size does not say so
        raise WireError(f"{host}: {response.length} octets of its answer are missing")
    return bytes(body)


class _Timed(io.RawIOBase):
    """What a socket receives until a time: a peer that gives an octet now and then does not hold us longer."""

    def __init__(self, sock: socket.socket, until: float, clock: Callable[[], float]) -> None:
        super().__init__()
        self._socket = sock
        self._until = until
        self._clock = clock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        left = self._until - self._clock()
        if left <= 0:
            raise TimeoutError("no time left")
        self._socket.settimeout(left)
        return self._socket.recv_into(buffer)


def _response_class(until: float, clock: Callable[[], float]) -> type[http.client.HTTPResponse]:
    class Response(http.client.HTTPResponse):
        """Reads through `_Timed`."""

        def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
            super().__init__(sock, *arguments, **options)
            self._holds_socket = self.fp  # the socket lives as long as a file made of it
            self.fp = io.BufferedReader(_Timed(sock, until, clock))

        def close(self) -> None:
            super().close()
            self._holds_socket.close()

    return Response
