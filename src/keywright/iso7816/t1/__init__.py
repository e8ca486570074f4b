"""T=1, the block protocol of ISO 7816-3 section 11: host end, card end, blocks, and what of it is switchable."""

from __future__ import annotations

from keywright.iso7816.t1.card import T1Card
from keywright.iso7816.t1.host import T1Host
from keywright.iso7816.t1.profile import T1Profile

__all__ = ["T1Card", "T1Host", "T1Profile"]
