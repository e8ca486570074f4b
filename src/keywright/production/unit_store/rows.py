"""Rows of the unit store as objects, and changes as the statements that write them."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn, TypeAlias

import msgspec
import sqlalchemy as sa

from keywright.errors import StoreError
from keywright.production.order import OrderRow
from keywright.production.unit_store.tables import FINISHED, Phase, State, certificate, event, unit
from keywright.production.unit_store.transaction import Given, Prepared, Row, Transaction, added
from keywright.production.unit_store.transitions import TransitionError, unit_sources

Facts: TypeAlias = Mapping[str, object]
"""A JSON object; bytes stand in it as hex text."""


class UnknownUnitError(StoreError):
    """A change names a unit that the lot does not have; nothing changed."""

    code = "unknown-unit"


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
    allowed: int | None = None
    """Fresh units up to this number may be taken up; None for all."""


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
    epoch: int = 0
    station: str = ""
    until: float | None = None
    recover: bool = False
    pinned: str = ""
    left_in: int = 0


class Change(msgspec.Struct, frozen=True):
    """Something that one transaction writes, whole or not at all, with whatever else its batch holds.

    Each kind is a subclass; `writers.WRITERS` names what writes it.
    """


class Event(Change, frozen=True, kw_only=True):
    """A change: something that happened to a unit. (unit, step, phase, attempt) exists once."""

    unit: int
    step: str
    phase: Phase
    at: float
    attempt: int = 1
    facts: Facts = {}


class UnitChange(Change, frozen=True):
    """A change: new values of columns of one unit, for example `UnitChange(7, {"state": "sealed"})`."""

    unit: int
    values: Mapping[str, object]


class Certificate(Change, frozen=True, kw_only=True):
    """A change: a certificate issued. `serial_number` hex text, `spki_sha256` 32 bytes."""

    serial_number: str
    unit: int
    spki_sha256: bytes
    der: bytes
    at: float


_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
_JSON_COLUMNS: Final = ("extra", "evidence")
_CHANGEABLE: Final = frozenset(unit.c.keys()) - {"n", "serial", "model", "owner_group", "extra", "epoch"}
_LEASE_ENDED: Final = {"station": "", "until": None, "recover": 0}
"""Columns of a unit that nobody has to work on any more."""


PLANNED: Final = (
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
)
"""Columns that an ordered unit is written with."""


def planned(row: OrderRow) -> Row:
    """Values of the columns `PLANNED` for an ordered unit that nothing has happened to."""
    return (row.n, row.serial, row.model, row.owner_group, to_json(row.extra), "planned", "", "{}", "", "", 0)


def write_units(transaction: Transaction, changes: Sequence[UnitChange]) -> None:
    """Of values of one unit that a batch gives twice, the later count.

    Raises UnknownUnitError, ValueError for a column that does not change, TypeError for evidence that is not JSON.
    """
    units: dict[int, dict[str, Any]] = {}
    for change in changes:
        units.setdefault(change.unit, {}).update(change.values)
        if change.values.get("state") in FINISHED:
            units[change.unit].update(_LEASE_ENDED)
    for (columns, state), rows in _updates(units).items():
        if transaction.run(_update(columns, state), rows) != len(rows):
            _refuse(transaction, [row[-1] for row in rows], state)


def write_certificates(transaction: Transaction, changes: Sequence[Certificate]) -> None:
    """A row each."""
    transaction.run(_ADD_CERTIFICATE, [msgspec.structs.astuple(change) for change in changes])


def write_events(transaction: Transaction, changes: Sequence[Event]) -> None:
    """A row each, numbered in their order. Raises TypeError for facts that are not JSON."""
    rows = [(change.unit, change.step, change.phase, change.attempt, _facts(change), change.at) for change in changes]
    transaction.run(_ADD_EVENT, rows)


def _facts(change: Event) -> str:
    return to_json(change.facts) if change.facts else "{}"


def lot_row(values: sa.Row[*tuple[Any, ...]]) -> Lot:
    """The row of the table `campaign` as an object."""
    fields: dict[str, Any] = dict(values._mapping)  # noqa: SLF001 - the documented name of a row's mapping
    del fields["id"], fields["run"]
    fields["test"] = bool(fields["test"])
    return Lot(**fields)


def unit_row(values: sa.Row[*tuple[Any, ...]]) -> Unit:
    """A row of the table `unit` as an object."""
    fields = dict(values._mapping)  # noqa: SLF001 - the documented name of a row's mapping
    for name in _JSON_COLUMNS:
        fields[name] = msgspec.json.decode(fields[name])
    fields["recover"] = bool(fields["recover"])
    return Unit(**fields)


def event_row(values: sa.Row[*tuple[Any, ...]]) -> Event:
    """A row of the table `event` as an object."""
    fields = dict(values._mapping)  # noqa: SLF001 - the documented name of a row's mapping
    del fields["seq"]
    return Event(**fields | {"facts": msgspec.json.decode(fields["facts"])})


def to_json(value: Facts) -> str:
    """Compact JSON text. Raises TypeError for bytes and other values that JSON has not."""
    return _encode(value)


def _updates(units: Mapping[int, dict[str, Any]]) -> dict[tuple[tuple[str, ...], State | None], list[Row]]:
    """Rows for each set of columns and new state: those of a step are the same for most units of a batch."""
    groups: dict[tuple[tuple[str, ...], State | None], list[Row]] = {}
    for n, values in units.items():
        if "evidence" in values:
            values["evidence"] = to_json(values["evidence"])
        groups.setdefault((tuple(values), values.get("state")), []).append((*values.values(), n))
    return groups


@functools.cache
def _update(columns: tuple[str, ...], state: State | None) -> Prepared:
    """Sets the columns; a new state only where `transitions.UNIT` leads to it, so that no race can go round it."""
    if wrong := set(columns) - _CHANGEABLE:
        raise ValueError(f"a unit's {', '.join(sorted(wrong))} cannot be changed")

    def build(given: Given) -> sa.Update:
        which = unit.c.n == given["n_"]
        if state is not None:
            sources: list[sa.ColumnElement[str]] = [sa.literal_column(f"'{source}'") for source in unit_sources(state)]
            which &= unit.c.state.in_(sources or [sa.literal_column("''")])
        return unit.update().where(which).ordered_values(*((unit.c[name], given[name]) for name in columns))

    return Prepared({name: unit.c[name].type for name in columns} | {"n_": unit.c.n.type}, build)


def _refuse(transaction: Transaction, numbers: Sequence[object], state: State | None) -> NoReturn:
    """Say which unit was not changed, and why."""
    found = {
        row.n: row.state for row in transaction.all(sa.select(unit.c.n, unit.c.state).where(unit.c.n.in_(numbers)))
    }
    for n in numbers:
        if n not in found:
            raise UnknownUnitError(f"a change names a unit that the lot does not have: {n}")
    wrong = next((n for n, before in found.items() if before not in unit_sources(state or "planned")), None)
    raise TransitionError(f"unit {wrong} is {found.get(wrong)}: it cannot become {state}")


_ADD_EVENT: Final = added(event, ("unit", "step", "phase", "attempt", "facts", "at"))
_ADD_CERTIFICATE: Final = added(certificate, Certificate.__struct_fields__)
