"""Texts that came from an order, a recipe or a device, made fit for the places that would take them for more.

HTML escaping is the templates' own; here is what it does not cover: characters that nobody sees, cells that a
spreadsheet would run, and names that a file system would follow.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final

_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories without a shape of their own: controls, formats (bidi marks among them), unassigned."""
_FORMULA: Final = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""First characters that make a spreadsheet evaluate a cell, with their full-width twins (OWASP, CSV injection)."""
_NAME_LENGTH: Final = 64
_SAFE: Final = re.compile(rf"[A-Za-z0-9_](?:[A-Za-z0-9._-]{{0,{_NAME_LENGTH - 2}}}[A-Za-z0-9_-])?")
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]")
_DEVICES: Final = re.compile(r"(?i)(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?")
"""Names that Windows takes for devices, whatever their suffix."""
_DIGEST: Final = re.compile(r"_[0-9a-f]{16}$")
"""How a changed name ends: a text that ends so is changed too, or it could be another one's name."""


def visible(text: str) -> str:
    """`text` on one line with every invisible character spelled out, U+202E as `⟨U+202E⟩`; line ends become blanks."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in re.sub(r"\r\n|[\r\n\t]", " ", text))


def _shown(character: str) -> str:
    return f"⟨U+{ord(character):04X}⟩" if unicodedata.category(character) in _HIDDEN else character


def cell(text: str) -> str:
    """`text` as a CSV cell that no spreadsheet evaluates: an apostrophe goes before what would begin a formula."""
    return f"'{text}" if text[:1] in _FORMULA and text else text


def file_name(text: str, suffix: str = "") -> str:
    """A file name, without folders, that stands for `text` and no other text: letters, digits, `.`, `_`, `-`.

    What had to be changed gets 16 hex digits of its SHA-256 to stay unique. `suffix` is ours, for example `.pem`.
    """
    if _SAFE.fullmatch(text) and not _DEVICES.fullmatch(text) and not _DIGEST.search(text):
        return text + suffix
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{_UNSAFE.sub('_', text)[:_NAME_LENGTH].strip('-_') or 'unit'}_{digest}{suffix}"
