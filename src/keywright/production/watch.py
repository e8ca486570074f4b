"""What a campaign tells while it runs: to the live picture, to a trace, and to whoever wants to stop it there."""

from __future__ import annotations

from typing import Literal, Protocol

from keywright.iso7816.apdu import Command, Response

Phase = Literal["before intent", "after intent", "after send", "after answer", "before commit", "after commit"]


class Watcher(Protocol):
    """Hears of every moment of a run. What it raises ends the run, as a kill would."""

    def moment(self, phase: Phase, unit: int, step: str) -> None:
        """Something is about to happen, or has: an intent or result to the store, a command or answer at the unit."""
        ...

    def started(self, unit: int, serial: str) -> None:
        """A unit was taken up, or taken up again after its link failed."""
        ...

    def finished(self, unit: int, serial: str, state: str, failure: str) -> None:
        """A unit came to an end: its state, and one line of what went wrong or nothing."""
        ...

    def exchanged(self, unit: int, sent: Command, plain: Command, got: Response, opened: Response) -> None:
        """One command and answer of a unit, as they travelled and as they read without their protection."""
        ...

    def noticed(self, text: str) -> None:
        """Something that is of no unit alone, such as a process that was started again. Any thread may tell it."""
        ...


class Unwatched:
    """A watcher that does nothing."""

    def moment(self, phase: Phase, unit: int, step: str) -> None:
        """Nothing."""

    def started(self, unit: int, serial: str) -> None:
        """Nothing."""

    def finished(self, unit: int, serial: str, state: str, failure: str) -> None:
        """Nothing."""

    def exchanged(self, unit: int, sent: Command, plain: Command, got: Response, opened: Response) -> None:
        """Nothing."""

    def noticed(self, text: str) -> None:
        """Nothing."""
