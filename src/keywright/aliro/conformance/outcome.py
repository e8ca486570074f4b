"""What a scenario is, and what came of one."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Generic, Literal, NamedTuple, TypeAlias, TypeVar

import msgspec

from keywright.iso7816.apdu import Command, Response

Verdict: TypeAlias = Literal["passed", "other status", "failed", "skipped"]
"""other status: an error came, as it must, with another status word than expected; only where that is let pass."""
Role: TypeAlias = Literal["device", "reader", "both"]
Given = TypeVar("Given")


class Nonconformity(Exception):  # noqa: N818 - it is a finding about the side under test
    """The side under test did something else than it must."""

    def __init__(self, where: str, expected: str, got: str, at: int | None = None) -> None:
        """where: the command. at: offset of the first byte that differs, where bytes were compared."""
        place = "" if at is None else f" (byte {at} differs)"
        super().__init__(f"{where}: expected {expected}, got {got}{place}")
        self.where = where
        self.expected = expected
        self.got = got
        self.at = at

    @classmethod
    def of_bytes(cls, where: str, expected: Sequence[bytes], got: bytes) -> Nonconformity:
        """Bytes that are none of the expected ones; what differs is counted against the likest of these."""
        at = max((len(got) if (n := first_difference(one, got)) is None else n for one in expected), default=0)
        return cls(where, " or ".join(one.hex().upper() for one in expected), got.hex().upper() or "nothing", at)


class OtherStatus(Exception):  # noqa: N818 - a remark, no error
    """The side under test refused as it must, with another status word."""

    def __init__(self, expected: int, got: int) -> None:
        super().__init__(f"refused with {got:04X}, expected {expected:04X}")
        self.expected = expected
        self.got = got


class NotConfigured(Exception):  # noqa: N818 - no fault of anybody
    """What the scenario needs is not there (a certificate, a document, a mailbox)."""


class Exchanged(NamedTuple):
    """One command of a transcript and its answer, None if none came."""

    command: Command
    response: Response | None


class Scenario(msgspec.Struct, Generic[Given], frozen=True):
    """One case. `play` is handed what the tester knows, and drives the side under test."""

    name: str
    family: str
    text: str
    play: Callable[[Given], Generator[Command, Response, None]]


class Result(msgspec.Struct, frozen=True):
    """What came of a scenario."""

    name: str
    family: str
    verdict: Verdict
    text: str
    why: str = ""
    role: Role = "device"
    """The side under test."""
    expected: str = ""
    got: str = ""
    at: int | None = None
    """Offset of the first byte that differs between what was expected and what came."""
    transcript: tuple[Exchanged, ...] = ()
    messages: tuple[tuple[str, str], ...] = ()
    """What went over where there are no commands: names and bytes in hex."""
    outcome: str = ""
    """Commands and status words in short: what told this case from another."""


def first_difference(expected: bytes, got: bytes) -> int | None:
    """Offset of the first byte that differs; None when they are equal."""
    for at, (one, other) in enumerate(zip(expected, got, strict=False)):
        if one != other:
            return at
    return None if len(expected) == len(got) else min(len(expected), len(got))


def shape(transcript: tuple[Exchanged, ...], detail: str = "") -> str:
    """The outcome in short: commands, their status words, and what was particular to it."""
    steps = [
        f"{one.command.ins:02X}:{'none' if one.response is None else f'{one.response.sw:04X}'}" for one in transcript
    ]
    return " ".join([*steps, detail]).rstrip()
