"""Text for people: aligned lines and tables, plain when nobody looks at a terminal, and safe to print."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Final

import typer

MIN_WIDTH: Final = 60
MAX_WIDTH: Final = 100


def width() -> int:
    """Columns to use: those of the terminal, within reason; 80 when there is none."""
    return max(MIN_WIDTH, min(shutil.get_terminal_size((80, 24)).columns, MAX_WIDTH))


def printable(text: str) -> str:
    """`text` on one line, with control characters escaped: it may come from a device or a file."""
    return "".join(char if char.isprintable() else _escaped(char) for char in " ".join(text.splitlines()))


def _escaped(char: str) -> str:
    return " " if char == "\t" else f"\\x{ord(char):02x}"


def say(text: str = "") -> None:
    """One line on stdout; colours are left out when it is no terminal."""
    typer.echo(text)


def note(text: str) -> None:
    """One line on stderr: progress and remarks, never results."""
    typer.echo(text, err=True)


def show_json(document: object) -> None:
    """One object on one line of stdout, in ASCII: it can be written whatever the locale."""
    sys.stdout.write(json.dumps(document) + "\n")


def heading(text: str) -> str:
    """A heading."""
    return typer.style(text, bold=True)


def good(text: str) -> str:
    """Something as it should be."""
    return typer.style(text, fg="green")


def bad(text: str) -> str:
    """Something that needs attention."""
    return typer.style(text, fg="red")


def caution(text: str) -> str:
    """Something to keep in mind."""
    return typer.style(text, fg="yellow")


def faint(text: str) -> str:
    """Something of less weight."""
    return typer.style(text, dim=True)


def pairs(lines: Iterable[tuple[str, str]], *, indent: int = 2, least: int = 0) -> list[str]:
    """Names and values in two columns; a long value goes on under its own column. `least`: width of the names."""
    rows = [(name, printable(value)) for name, value in lines]
    column = max((len(name) for name, _ in rows), default=0)
    column = max(column, least) + 2
    room = max(width() - indent - column, 20)
    out = []
    for name, value in rows:
        wrapped = textwrap.wrap(value, room, break_on_hyphens=False) or [""]
        out.append(f"{'':{indent}}{name:{column}}{wrapped[0]}".rstrip())
        out += [f"{'':{indent + column}}{part}" for part in wrapped[1:]]
    return out


def wrapped(text: str, *, indent: int, first: str = "") -> list[str]:
    """A paragraph; `first` stands before its first line in place of the indent."""
    lines = textwrap.wrap(printable(text), max(width() - indent, 20), break_on_hyphens=False) or [""]
    return [first + lines[0] if first else " " * indent + lines[0], *(" " * indent + line for line in lines[1:])]


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, indent: int = 2) -> list[str]:
    """A table with a head; every column as wide as its longest cell, the last one as long as it is."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(column[n]) for column in (heads, *cells)) for n in range(len(heads))]
    space = " " * indent

    def line(row: Sequence[str]) -> str:
        return (space + "  ".join(f"{cell:{size}}" for cell, size in zip(row, widths, strict=True))).rstrip()

    return [heading(line(heads)), *map(line, cells)]
