"""A server that takes records as a registry would: kept before it answers, known again by their key."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Registry:
    """What has arrived, and how it answers. `faults`: unit -> HTTP status to answer instead, as often as listed."""

    def __init__(self) -> None:
        self.bodies: dict[int, str] = {}
        self.arrivals: list[int] = []
        self.faults: dict[int, list[int]] = {}
        self.answers: dict[int, bytes] = {}
        self.stored = 0
        self._mutex = threading.Lock()

    def take(self, key: str, body: str) -> tuple[int, bytes]:
        """The answer to a record."""
        unit, _, digest = key.partition("-")
        n = int(unit)
        with self._mutex:
            self.arrivals.append(n)
            if self.faults.get(n):
                return self.faults[n].pop(0), b"no"
            if n in self.answers:
                return 200, self.answers[n]
            if hashlib.sha256(body.encode()).hexdigest() != digest:
                return 400, b"not this record"
            if n not in self.bodies:
                self.bodies[n] = body
                self.stored += 1
                return 201, json.dumps({"result": "stored", "key": key}).encode()
            if self.bodies[n] == body:
                return 200, json.dumps({"result": "same", "key": key}).encode()
            return 409, json.dumps({"result": "conflict", "key": key}).encode()


@contextmanager
def serving(registry: Registry) -> Iterator[str]:
    """The registry on a free port of the loopback; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            status, answer = registry.take(self.headers["Idempotency-Key"], body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Nothing of it is logged."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/records"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def answering(raw: bytes) -> Iterator[str]:
    """Something on a free port of the loopback that answers every connection with these bytes; its URL."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                connection.recv(1 << 16)
                connection.sendall(raw)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/records"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()
