"""SCP02 (GPCS appendix E): the triple DES secure channel of older cards, both ends. Legacy: allowed by name only."""

from keywright.scp.failure import CardCryptogramError
from keywright.scp.scp02.card import CardChannel
from keywright.scp.scp02.host import (
    external_authenticate,
    initialize_update,
    open_channel,
    open_implicit,
    read_counter,
)
from keywright.scp.scp02.keys import KeySet
from keywright.scp.scp02.messaging import HostChannel
from keywright.scp.scp02.profile import Profile

__all__ = [
    "CardChannel",
    "CardCryptogramError",
    "HostChannel",
    "KeySet",
    "Profile",
    "external_authenticate",
    "initialize_update",
    "open_channel",
    "open_implicit",
    "read_counter",
]
