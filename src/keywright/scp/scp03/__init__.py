"""SCP03 (GlobalPlatform Card Specification, Amendment D): AES secure channel, both ends."""

from keywright.scp.scp03.card import CardChannel
from keywright.scp.scp03.host import (
    CardCryptogramError,
    HostChannel,
    external_authenticate,
    initialize_update,
    open_channel,
)
from keywright.scp.scp03.keys import KeySet

__all__ = [
    "CardChannel",
    "CardCryptogramError",
    "HostChannel",
    "KeySet",
    "external_authenticate",
    "initialize_update",
    "open_channel",
]
