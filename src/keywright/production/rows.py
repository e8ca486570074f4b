"""Rows of the unit store as objects, and changes as the statements that write them."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from keywright.production.order import OrderRow
from keywright.production.tables import Phase, State, certificate, event, unit

Facts: TypeAlias = Mapping[str, object]
"""A JSON object; bytes stand in it as hex text."""


class Lot(msgspec.Struct, frozen=True, kw_only=True):
    """The campaign row. `units` is filled in by the import; `test` marks a lot whose keys protect nothing."""

    lot: str
    recipe: str
    recipe_digest: str
    order_file: str
    order_digest: str
    keystore_id: str
    test: bool
    link: str
    created_at: float
    state: str = "open"
    units: int = 0


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """One unit's row. Times in seconds since 1970, UTC; `kdd` the 10 bytes of key diversification data."""

    n: int
    serial: str
    model: str
    owner_group: str
    extra: dict[str, str]
    state: State
    step: str
    device_uid: bytes | None
    kdd: bytes | None
    evidence: dict[str, Any]
    failure_code: str
    failure_text: str
    tries: int
    started_at: float | None
    finished_at: float | None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A change: something that happened to a unit. (unit, step, phase, attempt) exists once."""

    unit: int
    step: str
    phase: Phase
    at: float
    attempt: int = 1
    facts: Facts = {}


class UnitChange(msgspec.Struct, frozen=True):
    """A change: new values of columns of one unit, for example `UnitChange(7, {"state": "sealed"})`."""

    unit: int
    values: Mapping[str, object]


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """A change: a certificate issued. `serial_number` hex text, `spki_sha256` 32 bytes."""

    serial_number: str
    unit: int
    spki_sha256: bytes
    der: bytes
    at: float


Change: TypeAlias = Event | UnitChange | Certificate

Statement: TypeAlias = tuple[str, list[tuple[object, ...]]]

_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
_JSON_COLUMNS: Final = ("extra", "evidence")
_CHANGEABLE: Final = frozenset(unit.c.keys()) - {"n", "serial", "model", "owner_group", "extra"}


def planned(row: OrderRow) -> tuple[object, ...]:
    """Values of `ADD_UNIT` for an ordered unit that nothing has happened to."""
    return (row.n, row.serial, row.model, row.owner_group, to_json(row.extra), "planned", "", "{}", "", "", 0)


def statements(batch: Iterable[Change]) -> list[Statement]:
    """What writes a batch, one statement per kind of row. Raises TypeError for facts that are not JSON."""
    events: list[tuple[object, ...]] = []
    certificates: list[tuple[object, ...]] = []
    units: dict[int, dict[str, Any]] = {}
    for change in batch:
        if type(change) is Event:
            facts = to_json(change.facts) if change.facts else "{}"
            events.append((change.unit, change.step, change.phase, change.attempt, facts, change.at))
        elif type(change) is UnitChange:
            units.setdefault(change.unit, {}).update(change.values)
        else:
            certificates.append(msgspec.structs.astuple(change))
    found = _updates(units)
    if certificates:
        found.append((_ADD_CERTIFICATE, certificates))
    if events:
        found.append((_ADD_EVENT, events))
    return found


def lot_row(values: sa.Row[Any]) -> Lot:
    """The row of the table `campaign` as an object."""
    fields: dict[str, Any] = dict(values._mapping)  # noqa: SLF001 - the documented name of a row's mapping
    del fields["id"]
    fields["test"] = bool(fields["test"])
    return Lot(**fields)


def unit_row(values: sa.Row[Any]) -> Unit:
    """A row of the table `unit` as an object."""
    fields = dict(values._mapping)  # noqa: SLF001 - the documented name of a row's mapping
    for name in _JSON_COLUMNS:
        fields[name] = msgspec.json.decode(fields[name])
    return Unit(**fields)


def event_row(values: sa.Row[Any]) -> Event:
    """A row of the table `event` as an object."""
    fields = dict(values._mapping)  # noqa: SLF001 - the documented name of a row's mapping
    del fields["seq"]
    return Event(**fields | {"facts": msgspec.json.decode(fields["facts"])})


def to_json(value: Facts) -> str:
    """Compact JSON text. Raises TypeError for bytes and other values that JSON has not."""
    return _encode(value)


def _updates(units: Mapping[int, dict[str, Any]]) -> list[Statement]:
    """One statement for each set of columns: those of a step are the same for most units of a batch."""
    groups: dict[tuple[str, ...], list[tuple[object, ...]]] = {}
    for n, values in units.items():
        if "evidence" in values:
            values["evidence"] = to_json(values["evidence"])
        groups.setdefault(tuple(values), []).append((*values.values(), n))
    return [(_update(columns), rows) for columns, rows in groups.items()]


@functools.cache
def _update(columns: tuple[str, ...]) -> str:
    if wrong := set(columns) - _CHANGEABLE:
        raise ValueError(f"a unit's {', '.join(sorted(wrong))} cannot be changed")
    values: list[tuple[sa.Column[Any], sa.BindParameter[Any]]] = [
        (unit.c[name], sa.bindparam(name)) for name in columns
    ]
    return _text(unit.update().where(unit.c.n == sa.bindparam("n_")).ordered_values(*values), (*columns, "n_"))


def _text(statement: sa.Insert | sa.Update, order: tuple[str, ...]) -> str:
    """The statement as SQL whose parameters stand in `order`.

    Compiled once, because SQLAlchemy's own handling of each row's parameters halves what a second can commit.
    """
    keys = order if isinstance(statement, sa.Insert) else None
    compiled = statement.compile(dialect=sqlite.dialect(), column_keys=keys)
    if tuple(compiled.positiontup or ()) != order:
        raise ValueError(f"parameters stand as {compiled.positiontup}, not {order}")
    return str(compiled)


_ADD_EVENT: Final = _text(event.insert(), ("unit", "step", "phase", "attempt", "facts", "at"))
_ADD_CERTIFICATE: Final = _text(certificate.insert(), Certificate.__struct_fields__)
ADD_UNIT: Final = _text(
    unit.insert(),
    (
        "n",
        "serial",
        "model",
        "owner_group",
        "extra",
        "state",
        "step",
        "evidence",
        "failure_code",
        "failure_text",
        "tries",
    ),
)
