"""ISO 14443-4, the block protocol of contactless cards and fobs: reader end, card end, blocks, what is switchable."""

from __future__ import annotations

from keywright.iso7816.iso14443.card import Iso14443Card
from keywright.iso7816.iso14443.profile import Iso14443Profile
from keywright.iso7816.iso14443.reader import Iso14443Reader

__all__ = ["Iso14443Card", "Iso14443Profile", "Iso14443Reader"]
