"""Comparison of MACs, cryptograms and other values that an attacker may guess byte by byte."""

from __future__ import annotations

import hmac


def equal(a: bytes, b: bytes) -> bool:
    """Whether both are the same bytes, in time that depends on their lengths only."""
    return hmac.compare_digest(a, b)
