"""The driver's process: `python -m keywright.production.cluster.drive`, a `LotPlan` as JSON on its standard input."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, final

import msgspec

from keywright.errors import KeywrightError, StoreError
from keywright.production.cluster.bulk import bulk_lane
from keywright.production.cluster.driver import Driver
from keywright.production.cluster.library import ClusterLostError, ray
from keywright.production.cluster.plan import End, LotPlan, actor_name
from keywright.production.cluster.supervisor import PASSING
from keywright.production.cluster.watchdog import Watchdog
from keywright.production.control.admission import recipe_of
from keywright.production.readiness import lot_in
from keywright.production.unit_store.tables import FINISHED
from keywright.production.unit_store.units import UnitStore

ENDED: Final = 0
HANG_S: Final = 60.0
"""A driver that did not get round its loop for so long ends itself: a call into a dead cluster may never return."""
_WAIT_S: Final = 60.0
_STORE_S: Final = 120.0
"""A store that does not open for so long is not passing trouble, as at a station (`driver.TROUBLE_S`)."""
_POLL_S: Final = 0.1

logger = logging.getLogger(__name__)


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
    watchdog = Watchdog(HANG_S, lambda: os._exit(PASSING))
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
    with _opened(plan.stations[0].store, watchdog.alive) as units:
        lot = lot_in(units, plan.stations[0].store)
        stations = [(actor_name(one, lot.recipe_digest), one) for one in plan.stations]
        bulk = bulk_lane(library, plan.stations[0], units, recipe_of(lot))
        driver = Driver(library, StoredLot(units), stations, bulk=bulk)
        end = driver.run(watchdog.alive)
        driver.close()
        return end


def _opened(store: str, alive: Callable[[], None]) -> UnitStore:
    """The store, also of a server that is just being restarted. Raises StoreError after `_STORE_S`."""
    until = time.monotonic() + _STORE_S
    while True:
        try:
            return UnitStore.open(store, station="driver")
        except StoreError:
            if time.monotonic() >= until:
                raise
        alive()
        time.sleep(_POLL_S)


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
