"""Scenarios of conformance over links: somebody else's device or reader, or our own two sides over sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Final, final

from keywright.aliro.access import Situation
from keywright.aliro.conformance import own
from keywright.aliro.conformance.outcome import Result, Scenario
from keywright.aliro.conformance.reader_checks import ReaderScenario
from keywright.aliro.conformance.run import judge, play, skipped
from keywright.aliro.conformance.tester import Bench
from keywright.aliro.conformance.tester_device import TesterDevice
from keywright.aliro.messages import LONGEST_DATA
from keywright.aliro.reader import Fresh
from keywright.errors import KeywrightError, LinkError
from keywright.iso7816.delivery import WholeCommands
from keywright.iso7816.layers import transmit
from keywright.link.base import Exchange
from keywright.link.sockets import Acceptor, Framer, frame, sendable
from keywright.link.tcp import TcpLink, TcpServer
from keywright.sansio.dialogue import drive
from keywright.store.memory import RamMemory

Random = Callable[[int], bytes]
DeviceOf = Callable[[ReaderScenario], TesterDevice]

HOST: Final = "127.0.0.1"
SILENCE_S: Final = 30.0
"""A reader that says nothing for so long has ended its transaction."""
_NOBODY: Final = "no reader came for it"


@final
class _Short:
    """A link of which only short APDUs are asked: a device need not announce extended length."""

    extended = False

    def __init__(self, link: Exchange) -> None:
        self.exchange = link.exchange


def device_over(link: Exchange, bench: Bench, scenarios: Iterable[Scenario[Bench]]) -> Iterator[Result]:
    """The result of each scenario for the device behind a link, which is reset before each."""
    return play(scenarios, bench, transmit(_Short(link)), between=link.reset)


@final
class ScenarioServer:
    """Serves the tester's device on a TCP port, framed as `link.tcp`: each connection is the next scenario.

    A connection over which nothing is asked counts for nothing.
    """

    def __init__(
        self,
        scenarios: Sequence[ReaderScenario],
        device_of: DeviceOf,
        host: str = HOST,
        port: int = 0,
        *,
        silence_s: float = SILENCE_S,
        raised: Callable[[], str] = lambda: "",
    ) -> None:
        """Listen. raised: what the reader of the last connection said, if that is known.

        Raises PolicyError for a host that is not loopback, LinkError if the port is taken.
        """
        self._scenarios = scenarios
        self._device_of = device_of
        self._acceptor = Acceptor(host, port)
        self._silence_s = silence_s
        self._raised = raised
        self.port: int = self._acceptor.port

    def results(self) -> Iterator[Result]:
        """The result of each scenario once its reader has gone; after `stop` the rest are skipped. Raises LinkError."""
        for one in self._scenarios:
            device = self._device_of(one)
            if self._meet(device):
                yield judge(one, device, self._raised())
            else:
                yield skipped(one.name, one.family, one.text, _NOBODY, "reader")

    def stop(self) -> None:
        """Wait for no further reader; any thread may call it."""
        self._acceptor.stop()

    def close(self) -> None:
        """Give up the port."""
        self._acceptor.close()

    def _meet(self, device: TesterDevice) -> bool:
        """Let one reader do what it does; False when none came."""
        while not device.seen.exchanged:
            connection = self._acceptor.accept()
            if connection is None:
                return False
            # A connection that breaks ends what it was for; what was seen of the reader counts.
            with connection, suppress(OSError):
                connection.settimeout(self._silence_s)
                _answer(connection, WholeCommands(device, LONGEST_DATA))
        return True


def _answer(connection: socket.socket, commands: WholeCommands) -> None:
    framer = Framer()
    while data := connection.recv(1 << 16):
        for message in framer.feed(data):
            connection.sendall(frame(sendable(commands.handle(message))))


# ---- our own two sides --------------------------------------------------------------------------------------------


def own_device(
    random: Random, now: int, scenarios: Iterable[Scenario[Bench]], *, strict: bool = True
) -> Iterator[Result]:
    """Our user device behind a socket on loopback."""
    with (
        closing(TcpServer(own.device(random, now), HOST)) as server,
        _running(server.serve, server.stop),
        closing(TcpLink(HOST, server.port)) as link,
    ):
        yield from device_over(link, own.bench(strict=strict), scenarios)


def own_reader(random: Random, now: int, scenarios: Sequence[ReaderScenario]) -> Iterator[Result]:
    """Our lock at the tester's device behind a socket on loopback: a new lock for each scenario."""
    made, said = own.issuing(random, now), [""]

    def device_of(one: ReaderScenario) -> TesterDevice:
        return own.device_for(one, made, random)

    def visit() -> None:
        try:
            for _ in scenarios:
                with closing(TcpLink(HOST, server.port)) as link:
                    said[0] = _unlock(link, random, now)
        finally:
            server.stop()

    with (
        closing(ScenarioServer(scenarios, device_of, raised=lambda: said[0])) as server,
        _running(visit, server.stop),
    ):
        yield from server.results()


def _unlock(link: TcpLink, random: Random, now: int) -> str:
    """One transaction of our lock; what it raised."""
    try:
        drive(own.lock(RamMemory()).unlock(Fresh.draw(random), Situation(now=now)), transmit(link))
    except KeywrightError as error:
        return str(error)
    return ""


@contextmanager
def _running(work: Callable[[], None], stop: Callable[[], None]) -> Iterator[None]:
    """Work in a thread of its own, ended with the block."""

    def run() -> None:
        with suppress(LinkError):  # the other side has ended first
            work()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop()
        thread.join()
