"""A station whose units stand in this process, where any answer can be changed, lost or made up."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from keywright.element import SecureElement
from keywright.errors import LinkError
from keywright.fob.fobs import Model, simulated_fob
from keywright.store import Memory, RamMemory

Tamper = Callable[[str, int, bytes, bytes], bytes | LinkError]
"""(unit, number of the exchange with it from 1, command, true answer) -> what arrives."""


def untouched(_unit: str, _number: int, _command: bytes, answer: bytes) -> bytes:
    """Changes nothing."""
    return answer


class Bench:
    """Fobs by serial; `devices` puts others in their places. `sent` keeps every command of a unit."""

    def __init__(
        self,
        *,
        width: int = 1,
        model: Model | None = None,
        devices: Mapping[str, SecureElement] | None = None,
        tamper: Tamper = untouched,
    ) -> None:
        self.width = width
        self.memories: dict[str, Memory] = {}
        self.sent: dict[str, list[bytes]] = {}
        self.resets: dict[str, int] = {}
        self._model = model or Model(try_limit=3)
        self._devices: dict[str, SecureElement] = dict(devices or {})
        self._tamper = tamper
        self._answers: list[tuple[str, bytes | LinkError]] = []
        self.closed = False

    @property
    def waiting(self) -> int:
        """Answers not fetched yet."""
        return len(self._answers)

    def device(self, name: str) -> SecureElement:
        """The device in the place of a unit."""
        if name not in self._devices:
            self.memories[name] = RamMemory()
            self._devices[name] = simulated_fob(name, self.memories[name], self._model)
        return self._devices[name]

    def submit(self, name: str, command: bytes) -> None:
        """Have the command answered, and the answer changed."""
        sent = self.sent.setdefault(name, [])
        sent.append(command)
        answer = self.device(name).handle(command)
        self._answers.append((name, self._tamper(name, len(sent), command, answer)))

    def submit_air(self, name: str, sent: bytes) -> None:
        """There is no radio beside these fobs."""
        self._answers.append((name, LinkError(f"{len(sent)} octets for a radio that is not here", delivered=False)))

    def power_on(self, name: str) -> None:
        """Reset the device."""
        self.resets[name] = self.resets.get(name, 0) + 1
        self._answers.append((name, self.device(name).reset()))

    def power_off(self, name: str) -> None:
        """Nothing to do."""

    def flush(self) -> None:
        """Nothing waits."""

    def receive(self, *, block: bool = True, limit_s: float | None = None) -> list[tuple[str, bytes | LinkError]]:
        """All answers so far."""
        del limit_s
        answers, self._answers = self._answers, []
        assert answers or not block, "asked for an answer that nobody owes"
        return answers

    def close(self) -> None:
        """Remember it."""
        self.closed = True
