"""What every secret key of ours refuses to do: print, pickle, copy, hash, or compare in variable time."""

from __future__ import annotations

import hmac
from typing import NoReturn


class Secret:
    """Base of every object that holds secret key material: it is neither pickled nor copied."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        raise TypeError("keys are not pickled; seal them in a keystore")

    def __copy__(self) -> NoReturn:
        raise TypeError("keys are not copied")

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise TypeError("keys are not copied")


class Key(Secret):
    """A key of raw bytes that only `reveal` hands out, with a label that names it in messages."""

    __slots__ = ("_label", "_raw")

    def __init__(self, raw_key: bytes, label: str) -> None:
        """Take the key as it is; a subclass checks its size first."""
        self._raw = raw_key
        self._label = label

    @property
    def size(self) -> int:
        """Key length in bytes."""
        return len(self._raw)

    def reveal(self) -> bytes:
        """The key itself: for sealing it, encrypting it under another key, or a simulated device's memory."""
        return self._raw

    def __repr__(self) -> str:
        return f"<{self._label} {len(self._raw) * 8} bit>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and type(other) is type(self) and hmac.compare_digest(self._raw, other._raw)

    __hash__ = None  # type: ignore[assignment]  # a key must not become a dictionary key by accident
