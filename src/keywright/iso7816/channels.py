"""The class byte: logical channel, secure messaging and chaining bits (ISO 7816-4 5.4.1, GPCS 11.1.4).

Channels 0-3 sit in b2b1 of a first interindustry class, channels 4-19 in b4-b1 of a further one (b7 set).
A GlobalPlatform class is the same with b8 set.
"""

from __future__ import annotations

from typing import Final

GP = 0x80
MAX_CHANNEL = 19
_FURTHER = 0x40
_SM_FIRST = 0x0C  # b4 b3
_SM_FIRST_GP = 0x04  # b3: "secure messaging, GlobalPlatform proprietary"
_SM_FURTHER = 0x20  # b6
_CHAIN = 0x10  # b5


def channel_of(cla: int) -> int:
    """Logical channel number 0-19 of a class byte."""
    return (cla & 0x0F) + 4 if cla & _FURTHER else cla & 0x03


def with_channel(cla: int, channel: int) -> int:
    """`cla`, coded for channel 0, moved to `channel`, keeping its secure-messaging and chaining bits.

    Raises ValueError for a channel outside 0-19.
    """
    if not 0 <= channel <= MAX_CHANNEL:
        raise ValueError(f"logical channel {channel} is not 0-19")
    if channel < 4:
        return (cla & ~0x03) | channel
    secure = _SM_FURTHER if cla & _SM_FIRST else 0
    return (cla & (GP | _CHAIN)) | _FURTHER | secure | (channel - 4)


def is_gp(cla: int) -> bool:
    """Whether the class is GlobalPlatform's (b8 set)."""
    return bool(cla & GP)


def is_secured(cla: int) -> bool:
    """Whether the class says that the command carries GlobalPlatform secure messaging."""
    return bool(cla & _SM_FURTHER) if cla & _FURTHER else bool(cla & _SM_FIRST_GP)


def is_chained(cla: int) -> bool:
    """Whether the class says that more of this command follows (ISO command chaining)."""
    return bool(cla & _CHAIN)


def secured(cla: int) -> int:
    """`cla` with the secure-messaging bit set."""
    return cla | (_SM_FURTHER if cla & _FURTHER else _SM_FIRST_GP)


def plain(cla: int) -> int:
    """`cla` without secure-messaging and chaining bits; the channel stays."""
    return cla & ~(_SM_FURTHER | _CHAIN) if cla & _FURTHER else cla & ~(_SM_FIRST | _CHAIN)


def is_valid(cla: int) -> bool:
    """Whether the byte can be a class at all: FF opens a PPS, 20-3F is reserved (ISO 7816-4 table 2)."""
    return cla != 0xFF and cla & 0x60 != 0x20


CHANNEL_OF: Final = tuple(channel_of(cla) if is_valid(cla) else None for cla in range(0x100))
"""Logical channel number by class byte; None for what can be no class."""
