"""Units that a compromised key reached: marked for good, and from then on nothing of them is handed over.

A mark is no state: where a unit stands, somebody still has to decide (to return it, to destroy it, to make it anew).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from keywright.production.unit_store.control_tables import unit_mark
from keywright.production.unit_store.rows import Change
from keywright.production.unit_store.tables import unit
from keywright.production.unit_store.transaction import Transaction, added

_ADD: Final = added(unit_mark, ("unit", "key", "name", "reason", "at"))


class UnitsMarked(Change, frozen=True, kw_only=True):
    """A change: units that hold, or were opened with, keys that came from a compromised one. Needs no lease.

    `key` the id of the compromised key, `name` its name; a unit is marked once for each.
    """

    units: tuple[int, ...]
    key: str
    name: str
    reason: str
    at: float


class Mark(msgspec.Struct, frozen=True):
    """One compromised key, why it is, since when (seconds since 1970), and how many units are marked for it."""

    name: str
    reason: str
    at: float
    units: int


def write(transaction: Transaction, changes: Sequence[UnitsMarked]) -> None:
    """A row for each unit."""
    for change in changes:
        transaction.run(_ADD, [(n, change.key, change.name, change.reason, change.at) for n in change.units])


def is_marked(number: sa.ColumnElement[Any] = unit.c.n) -> sa.ColumnElement[bool]:
    """Whether the unit with that number is marked, as a condition of a query."""
    return sa.exists().where(unit_mark.c.unit == number).correlate_except(unit_mark)


def marks(connection: sa.Connection) -> list[Mark]:
    """What units are marked for, oldest first."""
    kinds = (unit_mark.c.name, unit_mark.c.reason)
    at = sa.func.min(unit_mark.c.at).label("at")
    query = sa.select(*kinds, at, sa.func.count()).group_by(unit_mark.c.key, *kinds).order_by("at", unit_mark.c.name)
    return [Mark(*row) for row in connection.execute(query)]


def marked(connection: sa.Connection, key: str = "") -> set[int]:
    """Numbers of the units that are marked, for one key or for any."""
    query = sa.select(unit_mark.c.unit)
    return {int(n) for (n,) in connection.execute(query.where(unit_mark.c.key == key) if key else query)}
