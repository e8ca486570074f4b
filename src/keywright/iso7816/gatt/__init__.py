"""APDUs over GATT, by a framing of our own (docs/apdu-over-ble.md): no standard has one for elements inside a fob."""

from __future__ import annotations

from keywright.iso7816.gatt.card import GattCard
from keywright.iso7816.gatt.host import GattHost
from keywright.iso7816.gatt.messages import SERVICE

__all__ = ["SERVICE", "GattCard", "GattHost"]
