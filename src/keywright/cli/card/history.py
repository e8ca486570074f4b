"""The line editor of the shell: completion, and a history that never holds what may be keys."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Final, final

from keywright.codec.hexa import unhex
from keywright.errors import DecodeError
from keywright.globalplatform.messages import Ins
from keywright.iso7816.apdu import Command

Completer = Callable[[str, str], list[str]]
"""From what stands before the word, and its beginning, to what it may be."""

MOST_LINES: Final = 1000
_HARMLESS: Final = frozenset({Ins.SELECT, Ins.GET_DATA, Ins.GET_STATUS, Ins.INITIALIZE_UPDATE, Ins.MANAGE_CHANNEL})
_LONGEST: Final = 8
"""Bytes of hex that no key hides in."""


def is_kept(line: str) -> bool:
    """Whether a line may be kept: it is no command whose data may be anything, and sets no variable to much."""
    bare = line.partition("#")[0].strip()
    if not bare:
        return False
    words = bare.removeprefix("send ").strip()
    if bare.startswith("$") or "[" in bare:
        return sum(char in "0123456789abcdefABCDEF" for char in bare) <= 2 * _LONGEST
    try:
        data = unhex(words)
    except DecodeError:
        return not any(_is_long_hex(word) for word in bare.split())
    try:
        command = Command.parse(data)
    except DecodeError:
        return len(data) <= _LONGEST
    return not command.data or command.ins in _HARMLESS


def _is_long_hex(word: str) -> bool:
    """Whether a word is hex, and longer than an AID."""
    try:
        return len(unhex(word.rpartition("=")[2])) > 16
    except DecodeError:
        return False


@final
class History:
    """Asks for lines with readline, where Python has it. Lines are kept in a file that only its owner may read."""

    def __init__(self, path: Path, complete: Completer) -> None:
        self._path = path
        self._complete = complete
        self._readline = _readline()
        self._offered: list[str] = []

    def __enter__(self) -> History:
        if self._readline is not None:
            self._readline.set_auto_history(False)
            self._readline.set_completer_delims(" \t\n")
            self._readline.set_completer(self._next)
            self._readline.parse_and_bind("tab: complete")
            with contextlib.suppress(OSError):
                self._readline.read_history_file(self._path)
        return self

    def __exit__(self, *_: object) -> None:
        if self._readline is None:
            return
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            self._path.chmod(0o600)
            self._readline.set_history_length(MOST_LINES)
            self._readline.write_history_file(self._path)
        self._readline.set_completer(None)

    def ask(self, prompt: str) -> str | None:
        """The next line; None at the end. Ctrl-C drops what was typed."""
        while True:
            try:
                line = input(prompt)
            except EOFError:
                return None
            except KeyboardInterrupt:
                print()  # noqa: T201 - the prompt comes anew on a line of its own
                continue
            if self._readline is not None and is_kept(line):
                self._readline.add_history(line)
            return line

    def _next(self, text: str, state: int) -> str | None:
        """What readline calls: the candidates one by one."""
        assert self._readline is not None
        if not state:
            self._offered = self._complete(self._readline.get_line_buffer()[: self._readline.get_begidx()], text)
        return f"{self._offered[state]} " if state < len(self._offered) else None


def _readline() -> ModuleType | None:
    try:
        import readline  # noqa: PLC0415 - not on every system
    except ImportError:
        return None
    return readline
