"""ISO 7816: commands and answers, status words, logical channels, answer to reset."""

from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.atr import Atr
from keywright.iso7816.layers import chained, complete, sized, transmit
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW, check, is_ok, is_warning, meaning

__all__ = [
    "SW",
    "Atr",
    "Command",
    "Refusal",
    "Response",
    "chained",
    "check",
    "complete",
    "is_ok",
    "is_warning",
    "meaning",
    "sized",
    "transmit",
]
