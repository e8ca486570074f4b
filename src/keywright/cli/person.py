"""The person at the terminal, if there is one: every question of the command line goes through here."""

from __future__ import annotations

import sys


def is_attended() -> bool:
    """Whether somebody can be asked: standard input is there, and a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()


def ask(question: str) -> str:
    """The line typed, with its line end; empty when the input ends. The question stands on stderr."""
    sys.stderr.write(f"{question} ")
    sys.stderr.flush()
    return sys.stdin.readline()
