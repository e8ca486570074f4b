"""What steps ask servers for, beside the units: a few requests at once, so that no other unit waits for them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Final, final

import msgspec

from keywright.errors import KeywrightError, LinkError
from keywright.mesh.retrieval import HttpAnswer, HttpGet
from keywright.production.job import Fetch

AT_ONCE: Final = 8
"""Requests under way; more wait. Each is over within `mesh_certificates.TIMEOUT_S`."""


def fetched(request: Fetch) -> bytes:
    """Do one request; what `read_answer` reads. Raises KeywrightError for a server that is not there or not trusted."""
    from keywright.fob.mesh_certificates import get  # noqa: PLC0415 - loads HTTP and TLS, which few lots need
    from keywright.link.https import tls_client  # noqa: PLC0415 - as above

    return msgspec.msgpack.encode(get(HttpGet(request.uri, request.accept), tls_client(request.roots_pem or None)))


def read_answer(data: bytes) -> HttpAnswer:
    """The answer to a `Fetch`. Raises LinkError for anything else."""
    try:
        return msgspec.msgpack.decode(data, type=HttpAnswer)
    except msgspec.DecodeError as error:
        raise LinkError(f"the server's answer of {len(data)} octets is none", delivered=None) from error


@final
class Fetcher:
    """Does requests in threads of its own; each has one answer, in any order."""

    def __init__(self, fetch: Callable[[Fetch], bytes] = fetched) -> None:
        self.waiting = 0
        """How many answers are still to come."""
        self._fetch = fetch
        self._pool: ThreadPoolExecutor | None = None
        self._answers: SimpleQueue[tuple[str, bytes | BaseException]] = SimpleQueue()

    def submit(self, name: str, request: Fetch) -> None:
        """Take a request for a unit."""
        self._pool = self._pool or ThreadPoolExecutor(AT_ONCE, "fetch")
        self.waiting += 1
        self._pool.submit(self._run, name, request)

    def receive(self, limit_s: float) -> list[tuple[str, bytes | KeywrightError]]:
        """Answers that have come, each with its unit's name; perhaps none after so many seconds."""
        found: list[tuple[str, bytes | KeywrightError]] = []
        with contextlib.suppress(Empty):
            while self.waiting:
                name, answer = self._answers.get(not found and limit_s > 0, limit_s)
                self.waiting -= 1
                if not isinstance(answer, bytes | KeywrightError):
                    raise answer
                found.append((name, answer))
        return found

    def close(self) -> None:
        """Begin nothing more; what is under way is over soon, and nobody hears of it."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, name: str, request: Fetch) -> None:
        answer: bytes | BaseException
        try:
            answer = self._fetch(request)
        except BaseException as error:  # noqa: BLE001 - raised again where the answer is waited for
            answer = error
        self._answers.put((name, answer))
