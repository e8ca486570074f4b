"""Where the certificates of a device are: base URI, query, and the tags that carry both (MshPRT 5.5, 5.6).

The base URI comes in record 0000 or in URI advertising data, both with the scheme as their first octet. Only https
is taken: a certificate proves itself, but who asks for it tells which device stands where.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from keywright.errors import DecodeError
from keywright.mesh.certificates import uuid_text

HTTPS: Final = 0x17
"""Scheme octet of "https:" (Assigned Numbers 2.7, URI scheme name strings)."""
DEVICE_CERTIFICATE: Final = "device-certificate"
INTERMEDIATES: Final = "vendor-intermediate-certs"
_SCHEME: Final = "https:"
_BASE: Final = re.compile(
    r"https://(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
    r"(?P<path>/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?"
)
_UUID: Final = re.compile(r"([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})", re.IGNORECASE)
_CANONICAL: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_OTHER: Final = re.compile(r"[0-9a-f]{4}-[A-Za-z0-9._~-]+")
_LONGEST: Final = 2000


class Query(msgspec.Struct, frozen=True):
    """What is asked of a server: the items of one device."""

    uuid: bytes
    contents: tuple[str, ...] = ()
    """`DEVICE_CERTIFICATE`, `INTERMEDIATES`, or a vendor's own ("8001-manual"); none: all there is."""

    def build(self) -> str:
        """The query component, without its question mark. Raises ValueError for a content that there is not."""
        for content in self.contents:
            if not _is_content(content):
                raise ValueError(f"no content {content!r}")
        return "&".join((f"uuid={uuid_text(self.uuid)}", *(f"content={one}" for one in self.contents)))

    @classmethod
    def parse(cls, text: str) -> Query:
        """Raises DecodeError for a query of any other form."""
        first, *rest = text.split("&")
        name, _, uuid = first.partition("=")
        if name != "uuid" or not _CANONICAL.fullmatch(uuid):
            raise DecodeError("a query begins with uuid= and a UUID in canonical form (MshPRT 5.6)")
        contents = tuple(one.removeprefix("content=") for one in rest)
        if not all(one.startswith("content=") for one in rest) or not all(map(_is_content, contents)):
            raise DecodeError("a query asks for content= what is known, and nothing else (MshPRT 5.6)")
        if len(set(contents)) != len(contents):
            raise DecodeError("a query asks for a content twice (MshPRT 5.6)")
        return cls(bytes.fromhex(uuid.replace("-", "")), contents)


def read_uri_data(data: bytes) -> str:
    """The base URI in record 0000 or in URI advertising data. Raises DecodeError for what is not a plain https URI."""
    if not data or data[0] != HTTPS:
        raise DecodeError(
            f"a certificate URI of scheme {data[:1].hex() or 'none'}, and only https is asked (MshPRT 5.6)"
        )
    try:
        return check_base(_SCHEME + data[1:].decode("ascii"))
    except UnicodeDecodeError as error:
        raise DecodeError("a certificate URI that is not ASCII (MshPRT 5.6)") from error


def uri_data(base: str) -> bytes:
    """The base URI as record 0000 and URI advertising data have it. Raises DecodeError."""
    return bytes((HTTPS,)) + check_base(base).removeprefix(_SCHEME).encode("ascii")


def check_base(uri: str) -> str:
    """A base URI: https, a host, no user, no query, no fragment. Raises DecodeError."""
    if len(uri) > _LONGEST or not _BASE.fullmatch(uri):
        raise DecodeError("a certificate URI is https, host and path, and nothing else (MshPRT 5.6)")
    return uri


def host_of(base: str) -> str:
    """The host that a base URI names, lower case. Raises DecodeError."""
    found = _BASE.fullmatch(check_base(base))
    return found["host"].lower() if found else ""


def read_printed(text: str) -> tuple[str, bytes]:
    """Base URI and Device UUID in the text of a QR code or a tag: base, "?uuid=", UUID with hyphens or without.

    A QR code may be in capitals throughout, then scheme and host are put in lower case. Raises DecodeError.
    """
    base, _, query = text.partition("?")
    name, _, value = query.partition("=")
    uuid = _UUID.fullmatch(value)
    if name.lower() != "uuid" or uuid is None:
        raise DecodeError("a tag has a URI with uuid= and a UUID (MshPRT 5.6)")
    scheme, slashes, rest = base.partition("://")
    host, slash, path = rest.partition("/")
    return check_base(scheme.lower() + slashes + host.lower() + slash + path), bytes.fromhex("".join(uuid.groups()))


def read_ndef(data: bytes) -> tuple[str, bytes]:
    """Base URI and Device UUID in an NDEF message of one short URI record (NFC Forum URI RTD). Raises DecodeError."""
    head, body = data[:4], data[4:]
    if len(head) != 4 or head[:2] != b"\xd1\x01" or head[3:] != b"U" or head[2] != len(body) or body[:1] != b"\x04":
        raise DecodeError("an NDEF message of one record with an https URI was due (MshPRT 5.6)")
    try:
        return read_printed("https://" + body[1:].decode("ascii"))
    except UnicodeDecodeError as error:
        raise DecodeError("a tag whose URI is not ASCII (MshPRT 5.6)") from error


def _is_content(text: str) -> bool:
    return text in (DEVICE_CERTIFICATE, INTERMEDIATES) or _OTHER.fullmatch(text) is not None
