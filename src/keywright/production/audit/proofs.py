"""Proofs about a log, for somebody who has a checkpoint of it and not the log: that an entry is in it, that it grew."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec
import sqlalchemy as sa

from keywright.errors import UsageError
from keywright.production.audit.merkle import (
    Edge,
    consistency_ranges,
    inclusion_ranges,
    root_of,
    roots_of,
    verify_consistency,
    verify_inclusion,
)
from keywright.production.unit_store.tables import audit, audit_head
from keywright.production.unit_store.units import UnitStore

_CHUNK: Final = 1000


class Inclusion(msgspec.Struct, frozen=True):
    """That the entry `body` (empty if it was given up) is leaf `index` of the first `size`; hashes in hex."""

    index: int
    size: int
    leaf: str
    body: str
    path: tuple[str, ...]
    root: str


class Consistency(msgspec.Struct, frozen=True):
    """That a log of `new` entries begins with one of `old`; hashes in hex."""

    old: int
    new: int
    old_root: str
    new_root: str
    path: tuple[str, ...]


def prove_inclusion(store: UnitStore, index: int) -> Inclusion:
    """The proof for one entry in the log as it is, checked before it is given. Raises UsageError if there is none."""
    with store.reading() as reader:
        size, root = _head(reader)
        if not 0 <= index < size:
            raise UsageError(f"there is no entry {index}: the log has {size}", hint="count from 0")
        row = reader.execute(sa.select(audit.c.leaf, audit.c.body).where(audit.c.seq == index)).one()
        path = roots_of(inclusion_ranges(index, size), _leaves(reader, size))
    verify_inclusion(row.leaf, index, size, path, root)
    return Inclusion(index, size, row.leaf.hex(), row.body or "", tuple(step.hex() for step in path), root.hex())


def prove_consistency(store: UnitStore, old: int) -> Consistency:
    """The proof that the log as it is begins with its first `old` entries, checked before it is given.

    Raises UsageError if it is not that long.
    """
    with store.reading() as reader:
        size, root = _head(reader)
        if not 0 < old <= size:
            raise UsageError(f"the log has {size} entries, not {old}", hint="give the size of a checkpoint")
        path = roots_of(consistency_ranges(old, size), _leaves(reader, size))
        old_root = root_of(_leaves(reader, old))
    verify_consistency(old, size, old_root, root, path)
    return Consistency(old, size, old_root.hex(), root.hex(), tuple(step.hex() for step in path))


def _head(reader: sa.Connection) -> tuple[int, bytes]:
    head = reader.execute(sa.select(audit_head)).one()
    return head.size, Edge(head.size, head.edge).root()


def _leaves(reader: sa.Connection, size: int) -> Iterator[bytes]:
    query = sa.select(audit.c.leaf).where(audit.c.seq < size).order_by(audit.c.seq)
    for row in reader.execution_options(yield_per=_CHUNK).execute(query):
        yield row.leaf
