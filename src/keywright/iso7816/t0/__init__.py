"""T=0, the character protocol of ISO 7816-3 section 10: both ends, how APDUs ride on it, what is switchable."""

from __future__ import annotations

from keywright.iso7816.t0.card import T0Card
from keywright.iso7816.t0.host import T0Host
from keywright.iso7816.t0.profile import T0Profile

__all__ = ["T0Card", "T0Host", "T0Profile"]
