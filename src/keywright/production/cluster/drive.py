"""The driver's process: `python -m keywright.production.cluster.drive`, a `LotPlan` as JSON on its standard input."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Final, final

import msgspec

from keywright.errors import KeywrightError
from keywright.production.cluster.driver import Driver
from keywright.production.cluster.library import ClusterLostError, ray
from keywright.production.cluster.plan import End, LotPlan, actor_name
from keywright.production.cluster.supervisor import PASSING
from keywright.production.readiness import lot_in
from keywright.production.unit_store.tables import FINISHED
from keywright.production.unit_store.units import UnitStore

ENDED: Final = 0
HANG_S: Final = 60.0
"""A driver that did not get round its loop for so long ends itself: a call into a dead cluster may never return."""
_WAIT_S: Final = 60.0
_POLL_S: Final = 0.1

logger = logging.getLogger(__name__)


@final
class Watchdog:
    """Ends this process when nobody has said for `limit_s` that it is alive."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._last = time.monotonic()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def alive(self) -> None:
        """Say so."""
        self._last = time.monotonic()

    def _watch(self) -> None:
        while time.monotonic() - self._last < self._limit_s:
            time.sleep(1.0)
        os._exit(PASSING)


@final
class StoredLot:
    """The lot in its store."""

    def __init__(self, units: UnitStore) -> None:
        self._units = units

    def reap(self) -> int:
        """As the driver wants it."""
        return self._units.reap()

    def left(self) -> int:
        """As the driver wants it."""
        return sum(number for state, number in self._units.counts().items() if state not in FINISHED)

    def leased(self) -> int:
        """As the driver wants it."""
        return self._units.leased()


def main() -> int:
    """Drive until the lot has come to an end: 0, and how is in the file that the plan names. Else `PASSING`."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=LotPlan)
    watchdog = Watchdog(HANG_S)
    try:
        end = _driven(plan, watchdog)
    except ClusterLostError as error:
        logger.warning("%s", error)
        return PASSING
    except KeywrightError as error:
        end = End(trouble=str(error), hint=error.hint)
    place = Path(plan.end)
    written = place.with_suffix(".new")
    written.write_bytes(msgspec.json.encode(end))
    written.replace(place)
    return ENDED


def _driven(plan: LotPlan, watchdog: Watchdog) -> End:
    wait_for_head(plan.gcs)
    library = ray()
    library.init(plan.gcs, namespace=plan.identity, log_to_driver=False, logging_level=logging.ERROR)
    watchdog.alive()
    with UnitStore.open(plan.stations[0].store, station="driver") as units:
        lot = lot_in(units, plan.stations[0].store)
        stations = [(actor_name(one, lot.recipe_digest), one) for one in plan.stations]
        driver = Driver(library, StoredLot(units), stations)
        end = driver.run(watchdog.alive)
        driver.close()
        return end


def wait_for_head(gcs: str, wait_s: float = _WAIT_S) -> None:
    """Wait until somebody listens there. Raises ClusterLostError; the library itself would wait for long, and end."""
    host, _, port = gcs.rpartition(":")
    until = time.monotonic() + wait_s
    while True:
        with contextlib.suppress(OSError), socket.create_connection((host.strip("[]"), int(port)), 1.0):
            return
        if time.monotonic() >= until:
            raise ClusterLostError(f"{gcs}: no head of a cluster answers")
        time.sleep(_POLL_S)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # the library's own clean-up may wait for a cluster that is not there any more
