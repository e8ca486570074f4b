"""Looking at a lot that is being worked on, by a connection of its own."""

from __future__ import annotations

from typing import final

from keywright.cli.progress import EMPTY, Lot
from keywright.production.recipe import parse_recipe
from keywright.production.reports.now import Now, now_of
from keywright.production.unit_store.tables import OPEN
from keywright.production.unit_store.units import UnitStore


@final
class LotEye:
    """Opens the store, for reading, when it is first asked; the lot may not have begun before."""

    def __init__(self, store: str) -> None:
        self._url = store
        self._store: UnitStore | None = None

    def lot(self) -> Lot:
        """The lot in the store, as the live picture needs it."""
        units = self._opened()
        lot = units.lot()
        if lot is None:
            return EMPTY
        counts = units.counts()
        steps = tuple(spec.name for spec in parse_recipe(lot.recipe.encode(), lot.lot).steps)
        finished = lot.units - sum(counts[state] for state in OPEN)
        return Lot(lot.lot, lot.units, steps, finished, lot.test, counts["sealed"])

    def now(self) -> Now:
        """How the lot stands."""
        return now_of(self._opened())

    def close(self) -> None:
        """Let go of the store."""
        if self._store is not None:
            self._store.close()

    def _opened(self) -> UnitStore:
        if self._store is None:
            self._store = UnitStore.open(self._url, readonly=True)
        return self._store
