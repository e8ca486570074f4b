"""What was prepared for units as rows: a chunk of the order is written whole, once, in one transaction.

A unit that somebody has taken up, or that was begun, is left out: whoever works on it prepares on the spot. So nothing
is ever prepared for a unit behind the back of its station, and no unit gets a second certificate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from keywright.production.audit.events import AuditEvent
from keywright.production.audit.subjects import PREPARED, row_hash
from keywright.production.unit_store.prepared_tables import prepared, prepared_chunk
from keywright.production.unit_store.rows import Certificate, Change, Facts, Unit, to_json, unit_row
from keywright.production.unit_store.tables import certificate, unit
from keywright.production.unit_store.transaction import Row, Transaction, added

_RECIPE_DIGITS: Final = 16


def recipe_id(digest: str) -> str:
    """How rows name a recipe of the lot: by the start of its digest."""
    return digest[:_RECIPE_DIGITS]


class PreparedUnit(msgspec.Struct, frozen=True, kw_only=True):
    """What was prepared for unit `unit`: for which device, by step what its `prepare` gave, a certificate if issued."""

    unit: int
    kdd: bytes | None = None
    uid: bytes | None = None
    steps: Mapping[str, Facts] = {}
    certificate: Certificate | None = None


class PreparedChunk(Change, frozen=True, kw_only=True):
    """A change: units `first` to `last` of the order were looked at, and these of them prepared. Once for a recipe."""

    recipe: str
    first: int
    last: int
    units: tuple[PreparedUnit, ...]
    at: float


def write(transaction: Transaction, changes: Sequence[PreparedChunk]) -> None:
    """The rows of the chunk and of its units; certificates are changes of their own."""
    for change in changes:
        transaction.run(_ADD_CHUNK, [_chunk_row(change)])
        transaction.run(_ADD, list(_rows(change)))


def changes_of(transaction: Transaction, chunk: PreparedChunk) -> list[Change]:
    """What is to be written of a chunk: without units that are not free any more, or whose certificate would be a
    second one. No such unit becomes anybody's before the transaction ends.
    """
    free = _free(transaction, chunk.first, chunk.last)
    issued = [one.certificate for one in chunk.units if one.certificate is not None]
    taken = _certified(transaction, issued)
    kept = tuple(one for one in chunk.units if one.unit in free and not _is_taken(one.certificate, taken))
    chunk = msgspec.structs.replace(chunk, units=kept)
    row = _chunk_row(chunk)
    told = AuditEvent(
        action="units.prepare", object_type=PREPARED.type, object_id=PREPARED.name_of(row), after_hash=row_hash(row)
    )
    return [*(one.certificate for one in kept if one.certificate is not None), chunk, told]


def digest_of(rows: Iterator[Row]) -> str:
    """SHA-256 over rows of `prepared`, in hex: each as the JSON list of recipe, unit, KDD, UID, steps."""
    found = hashlib.sha256()
    for row in rows:
        found.update(msgspec.json.encode(row))
    return found.hexdigest()


def chunks(connection: sa.Connection, recipe: str) -> list[PreparedRange]:
    """What was prepared by a recipe, in the order of the order."""
    query = sa.select(prepared_chunk).where(prepared_chunk.c.recipe == recipe).order_by(prepared_chunk.c.first)
    return [PreparedRange(row.first, row.last, row.units, row.digest, row.at) for row in connection.execute(query)]


class PreparedRange(msgspec.Struct, frozen=True):
    """A row of `prepared_chunk`: units `first` to `last` were looked at, `units` of them prepared."""

    first: int
    last: int
    units: int
    digest: str
    at: float


def damaged(connection: sa.Connection, recipe: str, found: Sequence[PreparedRange]) -> list[PreparedRange]:
    """Those of the chunks whose units do not stand as they were written."""
    wrong = []
    for chunk in found:
        which = (prepared.c.recipe == recipe) & prepared.c.unit.between(chunk.first, chunk.last)
        rows = connection.execute(sa.select(prepared).where(which).order_by(prepared.c.unit))
        if digest_of(tuple(row) for row in rows) != chunk.digest:
            wrong.append(chunk)
    return wrong


def units_between(connection: sa.Connection, first: int, last: int) -> list[Unit]:
    """Units of the order that nobody has begun, in its order."""
    query = sa.select(unit).where(unit.c.n.between(first, last), unit.c.state == "planned").order_by(unit.c.n)
    return [unit_row(row) for row in connection.execute(query)]


def find(connection: sa.Connection, recipe: str, n: int) -> PreparedUnit | None:
    """What was prepared for a unit by a recipe, with its certificate."""
    which = (prepared.c.recipe == recipe) & (prepared.c.unit == n)
    return next(_found(connection, which), None)


def between(connection: sa.Connection, recipe: str, first: int, last: int) -> list[PreparedUnit]:
    """What was prepared for units of the order, in its order."""
    return list(_found(connection, (prepared.c.recipe == recipe) & prepared.c.unit.between(first, last)))


def named_uid(connection: sa.Connection, recipe: str, uid: bytes) -> int | None:
    """The unit that was prepared for the device of this identity."""
    which = (prepared.c.recipe == recipe) & (prepared.c.uid == uid)
    return connection.execute(sa.select(prepared.c.unit).where(which)).scalar_one_or_none()


def certificates(connection: sa.Connection, first: int, last: int) -> dict[int, Certificate]:
    """The certificates that units of the order have already."""
    query = sa.select(certificate).where(certificate.c.unit.between(first, last))
    found = (Certificate(**row._mapping) for row in connection.execute(query))  # noqa: SLF001 - documented name
    return {one.unit: one for one in found}


def _found(connection: sa.Connection, which: sa.ColumnElement[bool]) -> Iterator[PreparedUnit]:
    rows: sa.Select[*tuple[Any, ...]] = (
        sa.select(prepared, *(certificate.c[name].label(f"c_{name}") for name in Certificate.__struct_fields__))
        .outerjoin(certificate, certificate.c.unit == prepared.c.unit)
        .where(which)
        .order_by(prepared.c.unit)
    )
    for row in connection.execute(rows):
        issued = None
        if row.c_der is not None:
            issued = Certificate(**{name: getattr(row, f"c_{name}") for name in Certificate.__struct_fields__})
        yield PreparedUnit(
            unit=row.unit, kdd=row.kdd, uid=row.uid, steps=msgspec.json.decode(row.steps), certificate=issued
        )


def _free(transaction: Transaction, first: int, last: int) -> frozenset[int]:
    """Units that nobody has or has begun; they stay so until the transaction ends."""
    query = sa.select(unit.c.n).where(
        unit.c.n.between(first, last), unit.c.state == "planned", unit.c.until.is_(None), unit.c.recover == 0
    )
    return frozenset(row.n for row in transaction.all(query.order_by(unit.c.n).with_for_update()))


def _certified(transaction: Transaction, issued: Sequence[Certificate]) -> frozenset[tuple[int, bytes]]:
    """Units and key pairs that have a certificate already, of those that these are for."""
    if not issued:
        return frozenset()
    query = sa.select(certificate.c.serial_number, certificate.c.unit, certificate.c.spki_sha256).where(
        certificate.c.unit.in_([one.unit for one in issued])
        | certificate.c.spki_sha256.in_([one.spki_sha256 for one in issued])
    )
    return frozenset((row.unit, bytes(row.spki_sha256)) for row in transaction.all(query))


def _is_taken(wanted: Certificate | None, taken: frozenset[tuple[int, bytes]]) -> bool:
    return wanted is not None and any(wanted.unit == n or wanted.spki_sha256 == spki for n, spki in taken)


def _chunk_row(change: PreparedChunk) -> Row:
    digest = digest_of(_rows(change))
    return (change.recipe, change.first, change.last, len(change.units), digest, float(change.at))


def _rows(change: PreparedChunk) -> Iterator[Row]:
    return ((change.recipe, one.unit, one.kdd, one.uid, to_json(one.steps)) for one in change.units)


_ADD_CHUNK: Final = added(prepared_chunk, prepared_chunk.c.keys())
_ADD: Final = added(prepared, prepared.c.keys())
