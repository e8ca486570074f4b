"""What both ends of an administration session say to each other in HTTP (Amd B 3.4; seen also in SGP.02)."""

from __future__ import annotations

import enum
import re
from typing import Final, Self

import msgspec

from keywright.codec.hexa import tohex
from keywright.errors import WireError
from keywright.scp.level import Level
from keywright.scp.scp81.http import HttpRequest, HttpResponse

PROTOCOL: Final = "globalplatform-remote-admin/1.0"
X_PROTOCOL: Final = "X-Admin-Protocol"
X_FROM: Final = "X-Admin-From"
X_SCRIPT_STATUS: Final = "X-Admin-Script-Status"
X_RESUME: Final = "X-Admin-Resume"
X_NEXT_URI: Final = "X-Admin-Next-URI"
X_TARGET: Final = "X-Admin-Targeted-Application"
CONTENT_TYPE: Final = "Content-Type"
HOST: Final = "Host"

MANAGEMENT: Final = "application/vnd.globalplatform.card-content-mgt;version=1.0"
ANSWERS: Final = {
    MANAGEMENT: "application/vnd.globalplatform.card-content-mgt-response;version=1.0",
    "application/vnd.etsi.scp.command-data;version=1.0": "application/vnd.etsi.scp.response-data;version=1.0",
}
"""Media type of a script -> of its response: content management, and files (TS 102 226)."""

_AID: Final = re.compile(r"//aid/([0-9A-Fa-f]{10})/((?:[0-9A-Fa-f]{2}){0,11})")


class ScriptStatus(enum.Enum):
    """How a script went (X-Admin-Script-Status)."""

    OK = "ok"
    UNKNOWN_APPLICATION = "unknown-application"
    NOT_A_SECURITY_DOMAIN = "not-a-security-domain"
    SECURITY_ERROR = "security-error"


def target_text(aid: bytes) -> str:
    """An AID of 5 to 16 bytes as headers have it. Raises ValueError for another length."""
    if not 5 <= len(aid) <= 16:
        raise ValueError(f"an AID has 5 to 16 bytes, not {len(aid)}")
    return f"//aid/{tohex(aid[:5])}/{tohex(aid[5:])}"


def read_target(text: str) -> bytes:
    """The AID of such a header, either case of hex. Raises WireError."""
    found = _AID.fullmatch(text)
    if found is None:
        raise WireError("a targeted application is //aid/, ten hex digits, / and up to 22 more")
    return bytes.fromhex(found[1] + found[2])


class Script(msgspec.Struct, frozen=True):
    """A script for the card. `target`: an AID, None for the security domain of the TLS session."""

    body: bytes
    target: bytes | None = None
    content_type: str = MANAGEMENT


class ScriptResult(msgspec.Struct, frozen=True):
    """What became of it."""

    status: ScriptStatus
    body: bytes = b""


class Order(msgspec.Struct, frozen=True):
    """A response of the server: a script or none, and where to post next (None: the session ends)."""

    script: Script | None = None
    next_uri: str | None = None

    @classmethod
    def read(cls, response: HttpResponse) -> Self:
        """Raises WireError for an error status, or headers that contradict each other: the session is closed then."""
        if response.status not in (200, 204):
            raise WireError(f"the server answered {response.status}")
        if response.get(X_PROTOCOL) != PROTOCOL:
            raise WireError("the answer is of another protocol, or of none")
        target, content_type = response.get(X_TARGET), response.get(CONTENT_TYPE)
        if not response.body:
            return cls(None, response.get(X_NEXT_URI))
        if content_type is None or _media_type(content_type) not in ANSWERS:
            raise WireError("a script whose media type is missing or unknown")
        aid = read_target(target) if target is not None else None
        return cls(Script(response.body, aid, _media_type(content_type)), response.get(X_NEXT_URI))

    def build(self) -> HttpResponse:
        """The response. Raises ValueError for a target that is no AID."""
        headers = [(X_PROTOCOL, PROTOCOL)]
        if self.next_uri is not None:
            headers.append((X_NEXT_URI, self.next_uri))
        if self.script is None:
            return HttpResponse(204, tuple(headers))
        if self.script.target is not None:
            headers.append((X_TARGET, target_text(self.script.target)))
        headers.append((CONTENT_TYPE, self.script.content_type))
        return HttpResponse(200, tuple(headers), self.script.body)


