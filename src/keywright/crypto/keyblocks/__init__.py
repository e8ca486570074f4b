"""Key blocks: ANSI X9.143 / TR-31 versions A to E read, D and E written, with their rules enforced."""

from __future__ import annotations

from keywright.crypto.keyblocks.block import REFUSED, BlockKey, Kbpk, parse, rewrap, unwrap, wrap
from keywright.crypto.keyblocks.header import Header, OptionalBlock
from keywright.crypto.keyblocks.policy import (
    FREEDOM,
    Expected,
    check_not_widened,
    check_strength,
    check_writable,
    strength,
)

__all__ = [
    "FREEDOM",
    "REFUSED",
    "BlockKey",
    "Expected",
    "Header",
    "Kbpk",
    "OptionalBlock",
    "check_not_widened",
    "check_strength",
    "check_writable",
    "parse",
    "rewrap",
    "strength",
    "unwrap",
    "wrap",
]
