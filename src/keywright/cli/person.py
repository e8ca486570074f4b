"""The person at the terminal, if there is one: every question of the command line goes through here."""

from __future__ import annotations

import sys

from keywright.crypto.compare import equal
from keywright.errors import PolicyError
from keywright.production.silent import silent


def is_attended() -> bool:
    """Whether somebody can be asked: standard input is there, and a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()


def ask(question: str) -> str:
    """The line typed, with its line end; empty when the input ends. The question stands on stderr."""
    sys.stderr.write(f"{question} ")
    sys.stderr.flush()
    return sys.stdin.readline()


def ask_hidden(question: str) -> str:
    """The line typed, with its line end, which the terminal does not show; empty when the input ends.

    The terminal is silent before the question stands there: whoever types at once is not shown either, and nothing
    that was typed is thrown away. Without a terminal it is a line of the input.
    """
    if not is_attended():
        return ask(question)
    try:
        with silent(sys.stdin.fileno()):
            return ask(question)
    finally:
        sys.stderr.write("\n")


def ask_passphrase(question: str, *, twice: bool = False) -> bytes:
    """What was typed, hidden, without its line end; `twice`: until it is typed the same way two times.

    Raises PolicyError when the input ends.
    """
    while True:
        typed = _typed(f"{question}:")
        if not twice or equal(typed, _typed("Again:")):
            return typed
        sys.stderr.write("These two are not the same.\n")


def _typed(question: str) -> bytes:
    while line := ask_hidden(question):
        if typed := line.rstrip("\r\n"):
            return typed.encode()
    raise PolicyError("nothing was typed", hint="type it at the terminal")
