"""Runs the two ends of remote administration over real connections: SCP81 as it happens, on this machine or another.

The protocol is `scp.scp81`; the connection is anything with `send`, `receive` and `close`, for SCP81 one of
`link.tls_psk`. Without TLS it is of use on loopback only, to look at the HTTP.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from keywright.errors import LinkError, WireError
from keywright.link.tls_psk import TlsError
from keywright.scp.scp81.card import AdministrationAgent, Ended, Failure, Open
from keywright.scp.scp81.http import HttpRequest, RequestReader, ResponseReader
from keywright.scp.scp81.server import AdministrationServer

_CHUNK: Final = 100
"""Bytes of a chunk of a body, as cards and servers for cards send them."""


class Connection(Protocol):
    """A stream of bytes to the other side. Raises LinkError where it breaks."""

    def send(self, data: bytes, /) -> None:
        """Send all of it."""
        ...

    def receive(self, timeout_s: float | None = None) -> bytes:
        """What has come, at least one byte; empty once the other side has closed."""
        ...

    def close(self) -> None:
        """Close it; twice does no harm."""
        ...


def serve_card(server: AdministrationServer, connection: Connection, *, tight: bool = True) -> None:
    """Answer the requests that come over one connection, until it ends or the session is done.

    Raises LinkError, and WireError for what is no HTTP. The card may come back over another connection.
    """
    reader = RequestReader()
    try:
        while data := connection.receive():
            for request in reader.feed(data):
                connection.send(server.handle(request).encode(_CHUNK, tight=tight))
    finally:
        connection.close()


def run_agent(
    agent: AdministrationAgent,
    dial: Callable[[Open], Connection],
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> list[Ended]:
    """Run a card's client until nothing is left to do; how its sessions ended.

    `dial` opens a connection or raises LinkError; a `TlsError` counts as an alert, after which nothing is tried again.
    """
    ended: list[Ended] = []
    connection: Connection | None = None
    try:
        while True:
            actions = list(agent.outgoing(clock()))
            ended += [event for event in agent.events() if isinstance(event, Ended)]
            for action in actions:
                connection = _do(agent, action, connection, dial, clock)
            if actions:
                continue
            deadline = agent.deadline()
            if deadline is None:
                return ended
            sleep(max(0.0, deadline - clock()))
    finally:
        if connection is not None:
            connection.close()


def _do(
    agent: AdministrationAgent,
    action: object,
    connection: Connection | None,
    dial: Callable[[Open], Connection],
    clock: Callable[[], float],
) -> Connection | None:
    """Do one thing the agent wants; the connection there is afterwards."""
    try:
        if isinstance(action, Open):
            connection = dial(action)
            agent.connected(clock())
        elif isinstance(action, HttpRequest) and connection is not None:
            _post(agent, action, connection, clock)
        elif connection is not None:
            connection.close()
            connection = None
    except TlsError:
        agent.failed(Failure.ALERT, clock())
    except (LinkError, WireError):
        agent.failed(Failure.NOT_CONNECTED if isinstance(action, Open) else Failure.LOST, clock())
    return connection


def _post(agent: AdministrationAgent, request: HttpRequest, connection: Connection, clock: Callable[[], float]) -> None:
    connection.send(request.encode(_CHUNK))
    reader = ResponseReader()
    while True:
        deadline = agent.deadline()
        data = connection.receive(None if deadline is None else max(0.001, deadline - clock()))
        if not data:
            raise LinkError("the server hung up", delivered=None)
        responses = reader.feed(data)
        if responses:
            agent.receive(responses[0], clock())
            return
