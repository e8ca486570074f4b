"""What a scenario is, and what came of one."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Final, Generic, Literal, NamedTuple, TypeAlias, TypeVar

import msgspec

from keywright.iso7816.apdu import Command, Response

Verdict: TypeAlias = Literal["passed", "other status", "failed", "skipped"]
Role: TypeAlias = Literal["device", "reader"]
Given = TypeVar("Given")


class Nonconformity(Exception):  # noqa: N818 - it is a finding about the side under test
    """The side under test did something else than it must."""

    def __init__(self, where: str, expected: str, got: str, at: int | None = None) -> None:
        """where: the command. at: offset of the first byte that differs, where bytes were compared."""
        super().__init__(f"{where}: expected {expected}, got {got}")
        self.where = where
        self.expected = expected
        self.got = got
        self.at = at


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
    at: int | None = None
    """Offset of the first byte that differs."""
    transcript: tuple[Exchanged, ...] = ()
    outcome: str = ""
    """Commands and status words in short: what told this case from another."""


FAILED: Final = ("failed",)


def first_difference(expected: bytes, got: bytes) -> int | None:
    """Offset of the first byte that differs; None when they are equal."""
    for at, (one, other) in enumerate(zip(expected, got, strict=False)):
        if one != other:
            return at
    return None if len(expected) == len(got) else min(len(expected), len(got))


def shape(transcript: tuple[Exchanged, ...], detail: str) -> str:
    """The outcome in short: what was asked and answered, and what was particular to it."""
    steps = [
        f"{one.command.ins:02X}:{'none' if one.response is None else f'{one.response.sw:04X}'}" for one in transcript
    ]
    return " ".join([*steps, detail])
