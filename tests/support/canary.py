"""A key that everybody may know, looked for in everything the suite writes: whatever shows 8 bytes of it leaks keys.

In the test process every keystore with fresh keys gets it as its master `issuer`.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np

from keywright.production.keystores import fresh_keys, software_keystore
from keywright.production.keystores.sealed import Entry

MASTER: Final = hashlib.sha256(b"keywright canary: issuer").digest()
WINDOW: Final = 8
FILE_BYTES: Final = 16 << 20
"""A longer file is looked at in its beginning only."""
ALL_BYTES: Final = 96 << 20
"""After so much a session stops looking: a bound on time, not on what matters, which is small."""

MADE: Final[list[tuple[Entry, ...]]] = []
"""What keystores with fresh keys were made with in this process."""

_HEX: Final = re.compile(rb"[0-9a-fA-F]{16,}")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{11,}")
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_APART: Final = b" :\n"


class Canary:
    """The windows of secrets, in a form that is quick to look for."""

    def __init__(self, *secrets: bytes) -> None:
        windows = {secret[at : at + WINDOW] for secret in secrets for at in range(len(secret) - WINDOW + 1)}
        self._windows = np.frombuffer(b"".join(sorted(windows)), "<u8")
        self._first = np.zeros(1 << 16, bool)
        self._first[self._windows & 0xFFFF] = True

    def forms_in(self, data: bytes) -> list[str]:
        """In which forms a window stands in `data`: raw, hex, base64."""
        found = ["raw"] if self._is_in(data) else []
        # Parts are put together, because to look at each by itself takes a hundred times as long.
        if self._is_in(b"\n".join(_unhexed(data))):
            found.append("hex")
        if self._is_in(b"\n".join(_unbase64(data))):
            found.append("base64")
        return found

    def _is_in(self, data: bytes) -> bool:
        for offset in range(min(WINDOW, len(data) - WINDOW + 1)):
            words = np.frombuffer(data, "<u8", (len(data) - offset) // WINDOW, offset)
            likely = words[self._first[words & 0xFFFF]]
            if likely.size and np.isin(likely, self._windows).any():
                return True
        return False


CANARY: Final = Canary(MASTER)


def leaks(folder: Path, canary: Canary = CANARY, limit: int = ALL_BYTES) -> Iterator[str]:
    """Every file below a folder that shows a window, and in which form; ends when `limit` bytes were looked at."""
    left = limit
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        try:
            with path.open("rb") as file:
                data = file.read(min(FILE_BYTES, left))
        except OSError:
            continue
        left -= len(data)
        for form in canary.forms_in(data):
            yield f"{path}: {form}"
        if not left:
            return


def install() -> None:
    """Let every keystore that is made with fresh keys in this process hold the canary."""
    setattr(software_keystore, "fresh_entries", _with_canary(fresh_keys.fresh_entries))  # noqa: B010 - not exported


def _with_canary(
    fresh: Callable[[datetime, Callable[[int], bytes]], tuple[Entry, ...]],
) -> Callable[[datetime, Callable[[int], bytes]], tuple[Entry, ...]]:
    def entries(now: datetime, rng: Callable[[int], bytes]) -> tuple[Entry, ...]:
        made = fresh(now, rng)
        if rng is not os.urandom:  # a test that chose its own keys
            return made
        held = (Entry(made[0].name, made[0].purpose, made[0].algorithm, MASTER), *made[1:])
        MADE.append(held)
        return held

    return entries


def _unhexed(data: bytes) -> Iterator[bytes]:
    for text in (data, data.translate(None, _APART)):
        for run in _HEX.findall(text):
            for digits in (run, run[1:]):
                yield bytes.fromhex(digits[: len(digits) & ~1].decode())


def _unbase64(data: bytes) -> Iterator[bytes]:
    for run in _BASE64.findall(data.translate(_URL_SAFE)):
        for start in range(4):
            letters = run[start:]
            more = len(letters) % 4
            yield base64.b64decode(letters[:-1] if more == 1 else letters + b"=" * (-more % 4))
