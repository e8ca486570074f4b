"""What became of a lot, in figures. Everything is counted from the store, in one picture of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

import msgspec
import sqlalchemy as sa

from keywright.errors import StoreError
from keywright.production.reports.history import History, StepTimes, Times, times_of
from keywright.production.unit_store.control_rows import LotEvent, lot_events, remakes
from keywright.production.unit_store.mark_rows import Mark, marks
from keywright.production.unit_store.tables import OPEN, STATES, State, certificate, unit
from keywright.production.unit_store.units import Settings, UnitStore

EXCEPTIONS_SHOWN: Final = 100
"""Units listed as exceptions; how many there are stands beside them."""
_TOUCHED: Final = tuple(state for state in STATES if state != "planned")
_EXCEPTION: Final = unit.c.n.in_(
    sa.union(
        sa.select(unit.c.n).where(unit.c.state.in_(("quarantined", "rejected"))),
        sa.select(unit.c.n).where(
            unit.c.state.in_([state for state in _TOUCHED if state != "sealed"]), unit.c.failure_code != ""
        ),
        # Of those that stand as planned, one that was begun is one to recover, which an index knows.
        sa.select(unit.c.n).where(unit.c.recover == sa.literal_column("1"), unit.c.failure_code != ""),
    )
)
_CHUNK: Final = 1000


class Failure(msgspec.Struct, frozen=True):
    """One kind of failure and how many units it took out."""

    step: str
    code: str
    units: int


class UnitException(msgspec.Struct, frozen=True):
    """A unit that was set aside, or left open by a failure, and why."""

    n: int
    serial: str
    state: State
    step: str
    code: str
    text: str


class Exceptions(msgspec.Struct, frozen=True):
    """The first exceptions in the order of the order, and how many there are in all."""

    total: int
    units: tuple[UnitException, ...]


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A lot in figures: `ordered + remade == sealed + quarantined + rejected + open + scrapped + returned`.

    `duration_s` runs from the first unit's start to the last one's finish, pauses included; `rate_per_s` is finished
    units over it. `yield_` is sealed units over finished ones, `first_pass_yield` counts only those that were never
    interrupted; both are None before a unit is finished. `recovered` counts units with an action that was cut off and
    completed, `unsettled` intents of open units without a result: what a resumed campaign will probe first. `steps`
    are those of the recipe, `actions` what in them changes a unit, from intent to result.
    """

    ordered: int
    sealed: int
    quarantined: int
    rejected: int
    open: int
    planned: int
    running: int
    rework: int
    scrapped: int
    returned: int
    remade: int
    complete: bool
    test: bool
    lot: str
    state: str
    stands: str
    """Why it was stopped or waits, empty while it may go on."""
    decisions: tuple[LotEvent, ...]
    """What moved the lot from state to state, oldest first."""
    recipe_digest: str
    order_file: str
    order_digest: str
    keystore_id: str
    link: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    duration_s: float | None
    rate_per_s: float | None
    yield_: float | None = msgspec.field(name="yield")
    first_pass_yield: float | None
    recovered: int
    unsettled: int
    certificates: int
    unit_times: Times | None
    steps: tuple[StepTimes, ...]
    actions: tuple[StepTimes, ...]
    failures: tuple[Failure, ...]
    exceptions: Exceptions
    settings: Settings
    compromised: tuple[Mark, ...]
    """Keys that were compromised, and how many units are marked because of each."""

    def to_json(self) -> bytes:
        """One JSON object, times as RFC 3339 text in UTC."""
        return msgspec.json.encode(self)


