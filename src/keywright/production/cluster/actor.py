"""The station as an actor of Ray, and the task of the bulk lane: nothing but the door to what does the work."""

from __future__ import annotations

import os

import msgspec

from keywright.production.cluster.plan import Report, StationPlan
from keywright.production.cluster.station import Station


class StationActor:
    """One station: it lives as long as the cluster, whoever drives it, and is made anew when it dies."""

    def __init__(self, plan: bytes) -> None:
        """Take a `StationPlan` as JSON, and put the units of this station's last life where they are recovered."""
        self._station = Station(msgspec.json.decode(plan, type=StationPlan))
        self._station.prepare()

    def work(self, seconds: float) -> bytes:
        """Work for about so long; a `Report` as JSON, whatever happens."""
        report: Report = self._station.work(seconds)
        return msgspec.json.encode(report)

    def process(self) -> int:
        """Its process id."""
        return os.getpid()

    def close(self) -> None:
        """Let go of store, keystore and reader."""
        self._station.close()
