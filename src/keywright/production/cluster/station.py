"""What a station of a cluster does: hold its reader, lease units from the store, and take them through the recipe.

Ray is not known here. What a station met is told, never raised: whoever asks again finds everything opened anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, final

import msgspec

from keywright.errors import KeywrightError, LinkError, PolicyError, StoreError, UsageError
from keywright.fob.open import check_link, model_of, open_link
from keywright.fob.pool import FobPool
from keywright.production import campaign
from keywright.production.cluster.plan import Report, StationPlan
from keywright.production.control.admission import recipe_of
from keywright.production.engine import Outcome
from keywright.production.keystores.keystore import Keystore
from keywright.production.means import SIM, Means
from keywright.production.readiness import lot_in, memory_of, the_keystore
from keywright.production.recipe import Recipe
from keywright.production.stations import LinkStation
from keywright.production.stations import Station as Place
from keywright.production.unit_store.database import store_path
from keywright.production.unit_store.units import Unit, UnitStore
from keywright.store.lock import FileLock

_AT_ONCE: Final = 16
"""Units leased in one transaction: those in hand when the time is over are finished first."""
_LOCKS: Final = Path("/run/lock")
"""One place for a machine, whatever the environment of a process says (FHS 3.15)."""
_READER_WAIT_S: Final = 30.0
"""A station that was made anew waits so long for the remains of its last life to let go of the reader."""

logger = logging.getLogger(__name__)


def reader_lock(plan: StationPlan) -> FileLock:
    """The reader, held by one process of this machine. A station cut off from its cluster may live on for a minute.

    What is held of simulated units is the file with their memory, so that lots beside each other do not wait.
    Raises StoreError naming the process that has it.
    """
    uri = check_link(plan.link)
    held = memory_of(uri, store_path(plan.store), plan.name) if uri.is_simulated else plan.link
    name = hashlib.sha256(held.encode()).hexdigest()[:24]
    folder = _LOCKS if os.access(_LOCKS, os.W_OK) else Path(tempfile.gettempdir())
    path = folder / f"keywright-{os.getuid()}-reader-{name}.lock"
    return FileLock(str(path), f"the reader {plan.link} of station {plan.name}", _READER_WAIT_S)


class _Open(msgspec.Struct):
    """What a station holds while it works."""

    units: UnitStore
    keystore: Keystore
    place: Place
    recipe: Recipe
    means: Means


@final
class Station:
    """One station of a lot."""

    def __init__(self, plan: StationPlan, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Open nothing yet."""
        self._plan = plan
        self._clock = clock
        self._stack = contextlib.ExitStack()
        self._open: _Open | None = None
        self._trouble: KeywrightError | None = None
        self._proven = 0

    def prepare(self) -> None:
        """Take hold of everything; what this station had in hand before it died is then to be recovered."""
        try:
            self._ready()
        except KeywrightError as error:
            self._trouble = error
            self.close()

    def work(self, seconds: float) -> Report:
        """Take up units for that long, and bring those in hand to an end."""
        if (trouble := self._trouble) is not None:
            self._trouble = None
            return _told(trouble)
        try:
            return self._worked(self._ready(), self._clock() + seconds)
        except KeywrightError as error:
            self.close()
            nobody = isinstance(error, LinkError) and not self._plan.link.startswith(SIM)
            return _told(error, idle=nobody)

    def close(self) -> None:
        """Let go of everything; what is in hand goes back to the store. It may work again."""
        self._open = None
        self._proven = 0
        self._stack.close()

    def _worked(self, at: _Open, until: float) -> Report:
        """A tray has every unit at hand; on a link whoever is put on it decides, and one device is one call's work."""
        claimed = 0

        def units() -> Iterator[Unit]:
            nonlocal claimed
            while self._clock() < until and (found := at.units.claim(_AT_ONCE, pin=True)):
                claimed += len(found)
                yield from found

        source = units() if isinstance(at.place, FobPool) else None
        outcome = campaign.take_through(
            at.units, at.place, at.recipe, at.keystore, at.means, source, proven=self._proven
        )
        self._proven = 0 if outcome.failed or outcome.left_open else self._proven + outcome.sealed
        return _report(outcome, idle=source is not None and not claimed)

    def _ready(self) -> _Open:
        if self._open is None:
            with contextlib.ExitStack() as stack:
                self._open = self._opened(stack)
                self._stack = stack.pop_all()
        return self._open

    def _opened(self, stack: contextlib.ExitStack) -> _Open:
        plan = self._plan
        stack.callback(reader_lock(plan).release)
        units = stack.enter_context(UnitStore.open(plan.store, station=plan.name))
        units.heartbeat()  # says who we are: what an earlier life of this station had in hand is to be recovered
        stack.enter_context(units.keep_alive())
        lot = lot_in(units, plan.store)
        recipe = recipe_of(lot)
        unlock = Path(plan.unlock) if plan.unlock else None
        means = Means(keystore=plan.keystore, unlock=unlock, link=plan.link, plan=plan.plan, width=plan.width)
        means.prepares = False  # the bulk lane of the cluster does
        keystore = the_keystore(means, plan.link, store_path(plan.store), lot)
        place = self._place(store_path(plan.store))
        stack.callback(place.close)
        return _Open(units, keystore, place, recipe, means)

    def _place(self, beside: Path) -> Place:
        plan = self._plan
        uri = check_link(plan.link)
        if not plan.link.startswith(SIM):
            return LinkStation(open_link(plan.link))
        journal = memory_of(uri, beside, plan.name)
        return FobPool.start(msgspec.structs.replace(plan.plan, journal=journal, usual=model_of(uri, plan.plan.usual)))


def _report(outcome: Outcome, *, idle: bool) -> Report:
    return Report(
        sealed=outcome.sealed,
        failed=outcome.failed,
        left_open=outcome.left_open,
        stopped=outcome.stopped,
        idle=idle,
    )


def _told(error: KeywrightError, *, idle: bool = False) -> Report:
    """What was met; final unless store, link or reader may come back. `idle`: there is no device to work on."""
    passing = isinstance(error, StoreError | LinkError) and not isinstance(error, UsageError | PolicyError)
    return Report(trouble=str(error), hint=error.hint, code=error.code, final=not passing, idle=idle)
