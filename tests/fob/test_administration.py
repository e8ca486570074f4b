"""Remote administration as it happens: a card's client and a server in two threads, over a socket and over TLS."""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import threading
from collections.abc import Callable, Generator
from typing import Any

import pytest

from keywright.errors import LinkError
from keywright.fob.administration import Connection, run_agent, serve_card
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.status import check
from keywright.link.tls_psk import PskServer, TlsError, connect
from keywright.scp.scp81.card import AdministrationAgent, Ended, Failure, Open
from keywright.scp.scp81.domains import ScriptDomains
from keywright.scp.scp81.keys import Psk, euicc_identity
from keywright.scp.scp81.parameters import KeyReference, SecurityParameters, Settings
from keywright.scp.scp81.server import AdministrationServer, commands
from keywright.scp.transport import TransportSession
from support.peers import require_peer

IDENTITY = euicc_identity(bytes(16), bytes(16))
PSK = Psk(bytes(range(16)))
SETTINGS = Settings(
    b"\x35\x01\x03",
    SecurityParameters(IDENTITY.encode(), KeyReference(0x40, 1)),
    "admin.host",
    "//se-id/eid/89",
    "/ram?cmd=1",
    session_retries=1,
)
TIMEOUT_S = 20.0


class Executor:
    def __init__(self) -> None:
        self.ran: list[Command] = []

    def start(self) -> None:
        pass

    def execute(self, command: Command, session: TransportSession, /) -> Response:
        assert session.protection == 0xB3
        self.ran.append(command)
        return Response(bytes(300))


class Plain:
    """A connection without TLS; `breaks` after so many receipts."""

    def __init__(self, own: socket.socket, breaks: int = -1) -> None:
        self.socket = own
        self.breaks = breaks
        own.settimeout(TIMEOUT_S)

    def send(self, data: bytes, /) -> None:
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise LinkError("gone") from error

    def receive(self, timeout_s: float | None = None) -> bytes:
        self.breaks -= 1
        if not self.breaks:
            self.close()
            raise LinkError("broken")
        try:
            return self.socket.recv(4096)
        except OSError as error:
            raise LinkError("gone") from error

    def close(self) -> None:
        self.socket.close()


def plan() -> Generator[Command, Response, int]:
    total = 0
    for number in range(3):
        try:
            total += len(check((yield Command(0x80, 0xCA, 0, number, b"", 0)), "GET DATA"))
        except LinkError:
            total += 1
    return total


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def run(dial: Callable[[Open], Connection], executor: Executor) -> list[Ended]:
    agent, clock = AdministrationAgent(ScriptDomains(executor, TransportSession(0x81, 0xB3, 0x40))), Clock()
    agent.trigger(SETTINGS)
    return run_agent(agent, dial, clock=clock, sleep=clock.sleep)


def server() -> AdministrationServer:
    tokens = iter(range(100))
    return AdministrationServer(commands(plan()), "/ram?cmd=1", lambda size: next(tokens).to_bytes(size))


@pytest.mark.parametrize("breaks", [[-1], [1, -1], [2, -1], [3, -1]])
def test_a_session_runs_over_a_socket_and_survives_a_break(breaks: list[int]) -> None:
    far, executor, left = server(), Executor(), list(breaks)
    threads: list[threading.Thread] = []

    def serve(own: socket.socket) -> None:
        with contextlib.suppress(LinkError):  # of a card that broke off
            serve_card(far, Plain(own))

    def dial(_: Open) -> Connection:
        for thread in threads:  # a server takes a card back once it is done with the connection before
            thread.join(TIMEOUT_S)
        mine, theirs = socket.socketpair()
        threads.append(threading.Thread(target=serve, args=(theirs,)))
        threads[-1].start()
        return Plain(mine, left.pop(0))

    ended = run(dial, executor)
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert [event.reason for event in ended] == [""]
    numbers = [command.p2 for command in executor.ran]
    assert numbers == sorted(set(numbers))
    assert far.result == (900 if breaks == [-1] else 601)


def test_what_cannot_be_reached_is_tried_as_often_as_told() -> None:
    tried: list[Open] = []

    def dial(action: Open) -> Connection:
        tried.append(action)
        raise LinkError("no network", delivered=False)

    (ended,) = run(dial, Executor())
    assert ended.reason == Failure.NOT_CONNECTED.value
    assert len(tried) == 2


def test_after_an_alert_nothing_is_tried_again() -> None:
    tried: list[Open] = []

    def dial(action: Open) -> Connection:
        tried.append(action)
        raise TlsError("wrong key")

    (ended,) = run(dial, Executor())
    assert ended.reason == Failure.ALERT.value
    assert len(tried) == 1


@pytest.mark.parametrize("key", [PSK, Psk(bytes(16))], ids=["right", "wrong"])
def test_a_session_runs_over_tls_with_the_psk_and_no_other(key: Psk) -> None:
    require_peer("python-mbedtls", importlib.util.find_spec("mbedtls") is not None, ".ci/install ota")
    far, executor = server(), Executor()
    listener = PskServer({IDENTITY: PSK.reveal()}.get, timeout_s=TIMEOUT_S)
    errors: list[Any] = []

    def serve() -> None:
        while True:
            try:
                connection = listener.accept()
                if connection is None:
                    return
                serve_card(far, connection)
            except LinkError as error:
                errors.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    ended = run(lambda _: connect("127.0.0.1", listener.port, IDENTITY, key.reveal(), timeout_s=TIMEOUT_S), executor)
    listener.stop()
    thread.join(TIMEOUT_S)
    listener.close()
    if key == PSK:
        assert (far.result, far.error, errors) == (900, None, [])
        assert [event.reason for event in ended] == [""]
    else:
        assert not executor.ran
        assert not far.is_done
        assert [event.reason for event in ended] == [Failure.ALERT.value]
        assert [type(error) for error in errors] == [TlsError]
