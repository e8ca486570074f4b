"""The bulk lane: what can be done for units before their devices are there, a chunk of the order at a time.

Derive, issue, pack: each step of the recipe that declares `prepares_from` has a `prepare` over a chunk. It asks the
keystore and nobody else; what it found becomes true when the store takes the whole chunk, in one transaction, once. So
a chunk whose worker was killed is simply prepared again, and one that two prepared is taken from the first.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from keywright.errors import UsageError
from keywright.production.chunk import Chunk
from keywright.production.keystores.keystore import CardKeys, Keystore
from keywright.production.order_names import Named, named
from keywright.production.recipe import Recipe
from keywright.production.steps.table import declaration, preparation
from keywright.production.unit_store import prepared_rows
from keywright.production.unit_store.prepared_rows import PreparedChunk, PreparedRange, PreparedUnit, recipe_id
from keywright.production.unit_store.rows import Certificate, Facts, Unit
from keywright.production.unit_store.units import ConflictError, UnitStore

CHUNK: Final = 250
"""Units in one transaction."""


class Ready(msgspec.Struct, frozen=True):
    """A prepared unit with its own keys, where this process has just derived them."""

    prepared: PreparedUnit
    keys: CardKeys | None


class Standing(msgspec.Struct, frozen=True):
    """How far the preparation of a lot is. `units` of the order, of which `named` say enough of their devices.

    `looked_at` units stand in `chunks`, of which `damaged` (their first units) do not hold what the audit log says.
    """

    units: int
    named: int
    looked_at: int
    prepared: int
    chunks: int
    damaged: tuple[int, ...]


def prepares_from(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """The steps of a recipe that prepare, each with the columns of the order that it needs for that."""
    found = {spec.name: declaration(spec.name).prepares_from for spec in recipe.steps}
    return {name: columns for name, columns in found.items() if columns}


def can_prepare(units: UnitStore, recipe: Recipe) -> bool:
    """Whether the order has the columns from which some step of the recipe prepares; all rows have the same."""
    first = units.unit(1)
    return first is not None and any(set(columns) <= set(first.extra) for columns in prepares_from(recipe).values())


def check_names(recipe: Recipe, columns: Sequence[str], order: str) -> None:
    """Raise UsageError when an order with these columns says nothing from which a step of the recipe prepares."""
    wanted = prepares_from(recipe)
    if not any(set(needs) <= set(columns) for needs in wanted.values()):
        told = "; ".join(f"{name} from {', '.join(needs)}" for name, needs in wanted.items())
        raise UsageError(
            f"{order}: says nothing of the devices, so that nothing can be prepared for them",
            hint=f"add what the supplier lists. What steps prepare: {told or 'nothing in this recipe'}",
        )


def prepare(
    recipe: Recipe,
    units: Sequence[Unit],
    keystore: Keystore,
    *,
    at: float,
    rng: Callable[[int], bytes],
    certificates: dict[int, Certificate] | None = None,
) -> tuple[Ready, ...]:
    """What each unit is to get, as far as the order says enough of its device; the others are left out.

    Changes nothing. `certificates`: those that units have already. Errors as the keystore's.
    """
    says = {unit.n: named(unit.extra) for unit in units}
    found: dict[int, dict[str, Facts]] = {}
    chunk = Chunk(units=(), recipe=recipe, keystore=keystore, at=at, rng=rng, certificates=certificates or {})
    for spec in recipe.steps:
        step = preparation(spec.name)
        if step is None:
            continue
        columns = declaration(spec.name).prepares_from
        chunk.units = tuple((unit, says[unit.n]) for unit in units if _says(says[unit.n], columns))
        if chunk.units:
            for n, values in step(chunk, spec.parameters).items():
                found.setdefault(n, {})[spec.name] = values
    return tuple(
        Ready(
            PreparedUnit(unit=n, kdd=says[n].kdd, uid=says[n].uid, steps=found[n], certificate=chunk.issued.get(n)),
            chunk.keys.get(n),
        )
        for n in sorted(found)
    )


def prepare_chunk(
    units: UnitStore,
    recipe: Recipe,
    keystore: Keystore,
    first: int,
    last: int,
    *,
    clock: Callable[[], float] = time.time,
    rng: Callable[[int], bytes] = os.urandom,
) -> tuple[Ready, ...]:
    """Prepare units `first` to `last` of the order and have it in the store when this returns; those that it was for.

    May be repeated: what was prepared already stays, and nothing is returned. Units that somebody takes up meanwhile
    are left to them.
    """
    if _is_prepared(units, recipe, first):
        return ()
    at = clock()
    rows = units.ask(lambda connection: prepared_rows.units_between(connection, first, last))
    issued = units.ask(lambda connection: prepared_rows.certificates(connection, first, last))
    made = prepare(recipe, rows, keystore, at=at, rng=rng, certificates=issued)
    kept: frozenset[int] = frozenset()
    try:
        whole = tuple(one.prepared for one in made)
        chunk = PreparedChunk(recipe=recipe_id(recipe.digest), first=first, last=last, units=whole, at=at)
        kept = frozenset(units.add_prepared(chunk))
    except ConflictError:
        if not _is_prepared(units, recipe, first):
            raise
    finally:
        for one in made:
            if one.keys is not None and one.prepared.unit not in kept:
                one.keys.close()
    return tuple(one for one in made if one.prepared.unit in kept)


def left(units: UnitStore, recipe: Recipe, size: int = CHUNK) -> Iterator[tuple[int, int]]:
    """Runs of the order, at most `size` units each, that are in no chunk of this recipe yet; first and last unit."""
    lot = units.lot()
    return gaps(_chunks(units, recipe), 0 if lot is None else lot.units, size)


def gaps(chunks: Sequence[PreparedRange], units: int, size: int) -> Iterator[tuple[int, int]]:
    """What of 1 to `units` is in none of the chunks, which stand in order, cut into runs of at most `size`."""
    at = 1
    for first, last in (*((chunk.first, chunk.last) for chunk in chunks), (units + 1, units)):
        while at < first:
            end = min(at + size, first) - 1
            yield at, end
            at = end + 1
        at = max(at, last + 1)


def standing(units: UnitStore, recipe: Recipe) -> Standing:
    """How far it is; every chunk is compared with its digest, which the audit log has."""
    lot = units.lot()
    found = _chunks(units, recipe)
    columns = prepares_from(recipe).values()
    damaged = units.ask(lambda connection: prepared_rows.damaged(connection, recipe_id(recipe.digest), found))
    return Standing(
        units=0 if lot is None else lot.units,
        named=sum(any(_says(named(unit.extra), needs) for needs in columns) for unit in units.units()),
        looked_at=sum(chunk.last - chunk.first + 1 for chunk in found),
        prepared=sum(chunk.units for chunk in found),
        chunks=len(found),
        damaged=tuple(chunk.first for chunk in damaged),
    )


def _chunks(units: UnitStore, recipe: Recipe) -> list[PreparedRange]:
    return units.ask(lambda connection: prepared_rows.chunks(connection, recipe_id(recipe.digest)))


def _is_prepared(units: UnitStore, recipe: Recipe, first: int) -> bool:
    return any(chunk.first <= first <= chunk.last for chunk in _chunks(units, recipe))


def _says(names: Named, columns: Sequence[str]) -> bool:
    return all(getattr(names, column, None) for column in columns)
