"""A card that is a list of answers: what a dialogue sends to it, and what comes of that."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import TypeVar

import pytest

from keywright.errors import KeywrightError
from keywright.iso7816.apdu import Command, Response
from keywright.sansio.dialogue import drive

Asked = TypeVar("Asked")


def talk(
    dialogue: Generator[Command, Response, Asked], answers: Iterable[str] | None = None
) -> tuple[Asked, list[str]]:
    """Result of a dialogue over scripted answers (hex), and the commands it sent; without answers all are 9000."""
    sent: list[str] = []
    script = None if answers is None else iter(answers)

    def exchange(command: Command) -> Response:
        sent.append(command.encode().hex().upper())
        return Response(b"") if script is None else Response.parse(bytes.fromhex(next(script)))

    result = drive(dialogue, exchange)
    assert script is None or next(script, None) is None, "an answer was not asked for"
    return result, sent


def sent(dialogue: Generator[Command, Response, object], answers: Iterable[str] | None = None) -> list[str]:
    """The commands of a dialogue that ends well."""
    return talk(dialogue, answers)[1]


def refused(dialogue: Generator[Command, Response, object], answers: Iterable[str] = ()) -> KeywrightError:
    """The error that a dialogue ends with, after all of the answers."""
    with pytest.raises(KeywrightError) as caught:
        talk(dialogue, answers)
    return caught.value
