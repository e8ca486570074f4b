"""Where units stand while they are worked on: a tray of simulated fobs, or one real device on a link."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final, Protocol, final

from keywright.errors import LinkError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.layers import parse_answer
from keywright.link.base import Exchange


class Station(Protocol):
    """Takes commands for units by name and gives their answers back, in any order, one for each."""

    @property
    def width(self) -> int:
        """How many units can be worked on at once."""
        ...

    @property
    def waiting(self) -> int:
        """How many answers are still to come."""
        ...

    def submit(self, name: str, command: bytes) -> None:
        """Take a command APDU for a unit."""
        ...

    def submit_air(self, name: str, sent: bytes) -> None:
        """Take frames for the radio beside a unit, `fob.mesh_model.Sent`; the answer is a `fob.mesh_model.Heard`."""
        ...

    def power_on(self, name: str) -> None:
        """Reset a unit; its answer to reset comes back like an answer."""
        ...

    def power_off(self, name: str) -> None:
        """The unit is finished with; nothing comes back."""
        ...

    def flush(self) -> None:
        """Send what was taken. Raises LinkError when the station as a whole is gone."""
        ...

    def receive(self, *, block: bool = True, limit_s: float | None = None) -> list[tuple[str, bytes | LinkError]]:
        """Answers that have come, each with its unit's name; at least one if blocking and any is waiting.

        Blocking ends after `limit_s` seconds, then perhaps with none. Answers of one unit keep the order of what it was
        sent, so that whoever gave one up knows which it is.
        """
        ...

    def close(self) -> None:
        """Give the units up and leave them as they are."""
        ...


_USUAL_S: Final = 0.5
"""An answer within this time is there when `submit` returns."""

_Answer = tuple[str, "bytes | LinkError | BaseException"]


@final
class LinkStation:
    """One device at a time, on a blocking link.

    The link is used by a thread of its own, so that a device that never answers can be given up.
    """

    width = 1

    def __init__(self, link: Exchange) -> None:
        """Work over `link`, which stays open until `close`."""
        self.link = link
        self.waiting = 0
        self._answers: SimpleQueue[_Answer] = SimpleQueue()
        self._work: SimpleQueue[tuple[str, Callable[[], bytes]] | None] = SimpleQueue()
        self._settled = threading.Event()
        self._thread: threading.Thread | None = None

    def submit(self, name: str, command: bytes) -> None:
        """Exchange the command now."""
        self._do(name, lambda: self.link.exchange(command))

    def submit_air(self, name: str, sent: bytes) -> None:  # noqa: ARG002 - the shape of a station
        """There is no radio beside a link: the answer is a LinkError."""

        def silent() -> bytes:
            raise LinkError("there is no radio on this link", delivered=False, hint="use sim:mesh or sim:fob")

        self._do(name, silent)

    def power_on(self, name: str) -> None:
        """Reset the device now."""
        self._do(name, self.link.reset)

    def power_off(self, name: str) -> None:
        """Nothing to do: the card stays as it is."""

    def flush(self) -> None:
        """Nothing waits."""

    def receive(self, *, block: bool = True, limit_s: float | None = None) -> list[tuple[str, bytes | LinkError]]:
        """The answers that have come, at least one if blocking and any is waiting, unless `limit_s` passes."""
        found: list[tuple[str, bytes | LinkError]] = []
        block = block and self.waiting > 0
        with contextlib.suppress(Empty):
            while self.waiting:
                name, answer = self._answers.get(block and not found, limit_s)
                self.waiting -= 1
                if not isinstance(answer, (bytes, LinkError)):
                    raise answer
                found.append((name, answer))
        return found

    def close(self) -> None:
        """Close the link. A device that still owes an answer is not waited for."""
        self._work.put(None)
        self.link.close()

    def _do(self, name: str, work: Callable[[], bytes]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="link station", daemon=True)
            self._thread.start()
        self.waiting += 1
        self._settled.clear()
        self._work.put((name, work))
        self._settled.wait(_USUAL_S)

    def _run(self) -> None:
        while (todo := self._work.get()) is not None:
            name, work = todo
            answer: bytes | LinkError | BaseException
            try:
                answer = work()
            except BaseException as error:  # noqa: BLE001 - whatever it is, the station's caller is to have it
                answer = error
            self._answers.put((name, answer))
            if self._work.empty():
                self._settled.set()


def exchange_with(station: Station, name: str) -> Callable[[Command], Response]:
    """Exchanges with one unit alone, one after the other; what `drive` takes. Raises LinkError."""

    def exchange(command: Command) -> Response:
        station.submit(name, command.encode())
        station.flush()
        ((_, answer),) = station.receive()
        if isinstance(answer, LinkError):
            raise answer
        return parse_answer(answer)

    return exchange
