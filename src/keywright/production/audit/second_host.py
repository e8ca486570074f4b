"""A witness on another host (C2SP tlog-witness): what it answers, and what asks it.

`POST /add-checkpoint` with `old SIZE`, the lines of a consistency proof, an empty line and the checkpoint. The witness
cosigns only what begins with all that it cosigned before, and writes it into its own file first.
"""

from __future__ import annotations

import base64
import binascii
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final, NamedTuple, final

from keywright.crypto.curve25519 import Ed25519Key
from keywright.errors import AuthenticationError, DecodeError, LinkError, StoreError, UsageError
from keywright.production.audit.cosignature import WitnessKey, cosign, cosigned_at
from keywright.production.audit.merkle import EMPTY_ROOT, HASH_BYTES, verify_consistency
from keywright.production.audit.note import NOTE_BYTES, Checkpoint, NoteKey, open_note
from keywright.production.audit.witness import add_note, checkpoints_of, read_notes
from keywright.production.private_file import read_plain

TIMEOUT_S: Final = 10.0
BODY_BYTES: Final = NOTE_BYTES + 8192
SIZE_TYPE: Final = "text/x.tlog.size"
PATH: Final = "/add-checkpoint"
_PROOF_LINES: Final = 63
_TEXT_TYPE: Final = "text/plain; charset=utf-8"
_DIGITS: Final = 18

logger = logging.getLogger(__name__)


class Answer(NamedTuple):
    """What the witness answers."""

    status: HTTPStatus
    body: str = ""
    content_type: str = _TEXT_TYPE


class _Asked(NamedTuple):
    old: int
    proof: list[bytes]
    note: str


@final
class Witness:
    """The witness itself, for the logs whose keys it was given. Several threads may ask it."""

    def __init__(
        self,
        name: str,
        key: Ed25519Key,
        logs: Iterable[NoteKey],
        file: Path,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`file`: its memory, only appended to; nobody else writes it. Raises as `checkpoints_of` if it is damaged."""
        self.key = WitnessKey(name, key.public)
        self._secret = key
        self._logs = {log.name: log for log in logs}
        self._file = file
        self._clock = clock
        self._mutex = threading.Lock()
        self._latest: dict[str, Checkpoint] = {}
        notes = read_notes(file) if file.exists() else []
        for log in self._logs.values():
            found = checkpoints_of(notes, log)
            if found:
                self._latest[log.name] = found[max(found)]

    def handle(self, body: bytes) -> Answer:
        """Answer to one request; any bytes get an answer."""
        try:
            asked = _parsed(body)
            log = self._logs.get(asked.note.partition("\n")[0])
            if log is None:
                return Answer(HTTPStatus.NOT_FOUND, "this log is not known here\n")
            checkpoint = Checkpoint.parse(open_note(asked.note, log))
        except DecodeError as error:
            return Answer(HTTPStatus.BAD_REQUEST, f"{error}\n")
        except AuthenticationError:
            return Answer(HTTPStatus.FORBIDDEN, "the log's key did not sign this\n")
        if asked.old > checkpoint.size:
            return Answer(HTTPStatus.BAD_REQUEST, "the old size is beyond the checkpoint\n")
        with self._mutex:
            return self._judged(asked, checkpoint)

    def _judged(self, asked: _Asked, checkpoint: Checkpoint) -> Answer:
        latest = self._latest.get(checkpoint.origin)
        size, root = (0, EMPTY_ROOT) if latest is None else (latest.size, latest.root)
        if asked.old != size or (size == checkpoint.size and root != checkpoint.root):
            return Answer(HTTPStatus.CONFLICT, f"{size}\n", SIZE_TYPE)
        try:
            verify_consistency(size, checkpoint.size, root, checkpoint.root, asked.proof)
        except AuthenticationError as error:
            return Answer(HTTPStatus.UNPROCESSABLE_ENTITY, f"{error}\n")
        text = asked.note.rpartition("\n\n")[0] + "\n"
        line = cosign(text, self.key.name, self._secret, int(self._clock()))
        try:
            add_note(self._file, asked.note + line)
        except StoreError as error:
            logger.warning("nothing is cosigned: %s", error)
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, "the witness cannot write\n")
        self._latest[checkpoint.origin] = checkpoint
        return Answer(HTTPStatus.OK, line)


def server_of(witness: Witness, host: str, port: int) -> ThreadingHTTPServer:
    """An HTTP server for a witness; port 0 takes a free one. Raises UsageError if the address cannot be had."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = TIMEOUT_S

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not length.isdecimal() or len(length) > _DIGITS or int(length) > BODY_BYTES:
                self.close_connection = True
                self._answer(Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE))
                return
            body = self.rfile.read(int(length))
            self._answer(witness.handle(body) if self.path.endswith(PATH) else Answer(HTTPStatus.NOT_FOUND))

        def _answer(self, answer: Answer) -> None:
            data = answer.body.encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the library's name
            logger.info(format, *arguments)

    try:
        return ThreadingHTTPServer((host, port), Handler)
    except (OSError, OverflowError) as error:
        raise UsageError(f"{host}:{port}: cannot be listened on: {error}", hint="give another --listen") from error


