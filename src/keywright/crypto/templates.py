"""A small language for diversification schemes: what is encrypted to make one key of one card.

The words are those of GlobalPlatformPro (martinpaljak/GlobalPlatformPro, `PlaintextKeys.kdf_templates`), one for each
byte of the derivation data:

======== ==================================================================
word     byte
======== ==================================================================
``F0``   the byte itself, in hexadecimal; ``0xF0`` is the same
``$4``   byte 4 of the key diversification data, ``$0`` to ``$9``
``$k``   which key: 01 ENC, 02 MAC, 03 DEK
``$_``   the counter of a key derivation in counter mode, from 01
``$l$l`` the length of the key in bits, two bytes
======== ==================================================================

Spaces are free and case does not matter. With ``$_`` the data are the input of AES-CMAC in counter mode (SP 800-108
4.1), once for each 16 bytes of key. Without, they are two or three blocks which triple DES encrypts into the key.
"""

from __future__ import annotations

import re
from typing import Final, Self

import msgspec

from keywright.errors import UsageError

KDD_BYTES: Final = 10
"""Bytes of key diversification data in an answer to INITIALIZE UPDATE."""
PURPOSES: Final = (1, 2, 3)
"""What ``$k`` stands for: ENC, MAC, DEK."""

_WORD = re.compile(
    r"(?P<space>\s+)|(?P<kdd>\$[0-9])|(?P<k>\$k)|(?P<count>\$_)|(?P<bits>\$l\$l)|(?:0x)?(?P<hex>[0-9a-f]{2})",
    re.IGNORECASE,
)
_PURPOSE, _COUNTER, _BITS_HIGH, _BITS_LOW, _KDD = 0x100, 0x101, 0x102, 0x103, 0x200
"""What a byte of the template is, above the constants 00 to FF; a byte of the card's data is _KDD plus its number."""

_KEY_SIZES_DES = (16, 24)


class Template(msgspec.Struct, frozen=True):
    """A parsed template. `marks` has one number for each byte of derivation data."""

    text: str
    marks: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a template. Raises UsageError that names the position, counted from 1, of what is wrong."""
        marks: list[int] = []
        at = 0
        while at < len(text):
            word = _WORD.match(text, at)
            if word is None:
                raise _wrong(at, f"{text[at : at + 4].strip()!r} begins no byte", text)
            if word["count"] and _COUNTER in marks:
                raise _wrong(at, "a second counter", text)
            marks += _marks(word)
            at = word.end()
        _check(text, marks)
        return cls(text, tuple(marks))

    @property
    def counts(self) -> bool:
        """Whether the template has a counter: it is one for AES."""
        return _COUNTER in self.marks

    @property
    def places(self) -> tuple[tuple[int, int], ...]:
        """Where data of the card stand: position in the derivation data, and which byte of the KDD."""
        return tuple((at, mark - _KDD) for at, mark in enumerate(self.marks) if mark >= _KDD)

    def row(self, purpose: int, counter: int, key_bytes: int) -> bytes:
        """Derivation data of one key, 00 where data of the card stand. `purpose` 1 ENC, 2 MAC, 3 DEK."""
        high, low = (key_bytes * 8).to_bytes(2)
        values = {_PURPOSE: purpose, _COUNTER: counter, _BITS_HIGH: high, _BITS_LOW: low}
        return bytes(values.get(mark, mark) if mark < _KDD else 0 for mark in self.marks)


def _marks(word: re.Match[str]) -> list[int]:
    if word["hex"]:
        return [int(word["hex"], 16)]
    if word["kdd"]:
        return [_KDD + int(word["kdd"][1])]
    if word["bits"]:
        return [_BITS_HIGH, _BITS_LOW]
    return [_PURPOSE] if word["k"] else [_COUNTER] if word["count"] else []


def _check(text: str, marks: list[int]) -> None:
    if not any(mark >= _KDD for mark in marks):
        raise _wrong(len(text), "no byte of the card's data ($0 to $9): every card would have the same keys", text)
    if _COUNTER not in marks:
        if _BITS_HIGH in marks:
            raise _wrong(len(text), "a key length ($l$l) without a counter ($_)", text)
        if len(marks) not in _KEY_SIZES_DES:
            raise _wrong(len(text), f"{len(marks)} bytes where triple DES takes 16 or 24", text)


def _wrong(at: int, what: str, text: str) -> UsageError:
    return UsageError(
        f"key template, position {at + 1}: {what} in {text!r}",
        hint='a byte is F0, 0xF0, $0 to $9, $k, $_ or $l$l, as in "$4 $5 $6 $7 $8 $9 F0 $k $4 $5 $6 $7 $8 $9 0F $k"',
    )
