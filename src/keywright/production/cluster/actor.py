"""The station as an actor of Ray: nothing but the door to what does the work."""

from __future__ import annotations

import os
from typing import Any, Final

import msgspec

from keywright.production.cluster.library import ray
from keywright.production.cluster.plan import Report, StationPlan
from keywright.production.cluster.station import Station
from keywright.production.cluster.watchdog import Watchdog

ALONE_S: Final = 60.0
"""A station that no driver asks for so long gives its reader back: the command was killed, or stopped by a person."""


class StationActor:
    """One station: it lives on from driver to driver, and is made anew when it dies."""

    def __init__(self, plan: bytes) -> None:
        """Take a `StationPlan` as JSON, and put the units of this station's last life where they are recovered."""
        self._watchdog = Watchdog(ALONE_S, _end_for_good)
        with self._watchdog.busy():
            self._station = Station(msgspec.json.decode(plan, type=StationPlan))
            self._station.prepare()

    def work(self, seconds: float) -> bytes:
        """Work for about so long; a `Report` as JSON, whatever happens."""
        with self._watchdog.busy():
            report: Report = self._station.work(seconds)
        return msgspec.json.encode(report)

    def process(self) -> int:
        """Its process id."""
        return os.getpid()

    def close(self) -> None:
        """Let go of store, keystore and reader."""
        self._station.close()


def _end_for_good() -> None:
    """An actor that just ended would be made anew. Where its cluster is not there any more, its process ends."""
    try:
        library: Any = ray()
        library.kill(library.get_runtime_context().current_actor, no_restart=True)
    finally:
        os._exit(0)