@final
class SecondHost:
    """Asks a witness for its word. Makes no assumption about what it saw last: it says so itself."""

    def __init__(self, url: str, key: WitnessKey, *, timeout_s: float = TIMEOUT_S) -> None:
        """`url`: http:// or https://, without `/add-checkpoint`. Raises UsageError for another."""
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"{url}: no address of a witness", hint="http://HOST:PORT or https://HOST/PATH")
        self.url = url
        self._key = key
        self._timeout_s = timeout_s
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._old = 0

    def cosigned(self, note: str, size: int, prove: Callable[[int], Sequence[bytes]]) -> str:
        """The note with the witness's line under it. `prove(old)`: that the note's log begins with its first `old`.

        Raises LinkError if the witness cannot be reached or does not answer as one, AuthenticationError if it saw
        another log, or one longer than this, or its word is not good.
        """
        status, told = self._ask(note, self._old, prove, size)
        if status == HTTPStatus.CONFLICT and told.strip().isdecimal() and len(told) <= _DIGITS:
            self._old = int(told)
            if self._old > size:
                raise AuthenticationError(
                    f"{self.url} has seen {self._old} entries of this log of {size}: it was cut off or put back"
                )
            status, told = self._ask(note, self._old, prove, size)
        if status in (HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY):
            raise AuthenticationError(f"{self.url} has seen another log: {told.strip()[:100]}")
        if status != HTTPStatus.OK:
            raise LinkError(f"{self.url}: answered {status}: {told.strip()[:100]}")
        found = note + "".join(line + "\n" for line in told.splitlines() if line)
        try:
            cosigned_at(found, self._key)
        except DecodeError as error:
            raise LinkError(f"{self.url}: what it answered is no cosignature") from error
        self._old = size
        return found

    def _ask(self, note: str, old: int, prove: Callable[[int], Sequence[bytes]], size: int) -> tuple[int, str]:
        proof = prove(old) if 0 < old < size else ()
        lines = "".join(f"{base64.b64encode(step).decode()}\n" for step in proof)
        body = f"old {old}\n{lines}\n{note}".encode()
        url = self.url.rstrip("/") + PATH
        question = urllib.request.Request(url, body, {"Content-Type": _TEXT_TYPE}, method="POST")  # noqa: S310 - http(s) only, see __init__
        try:
            with self._opener.open(question, timeout=self._timeout_s) as answer:
                return answer.status, answer.read(BODY_BYTES).decode("utf-8", "replace")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(BODY_BYTES).decode("utf-8", "replace")
        except (OSError, ValueError) as error:
            raise LinkError(f"{self.url}: {getattr(error, 'reason', error)}") from error


def witness_at(url: str, key: Path | None) -> SecondHost:
    """The witness at an address, whose key is in a file. Raises UsageError without one, or for what is none."""
    if key is None:
        raise UsageError(
            f"{url}: the key of this witness is missing", hint="give the file it was handed to you in: --witness-key"
        )
    return SecondHost(url, witness_key(key))


def witness_key(path: Path) -> WitnessKey:
    """The key of a witness in a file. Raises UsageError for what is none."""
    try:
        return WitnessKey.parse(read_plain(path, "key of the witness", NOTE_BYTES).decode())
    except (DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}", hint="give the file with the witness's key") from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A checkpoint goes to the witness that was named, or nowhere."""

    def redirect_request(self, *_: object, **__: object) -> None:
        return None


def _parsed(body: bytes) -> _Asked:
    """Take a request apart. Raises DecodeError."""
    try:
        head, gap, note = body.decode().partition("\n\n")
    except UnicodeDecodeError as error:
        raise DecodeError("not text") from error
    first, *lines = head.split("\n")
    digits = first.removeprefix("old ")
    is_number = digits.isascii() and digits.isdecimal() and len(digits) <= _DIGITS and str(int(digits)) == digits
    if not gap or not first.startswith("old ") or not is_number or len(lines) > _PROOF_LINES:
        raise DecodeError("not a request to add a checkpoint")
    try:
        proof = [base64.b64decode(line, validate=True) for line in lines]
    except (binascii.Error, ValueError) as error:
        raise DecodeError("a line of the proof is not base64") from error
    if any(len(step) != HASH_BYTES for step in proof):
        raise DecodeError("a line of the proof is no hash")
    return _Asked(int(digits), proof, note)
