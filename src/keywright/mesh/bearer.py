"""What carries provisioning PDUs: one link, with what it reports (MshPRT 5.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import msgspec


class LinkOpened(msgspec.Struct, frozen=True):
    """The link is open: PDUs may be sent."""


class PduReceived(msgspec.Struct, frozen=True):
    """A provisioning PDU came, whole."""

    pdu: bytes


class LinkClosed(msgspec.Struct, frozen=True):
    """The link is closed, by the peer or because it does not answer; not told when this side closed it."""

    reason: int
    """As `ends.CloseReason`; what a bearer without reasons has for a plain end is SUCCESS."""
    why: str
    is_own: bool = False
    """Whether this side gave up, because the peer did not answer."""


BearerEvent: TypeAlias = LinkOpened | PduReceived | LinkClosed


class Bearer(Protocol):
    """Endpoint: one provisioning link on some bearer; its frames are the bearer's own."""

    def send(self, pdu: bytes, now: float) -> None:
        """Send a provisioning PDU after those sent before; dropped once the link is closed."""
        ...

    def close(self, reason: int, now: float) -> None:
        """Close the link after what is under way; twice does no harm. reason: as `ends.CloseReason`."""
        ...

    def receive(self, data: bytes, now: float) -> None:
        """Take one frame."""
        ...

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Frames to send now."""
        ...

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        ...

    def events(self) -> Sequence[BearerEvent]:
        """What has happened."""
        ...
