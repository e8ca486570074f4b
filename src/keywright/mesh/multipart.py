"""Several items in one HTTP body, as much of multipart/mixed as certificates need (RFC 2046 5.1).

Strict: no preamble, no nesting, no transfer encoding but binary. A part that is not as it should be spoils all.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from keywright.errors import WireError

MOST_PARTS: Final = 64
_BOUNDARY: Final = r"[0-9A-Za-z'()+_,./:=?-]{1,70}"
_TYPE: Final = re.compile(rf"multipart/mixed *; *boundary=(?:({_BOUNDARY})|\"({_BOUNDARY})\")", re.IGNORECASE)
_FIELD: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\t]*?)[ \t]*")


class Part(msgspec.Struct, frozen=True):
    """One item and its media type."""

    content_type: str
    body: bytes


def build_multipart(parts: Sequence[Part]) -> Part:
    """Parts as one body, with the content type that names its boundary. Raises ValueError without parts."""
    if not parts:
        raise ValueError("a multipart body has parts")
    boundary = hashlib.sha256(b"".join(part.body for part in parts)).hexdigest()
    mark = b"--" + boundary.encode("ascii")
    body = b"".join(
        mark + f"\r\nContent-Type: {part.content_type}\r\n\r\n".encode("ascii") + part.body + b"\r\n" for part in parts
    )
    return Part(f"multipart/mixed; boundary={boundary}", body + mark + b"--\r\n")


def parse_multipart(content_type: str, body: bytes) -> list[Part]:
    """The parts of a body. Raises WireError."""
    named = _TYPE.fullmatch(content_type.strip())
    if named is None:
        raise WireError(f"not multipart/mixed with a boundary: {content_type[:60]!r} (RFC 2046 5.1)")
    mark = b"\r\n--" + (named[1] or named[2]).encode("ascii")
    first, *rest = (b"\r\n" + body).split(mark)
    if first or not rest or rest[-1] not in (b"--", b"--\r\n"):
        raise WireError("a multipart body begins with its boundary and ends with it (RFC 2046 5.1.1)")
    if len(rest) - 1 > MOST_PARTS:
        raise WireError(f"a multipart body of more than {MOST_PARTS} parts")
    return [_part(one) for one in rest[:-1]]


def _part(raw: bytes) -> Part:
    head, blank, body = raw.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    if not blank or lines[0].strip(b" \t"):
        raise WireError("a part without headers (RFC 2046 5.1)")
    fields: dict[str, str] = {}
    for line in lines[1:]:
        found = _FIELD.fullmatch(line.decode("latin-1"))
        if found is None or found[1].lower() in fields:
            raise WireError("a part with a header that is none, or twice (RFC 2046 5.1)")
        fields[found[1].lower()] = found[2]
    if fields.get("content-transfer-encoding", "binary").lower() != "binary":
        raise WireError("a part in a transfer encoding (RFC 2046 5.1)")
    return Part(fields.get("content-type", ""), body)
