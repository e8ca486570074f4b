"""On which line each key of a TOML document stands: `tomllib` checks the document but keeps no places.

Only documents that `tomllib` has accepted are scanned, so nothing here needs to judge the syntax.
"""

from __future__ import annotations

import re
import tomllib
from typing import Final

Path = tuple[str | int, ...]
"""Keys from the root; an entry of an array of tables is its index, counted from 0."""

_HEADER: Final = re.compile(r"\s*(\[\[?)(.+?)\]\]?\s*(?:#.*)?$")
_TOKEN: Final = re.compile(
    r"""(?P<long>\"\"\"|''')|(?P<text>"(?:\\.|[^"\\])*"|'[^']*')|(?P<comment>\#.*)|(?P<open>[\[{])|(?P<close>[\]}])"""
)


class Lines:
    """Line numbers of the keys and tables of one document."""

    def __init__(self, text: str) -> None:
        """`text` is a document that `tomllib` has accepted."""
        self._lines: dict[Path, int] = {(): 1}
        self._counts: dict[Path, int] = {}
        self._table: Path = ()
        self._depth = 0
        self._quote = ""
        for number, line in enumerate(text.splitlines(), 1):
            if not self._depth and not self._quote:
                self._take(number, line)
            self._follow(line)

    def of(self, *path: str | int) -> int:
        """Line of the key or table, or of the nearest table around it."""
        while path not in self._lines:
            path = path[:-1]
        return self._lines[path]

    def _take(self, number: int, line: str) -> None:
        if header := _HEADER.match(line):
            self._table = self._resolve(_keys(header[2]), array=header[1] == "[[")
            self._lines.setdefault(self._table, number)
        elif (name := line.partition("=")[0].strip()) and not name.startswith("#"):
            path = self._table
            for key in _keys(name):
                path = (*path, key)
                self._lines.setdefault(path, number)

    def _resolve(self, keys: tuple[str, ...], *, array: bool) -> Path:
        """Header keys as a path: an array of tables met on the way stands for its last entry."""
        path: Path = ()
        for at, key in enumerate(keys):
            path = (*path, key)
            if array and at == len(keys) - 1:
                self._counts[path] = self._counts.get(path, -1) + 1
            if path in self._counts:
                path = (*path, self._counts[path])
        return path

    def _follow(self, line: str) -> None:
        """Keep track of brackets and of strings that run over several lines."""
        at = 0
        while at < len(line):
            if self._quote:
                end = line.find(self._quote, at)
                if end < 0:
                    return
                at, self._quote = end + 3, ""
            found = _TOKEN.search(line, at)
            if not found:
                return
            at = found.end()
            self._quote = found["long"] or ""
            self._depth += bool(found["open"]) - bool(found["close"])


def _keys(dotted: str) -> tuple[str, ...]:
    """The parts of a dotted, perhaps quoted key; what the scanner cannot read as one is no key."""
    try:
        inner: object = tomllib.loads(f"{dotted} = 0")
    except tomllib.TOMLDecodeError:
        return ()
    keys: list[str] = []
    while isinstance(inner, dict):
        ((key, inner),) = inner.items()
        keys.append(key)
    return tuple(keys)
