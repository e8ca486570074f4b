"""Network PDUs as advertising data: an endpoint of the one as an endpoint of the other (MshPRT 3.3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar, final

from keywright.mesh.advertising import MESH_MESSAGE, ad_structures, build_ad
from keywright.sansio.endpoint import Endpoint

Event = TypeVar("Event")


@final
class Advertised(Generic[Event]):
    """Endpoint: what is inside, on an advertising bearer."""

    def __init__(self, inner: Endpoint[Event]) -> None:
        self._inner = inner

    def receive(self, data: bytes, now: float) -> None:
        """Take advertising data."""
        for kind, content in ad_structures(data):
            if kind == MESH_MESSAGE:
                self._inner.receive(content, now)

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Advertising data to send now."""
        return [build_ad(MESH_MESSAGE, pdu) for pdu in self._inner.outgoing(now)]

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        return self._inner.deadline()

    def events(self) -> Sequence[Event]:
        """What has happened inside."""
        return self._inner.events()
