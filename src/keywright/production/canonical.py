"""One JSON text for one value: what is hashed or signed is written in no other way.

Keys sorted by their code points, no blanks, UTF-8 without escapes that JSON does not need. Numbers are integers only:
the text of a fraction differs from program to program (compare RFC 8785 3.2.2.3).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TypeAlias

Json: TypeAlias = bool | int | str | list["Json"] | tuple["Json", ...] | Mapping[str, "Json"] | None
"""What a canonical text can hold; bytes stand in it as hex text."""


def canonical(value: Json) -> bytes:
    """The text of a value. Raises TypeError for anything that is not `Json`, ValueError for half a surrogate pair."""
    return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def digest(value: Json) -> bytes:
    """SHA-256 of the canonical text, 32 bytes."""
    return hashlib.sha256(canonical(value)).digest()


def _plain(value: object) -> object:
    if value is None or isinstance(value, (bool, str)):
        return value
    if type(value) is int:
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("the names of a canonical text are texts")
        return {key: _plain(item) for key, item in value.items()}
    raise TypeError(f"{type(value).__name__} has no canonical text")
