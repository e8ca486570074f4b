"""Ranging sessions for tests: ends on an air, attackers beside them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from keywright.crypto.aes import AesKey
from keywright.uwb.air import Clock, Medium, Position, Station, UwbAir, straight
from keywright.uwb.grid import Grid, Hopping
from keywright.uwb.ranging.ends import Options
from keywright.uwb.ranging.events import Measured
from keywright.uwb.ranging.initiator import Initiator
from keywright.uwb.ranging.radio import Transmission
from keywright.uwb.ranging.responder import Responder
from keywright.uwb.setup.terms import Terms

URSK = AesKey(bytes(range(32)), "URSK")
SESSION = 0x01020304
QUICK = Options(sts_blocks=2)
"""Short sequences: nothing but the pulses' number differs."""


def terms_of(
    *, sts_index0: int = 1000, responders: int = 1, hopping: Hopping = Hopping.NONE, round_offset: int = 0, **grid: int
) -> Terms:
    """Terms of a session whose blocks last 96 ms, and begin after a tenth of a second."""
    slots = grid.pop("slots_per_round", 6 if responders < 3 else 16)
    laid = Grid(
        sts_index0,
        responders,
        grid.pop("ran_multiplier", 1),
        slots,
        grid.pop("chaps_per_slot", 3),
        hopping,
        0xCC5DD79F,
        round_offset,
    )
    return Terms(SESSION, 0, 0x11, 9, 9, laid, grid.pop("uwb_time0", 100_000))


class Attacker:
    """A station that hears nothing and sends what it is told, when its clock says so."""

    def __init__(self) -> None:
        self.orders: list[Transmission] = []
        self.heard: list[bytes] = []

    def receive(self, data: bytes, now: float) -> None:
        self.heard.append(data)

    def outgoing(self, now: float) -> Sequence[bytes]:
        orders, self.orders = self.orders, []
        return [order.build() for order in orders]

    def deadline(self) -> float | None:
        return None

    def events(self) -> Sequence[object]:
        return []


class Scene:
    """One initiator at the origin and responders around it."""

    def __init__(
        self,
        terms: Terms,
        anchors: Sequence[Position],
        *,
        clock: Clock | None = None,
        anchor_clocks: Sequence[Clock] = (),
        loss: float = 0.0,
        medium: Medium = straight,
        options: Options = QUICK,
        seconds: Sequence[bool] = (),
        **ends: Any,
    ) -> None:
        self.air = UwbAir(random.Random(7).random, loss=loss, medium=medium)
        self.initiator = Initiator(URSK, terms, options=options, **ends)
        self.station = self.air.join(self.initiator, clock=clock)
        self.responders: list[Responder] = []
        self.anchors: list[Station] = []
        count = terms.grid.responders
        for number, position in enumerate(anchors):
            is_second = seconds[number] if seconds else False
            responder = Responder(URSK, terms, number % count, options=options, second_round=is_second, **ends)
            self.responders.append(responder)
            local = anchor_clocks[number] if anchor_clocks else None
            self.anchors.append(self.air.join(responder, position, local))

    def run(self, seconds: float) -> list[list[Any]]:
        """Let time pass; the events of each responder."""
        self.air.run(self.air.now_s + seconds)
        return [list(responder.events()) for responder in self.responders]

    def distances(self, seconds: float) -> list[list[float]]:
        """Let time pass; the distances of each responder, which has nothing else to tell."""
        found = []
        for events in self.run(seconds):
            assert all(isinstance(event, Measured) for event in events), events
            found.append([event.distance_m for event in events])
        return found
