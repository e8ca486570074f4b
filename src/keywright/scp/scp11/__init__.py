"""SCP11 (GlobalPlatform Card Specification, Amendment F): key agreement on elliptic curves, both ends."""

from keywright.scp.scp11.authority import Authority
from keywright.scp.scp11.card import Initiation
from keywright.scp.scp11.card_channel import CardChannel
from keywright.scp.scp11.domain import SecurityDomain
from keywright.scp.scp11.host import ANY_CARD, Card, Holder, HostChannel, open_channel, read_certificates, verify_card
from keywright.scp.scp11.messages import SCP11A, SCP11B, SCP11C, KeyReference
from keywright.scp.scp11.profile import Profile

__all__ = [
    "ANY_CARD",
    "SCP11A",
    "SCP11B",
    "SCP11C",
    "Authority",
    "Card",
    "CardChannel",
    "Holder",
    "HostChannel",
    "Initiation",
    "KeyReference",
    "Profile",
    "SecurityDomain",
    "open_channel",
    "read_certificates",
    "verify_card",
]
