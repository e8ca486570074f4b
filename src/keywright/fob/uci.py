"""UCI over TCP: a subsystem, ours or another emulator's, as a host uses it, and simulated ones for hosts to use."""

from __future__ import annotations

import contextlib
import random
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar, final

from keywright.errors import LinkError
from keywright.link.sockets import dial
from keywright.link.streams import Stream, StreamServer
from keywright.sansio.dialogue import drive
from keywright.uwb.air import Position
from keywright.uwb.uci.device import UciDevice
from keywright.uwb.uci.host import Answer, HostStream
from keywright.uwb.uci.messages import UciCommand, UciNotification, build_message
from keywright.uwb.uci.scene import Scene

DEFAULT_PORT: Final = 7000
"""Where google/pica listens, and so do we."""
_TIMEOUT_S: Final = 5.0
Result = TypeVar("Result")


@final
class UciConnection:
    """A host's connection to a subsystem."""

    def __init__(self, host: str, port: int, *, timeout_s: float = _TIMEOUT_S) -> None:
        """Connect. timeout_s: how long a response may take. Raises LinkError."""
        connection = dial(
            host, port, timeout_s, "is a UCI emulator running there, for example `keywright uwb uci serve`?"
        )
        self._stream = Stream(connection, f"{host}:{port}")
        self._timeout_s = timeout_s
        self._cut = HostStream()
        self._answers: deque[Answer] = deque()
        self._notices: deque[UciNotification] = deque()

    def run(self, steps: Generator[UciCommand, Answer, Result]) -> Result:
        """Carry a dialogue. Raises LinkError, and what the dialogue raises."""
        return drive(steps, self.exchange)

    def exchange(self, command: UciCommand) -> Answer:
        """One command and its response; notifications that come meanwhile wait. Raises LinkError, WireError."""
        self._answers.clear()
        self._stream.send(build_message(command))
        until = time.monotonic() + self._timeout_s
        while not self._answers:
            if not self._pump(until - time.monotonic()):
                raise LinkError(f"{self._stream.name}: no response", delivered=None, hint="connect again and reset")
        return self._answers.popleft()

    def notification(self, timeout_s: float) -> UciNotification | None:
        """The next notification, None if none came in time. Raises LinkError, WireError."""
        until = time.monotonic() + timeout_s
        while not self._notices:
            if not self._pump(until - time.monotonic()):
                return None
        return self._notices.popleft()

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def _pump(self, timeout_s: float) -> bool:
        """Take what comes; False if nothing came in time."""
        data = self._stream.receive(timeout_s) if timeout_s > 0 else b""
        answers, notices = self._cut.feed(data)
        self._answers += answers
        self._notices += notices
        return bool(data)


@contextlib.contextmanager
def connected(host: str, port: int) -> Iterator[UciConnection]:
    """A connection that is closed at the end. Raises LinkError."""
    connection = UciConnection(host, port)
    try:
        yield connection
    finally:
        connection.close()


@final
class UciServer:
    """Simulated subsystems in one room, one for each host that connects."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        places: Mapping[bytes, Position],
        anchors: Sequence[bytes] = (),
        loss: float = 0.0,
        remote: bool = False,
    ) -> None:
        """Listen. places, anchors, loss: as for `Scene`. Raises PolicyError and LinkError as `StreamServer` does."""
        self.scene = Scene(random.SystemRandom().random, places, anchors=anchors, loss=loss)
        self._server = StreamServer(host, port, lambda: UciDevice(self.scene), remote=remote)
        self.port = self._server.port

    def run(self, stop: Callable[[], bool]) -> Iterator[Any]:
        """Serve until `stop()`; what happens comes out."""
        for _, event in self._server.run(stop):
            yield event

    def close(self) -> None:
        """Give up the port."""
        self._server.close()
