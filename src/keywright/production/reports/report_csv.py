"""Every unit of a lot as a row of CSV."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from typing import IO, Any, Final

import sqlalchemy as sa

from keywright.production.outfile import replacing
from keywright.production.reports.report import moment, reading
from keywright.production.unit_store.control_tables import unit_mark
from keywright.production.unit_store.tables import certificate, unit
from keywright.production.unit_store.units import UnitStore
from keywright.production.untrusted import cell

COLUMNS: Final = (
    "n",
    "serial",
    "model",
    "owner_group",
    "state",
    "step",
    "failure_code",
    "failure_text",
    "tries",
    "started_at",
    "finished_at",
    "seconds",
    "device_uid",
    "kdd",
    "certificate_serial",
    "extra",
    "evidence",
    "compromised",
)
"""What stands in the header; new columns come at the end. Times in UTC, bytes as hex, extra and evidence JSON.

`compromised`: the name of a compromised key that reached the unit.
"""

_OPENING: Final = ",".join(COLUMNS[: COLUMNS.index("compromised")])
"""How every file begins: by this an older one is known, which a new one may replace. It had fewer columns at first."""

_MARKED: Final = (
    sa.select(sa.func.max(unit_mark.c.name)).where(unit_mark.c.unit == unit.c.n).scalar_subquery().label("compromised")
)
_QUERY: Final = (
    sa.select(unit, _MARKED, certificate.c.serial_number.label("certificate_serial"))
    .join_from(unit, certificate, certificate.c.unit == unit.c.n, isouter=True)
    .order_by(unit.c.n)
)


def write_csv(store: UnitStore, target: str | os.PathLike[str] | IO[str]) -> int:
    """Write every unit of the lot to a path or an open text file (RFC 4180, UTF-8); returns how many there were.

    A cell that a spreadsheet would take for a formula gets an apostrophe before it. A path gets its new content whole
    or keeps its old one; an open file should have been opened with `newline=""`. Raises UsageError if the path cannot
    be written or is there already and no such file.
    """
    if not isinstance(target, (str, os.PathLike)):
        return _write(store, target)
    with replacing(target, opening=_OPENING, store=store.path) as file:
        return _write(store, file)


def _write(store: UnitStore, file: IO[str]) -> int:
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    count = 0
    for cells in _rows(store):
        writer.writerow(map(cell, cells))
        count += 1
    return count


def _rows(store: UnitStore) -> Iterator[list[str]]:
    with reading(store) as reader:
        for row in reader.execute(_QUERY).mappings():
            values: dict[str, Any] = dict(row)
            begun, ended = values["started_at"], values["finished_at"]
            values["seconds"] = None if begun is None or ended is None else f"{max(ended - begun, 0.0):.6f}"
            values["started_at"], values["finished_at"] = _stamp(begun), _stamp(ended)
            yield [_text(values[column]) for column in COLUMNS]


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex().upper()
    return "" if value is None else str(value)


def _stamp(at: float | None) -> str:
    return "" if at is None else moment(at).isoformat(timespec="milliseconds").replace("+00:00", "Z")
