"""HTTP/1.1 messages, as much as remote administration needs and no more (RFC 9112), small and strict.

A reader takes bytes as they come and gives whole messages. What is ambiguous (two lengths, folded headers, a bare
line feed) is refused: a proxy in between could read it in another way.
"""

from __future__ import annotations

from typing import Final, final

import msgspec

from keywright.errors import WireError

Headers = tuple[tuple[str, str], ...]

MOST_HEAD: Final = 8192
"""Bytes of start line and headers."""
MOST_BODY: Final = 1 << 20
_TOKEN: Final = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_REASONS: Final = {200: "OK", 204: "No Content", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"}
_NO_BODY: Final = (204, 304)


class HttpRequest(msgspec.Struct, frozen=True):
    """A request. `target`: origin form. Header names are compared without case; framing headers are not among them."""

    method: str
    target: str
    headers: Headers = ()
    body: bytes = b""

    def get(self, name: str) -> str | None:
        """The value of a header, None if it is not there. Raises WireError if it is there twice."""
        return header(self.headers, name)

    def encode(self, chunk: int = 0) -> bytes:
        """Its bytes. `chunk`: bytes of a chunk, as cards send bodies; 0 for Content-Length. Raises ValueError."""
        _check_line(self.method, self.target)
        head = f"{self.method} {self.target} HTTP/1.1\r\n"
        return _message(head, self.headers, self.body, chunk, framed=bool(self.body) or self.method == "POST")


class HttpResponse(msgspec.Struct, frozen=True):
    """A response."""

    status: int
    headers: Headers = ()
    body: bytes = b""

    def get(self, name: str) -> str | None:
        """The value of a header, None if it is not there. Raises WireError if it is there twice."""
        return header(self.headers, name)

    def encode(self, chunk: int = 0, *, tight: bool = False) -> bytes:
        """Its bytes. `tight`: no blank after the colon, for cards whose records are short. Raises ValueError."""
        head = f"HTTP/1.1 {self.status} {_REASONS.get(self.status, 'Error')}\r\n"
        framed = self.status not in _NO_BODY
        if self.body and not framed:
            raise ValueError(f"a response {self.status} has no body")
        return _message(head, self.headers, self.body, chunk, framed=framed, tight=tight)


def header(headers: Headers, name: str) -> str | None:
    """The value of one header, None if it is not there. Raises WireError if it is there twice."""
    found = [value for key, value in headers if key.lower() == name.lower()]
    if len(found) > 1:
        raise WireError(f"header {name} twice")
    return found[0] if found else None


def _check_line(*words: str) -> None:
    if any(not word or any(not "\x20" < letter < "\x7f" for letter in word) for word in words):
        raise ValueError("a start line has visible ASCII letters only")


def _message(head: str, headers: Headers, body: bytes, chunk: int, *, framed: bool, tight: bool = False) -> bytes:
    colon = ":" if tight else ": "
    lines = [head]
    for name, value in headers:
        if not name or set(name) - _TOKEN or any(letter != "\t" and not "\x20" <= letter < "\x7f" for letter in value):
            raise ValueError(f"header {name!r}: a name of token letters and a value of visible ones")
        if name.lower() in ("content-length", "transfer-encoding"):
            raise ValueError(f"header {name} is written by the codec")
        lines.append(f"{name}{colon}{value}\r\n")
    if chunk and body:
        lines.append(f"Transfer-Encoding{colon}chunked\r\n\r\n")
        return "".join(lines).encode("ascii") + _chunks(body, chunk)
    if framed:
        lines.append(f"Content-Length{colon}{len(body)}\r\n")
    return "".join([*lines, "\r\n"]).encode("ascii") + body


def _chunks(body: bytes, size: int) -> bytes:
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%X\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


class _Head(msgspec.Struct):
    words: tuple[str, str, str]
    headers: Headers
    length: int
    chunked: bool


class _Reader:
    """Cuts a stream into heads and bodies."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._head: _Head | None = None
        self._body = bytearray()

    def _feed(self, data: bytes) -> list[tuple[_Head, bytes]]:
        self._buffer += data
        found = []
        while (message := self._next()) is not None:
            found.append(message)
        return found

    @property
    def is_empty(self) -> bool:
        """Whether no message is half read, so that the connection may end here."""
        return not self._buffer and self._head is None

    def _next(self) -> tuple[_Head, bytes] | None:
        if self._head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end > MOST_HEAD or (end < 0 and len(self._buffer) > MOST_HEAD):
                raise WireError(f"start line and headers of more than {MOST_HEAD} bytes")
            if end < 0:
                return None
            self._head = self._parse_head(bytes(self._buffer[:end]))
            del self._buffer[: end + 4]
        if self._head.chunked:
            if not self._read_chunks():
                return None
            body = bytes(self._body)
        else:
            if len(self._buffer) < self._head.length:
                return None
            body = bytes(self._buffer[: self._head.length])
            del self._buffer[: self._head.length]
        head, self._head, self._body = self._head, None, bytearray()
        return head, body

    def _parse_head(self, raw: bytes) -> _Head:
        try:
            first, *rest = raw.decode("ascii").split("\r\n")
        except UnicodeDecodeError:
            raise WireError("headers that are not ASCII") from None
        if any(not " " <= letter <= "~" and letter != "\t" for line in (first, *rest) for letter in line):
            raise WireError("a control character in the headers")
        words = first.split(" ", 2)
        headers = tuple(_field(line) for line in rest)
        length, chunked = self._framing(headers)
        kept = tuple(
            (name, value) for name, value in headers if name.lower() not in ("content-length", "transfer-encoding")
        )
        if len(words) != 3:
            raise WireError("a start line has three words")
        return _Head((words[0], words[1], words[2]), kept, length, chunked)

    @staticmethod
    def _framing(headers: Headers) -> tuple[int, bool]:
        coding, length = header(headers, "Transfer-Encoding"), header(headers, "Content-Length")
        if coding is not None:
            if length is not None or coding.lower() != "chunked":
                raise WireError("a message is chunked or has a length, nothing else and not both")
            return 0, True
        if length is None:
            return 0, False
        if not length.isdigit() or int(length) > MOST_BODY:
            raise WireError(f"a body of {length[:20]!r} bytes")
        return int(length), False

    def _read_chunks(self) -> bool:
        """Move whole chunks into the body; True once the last one has come."""
        while True:
            end = self._buffer.find(b"\r\n")
            if end < 0:
                if len(self._buffer) > 16:
                    raise WireError("a chunk without its size")
                return False
            text = bytes(self._buffer[:end])
            if not 1 <= len(text) <= 6 or set(text) - set(b"0123456789abcdefABCDEF"):
                raise WireError("a chunk size has one to six hex digits here, and no extension")
            size = int(text, 16)
            if len(self._body) + size > MOST_BODY:
                raise WireError(f"a body of more than {MOST_BODY} bytes")
            stop = end + 2 + size
            if len(self._buffer) < stop + 2:
                return False
            if self._buffer[stop : stop + 2] != b"\r\n":
                raise WireError("a chunk that is longer than its size, or a trailer")
            self._body += self._buffer[end + 2 : stop]
            del self._buffer[: stop + 2]
            if not size:
                return True


def _field(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name or set(name) - _TOKEN:
        raise WireError(f"{name[:20]!r} is no header")
    return name, value.strip(" \t")


@final
class RequestReader(_Reader):
    """Requests out of a stream, server end. After a WireError the connection is of no use."""

    def feed(self, data: bytes) -> list[HttpRequest]:
        """Take bytes; the requests that are now whole. Raises WireError."""
        return [self._request(head, body) for head, body in self._feed(data)]

    @staticmethod
    def _request(head: _Head, body: bytes) -> HttpRequest:
        method, target, version = head.words
        if version != "HTTP/1.1" or set(method) - _TOKEN or not method or not target or " " in target:
            raise WireError("not a request of HTTP/1.1")
        return HttpRequest(method, target, head.headers, body)


@final
class ResponseReader(_Reader):
    """Responses out of a stream, client end. A body that ends with the connection is not taken."""

    def feed(self, data: bytes) -> list[HttpResponse]:
        """Take bytes; the responses that are now whole. Raises WireError."""
        return [self._response(head, body) for head, body in self._feed(data)]

    def _parse_head(self, raw: bytes) -> _Head:
        # The reason may be empty, and then the blank before it may be missing too.
        line, end, rest = raw.partition(b"\r\n")
        head = super()._parse_head((line + b" " if line.count(b" ") == 1 else line) + end + rest)
        version, status, _ = head.words
        if version != "HTTP/1.1" or len(status) != 3 or not status.isdigit():
            raise WireError("not a response of HTTP/1.1")
        if int(status) in _NO_BODY:
            head.length, head.chunked = 0, False
        return head

    @staticmethod
    def _response(head: _Head, body: bytes) -> HttpResponse:
        return HttpResponse(int(head.words[1]), head.headers, body)
