"""After a key was compromised: which keys came from it, and which units of a lot any of them reached."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import msgspec
import sqlalchemy as sa

from keywright.production.audit.events import AuditEvent
from keywright.production.audit.subjects import row_hash
from keywright.production.keystores.registry import KeyRecord, Registry
from keywright.production.parameters import Authenticate, OwnKeys, Personalise
from keywright.production.recipe import Recipe, parse_recipe
from keywright.production.reports.report import reading
from keywright.production.unit_store.control_rows import LotMoved
from keywright.production.unit_store.mark_rows import UnitsMarked, marked
from keywright.production.unit_store.tables import certificate, unit
from keywright.production.unit_store.transitions import lot_sources
from keywright.production.unit_store.units import UnitStore

_CHUNK: Final = 20_000


AffectedUnit: TypeAlias = tuple[int, str]
"""A unit that a key reached: number in the lot, and serial."""


class AffectedLot(msgspec.Struct, frozen=True):
    """A lot and those keys of its recipe that are concerned; none: the lot has nothing to do with the key."""

    lot: str
    keystore_id: str
    keys: tuple[str, ...]
    by_keys: bool
    """Whether the units hold or were opened with keys that came from it; else only their certificates did."""


def concerned(registry: Registry, name: str) -> tuple[str, ...]:
    """A key and all that came from it, by name. Raises StoreError for an unknown key."""
    return (name, *(record.name for record in registry.descendants(name)))


def affected_lot(store: UnitStore, keystore_id: str, names: tuple[str, ...]) -> AffectedLot | None:
    """What these keys of a keystore have to do with the lot of a store; None when it holds no lot."""
    lot = store.lot()
    if lot is None:
        return None
    if lot.keystore_id != keystore_id:
        return AffectedLot(lot.lot, lot.keystore_id, (), by_keys=False)
    of_keys, of_certificates = _named_in(parse_recipe(lot.recipe.encode(), lot.lot))
    used = tuple(name for name in names if name in of_keys | of_certificates)
    return AffectedLot(lot.lot, lot.keystore_id, used, by_keys=bool(of_keys & set(used)))


def affected_units(store: UnitStore, lot: AffectedLot) -> Iterator[AffectedUnit]:
    """Every unit that is concerned, in the order of the lot: one too many rather than one too few.

    With keys, those are all that a channel was begun with; with a CA alone, those that have a certificate.
    """
    if not lot.keys:
        return
    number = unit.c.n if lot.by_keys else certificate.c.unit
    query = sa.select(number, unit.c.serial).where(number > sa.bindparam("last")).order_by(number).limit(_CHUNK)
    if lot.by_keys:
        query = query.where(unit.c.kdd.is_not(None))
    else:
        query = query.select_from(certificate.join(unit, unit.c.n == certificate.c.unit))
    with reading(store) as reader:
        # Pages of the driver's own rows: a million of SQLAlchemy's take more than twice the time.
        pages = reader.execution_options(yield_per=None, stream_results=False)
        last = 0
        while True:
            cursor: Any = pages.execute(query, {"last": last}).cursor
            rows = cursor.fetchall()
            if not rows:
                return
            yield from rows
            last = rows[-1][0]


def freeze(store: UnitStore, lot: AffectedLot, record: KeyRecord, at: float) -> bool:
    """Mark a lot's units that a compromised key reached, say so in its log, and stop the lot if it is open.

    It takes up no unit before somebody releases it. Units that are marked for this key already stay as they are, so
    it may be repeated. Returns whether the lot was stopped. `at`: seconds since 1970.
    """
    found = store.lot()
    if not lot.keys or found is None:
        return False
    last = record.history[-1]
    told = AuditEvent(
        action="key.compromised",
        object_type="key",
        object_id=record.id,
        reason=last.reason,
        approvals=(last.approval,) if last.approval else (),
    )
    with reading(store) as reader:
        before = marked(reader, record.id)
    units = tuple(n for n, _ in affected_units(store, lot) if n not in before)
    marking = UnitsMarked(units=units, key=record.id, name=record.name, reason=last.reason, at=at)
    listed = AuditEvent(
        action="unit.mark",
        object_type="key",
        object_id=record.id,
        reason=f"{len(units)} units marked",
        after_hash=row_hash(units),
    )
    is_open = found.state in lot_sources("stop")
    stop = LotMoved(event="stop", at=at, cause="key", text=f"the key {record.name!r} is compromised")
    store.commit([told, marking, listed, *([stop] if is_open else [])])
    return is_open


def _named_in(recipe: Recipe) -> tuple[set[str], set[str]]:
    """Names of keys that open or become a unit's, and of CAs, in a recipe."""
    of_keys: set[str] = set()
    of_certificates: set[str] = set()
    for spec in recipe.steps:
        match spec.parameters:
            case Authenticate(keys=name) | OwnKeys(master=name):
                of_keys.add(name)
            case Personalise(ca=name):
                of_certificates.add(name)
            case _:
                pass
    return of_keys, of_certificates
