"""The air between UWB radios, in virtual time: light takes its time, clocks differ, counters wrap, packets get lost.

Time is an integer of femtoseconds, so that hours do not cost precision. Every station has a clock of its own, and its
radio counts that clock's ticks in 40 bits. Nothing waits: the clock jumps to what is due next.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, final

import msgspec

from keywright.sansio.endpoint import Endpoint
from keywright.uwb.ranging.radio import Reception, Transmission, biased
from keywright.uwb.twr import COUNTER_BITS, COUNTER_MASK, LIGHT_M_PER_S, TICK_HZ

FS: Final = 10**15
_PPB: Final = 10**9

Position = tuple[float, float, float]


class Clock(msgspec.Struct, frozen=True):
    """A station's clock: how fast it runs, and what it says when the air's begins."""

    ppb: int = 0
    """Parts per billion by which it is faster than true time; 20 ppm are 20,000."""
    ahead_s: float = 0.0

    @property
    def ahead_ticks(self) -> int:
        """What it says at the beginning, in ticks."""
        return int(self.ahead_s * TICK_HZ)

    def ticks(self, time_fs: int) -> int:
        """What it says then, in ticks that do not wrap."""
        return self.ahead_ticks + time_fs * TICK_HZ * (_PPB + self.ppb) // (FS * _PPB)

    def time_fs(self, ticks: int) -> int:
        """When it first says so many ticks."""
        return -(-(ticks - self.ahead_ticks) * FS * _PPB // (TICK_HZ * (_PPB + self.ppb)))


class Arrival(NamedTuple):
    """One way on which a packet gets to a receiver."""

    delay_s: float
    """Since it left: distance by the speed of light, and whatever else is in the way."""
    octets: bytes


class Station(msgspec.Struct):
    """An endpoint on the air, where it is and how its clock runs."""

    endpoint: Endpoint[Any]
    position: Position
    clock: Clock
    number: int


Medium = Callable[[Station, Station, Transmission, float], Sequence[Arrival]]
"""medium(sender, receiver, packet, true time in seconds): how the packet gets there; empty: not at all."""


def straight(sender: Station, receiver: Station, packet: Transmission, time_s: float) -> Sequence[Arrival]:
    """The straight way and no other."""
    del time_s
    return (Arrival(math.dist(sender.position, receiver.position) / LIGHT_M_PER_S, packet.octets),)


@final
class UwbAir:
    """A medium for ends of ranging. `now_s` is true time; it starts at 0 and moves in `run` alone."""

    def __init__(self, random: Callable[[], float], *, loss: float = 0.0, medium: Medium = straight) -> None:
        """random(): a number from 0 up to 1. loss: the share of packets that a receiver does not hear."""
        self.sent = 0
        """Packets that were sent."""
        self.late = 0
        """Orders that came when their tick was over."""
        self._random = random
        self._loss = loss
        self._medium = medium
        self._now = 0
        self._stations: dict[int, Station] = {}
        self._due: list[tuple[int, int, int, Arrival | None, int, int]] = []
        self._woken: dict[int, int] = {}
        self._order: Final = itertools.count()
        self._numbers: Final = itertools.count()

    @property
    def now_s(self) -> float:
        """True time, seconds."""
        return self._now / FS

    def join(
        self, endpoint: Endpoint[Any], position: Position = (0.0, 0.0, 0.0), clock: Clock | None = None
    ) -> Station:
        """Put an endpoint on the air. The station's position may be changed at any time."""
        station = Station(endpoint, position, clock or Clock(), next(self._numbers))
        self._stations[station.number] = station
        self.wake(station)
        return station

    def leave(self, station: Station) -> None:
        """Take a station off the air."""
        self._stations.pop(station.number, None)
        self._woken.pop(station.number, None)

    def wake(self, station: Station) -> None:
        """Look at an endpoint now, because its owner told it something."""
        self._push(self._now, station.number, None)

    def local_s(self, station: Station) -> float:
        """What a station's clock says now, seconds."""
        return station.clock.ticks(self._now) / TICK_HZ

    def run(self, until_s: float, stop: Callable[[], bool] = lambda: False) -> None:
        """Go on until that true time, until nothing is due any more, or until `stop()` after some packet."""
        until = round(until_s * FS)
        while self._due and self._due[0][0] <= until and not stop():
            self._now, _, number, arrival, kind, offset = heapq.heappop(self._due)
            station = self._stations.get(number)
            if station is None:
                continue
            ticks = station.clock.ticks(self._now)
            local = ticks / TICK_HZ
            if arrival is not None:
                heard = Reception(kind, ticks & COUNTER_MASK, offset, arrival.octets)
                station.endpoint.receive(heard.build(), local)
            elif self._woken.get(number) == self._now:
                del self._woken[number]
            for order in station.endpoint.outgoing(local):
                self._send(station, Transmission.parse(order), ticks)
            self._sleep(station)
        if not stop():
            self._now = max(self._now, until)

    def _sleep(self, station: Station) -> None:
        deadline = station.endpoint.deadline()
        if deadline is None:
            return
        clock = station.clock
        # A tick later, so that the station's clock has surely reached it.
        due = self._now if deadline == float("-inf") else clock.time_fs(math.ceil(deadline * TICK_HZ) + 1)
        due = max(due, self._now)
        if self._woken.get(station.number, due + 1) > due:
            self._woken[station.number] = due
            self._push(due, station.number, None)

    def _send(self, sender: Station, packet: Transmission, ticks: int) -> None:
        ahead = packet.at - ticks & COUNTER_MASK
        if ahead >> COUNTER_BITS - 1:
            self.late += 1
            return
        leaves = sender.clock.time_fs(ticks + ahead)
        self.sent += 1
        for station in self._stations.values():
            if station is sender or (self._loss and self._random() < self._loss):
                continue
            offset = biased(round((sender.clock.ppb - station.clock.ppb) * _PPB / (_PPB + station.clock.ppb)))
            for arrival in self._medium(sender, station, packet, leaves / FS):
                arrives = max(self._now, leaves + round(arrival.delay_s * FS))
                self._push(arrives, station.number, arrival, packet.kind, offset)

    def _push(self, time: int, number: int, arrival: Arrival | None, kind: int = 0, offset: int = 0) -> None:
        heapq.heappush(self._due, (time, next(self._order), number, arrival, kind, offset))
