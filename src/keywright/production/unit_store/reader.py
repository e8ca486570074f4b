"""Reading a unit store. Streams are pictures of the moment at which they begin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from keywright.production.unit_store import prepared_rows
from keywright.production.unit_store.database import Database
from keywright.production.unit_store.durable import attempts, is_passing
from keywright.production.unit_store.prepared_rows import PreparedUnit, recipe_id
from keywright.production.unit_store.rows import Certificate, Event, Lot, Unit, event_row, lot_row, unit_row
from keywright.production.unit_store.tables import CLOSING, OPEN, STATES, State, campaign, certificate, event, unit

Got = TypeVar("Got")

_CHUNK: Final = 1000
"""Rows held in memory at a time."""


class StoreReader:
    """What may be asked of a store, by any thread."""

    def __init__(self, database: Database, engine: sa.Engine) -> None:
        self.database = database
        self._reader = engine

    @property
    def name(self) -> str:
        """The store, for messages."""
        return self.database.name

    @property
    def path(self) -> Path:
        """The path to which the names of the lot's other files are added."""
        return self.database.beside

    def lot(self) -> Lot | None:
        """The campaign row, or None before an import."""
        return next(map(lot_row, self._all(sa.select(campaign))), None)

    def unit(self, n: int) -> Unit | None:
        """Unit number `n` of the order."""
        return self._unit(unit.c.n == n)

    def find(self, serial: str) -> Unit | None:
        """The unit with that serial."""
        return self._unit(unit.c.serial == serial)

    def find_device(self, uid: bytes) -> Unit | None:
        """The unit that this device was identified as."""
        return self._unit(unit.c.device_uid == uid)

    def units(self, states: Sequence[State] = STATES) -> Iterator[Unit]:
        """Units in these states in the order of the order, streamed."""
        return self._units(unit.c.state.in_(states))

    def events(self, n: int | None = None) -> Iterator[Event]:
        """What happened to a unit, or to all, oldest first; all are streamed."""
        return map(event_row, self._events_of(n, sa.select(event).order_by(event.c.seq)))

    def open_intents(self, n: int | None = None) -> Iterator[Event]:
        """Intents, of a unit or of all, that no closing event of the same step and attempt has settled."""
        later = event.alias()
        settled = sa.exists().where(
            later.c.unit == event.c.unit,
            later.c.step == event.c.step,
            later.c.attempt == event.c.attempt,
            later.c.phase.in_(CLOSING),
        )
        query = sa.select(event).where(event.c.phase == "intent", ~settled).order_by(event.c.seq)
        return map(event_row, self._events_of(n, query))

    def certificate(self, n: int) -> Certificate | None:
        """The certificate that was issued for a unit."""
        query = sa.select(certificate).where(certificate.c.unit == n)
        return next((Certificate(**row._mapping) for row in self._all(query)), None)  # noqa: SLF001 - documented name

    def prepared(self, n: int, recipe_digest: str) -> PreparedUnit | None:
        """What was prepared for a unit by this recipe."""
        return self.ask(lambda connection: prepared_rows.find(connection, recipe_id(recipe_digest), n))

    def prepared_for(self, uid: bytes, recipe_digest: str) -> int | None:
        """The unit that was prepared by this recipe for the device of this identity."""
        return self.ask(lambda connection: prepared_rows.named_uid(connection, recipe_id(recipe_digest), uid))

    def certificates(self) -> Iterator[Certificate]:
        """All certificates in the order of units, streamed."""
        return self._certificates(sa.true())

    def counts(self) -> dict[State, int]:
        """How many units stand in each state; every state is there."""
        query: sa.Select[*tuple[Any, ...]] = sa.select(unit.c.state, sa.func.count().label("units")).group_by(
            unit.c.state
        )
        found = {row.state: row.units for row in self._all(query)}
        return {state: found.get(state, 0) for state in STATES}

    def leased(self) -> int:
        """How many units somebody works on."""
        query = sa.select(sa.func.count().label("units")).select_from(unit).where(unit.c.until.is_not(None))
        return int(self._all(query)[0].units)

    def stations_pinned(self) -> set[str]:
        """Stations on whose readers unfinished units stand that were begun: only those can go on with them."""
        begun = unit.c.state.in_(OPEN) & ((unit.c.state != "planned") | (unit.c.recover == 1))
        return {row.pinned for row in self._all(sa.select(unit.c.pinned).where(begun, unit.c.pinned != "").distinct())}

    def standing(self) -> dict[str, int]:
        """How many units that were begun stand on each station; those that stand nowhere in particular under ""."""
        begun = unit.c.state != "planned"
        query = sa.select(unit.c.pinned, sa.func.count().label("units")).where(begun).group_by(unit.c.pinned)
        return {row.pinned: row.units for row in self._stream(query)}

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection whose queries all see the same picture: that of the first."""
        engine = self.database.engine(write=False)
        try:
            with engine.connect() as connection:
                yield connection
        except DatabaseError as error:
            raise self.database.problem(error) from error
        finally:
            engine.dispose()

    def _unit(self, condition: sa.ColumnElement[bool]) -> Unit | None:
        return next(map(unit_row, self._all(sa.select(unit).where(condition))), None)

    def _events_of(self, n: int | None, query: sa.Select[*tuple[Any, ...]]) -> Iterator[sa.Row[*tuple[Any, ...]]]:
        return self._stream(query) if n is None else iter(self._all(query.where(event.c.unit == n)))

    def _units(self, condition: sa.ColumnElement[bool]) -> Iterator[Unit]:
        return map(unit_row, self._stream(sa.select(unit).where(condition).order_by(unit.c.n)))

    def _certificates(self, condition: sa.ColumnElement[bool]) -> Iterator[Certificate]:
        query = sa.select(certificate).where(condition).order_by(certificate.c.unit)
        return (Certificate(**row._mapping) for row in self._stream(query))  # noqa: SLF001 - documented name

    def _all(self, query: sa.Select[*tuple[Any, ...]]) -> Sequence[sa.Row[*tuple[Any, ...]]]:
        """Few rows, all at once."""
        return self.ask(lambda reader: reader.execute(query).all())

    def ask(self, question: Callable[[sa.Connection], Got]) -> Got:
        """The answer to a question of few rows; asked again where a server restarts."""
        for failed in attempts(self.database):
            try:
                with self._reader.connect() as reader:
                    return question(reader)
            except DatabaseError as error:
                if not (self.database.retries and is_passing(error)):
                    raise self.database.problem(error) from error
                failed(error)
        raise AssertionError("attempts end by an error")

    def _stream(self, query: sa.Select[*tuple[Any, ...]]) -> Iterator[sa.Row[*tuple[Any, ...]]]:
        """Rows as they are wanted; begun again where a server restarts before the first one came."""
        for failed in attempts(self.database):
            rows = self._rows(query)
            try:
                first = list(next(rows, ()))
            except DatabaseError as error:
                if not (self.database.retries and is_passing(error)):
                    raise self.database.problem(error) from error
                failed(error)
                continue
            return chain(first, self._rest(rows))
        raise AssertionError("attempts end by an error")

    def _rest(self, rows: Iterator[Sequence[sa.Row[*tuple[Any, ...]]]]) -> Iterator[sa.Row[*tuple[Any, ...]]]:
        try:
            for chunk in rows:
                yield from chunk
        except DatabaseError as error:
            raise self.database.problem(error) from error

    def _rows(self, query: sa.Select[*tuple[Any, ...]]) -> Iterator[Sequence[sa.Row[*tuple[Any, ...]]]]:
        with self._reader.connect() as reader:
            yield from reader.execution_options(yield_per=_CHUNK).execute(query).partitions()
