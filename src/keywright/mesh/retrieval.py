"""Certificates from the vendor's server: the client's dialogue and the server's answers (MshPRT 5.6).

HTTP appears as values; who owns the dialogue carries them. What comes from the server is as trustworthy as what comes
from the device: not at all, until `certificates.check_path` has followed it to a root of ours.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Final, final

import msgspec

from keywright.crypto.inspection import inspect_certificate
from keywright.errors import AuthenticationError, DecodeError, WireError
from keywright.mesh.certificate_uri import DEVICE_CERTIFICATE, INTERMEDIATES, Query, check_base
from keywright.mesh.certificates import MOST_INTERMEDIATES, uuid_text
from keywright.mesh.multipart import Part, build_multipart, parse_multipart

CERTIFICATE_TYPE: Final = "application/pkix-cert"
MULTIPART_TYPE: Final = "multipart/mixed"
MOST_BODY: Final = 1 << 16
"""Octets of a body: sixteen certificates of the longest we take."""
_CLAUSE: Final = "MshPRT 5.6"
OK, NOT_FOUND, NOT_ALLOWED, GONE, NOT_IMPLEMENTED = 200, 404, 405, 410, 501


class HttpGet(msgspec.Struct, frozen=True):
    """A GET that somebody is to do, over HTTP/1.1 and TLS, following no redirect."""

    uri: str
    accept: str


class HttpAnswer(msgspec.Struct, frozen=True):
    """What came of it."""

    status: int
    content_type: str = ""
    """Empty if there is none."""
    body: bytes = b""


class Chain(msgspec.Struct, frozen=True):
    """A device certificate and its intermediates in order, as received."""

    certificate: bytes
    intermediates: tuple[bytes, ...] = ()


# ---- the client ------------------------------------------------------------------------------------------


def retrieve(base: str, uuid: bytes, *, certificate: bytes = b"") -> Generator[HttpGet, HttpAnswer, Chain]:
    """Dialogue: the certificates of a device. certificate: its own, if that is known from its records.

    A server may have no intermediates; whether the chain needs some is for `check_path`. Raises AuthenticationError
    for a device that the vendor has revoked, WireError for every other answer that is not what was asked for.
    """
    if not certificate:
        answer = yield _get(base, uuid, DEVICE_CERTIFICATE, CERTIFICATE_TYPE)
        _check_status(answer, uuid, DEVICE_CERTIFICATE)
        certificate = _certificate(Part(answer.content_type, answer.body), DEVICE_CERTIFICATE)
    answer = yield _get(base, uuid, INTERMEDIATES, MULTIPART_TYPE)
    if answer.status == NOT_FOUND:
        return Chain(certificate)
    _check_status(answer, uuid, INTERMEDIATES)
    parts = parse_multipart(answer.content_type, answer.body)
    if not 1 <= len(parts) <= MOST_INTERMEDIATES:
        raise WireError(f"server sent {len(parts)} intermediate certificates, not 1 to 15 ({_CLAUSE})")
    return Chain(certificate, tuple(_certificate(part, INTERMEDIATES) for part in parts))


def _get(base: str, uuid: bytes, content: str, accept: str) -> HttpGet:
    return HttpGet(f"{check_base(base)}?{Query(uuid, (content,)).build()}", accept)


def _check_status(answer: HttpAnswer, uuid: bytes, content: str) -> None:
    match answer.status:
        case 200 if len(answer.body) <= MOST_BODY:
            return
        case 200:
            why, hint = f"{len(answer.body)} octets, more than {MOST_BODY}", ""
        case 404:
            why, hint = "404: it knows no such device, or has no such item of it", "ask the vendor which server it is"
        case 405:
            why, hint = "405: it takes no GET there", "the base URI is not that of a certificate server"
        case 410:
            raise AuthenticationError(
                f"the vendor's server answers 410: the certificate of {uuid_text(uuid)} is revoked ({_CLAUSE})",
                hint="keep the device out of the network",
            )
        case 501:
            why, hint = "501: it does not know this query", "the base URI is not that of a certificate server"
        case status if 300 <= status < 400:
            why, hint = f"{status}: a redirect, which is not followed", "give the address it leads to, if it is trusted"
        case status:
            why, hint = f"{status}, which the standard has no meaning for", "try again later"
    raise WireError(f"the vendor's server answers {content} with {why} ({_CLAUSE})", hint=hint)


def _certificate(part: Part, content: str) -> bytes:
    if part.content_type.strip().lower() != CERTIFICATE_TYPE:
        raise WireError(f"server sent {content} as {part.content_type[:60]!r}, not {CERTIFICATE_TYPE} ({_CLAUSE})")
    try:
        return inspect_certificate(part.body).der
    except DecodeError as error:
        raise WireError(f"server sent a {content} that is none: {error} ({_CLAUSE})") from error


# ---- the server ------------------------------------------------------------------------------------------


class Published(msgspec.Struct, frozen=True):
    """What a vendor shows of one device."""

    certificate: bytes = b""
    intermediates: tuple[bytes, ...] = ()
    others: Mapping[str, Part] = {}
    """The vendor's own items, by content name: "8001-manual"."""
    is_revoked: bool = False


@final
class CertificateServer:
    """Answers for the devices of a vendor. Total: every request has an answer."""

    def __init__(self, path: str, devices: Mapping[bytes, Published]) -> None:
        """path: of the base URI, "/oob". devices: by Device UUID."""
        self._path = path
        self._devices = devices

    def handle(self, method: str, target: str) -> HttpAnswer:
        """Answer a request; `target` in origin form."""
        path, mark, text = target.partition("?")
        if path != self._path:
            return HttpAnswer(NOT_FOUND)
        if method != "GET":
            return HttpAnswer(NOT_ALLOWED)
        try:
            query = Query.parse(text) if mark else None
        except DecodeError:
            query = None
        if query is None:
            return HttpAnswer(NOT_IMPLEMENTED)
        device = self._devices.get(query.uuid)
        if device is None:
            return HttpAnswer(NOT_FOUND)
        return HttpAnswer(GONE) if device.is_revoked else _answer(device, query.contents)


def _answer(device: Published, contents: tuple[str, ...]) -> HttpAnswer:
    """What there is of what is asked for; intermediates are always in a multipart body, one alone as well."""
    has = {
        DEVICE_CERTIFICATE: [Part(CERTIFICATE_TYPE, device.certificate)] if device.certificate else [],
        INTERMEDIATES: [Part(CERTIFICATE_TYPE, one) for one in device.intermediates],
        **{name: [part] for name, part in device.others.items()},
    }
    asked = contents or tuple(has)
    parts = [part for content in asked for part in has.get(content, [])]
    if not parts:
        return HttpAnswer(NOT_FOUND)
    whole = parts[0] if len(parts) == 1 and not (INTERMEDIATES in asked and device.intermediates) else None
    whole = whole or build_multipart(parts)
    return HttpAnswer(OK, whole.content_type, whole.body)
