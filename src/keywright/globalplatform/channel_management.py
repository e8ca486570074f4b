"""MANAGE CHANNEL on the wire (ISO 7816-4 11.1.2, GPCS 11.7)."""

from __future__ import annotations

from typing import Final

from keywright.codec.record import U8, Record

OPEN: Final = 0x00
CLOSE: Final = 0x80
"""P1."""
CARD_CHOOSES: Final = 0x00
"""P2 of OPEN: the card assigns the number and answers it; any other P2 asks for that channel."""
MAX_CHANNEL: Final = 19


class OpenedChannel(Record, frozen=True):
    """Answer to MANAGE CHANNEL open: the number of the channel, 1 to 19."""

    number: U8
