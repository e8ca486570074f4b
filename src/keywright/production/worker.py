"""One of several processes that work on a lot on one machine. Started by `crew`, which tells it what to do.

It reads its plan from its input and ends when that closes: whoever started it is gone. It tells what happens, a JSON
object a line.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import final

import msgspec

from keywright.errors import KeywrightError
from keywright.fob.pool import FobPool
from keywright.iso7816.apdu import Command, Response
from keywright.production.ble_lot import host_of
from keywright.production.campaign import take_all
from keywright.production.crew_messages import (
    Ended,
    Exchanged,
    Finished,
    Noticed,
    Passed,
    Started,
    Told,
    Trouble,
    WorkerPlan,
)
from keywright.production.means import Means
from keywright.production.readiness import lot_in, the_keystore
from keywright.production.recipe import parse_recipe
from keywright.production.stations import Station
from keywright.production.unit_store.units import UnitStore
from keywright.production.watch import Phase, Unwatched


@final
class _Telling(Unwatched):
    """Tells what the process that started us shows, counts and traces."""

    def __init__(self, *, traced: bool) -> None:
        self._traced = traced
        self._at: dict[int, str] = {}

    def started(self, unit: int, serial: str) -> None:
        """Tell it."""
        tell(Started(unit, serial))

    def noticed(self, text: str) -> None:
        """Tell it."""
        tell(Noticed(text))

    def finished(self, unit: int, serial: str, state: str, failure: str) -> None:
        """Tell it."""
        self._at.pop(unit, None)
        tell(Finished(unit, serial, state, failure))

    def moment(self, phase: Phase, unit: int, step: str) -> None:
        """Tell when the first unit was told something, and answered: the report draws it. Of others, each new step."""
        if unit == 1 and phase in ("after send", "after answer"):
            tell(Passed(phase, unit, step))
        elif phase == "after send" and self._at.get(unit) != step:
            self._at[unit] = step
            tell(Passed(phase, unit, step))

    def exchanged(self, unit: int, sent: Command, plain: Command, got: Response, opened: Response) -> None:
        """Tell it."""
        if unit == 1 or self._traced:
            tell(Exchanged(unit, sent.encode(), plain.encode(), got.encode(), opened.encode()))


def tell(told: Told) -> None:
    """One line to whoever started us; it being gone ends us elsewhere."""
    try:
        os.write(1, msgspec.json.encode(told) + b"\n")
    except BrokenPipeError:
        os._exit(1)


def work(plan: WorkerPlan) -> None:
    """Take up units until none is left that this process could do."""
    with UnitStore.open(plan.store, station=plan.name, ttl_s=plan.ttl_s) as units, units.keep_alive():
        lot = lot_in(units, plan.store)
        recipe = parse_recipe(lot.recipe.encode(), f"{lot.lot} (as stored)")
        unlock = Path(plan.unlock) if plan.unlock else None
        watcher = _Telling(traced=plan.traced)
        means = Means(keystore=plan.keystore, unlock=unlock, link=plan.link, width=plan.width, watcher=watcher)
        means.prepares = plan.prepares
        keystore = the_keystore(means, plan.link, units.path, lot)
        with _station(plan) as station:
            tell(Ended(take_all(units, station, recipe, keystore, means).stopped))


@contextmanager
def _station(plan: WorkerPlan) -> Iterator[Station]:
    tray = FobPool.connect(plan.tray)
    station: Station = tray
    try:
        if plan.air:
            station = host_of(plan.air, tray)
        yield station
    finally:
        tray.close() if station is tray else station.close()


def main() -> None:
    """Entry point of the process."""
    plan = msgspec.json.decode(sys.stdin.buffer.readline(), type=WorkerPlan)
    threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        work(plan)
    except KeywrightError as error:
        tell(Trouble(error.code, str(error), error.hint, error.exit_code))


def _end_with_input() -> None:
    """Whoever started us has ended, or wants us to: drop everything where it stands, the store knows how to go on."""
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
