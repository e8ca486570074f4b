"""Tables of how a lot is kept in hand: failures in their order, what stopped it and who let it go on, remakes."""

from __future__ import annotations

from typing import Final

from sqlalchemy import CheckConstraint, Column, Float, ForeignKey, Integer, Table, Text, UniqueConstraint

from keywright.production.unit_store.tables import metadata

setback: Final = Table(
    "setback",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("unit", Integer, ForeignKey("unit.n"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("ended", Integer, nullable=False),
    Column("sealed", Integer, nullable=False),
    Column("at", Float, nullable=False),
    CheckConstraint("severity IN ('transient', 'unit', 'lot')", name="setback_severity"),
)
"""Every unit that did not come through, append-only, in the order of the commits.

`kind` is what makes two alike; `ended` is 1 for a unit that was set aside, 0 for one left open; `sealed` how many units
of the lot were sealed at that time, so that what lies between two failures can be counted without a row for it.
"""

lot_event: Final = Table(
    "lot_event",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("event", Text, nullable=False),
    Column("came_from", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("person", Text, nullable=False),
    Column("approval", Text, nullable=False),
    Column("setbacks", Integer, nullable=False),
    Column("sealed", Integer, nullable=False),
    Column("at", Float, nullable=False),
)
"""What moved the lot from one state to another, append-only: why, and who allowed it by which approval.

`setbacks` is the last row of `setback` at that time, `sealed` how many units were sealed.
"""

remake: Final = Table(
    "remake",
    metadata,
    Column("unit", Integer, ForeignKey("unit.n"), primary_key=True, autoincrement=False),
    Column("instead_of", Integer, ForeignKey("unit.n"), nullable=False),
    Column("reason", Text, nullable=False),
    Column("person", Text, nullable=False),
    Column("approval", Text, nullable=False),
    Column("at", Float, nullable=False),
    UniqueConstraint("instead_of", name="remake_once"),
    CheckConstraint("unit <> instead_of", name="remake_another"),
)
"""Units made anew: a record of its own (serial, keys, certificate) instead of one that is spoiled, once for each."""

unit_mark: Final = Table(
    "unit_mark",
    metadata,
    Column("unit", Integer, ForeignKey("unit.n"), primary_key=True, autoincrement=False),
    Column("key", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Float, nullable=False),
)
"""Units that a compromised key reached, append-only: its id and name, and why it is. Nothing of them is handed over."""
