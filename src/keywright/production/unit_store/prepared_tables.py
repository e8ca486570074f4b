"""Tables of what was prepared for units before their devices were there."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
)

from keywright.production.unit_store.tables import metadata

prepared_chunk: Final = Table(
    "prepared_chunk",
    metadata,
    Column("recipe", Text, primary_key=True),
    Column("first", Integer, primary_key=True, autoincrement=False),
    Column("last", Integer, nullable=False),
    Column("units", Integer, nullable=False),
    Column("digest", Text, nullable=False),
    Column("at", Float, nullable=False),
    CheckConstraint("first <= last", name="prepared_chunk_order"),
)
"""A run of the order that was prepared in one transaction, append-only; of no two chunks are units the same.

`recipe` is the start of the recipe's digest; `units` counts the rows of `prepared` that were written, and `digest` is
SHA-256 over them (`prepared_rows.digest_of`), hex.
"""

prepared: Final = Table(
    "prepared",
    metadata,
    Column("recipe", Text, primary_key=True),
    Column("unit", Integer, ForeignKey("unit.n"), primary_key=True, autoincrement=False),
    Column("kdd", LargeBinary),
    Column("uid", LargeBinary),
    Column("steps", Text, nullable=False),
    UniqueConstraint("recipe", "kdd", name="prepared_kdd"),
    UniqueConstraint("recipe", "uid", name="prepared_uid"),
)
"""What was prepared for one unit, append-only: for which device, and by step what its `prepare` gave (a JSON object).

No key and no secret is among it: keys are derived again where they are needed, and compared with what stands here.
"""
