"""Network PDUs as advertising data: an endpoint of the one as an endpoint of the other (MshPRT 3.3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar, final

from keywright.mesh.advertising import MESH_BEACON, MESH_MESSAGE, ad_structures, build_ad
from keywright.mesh.network.beaconing import Beaconing
from keywright.sansio.endpoint import Endpoint

Event = TypeVar("Event")


@final
class Advertised(Generic[Event]):
    """Endpoint: what is inside, on an advertising bearer, and its beacons if it has any."""

    def __init__(self, inner: Endpoint[Event], beaconing: Beaconing | None = None) -> None:
        self._inner = inner
        self._beaconing = beaconing

    def receive(self, data: bytes, now: float) -> None:
        """Take advertising data."""
        for kind, content in ad_structures(data):
            if kind == MESH_MESSAGE:
                self._inner.receive(content, now)
            elif kind == MESH_BEACON and self._beaconing is not None:
                self._beaconing.receive(content, now)

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Advertising data to send now."""
        frames = [build_ad(MESH_MESSAGE, pdu) for pdu in self._inner.outgoing(now)]
        if self._beaconing is not None:
            frames += [build_ad(MESH_BEACON, beacon) for beacon in self._beaconing.outgoing(now)]
        return frames

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        times = (self._inner.deadline(), self._beaconing.deadline() if self._beaconing is not None else None)
        return min((time for time in times if time is not None), default=None)

    def events(self) -> Sequence[Event]:
        """What has happened inside."""
        return self._inner.events()
