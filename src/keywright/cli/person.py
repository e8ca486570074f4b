"""The person at the terminal, if there is one: every question of the command line goes through here."""

from __future__ import annotations

import sys
import termios


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
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    silent = [*before]
    silent[3] &= ~termios.ECHO
    try:
        termios.tcsetattr(terminal, termios.TCSADRAIN, silent)
        line = ask(question)
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
        sys.stderr.write("\n")
    return line
