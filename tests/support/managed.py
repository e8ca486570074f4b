"""A card for the verbs that manage content: a simulated element, with content management answered and noted here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keywright.element import SecureElement
from keywright.iso7816.apdu import Command, Response


class Managed:
    """A link to an element at security level 00: what `answers` names by INS is answered here and kept in `seen`.

    Commands travel plainly, so that what a verb sends can be read; sessions are opened by the element itself.
    """

    name = "managed"
    extended = True

    def __init__(self, answers: dict[int, str | Callable[[Command], Response]], **parameters: Any) -> None:
        self.element = SecureElement(**parameters)
        self.answers = answers
        self.seen: list[Command] = []
        self.atr = b""

    def exchange(self, raw: bytes) -> bytes:
        """The answer of the table, else of the element."""
        command = Command.parse(raw)
        answer = self.answers.get(command.ins)
        if answer is None:
            return self.element.handle(raw)
        self.seen.append(command)
        return bytes.fromhex(answer) if isinstance(answer, str) else answer(command).encode()

    def reset(self) -> bytes:
        """Reset the element."""
        self.element.reset()
        return b""

    def close(self) -> None:
        """Nothing is held."""

    @property
    def sent(self) -> list[str]:
        """What was seen, in hex."""
        return [command.encode().hex().upper() for command in self.seen]
