"""The virtual element as a card: commands in process, and behind the virtual reader with both of its slots at work.

The driver of the reader is played by sockets that do what libifdvpcd does: length and payload in two sends, Nagle's
delay left on, a blocking read for the answer. The cards are a process of their own, as with `keywright element serve`.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Final, TypeAlias

from bench.figures import Figure, micro, rate
from bench.measure import Contender, race
from keywright.element import SecureElement
from keywright.iso7816.apdu import Command, Response
from keywright.link.vpcd import VpcdServer
from keywright.scp.scp03 import KeySet, open_channel

Asking: TypeAlias = Generator[bytes, bytes, None]

COMMANDS: Final = (
    bytes.fromhex("00A4040000"),
    bytes.fromhex("80CA006600"),
    bytes.fromhex("00CA00CF00"),
    bytes.fromhex("80CA9F7F00"),
)
"""SELECT and GET DATA: what hosts send without a session."""
CHALLENGE: Final = bytes.fromhex("0102030405060708")
KVN: Final = 0xFF
ROUNDS: Final = 15
EXCHANGES: Final = 400
SESSIONS: Final = 100
SELECT: Final = COMMANDS[0]
_ECHOED: Final = (bytes(34), bytes(32), b"")
"""As many bytes as the element answers to SELECT, INITIALIZE UPDATE and EXTERNAL AUTHENTICATE."""


class Echo:
    """A card that does nothing: what the wire and both processes cost by themselves."""

    atr = bytes.fromhex("3B80800101")

    def handle(self, request: bytes, /) -> bytes:
        """As many bytes as the element would answer, and 9000."""
        return _ECHOED[{0xA4: 0, 0x50: 1}.get(request[1], 2)] + b"\x90\x00"

    def reset(self) -> None:
        """Nothing."""


def figures() -> list[Figure]:
    """Every row about the element as a card."""
    return [_in_process(), *_behind_readers()]


def _in_process() -> Figure:
    element = SecureElement()

    def work() -> None:
        for command in COMMANDS:
            element.handle(command)

    found = race([Contender("keywright", work, len(COMMANDS))])
    per_s = 1 / found.median("keywright")
    what = "element in process, commands a second without a session"
    return Figure(what, rate(per_s), "", per_s, 12_000, form="{:,.0f}/s")


def _behind_readers() -> list[Figure]:
    with ExitStack() as stack:
        cards = {name: stack.enter_context(_reader(name)) for name in ("element", "echo")}
        rounds: dict[str, list[float]] = {"plain": [], "element": [], "echo": []}
        for _ in range(ROUNDS):
            rounds["plain"].append(_together(cards["element"], _plain) / (2 * EXCHANGES))
            for name, drivers in cards.items():
                rounds[name].append(_together(drivers, _SESSION[name]) / (2 * SESSIONS))
    plain = 1 / sorted(rounds["plain"])[ROUNDS // 2]
    shares = sorted(echo / own for echo, own in zip(rounds["echo"], rounds["element"], strict=True))
    own, echo = (micro(sorted(rounds[name])[ROUNDS // 2]) for name in ("element", "echo"))
    return [
        Figure("element behind vpcd, two readers at once", rate(plain), "", plain, 5_000, form="{:,.0f}/s"),
        Figure(
            "SELECT and SCP03 open behind vpcd, two readers at once",
            own,
            f"echo card {echo}",
            shares[ROUNDS // 2] * 100,
            50,
            form="{:.0f} %",
        ),
    ]


def _together(drivers: Sequence[_Driver], work: Callable[[], Asking]) -> float:
    """Seconds, by the wall clock, for the same work in both readers: one card works while the other is asked."""
    asking = [work() for _ in drivers]
    start = time.perf_counter()
    commands = [next(one) for one in asking]
    with suppress(StopIteration):
        while True:
            for driver, command in zip(drivers, commands, strict=True):
                driver.send(command)
            answers = [driver.receive() for driver in drivers]
            commands = [one.send(answer) for one, answer in zip(asking, answers, strict=True)]
    return time.perf_counter() - start


class _Driver:
    """One slot of the driver."""

    def __init__(self, port: int) -> None:
        self._connection = socket.create_connection(("127.0.0.1", port))
        self._stream = self._connection.makefile("rb")

    def send(self, command: bytes) -> None:
        """One command as libifdvpcd sends it."""
        self._connection.sendall(len(command).to_bytes(2))
        self._connection.sendall(command)

    def receive(self) -> bytes:
        """The answer to it."""
        return self._stream.read(int.from_bytes(self._stream.read(2)))

    def close(self) -> None:
        """Take the card out."""
        self._stream.close()
        self._connection.close()


def _plain() -> Asking:
    for at in range(EXCHANGES):
        yield COMMANDS[at % len(COMMANDS)]


def _sessions() -> Asking:
    keys = KeySet.gp_test()
    for _ in range(SESSIONS):
        yield SELECT
        dialogue = open_channel(keys, CHALLENGE, kvn=KVN)
        command = next(dialogue)
        with suppress(StopIteration):
            while True:
                command = dialogue.send(Response.parse((yield command.encode())))


def _echoed() -> Asking:
    initialize = Command(0x80, 0x50, KVN, 0, CHALLENGE, 0).encode()
    authenticate = Command(0x84, 0x82, 0x33, 0, bytes(16)).encode()
    for _ in range(SESSIONS):
        for command in (SELECT, initialize, authenticate):  # noqa: UP028 - a tuple is sent no answers
            yield command


_SESSION: Final = {"element": _sessions, "echo": _echoed}


@contextmanager
def _reader(card: str) -> Iterator[list[_Driver]]:
    """A process with a card in each of two slots, and both ends of the driver."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "bench.reader", card]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        drivers = [_Driver(port) for port in json.loads(process.stdout.readline())]
        try:
            yield drivers
        finally:
            for driver in drivers:
                driver.close()
            process.terminate()


def main() -> None:
    """Serve two elements or two echo cards until killed; the ports are printed as JSON."""
    kind = {"element": SecureElement, "echo": Echo}[sys.argv[1]]
    server = VpcdServer(kind(), kind())
    server.serve(port=0, on_ready=lambda *ports: print(json.dumps(ports), flush=True))


if __name__ == "__main__":
    main()
