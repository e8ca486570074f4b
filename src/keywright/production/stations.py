"""Where units stand while they are worked on: a tray of simulated fobs, or one real device on a link."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, final

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

    def power_on(self, name: str) -> None:
        """Reset a unit; its answer to reset comes back like an answer."""
        ...

    def power_off(self, name: str) -> None:
        """The unit is finished with; nothing comes back."""
        ...

    def flush(self) -> None:
        """Send what was taken. Raises LinkError when the station as a whole is gone."""
        ...

    def receive(self, *, block: bool = True) -> list[tuple[str, bytes | LinkError]]:
        """Answers that have come, each with its unit's name; at least one if blocking and any is waiting."""
        ...

    def close(self) -> None:
        """Give the units up and leave them as they are."""
        ...


@final
class LinkStation:
    """One device at a time, on a blocking link."""

    width = 1

    def __init__(self, link: Exchange) -> None:
        """Work over `link`, which stays open until `close`."""
        self.link = link
        self._answers: list[tuple[str, bytes | LinkError]] = []

    @property
    def waiting(self) -> int:
        """Answers not fetched yet."""
        return len(self._answers)

    def submit(self, name: str, command: bytes) -> None:
        """Exchange the command now."""
        try:
            self._answers.append((name, self.link.exchange(command)))
        except LinkError as error:
            self._answers.append((name, error))

    def power_on(self, name: str) -> None:
        """Reset the device now."""
        try:
            self._answers.append((name, self.link.reset()))
        except LinkError as error:
            self._answers.append((name, error))

    def power_off(self, name: str) -> None:
        """Nothing to do: the card stays as it is."""

    def flush(self) -> None:
        """Nothing waits."""

    def receive(self, *, block: bool = True) -> list[tuple[str, bytes | LinkError]]:
        """The answers fetched so far."""
        del block
        answers, self._answers = self._answers, []
        return answers

    def close(self) -> None:
        """Close the link."""
        self.link.close()


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
