"""Elements as foreign hosts meet them."""

from __future__ import annotations

import os
from typing import Any, Final

from interop.foreign import TEST_KEY
from keywright.element import SecureElement
from keywright.element.state import KeyRecord, KeySetRecord
from keywright.globalplatform.messages import KeyType
from keywright.store import RamMemory
from support.cards import element

T0_ATR: Final = bytes.fromhex("3B00")
"""T=0 and nothing else."""
DES_KVN: Final = 0x20


def with_scp02(i: int = 0x55, **parameters: Any) -> SecureElement:
    """An element whose first key set is of DES, version 20, for SCP02 with this "i"; its AES set FF comes after it."""
    memory = RamMemory()
    element(memory=memory, protocols=((0x02, i),), rng=os.urandom, **parameters)
    records = tuple(KeyRecord(kid, KeyType.DES, TEST_KEY) for kid in (1, 2, 3))
    memory.commit({"keys": bytes((DES_KVN, 0xFF)), f"keys/{DES_KVN:02x}": KeySetRecord(records).build()})
    return element(memory=memory, rng=os.urandom)
