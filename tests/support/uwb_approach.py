"""A device that comes near a reader: one agreed session played on an air, relay included.

Each end brings what it has derived and agreed to itself, and the distances come out; if the two differ, none do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, final

from keywright.crypto.aes import AesKey
from keywright.uwb.air import Arrival, Clock, Position, Station, UwbAir
from keywright.uwb.ranging.ends import Options
from keywright.uwb.ranging.events import Measured, ResponderEvent
from keywright.uwb.ranging.initiator import Initiator
from keywright.uwb.ranging.radio import Transmission
from keywright.uwb.ranging.responder import Responder
from keywright.uwb.setup.terms import Terms
from keywright.uwb.twr import LIGHT_M_PER_S

EARLY_S: Final = 0.01
"""From the beginning to block 0."""


class Session(NamedTuple):
    """What one end has of a session: the URSK it derived, and what it agreed to."""

    ursk: AesKey
    terms: Terms


@final
class Approach:
    """One session under way. `device_at` may be changed at any time, and so may `relay_m`."""

    def __init__(
        self,
        device: Session,
        reader: Session,
        device_at: Position,
        anchors: Sequence[Position] = ((0.0, 0.0, 0.0),),
        *,
        random: Callable[[], float],
        relay_m: float | None = None,
        hears_m: float = 100.0,
        loss: float = 0.0,
        device_ppm: float = 0.0,
        options: Options | None = None,
    ) -> None:
        """random(): a number from 0 up to 1. hears_m: nobody hears further. device_ppm: how fast the device's clock is.

        relay_m: two boxes, one beside the device and one beside the reader, carry what cannot be heard so many metres.

        Raises ValueError for more anchors than the reader's session has responders.
        """
        self.relay_m = relay_m
        self._hears_m = hears_m
        self._air = UwbAir(random, loss=loss, medium=self._ways)
        # The device's clock begins just before its block 0; the reader's has nothing to do with it.
        clock = Clock(round(device_ppm * 1000), device.terms.uwb_time0 / 1e6 - EARLY_S)
        self._device = self._air.join(Initiator(*device, options=options), device_at, clock)
        self._responders = [Responder(*reader, number, options=options) for number in range(len(anchors))]
        for responder, place in zip(self._responders, anchors, strict=True):
            self._air.join(responder, place)

    @property
    def device_at(self) -> Position:
        """Where the device is, metres."""
        return self._device.position

    @device_at.setter
    def device_at(self, position: Position) -> None:
        self._device.position = position

    def events(self, seconds: float) -> list[ResponderEvent]:
        """Let time pass; what the reader's anchors have to say of it, block by block."""
        self._air.run(self._air.now_s + seconds)
        found = [event for responder in self._responders for event in responder.events()]
        return sorted(found, key=lambda event: getattr(event, "block", math.inf))

    def distances(self, seconds: float) -> list[float]:
        """Let time pass; the distances that came of it, metres."""
        return [event.distance_m for event in self.events(seconds) if isinstance(event, Measured)]

    def _ways(self, sender: Station, receiver: Station, packet: Transmission, time_s: float) -> Sequence[Arrival]:
        del time_s
        metres = math.dist(sender.position, receiver.position)
        if metres <= self._hears_m:
            return (Arrival(metres / LIGHT_M_PER_S, packet.octets),)
        if self.relay_m is None or self._device not in (sender, receiver):
            return ()
        return (Arrival(self.relay_m / LIGHT_M_PER_S, packet.octets),)
