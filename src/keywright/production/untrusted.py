"""Texts that came from an order, a recipe or a device, made fit for the places that would take them for more.

HTML escaping is the templates' own; here is what it does not cover: characters that nobody sees, and cells that a
spreadsheet would run.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories without a shape of their own: controls, formats (bidi marks among them), unassigned."""
_FORMULA: Final = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""First characters that make a spreadsheet evaluate a cell, with their full-width twins (OWASP, CSV injection)."""


def visible(text: str) -> str:
    """`text` on one line with every invisible character spelled out, U+202E as `⟨U+202E⟩`; line ends become blanks."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in re.sub(r"\r\n|[\r\n\t]", " ", text))


def _shown(character: str) -> str:
    return f"⟨U+{ord(character):04X}⟩" if unicodedata.category(character) in _HIDDEN else character


def printable(text: str) -> str:
    """`text` for paper: characters that the fonts of every printer lack are spelled out as `[U+6F22]`, not left out."""
    return "".join(c if c.encode("cp1252", "ignore") else f"[U+{ord(c):04X}]" for c in visible(text))


def cell(text: str) -> str:
    """`text` as a CSV cell that no spreadsheet evaluates: an apostrophe goes before what would begin a formula."""
    return f"'{text}" if text[:1] in _FORMULA and text else text
