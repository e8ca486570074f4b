"""Receivers of unit records: a folder, or a server over HTTP."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import Final, final

import msgspec

from keywright.errors import StoreError, UsageError
from keywright.production.handover.outbox import Answer, Receiver, ReceiverError, Sent
from keywright.production.private_file import READABLE, write_new

TIMEOUT_S: Final = 10.0
CONTENT_TYPE: Final = "application/jose"
"""RFC 7515 9.2.1: a JWS in compact form."""
KEY_HEADER: Final = "Idempotency-Key"
_WHAT: Final = "record"
_ANSWER_BYTES: Final = 4096
_FILE: Final = "file:"


class _Answered(msgspec.Struct, frozen=True):
    """A server's acknowledgement: what it did, and with which record."""

    result: Answer
    key: str


def receiver_for(uri: str) -> Receiver:
    """What `--to` names: `file:FOLDER`, `http://…` or `https://…`. Raises UsageError."""
    if uri.startswith(_FILE) and len(uri) > len(_FILE):
        return FolderReceiver(Path(uri.removeprefix(_FILE)))
    if uri.startswith(("http://", "https://")):
        return HttpReceiver(uri)
    raise UsageError(f"--to {uri}: no receiver", hint="file:FOLDER, http://HOST/PATH or https://HOST/PATH")


@final
class FolderReceiver:
    """A folder in which every unit's record becomes a file, written whole and durably, never over another."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, record: Sent) -> Answer:
        """Keep the record as `N.jws`."""
        path = self._folder / f"{record.unit}.jws"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                write_new(path, _WHAT, record.jws.encode(), READABLE)
                return "stored"
            return _compared(path.read_bytes(), record.hash)
        except (OSError, StoreError) as error:
            raise ReceiverError(f"{self._folder}: the record cannot be kept: {error}", delivered=False) from error


@final
class HttpReceiver:
    """A server that takes a record by POST and answers `{"result": …, "key": …}`; nothing else acknowledges."""

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._opener = urllib.request.build_opener(_NoRedirect)

    def take(self, record: Sent) -> Answer:
        """Send the record."""
        headers = {"Content-Type": CONTENT_TYPE, KEY_HEADER: record.key}
        question = urllib.request.Request(self._url, record.jws.encode(), headers, method="POST")  # noqa: S310 - http(s) only, see `receiver_for`
        try:
            with self._opener.open(question, timeout=self._timeout_s) as answer:
                found = answer.read(_ANSWER_BYTES)
        except urllib.error.HTTPError as error:
            with error:
                if error.code != HTTPStatus.CONFLICT:
                    raise ReceiverError(f"{self._url}: answered {error.code}", delivered=None) from error
                found = _body(error)
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or str(error) or type(error).__name__
            raise ReceiverError(f"{self._url}: {reason}", delivered=None) from error
        try:
            answered = msgspec.json.decode(found, type=_Answered)
        except msgspec.MsgspecError as error:
            raise ReceiverError(f"{self._url}: what it answered is no acknowledgement", delivered=None) from error
        if answered.key != record.key:
            raise ReceiverError(f"{self._url}: acknowledged another record", delivered=None)
        return answered.result


def _body(error: urllib.error.HTTPError) -> bytes:
    """What came with a refusal; nothing if it was cut short, which is no acknowledgement then."""
    try:
        return error.read(_ANSWER_BYTES)
    except (OSError, http.client.HTTPException):
        return b""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A record goes where it was meant to go, or nowhere."""

    def redirect_request(self, *_: object, **__: object) -> None:
        return None


def _compared(present: bytes, expected: str) -> Answer:
    return "same" if hashlib.sha256(present).hexdigest() == expected else "conflict"
