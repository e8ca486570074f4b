"""Hex text to bytes and back, for the edges where people type and read: command line, JSON, order files."""

from __future__ import annotations

from keywright.errors import HexError

_DIGITS = frozenset("0123456789abcdefABCDEF")
_SEPARATORS = frozenset(" :\t\n\r\v\f")


def unhex(text: str, what: str = "") -> bytes:
    """Bytes of hex text; white space and colons may stand between bytes, never inside one.

    `what` names the input in the message. Raises HexError, a DecodeError whose `offset` is the position of the first
    bad character in `text`, or its length when a digit is missing at the end. The text is never repeated: it may be a
    key.
    """
    try:
        return bytes.fromhex(text.replace(":", " "))
    except ValueError:
        why, position = _fault(text)
        raise HexError(f"{what or 'hex text'}: {why} at position {position}", position) from None


def tohex(data: bytes, separator: str = "") -> str:
    """Upper-case hex of `data`, `separator` (one ASCII character or none) between bytes."""
    return (data.hex(separator) if separator else data.hex()).upper()


def _fault(text: str) -> tuple[str, int]:
    half = False
    for position, character in enumerate(text):
        if character in _DIGITS:
            half = not half
        elif character not in _SEPARATORS:
            return f"{character!a} is not a hex digit", position
        elif half:
            return "half a byte", position
    return "half a byte", len(text)
