"""A leased unit as its steps see it: from its row, its history, and what was prepared for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from keywright.production.ble_lot import is_over_ble
from keywright.production.job import Job
from keywright.production.keystores.keystore import Keystore
from keywright.production.means import Means
from keywright.production.order_names import Named, named
from keywright.production.parameters import MESH
from keywright.production.preparation import Ready
from keywright.production.recipe import Recipe
from keywright.production.unit_store.units import Unit, UnitStore

if TYPE_CHECKING:
    from keywright.production.mesh_lot import LotNetwork

_UNNAMED: Final = Named()


def job_of(
    units: UnitStore, unit: Unit, recipe: Recipe, keystore: Keystore, means: Means, ready: Ready | None = None
) -> Job:
    """A leased unit with its history if it was begun before. `ready`: what this process has just prepared for it."""
    fresh = unit.state == "planned" and not unit.recover  # one whose link failed at once has a history too
    names = named(unit.extra)
    prepared = None if ready is None else ready.prepared
    if prepared is None and names != _UNNAMED:
        prepared = units.prepared(unit.n, recipe.digest)
    issued = not fresh or names.public_key is not None
    return Job(
        unit,
        recipe,
        keystore,
        clock=means.clock,
        rng=means.rng,
        history=() if fresh else tuple(units.events(unit.n)),
        certificate=units.certificate(unit.n) if issued else None,
        prepared=prepared,
        own=None if ready is None else ready.keys,
        network=None if recipe.step(MESH) is None else _network_of(units.path, recipe.name),
        has_gatt=recipe.step(MESH) is not None and bool(means.link) and is_over_ble(recipe, means.link),
    )


def _network_of(store: Path, lot: str) -> LotNetwork:
    from keywright.production.mesh_lot import lot_network  # noqa: PLC0415 - few lots have radios

    return lot_network(store, lot)
