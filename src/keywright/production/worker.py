"""One of several processes that work on a lot on one machine. Started by `crew`, which tells it what to do.

It reads its plan from its input and ends when that closes: whoever started it is gone. It tells what happens, a JSON
object a line.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import final

import msgspec

from keywright.errors import KeywrightError
from keywright.fob.pool import FobPool
from keywright.production.campaign import take_all
from keywright.production.crew_messages import Ended, Finished, Started, Told, Trouble, WorkerPlan
from keywright.production.means import Means
from keywright.production.readiness import lot_in, the_keystore
from keywright.production.recipe import parse_recipe
from keywright.production.unit_store.units import UnitStore
from keywright.production.watch import Unwatched


@final
class _Telling(Unwatched):
    """Tells what the process that started us shows and counts."""

    def started(self, unit: int, serial: str) -> None:
        """Tell it."""
        tell(Started(unit, serial))

    def finished(self, unit: int, serial: str, state: str, failure: str) -> None:
        """Tell it."""
        tell(Finished(unit, serial, state, failure))


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
        means = Means(keystore=plan.keystore, unlock=unlock, link=plan.link, width=plan.width, watcher=_Telling())
        keystore = the_keystore(means, plan.link, units.path, lot)
        with FobPool.connect(plan.tray) as station:
            tell(Ended(take_all(units, station, recipe, keystore, means).stopped))


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
