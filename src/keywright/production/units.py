"""The unit store: every unit of a lot as a row, and every change of many units in one durable transaction.

One process writes a store at a time (a lock file beside it says which); others may read. A transaction is on the disk
when `commit` returns: SQLite in WAL mode with synchronous=FULL.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Final, final

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError, IntegrityError

from keywright.errors import StoreError
from keywright.production import database
from keywright.production.audit.log import IMPORTED, AuditEvent, append, lot_entry, order_entries
from keywright.production.ledger import opening, write_entries
from keywright.production.migrations.upgrade import schema_of, upgrade
from keywright.production.order import OrderRow
from keywright.production.rows import (
    ADD_UNIT,
    Certificate,
    Change,
    Event,
    Lot,
    Unit,
    UnitChange,
    event_row,
    lot_row,
    planned,
    unit_row,
)
from keywright.production.tables import (
    CLOSING,
    FINISHED,
    HEAD,
    STATES,
    Phase,
    State,
    campaign,
    certificate,
    event,
    unit,
)
from keywright.production.transaction import Transaction
from keywright.production.writers import write
from keywright.store.lock import FileLock

__all__ = [
    "Certificate",
    "Change",
    "ConflictError",
    "Event",
    "Lot",
    "Phase",
    "Settings",
    "State",
    "Unit",
    "UnitChange",
    "UnitStore",
]

_CHUNK: Final = 1000
"""Rows held in memory at a time while importing or reading."""
_PAGE: Final = 64
"""Planned units read ahead of being claimed."""
_CHECKPOINT_CHANGES: Final = 4096
"""Changed rows after which the write-ahead log goes into the database."""
_SYNCS_PER_CHECKPOINT: Final = 3
"""Of the log, of the database, and of the header of the log begun anew; as strace counts them."""


class ConflictError(StoreError):
    """A change breaks a uniqueness rule (a device, certificate or intent that is already there); nothing changed."""

    code = "conflict"


class Settings(msgspec.Struct, frozen=True):
    """How durable the store is, and what was written in this process; None when it only reads."""

    journal_mode: str
    synchronous: str
    commits: int | None
    changes: int | None
    syncs: int | None
    """One for every commit, three for every checkpoint."""


@final
class UnitStore:
    """The units of one lot. Make it with `open`; any thread may call it."""

    def __init__(self, path: Path, engine: sa.Engine, lock: FileLock | None) -> None:
        """Use `open`."""
        self.path = path
        self._engine = engine
        self._lock = lock
        self._writer = engine.connect().execution_options(immediate=True) if lock else None
        self._mutex = threading.Lock()
        self._unclaimed: Iterator[Unit] | None = None
        self._commits = self._changes = self._checkpoints = self._since_checkpoint = 0

    @classmethod
    def open(cls, url: str, *, create: bool = False, readonly: bool = False, wait_s: float = 0.0) -> UnitStore:
        """Open the store at `url`, for this process alone unless `readonly`.

        Raises StoreError, naming the pid, if another process holds it (after `wait_s` seconds); if there is none and
        not `create`; if it is no store or has a newer schema. An older schema is migrated, after a backup.
        """
        path = database.store_path(url)
        if not create or readonly:
            database.check_file(path)
        lock = None if readonly else database.lock(path, wait_s)
        engine = database.engine_for(path, write=not readonly)
        try:
            if create and not readonly:
                database.create_file(path)
            _prepare(engine, path, write=not readonly)
            return cls(path, engine, lock)
        except BaseException as error:
            engine.dispose()
            if lock is not None:
                lock.release()
            if isinstance(error, DatabaseError):
                if "not a database" in str(error.orig):
                    raise StoreError(f"{path}: not a store of this program", hint="give another --store") from error
                raise StoreError(f"{path}: cannot be used: {error.orig}", hint="restore it from a backup") from error
            raise

    def close(self) -> None:
        """Let go of file and lock; twice does no harm."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._engine.dispose()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> UnitStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def import_order(self, lot: Lot, rows: Iterable[OrderRow]) -> int:
        """Write the campaign row and one planned unit for each row in one transaction; returns how many.

        A fault anywhere, also one raised by `rows` while it is read, leaves the store as it was.
        """
        count = 0
        remaining = iter(rows)
        with self._transaction() as writer:
            writer.execute(campaign.insert(), msgspec.structs.asdict(lot) | {"id": 1, "test": int(lot.test)})
            transaction = Transaction(writer)
            entries: list[AuditEvent] = []
            while chunk := [planned(row) for row in islice(remaining, _CHUNK)]:
                transaction.run(ADD_UNIT, chunk)
                entries += order_entries(chunk)
                count += len(chunk)
            writer.execute(campaign.update().values(units=count))
            write_entries(transaction, opening(count))
            append(transaction, [lot_entry(transaction, IMPORTED), *entries])
        self._count(count + 1)
        return count

    def commit(self, batch: Iterable[Change]) -> None:
        """Write changes of any units in one durable transaction: all of them, or none and an error.

        Of values of one unit that a batch gives twice, the later count. Raises ConflictError if a uniqueness rule is
        broken, StoreError if the disk is full or a unit unknown, ValueError for a column that does not change.
        """
        changes = tuple(batch)
        if not changes:
            return
        with self._transaction() as writer:
            transaction = Transaction(writer)
            write(transaction, changes)
        self._count(transaction.rows_written)

    def set_lot_state(self, state: str) -> None:
        """Record how the lot stands, for example `stopped` or `complete`."""
        with self._transaction() as writer:
            writer.execute(campaign.update().values(state=state))
            transaction = Transaction(writer)
            append(transaction, [lot_entry(transaction, "lot.state")])
        self._count(1)

    def claim(self, limit: int) -> list[Unit]:
        """The next units to work on, at most `limit`: first all that an earlier process left begun, then planned ones.

        Each unit is given out once by this object; an empty list means that nothing is left to give.
        """
        if self._unclaimed is None:
            self._unclaimed = self._claimable()
        return list(islice(self._unclaimed, limit))

    def lot(self) -> Lot | None:
        """The campaign row, or None before an import."""
        with self._engine.connect() as reader:
            row = reader.execute(sa.select(campaign)).one_or_none()
        if row is None:
            return None
        return lot_row(row)

    def unit(self, n: int) -> Unit | None:
        """Unit number `n` of the order."""
        return next(self._units(unit.c.n == n), None)

    def find(self, serial: str) -> Unit | None:
        """The unit with that serial."""
        return next(self._units(unit.c.serial == serial), None)

    def find_device(self, uid: bytes) -> Unit | None:
        """The unit that this device was identified as."""
        return next(self._units(unit.c.device_uid == uid), None)

    def units(self, states: Sequence[State] = STATES) -> Iterator[Unit]:
        """Units in these states in the order of the order, streamed; the picture of the moment when it begins."""
        return self._units(unit.c.state.in_(states))

    def events(self, n: int | None = None) -> Iterator[Event]:
        """What happened to a unit, or to all, oldest first, streamed."""
        query = sa.select(event).order_by(event.c.seq)
        return map(event_row, self._stream(query if n is None else query.where(event.c.unit == n)))

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
        return map(event_row, self._stream(query if n is None else query.where(event.c.unit == n)))

    def certificate(self, n: int) -> Certificate | None:
        """The certificate that was issued for a unit."""
        return next(self._certificates(certificate.c.unit == n), None)

    def certificates(self) -> Iterator[Certificate]:
        """All certificates in the order of units, streamed."""
        return self._certificates(sa.true())

    def counts(self) -> dict[State, int]:
        """How many units stand in each state; every state is there."""
        query = sa.select(unit.c.state, sa.func.count().label("units")).group_by(unit.c.state)
        with self._engine.connect() as reader:
            found = {row.state: row.units for row in reader.execute(query)}
        return {state: found.get(state, 0) for state in STATES}

    def settings(self) -> Settings:
        """Journal mode, synchronous mode and counts, to be printed beside every figure."""
        with self._engine.connect() as reader:
            journal_mode: str = reader.exec_driver_sql("PRAGMA journal_mode").scalar_one()
            synchronous: int = reader.exec_driver_sql("PRAGMA synchronous").scalar_one()
        if self._writer is None:
            return Settings(journal_mode, database.SYNCHRONOUS[synchronous], None, None, None)
        syncs = self._commits + self._checkpoints * _SYNCS_PER_CHECKPOINT
        return Settings(journal_mode, database.SYNCHRONOUS[synchronous], self._commits, self._changes, syncs)

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        if self._writer is None:
            raise StoreError(f"{self.path}: opened for reading only")
        with self._mutex:
            try:
                with self._writer.begin():
                    yield self._writer
            except IntegrityError as error:
                raise ConflictError(f"{self.path}: {error.orig}") from error
            except DatabaseError as error:
                raise StoreError(f"{self.path}: cannot write: {error.orig}", hint="free some disk space") from error

    def _count(self, changes: int) -> None:
        with self._mutex:
            self._commits += 1
            self._changes += changes
            self._since_checkpoint += changes
            if self._since_checkpoint >= _CHECKPOINT_CHANGES and self._writer is not None:
                database.checkpoint(self._writer)
                self._checkpoints += 1
                self._since_checkpoint = 0

    def _claimable(self) -> Iterator[Unit]:
        """Pages, not one long cursor: an open read transaction would keep the write-ahead log from being reused."""
        touched = sa.exists().where(event.c.unit == unit.c.n)
        begun = unit.c.state.not_in(FINISHED) & ((unit.c.state != "planned") | touched)
        earlier = list(self._units(begun))
        yield from earlier
        given = {row.n for row in earlier}
        last = 0
        while page := list(self._units((unit.c.state == "planned") & (unit.c.n > last), limit=_PAGE)):
            last = page[-1].n
            yield from (row for row in page if row.n not in given)

    def _units(self, condition: sa.ColumnElement[bool], limit: int | None = None) -> Iterator[Unit]:
        return map(unit_row, self._stream(sa.select(unit).where(condition).order_by(unit.c.n).limit(limit)))

    def _certificates(self, condition: sa.ColumnElement[bool]) -> Iterator[Certificate]:
        query = sa.select(certificate).where(condition).order_by(certificate.c.unit)
        return (Certificate(**row._mapping) for row in self._stream(query))  # noqa: SLF001 - documented name

    def _stream(self, query: sa.Select[Any]) -> Iterator[sa.Row[Any]]:
        with self._engine.connect() as reader:
            yield from reader.execution_options(yield_per=_CHUNK).execute(query)


def _prepare(engine: sa.Engine, path: Path, *, write: bool) -> None:
    with engine.connect().execution_options(immediate=write) as connection, connection.begin():
        if write:
            upgrade(connection, path)
        elif (name := schema_of(connection)) != HEAD:
            raise StoreError(
                f"{path} has schema {name}, not {HEAD}", hint="continue the campaign to bring it up to date"
            )