def summarise(store: UnitStore, *, exceptions: int = EXCEPTIONS_SHOWN, latest: int | None = None) -> Summary:
    """Count a lot, listing at most `exceptions` units by name. Other processes may go on writing meanwhile.

    With `latest`, times of steps and actions are those of so many units, the last ones, and untouched units are not
    counted but taken for the rest: a lot of a million is told in a fraction of a second. Raises StoreError if no order
    was imported, or if the store has not as many units as were ordered.
    """
    lot = store.lot()
    if lot is None:
        raise StoreError(f"{store.name}: no order was imported", hint="run the campaign first")
    with reading(store) as reader:
        counts = _counts(reader) if latest is None else _counts_by_rest(reader, lot.units)
        if sum(counts.values()) != lot.units:
            raise StoreError(
                f"{store.name}: {lot.units} units were ordered, {sum(counts.values())} are there",
                hint="restore the store from a backup",
            )
        history = History(reader, latest=latest)
        certificates = reader.execute(sa.select(sa.func.count()).select_from(certificate)).scalar_one()
        failures = _failures(reader)
        listed = _exceptions(reader, exceptions)
        decisions = tuple(lot_events(reader))
        compromised = tuple(marks(reader))
        remade = sum(1 for _ in remakes(reader))
    still_open = sum(counts[state] for state in OPEN)
    finished = lot.units - still_open
    sealed = counts["sealed"]
    return Summary(
        ordered=lot.units - remade,
        sealed=sealed,
        quarantined=counts["quarantined"],
        rejected=counts["rejected"],
        open=still_open,
        planned=counts["planned"],
        running=counts["running"],
        rework=counts["rework"],
        scrapped=counts["scrapped"],
        returned=counts["returned"],
        remade=remade,
        complete=not still_open,
        test=lot.test,
        lot=lot.lot,
        state=lot.state,
        stands=why_it_stands(lot.state, decisions),
        decisions=decisions,
        recipe_digest=lot.recipe_digest,
        order_file=lot.order_file,
        order_digest=lot.order_digest,
        keystore_id=lot.keystore_id,
        link=lot.link,
        created_at=moment(lot.created_at),
        started_at=None if history.started is None else moment(history.started),
        finished_at=None if history.finished is None or still_open else moment(history.finished),
        duration_s=history.duration,
        rate_per_s=finished / history.duration if history.duration else None,
        yield_=sealed / finished if finished else None,
        first_pass_yield=(sealed - history.sealed_with_trouble) / finished if finished else None,
        recovered=len(history.recovered),
        unsettled=history.unsettled,
        certificates=certificates,
        unit_times=times_of(history.unit_seconds),
        steps=history.steps(),
        actions=history.actions(),
        failures=failures,
        exceptions=listed,
        settings=store.settings(),
        compromised=compromised,
    )


def why_it_stands(state: str, decisions: Sequence[LotEvent]) -> str:
    """The last reason for which a lot in this state stands; empty if it may go on."""
    if state not in ("stopped", "waiting"):
        return ""
    return next((one.text for one in reversed(decisions) if one.event in ("stop", "wait")), "")


@contextmanager
def reading(store: UnitStore) -> Iterator[sa.Connection]:
    """A connection that sees one picture of the store from its first query to its end, rows streamed."""
    with store.reading() as connection:
        yield connection.execution_options(yield_per=_CHUNK)


def _counts(reader: sa.Connection) -> dict[str, int]:
    query = sa.select(unit.c.state, sa.func.count()).group_by(unit.c.state)
    found = {str(state): int(number) for state, number in reader.execute(query)}
    return dict.fromkeys(STATES, 0) | found


def _counts_by_rest(reader: sa.Connection, ordered: int) -> dict[str, int]:
    query = sa.select(unit.c.state, sa.func.count()).where(unit.c.state.in_(_TOUCHED)).group_by(unit.c.state)
    found = {str(state): int(number) for state, number in reader.execute(query)}
    return {**dict.fromkeys(STATES, 0), **found, "planned": ordered - sum(found.values())}


def _failures(reader: sa.Connection) -> tuple[Failure, ...]:
    """Kinds of failure of units that were not sealed, most frequent first."""
    kind = (unit.c.step, unit.c.failure_code)
    number = sa.func.count().label("number")
    query = sa.select(*kind, number).where(_EXCEPTION).group_by(*kind)
    return tuple(Failure(*row) for row in reader.execute(query.order_by(number.desc(), *kind)))


def _exceptions(reader: sa.Connection, limit: int) -> Exceptions:
    total = reader.execute(sa.select(sa.func.count()).select_from(unit).where(_EXCEPTION)).scalar_one()
    columns = (unit.c.n, unit.c.serial, unit.c.state, unit.c.step, unit.c.failure_code, unit.c.failure_text)
    query = sa.select(*columns).where(_EXCEPTION).order_by(unit.c.n).limit(limit)
    return Exceptions(total, tuple(UnitException(*row) for row in reader.execute(query)))


def moment(at: float) -> datetime:
    """Seconds since 1970 as a time in UTC."""
    return datetime.fromtimestamp(at, UTC)
