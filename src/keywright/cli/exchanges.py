"""Exchanges on the screen: the bytes, and under them what they mean."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from keywright.cli.text import bad, good, heading, pairs, wrapped
from keywright.globalplatform.explain import Explanation
from keywright.globalplatform.redaction import masked
from keywright.iso7816.status import is_ok, meaning


def as_lines(command: bytes | None, answer: bytes | None, told: Explanation) -> Iterator[str]:
    """Title, bytes and meaning of one exchange; bytes that may be keys are masked."""
    yield heading(told.title)
    if command is not None:
        yield from wrapped(masked(command).hex(" ").upper(), first="  > ", indent=4)
    yield from pairs(told.asked, indent=4)
    if answer is not None:
        yield from wrapped(answer.hex(" ").upper(), first="  < ", indent=4)
    yield from pairs(told.answered, indent=4)
    if answer is not None:
        yield "    " + status_line(int.from_bytes(answer[-2:]))


def status_line(sw: int) -> str:
    """A status word with name, explanation and hint."""
    known = meaning(sw)
    text = f"{sw:04X} {known.name}"
    if known.text and known.text != "done":
        text += f": {known.text}"
    return good(text) if is_ok(sw) else bad(text)


def as_document(command: bytes | None, answer: bytes | None, told: Explanation) -> dict[str, Any]:
    """One exchange for programs."""
    return {
        "title": told.title,
        "command": None if command is None else masked(command).hex().upper(),
        "answer": None if answer is None else answer.hex().upper(),
        "sw": None if answer is None or len(answer) < 2 else answer[-2:].hex().upper(),
        "asked": [list(line) for line in told.asked],
        "answered": [list(line) for line in told.answered],
        "status": told.status,
    }
