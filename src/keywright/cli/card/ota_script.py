"""The commands that go over the air: from the command line, or from a file as `card script` reads it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import msgspec
import typer

from keywright.cli.card.script_language import Assign, Expect, Select, Send, Step, command_of, read_script, wrong
from keywright.codec.hexa import unhex
from keywright.errors import DecodeError, UsageError
from keywright.iso7816.apdu import Command

_SELECT_BY_NAME: Final = 0x04

Commands: TypeAlias = Annotated[list[str] | None, typer.Argument(metavar="[HEX]...", help="Commands, one word each.")]
ScriptFile: TypeAlias = Annotated[
    Path | None, typer.Option("--script", metavar="FILE", help="A file of commands, as for card script.")
]
Given: TypeAlias = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=HEX", help="Set a variable of the script; repeatable.")
]


class Asked(msgspec.Struct, frozen=True):
    """A command to be sent, and what its answer is to be."""

    command: Command
    expect: Expect | None = None


def commands_of(words: Sequence[str], file: Path | None, given: Sequence[str]) -> list[Asked]:
    """The commands of the command line, then those of a script. Raises UsageError, DecodeError."""
    asked = [Asked(_command(word)) for word in words]
    if file is not None:
        variables = dict(_given(text) for text in given)
        asked += [one for step in read_script(file, variables) for one in _asked(step, variables)]
    if not asked:
        raise UsageError("which commands?", hint="give them in hex, or with --script FILE")
    return asked


def _command(word: str) -> Command:
    try:
        return Command.parse(unhex(word, "command"))
    except DecodeError as error:
        raise DecodeError(f"{word}: no command: {error}", hint="CLA INS P1 P2 [Lc data] [Le], as one word") from error


def _given(text: str) -> tuple[str, bytes]:
    name, sign, value = text.partition("=")
    if not sign or not name.isidentifier():
        raise UsageError(f"--set {text!r}: a variable is set like this: NAME=HEX")
    return name, unhex(value, f"--set {name}")


def _asked(step: Step, variables: dict[str, bytes]) -> Iterator[Asked]:
    match step:
        case Assign(value=None):
            raise wrong(step.place, "a script over the air cannot use answers: it is sent as a whole")
        case Assign(value=value) if value is not None:
            variables[step.name] = value.value(variables)
        case Send():
            yield Asked(command_of(step, variables), step.expect)
        case Select():
            aid = step.aid.value(variables)
            yield Asked(Command(0x00, 0xA4, _SELECT_BY_NAME, 0x00, aid, 0), step.expect)
        case _:
            raise wrong(step.place, f"{step.text}: not over the air", "the packet itself is the secure channel")