class Report(msgspec.Struct, frozen=True):
    """A request of the card. `result` None: the first one of a session, or one that resumes it."""

    uri: str
    host: str
    agent: str
    result: ScriptResult | None = None
    content_type: str | None = None
    resume: bool = False

    @classmethod
    def read(cls, request: HttpRequest) -> Self:
        """Raises WireError for what is no request of an administration session."""
        if request.method != "POST" or request.get(X_PROTOCOL) != PROTOCOL:
            raise WireError("not a POST of remote administration")
        host, agent, status = request.get(HOST), request.get(X_FROM), request.get(X_SCRIPT_STATUS)
        resume, content_type = request.get(X_RESUME), request.get(CONTENT_TYPE)
        if host is None or agent is None or resume not in (None, "true"):
            raise WireError("the headers of the request are incomplete")
        if status is None:
            if request.body:
                raise WireError("a response to no script")
            return cls(request.target, host, agent, None, None, resume is not None)
        try:
            result = ScriptResult(ScriptStatus(status), request.body)
        except ValueError:
            raise WireError(f"script status {status[:40]!r}") from None
        if resume is not None or bool(request.body) != (content_type is not None):
            raise WireError("the headers of the request contradict each other")
        media_type = _media_type(content_type) if content_type else None
        if media_type is not None and media_type not in ANSWERS.values():
            raise WireError("a response whose media type is unknown")
        return cls(request.target, host, agent, result, media_type)

    def build(self) -> HttpRequest:
        """The request; optional headers only where they are due."""
        headers = [(HOST, self.host), (X_PROTOCOL, PROTOCOL), (X_FROM, self.agent)]
        body = b""
        if self.resume:
            headers.append((X_RESUME, "true"))
        if self.result is not None:
            body = self.result.body
            if body and self.content_type is not None:
                headers.append((CONTENT_TYPE, self.content_type))
            headers.append((X_SCRIPT_STATUS, self.result.status.value))
        return HttpRequest("POST", self.uri, tuple(headers), body)


def _media_type(text: str) -> str:
    """Without blanks, in small letters."""
    return re.sub(r"[ \t]", "", text).lower()


class Trust(enum.Enum):
    """Who answers for a script's commands (Amd B 3.3.3.2)."""

    TRUSTED = "the TLS session does"
    ASSOCIATED = "the associated security domain must verify another secure channel inside"
    OWN = "the target's own secure channel inside must"


def trust(*, is_session_domain: bool, has_keys: bool, associated_is_session_domain: bool) -> Trust:
    """Which rule holds for a target, by its security domain."""
    if is_session_domain:
        return Trust.TRUSTED
    if has_keys:
        return Trust.OWN
    return Trust.TRUSTED if associated_is_session_domain else Trust.ASSOCIATED


_FULL: Final = Level.AUTHENTICATED | Level.C_MAC | Level.C_DEC | Level.R_MAC | Level.R_ENC
_INTEGRITY: Final = Level.AUTHENTICATED | Level.C_MAC | Level.R_MAC
SUITES: Final = {
    0x008B: ("TLS_PSK_WITH_3DES_EDE_CBC_SHA", _FULL),
    0x008C: ("TLS_PSK_WITH_AES_128_CBC_SHA", _FULL),
    0x002C: ("TLS_PSK_WITH_NULL_SHA", _INTEGRITY),
    0x00AE: ("TLS_PSK_WITH_AES_128_CBC_SHA256", _FULL),
    0x00B0: ("TLS_PSK_WITH_NULL_SHA256", _INTEGRITY),
    0x1304: ("TLS_AES_128_CCM_SHA256", _FULL),
    0x1301: ("TLS_AES_128_GCM_SHA256", _FULL),
}
"""Cipher suite -> its name and the security level that it gives the domain (Amd B table 3-2)."""
