"""Exchanges on the screen: the bytes, and under them what they mean."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from keywright.cli.telling import Told
from keywright.cli.text import bad, faint, good, heading, pairs, wrapped
from keywright.globalplatform.describe import Line
from keywright.globalplatform.explain import Explanation
from keywright.globalplatform.redaction import masked
from keywright.globalplatform.remedies import Remedy, remedy
from keywright.iso7816.status import is_ok, meaning


def as_lines(command: bytes | None, answer: bytes | None, told: Explanation) -> Iterator[str]:
    """Title, bytes and meaning of one exchange; bytes that may be keys are masked."""
    yield from full_lines(command, answer, Told(told))


def full_lines(command: bytes | None, answer: bytes | None, full: Told) -> Iterator[str]:
    """The same with the fields of the command's header, and with what secure messaging covered."""
    told = full.explanation
    yield heading(told.title)
    if command is not None:
        yield from wrapped(masked(command).hex(" ").upper(), first="  > ", indent=4)
    asked = [*full.header, *told.asked]
    covered = list(_covered(full))
    least = max((len(name) for name, _ in (*covered, *asked)), default=0)
    for line in pairs(covered, indent=4, least=least):
        yield bad(line) if full.is_bad else line
    yield from pairs(asked, indent=4, least=least)
    if answer is not None:
        yield from wrapped(answer.hex(" ").upper(), first="  < ", indent=4)
    if full.plain_answer is not None and full.plain_answer != answer:
        yield from pairs([("plain", full.plain_answer.hex(" ").upper())], indent=4, least=least)
    yield from pairs(told.answered, indent=4, least=least if full.header else 0)
    if answer is not None and len(answer) > 1:
        yield from status_lines(int.from_bytes(answer[-2:]), _ins(command))
    elif told.status:
        yield "    " + bad(told.status)


def _covered(full: Told) -> Iterator[Line]:
    if full.session:
        yield "session", full.session
    if full.plain:
        yield "plain", full.plain.hex(" ").upper()


def status_lines(sw: int, ins: int | None = None) -> Iterator[str]:
    """A status word with name, its likely cause for this instruction and, where there is one, what to do about it."""
    known, likely = meaning(sw), _likely(sw, ins)
    text = f"{sw:04X} {known.name}"
    if likely.cause and likely.cause != "done":
        text += f": {likely.cause}"
    style = good if is_ok(sw) else bad
    yield from (style(line) for line in wrapped(text, indent=6, first="    "))
    if likely.hint:
        yield from (faint(line) for line in wrapped(likely.hint, indent=10, first="    next: "))


def _likely(sw: int, ins: int | None) -> Remedy:
    if ins is None:
        known = meaning(sw)
        return Remedy(known.text, known.hint)
    return remedy(ins, sw)


def _ins(command: bytes | None) -> int | None:
    return command[1] if command is not None and len(command) > 1 else None


def as_document(command: bytes | None, answer: bytes | None, told: Explanation) -> dict[str, Any]:
    """One exchange for programs."""
    sw = None if answer is None or len(answer) < 2 else answer[-2:]
    return {
        "title": told.title,
        "command": None if command is None else masked(command).hex().upper(),
        "answer": None if answer is None else answer.hex().upper(),
        "sw": None if sw is None else sw.hex().upper(),
        "asked": [list(line) for line in told.asked],
        "answered": [list(line) for line in told.answered],
        "status": told.status,
        "hint": "" if sw is None else _likely(int.from_bytes(sw), _ins(command)).hint,
    }


def full_document(command: bytes | None, answer: bytes | None, full: Told) -> dict[str, Any]:
    """One exchange for programs, with its header and what secure messaging covered."""
    return {
        **as_document(command, answer, full.explanation),
        "header": [list(line) for line in full.header],
        "session": full.session,
        "session_is_right": not full.is_bad,
        "plain": full.plain.hex().upper() or None,
        "plain_answer": None if full.plain_answer is None else full.plain_answer.hex().upper(),
    }
