"""The unit store: every unit of a lot as a row, and every change of many units in one durable transaction.

A transaction is on the disk when `commit` returns, in a SQLite file (WAL mode, synchronous=FULL) or a PostgreSQL
database (synchronous_commit=on). A process has the store for itself, or joins it as a station beside others; either
way the units it works on are leased to it, and what it writes of a unit that somebody else has by now is refused.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from types import TracebackType
from typing import Final, TypeVar, final

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from keywright.errors import StoreError
from keywright.production.audit.log import IMPORTED, AuditEvent, append, lot_entry, order_entries
from keywright.production.handover.ledger import opening, write_entries
from keywright.production.migrations.upgrade import schema_of, upgrade
from keywright.production.order import OrderRow
from keywright.production.unit_store import leases
from keywright.production.unit_store.database import Database, Lock, database_at
from keywright.production.unit_store.durable import ConflictError, Durable
from keywright.production.unit_store.leases import FencedError, Leave
from keywright.production.unit_store.prepared_rows import PreparedChunk, changes_of
from keywright.production.unit_store.processes import is_gone, this_host, this_process
from keywright.production.unit_store.reader import StoreReader
from keywright.production.unit_store.rows import PLANNED, Certificate, Change, Event, Lot, Unit, UnitChange, planned
from keywright.production.unit_store.tables import FINISHED, HEAD, Phase, State, campaign
from keywright.production.unit_store.transaction import Row, Transaction
from keywright.production.unit_store.writers import write

__all__ = [
    "Certificate",
    "Change",
    "ConflictError",
    "Event",
    "FencedError",
    "Leave",
    "Lot",
    "Phase",
    "Settings",
    "State",
    "Unit",
    "UnitChange",
    "UnitStore",
]

Got = TypeVar("Got")

_ALONE: Final = "alone "
"""How the name of a station begins that has the store for itself."""
_CHUNK: Final = 1000
"""Rows held in memory at a time while importing."""
_CHECKPOINT_CHANGES: Final = 4096
"""Changed rows after which the write-ahead log goes into the database."""


class Settings(msgspec.Struct, frozen=True):
    """How durable the store is, and what was written in this process; None when it only reads."""

    dialect: str
    """`sqlite` or `postgresql`."""
    journal_mode: str
    synchronous: str
    commits: int | None
    changes: int | None
    syncs: int | None
    """One for every commit, three for every checkpoint that this process made."""


@final
class UnitStore(StoreReader):
    """The units of one lot. Make it with `open`; any thread may call it."""

    def __init__(
        self,
        database: Database,
        engine: sa.Engine,
        lock: Lock | None,
        *,
        station: str = "",
        ttl_s: float = leases.TTL_S,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """Use `open`. `station` "" only reads."""
        super().__init__(database, engine)
        self.station = station
        self.url = ""
        """As it was opened."""
        self.recipe = ""
        """Digest of the recipe that this process works by: of a lot that has another one by now it gets no unit."""
        self.ttl_s = ttl_s
        self._now = _now(database, clock)
        self._until = self._now + sa.literal(ttl_s)
        self._leasing = leases.Leasing(station, self._until)
        self._engine = engine
        self._lock = lock
        self._writer = Durable(database, engine, station, self._lock_again) if station else None
        self._held: dict[int, int] = {}
        self._is_known = False
        self._introducing = threading.Lock()
        self._count_mutex = threading.Lock()
        self._commits = self._changes = self._syncs = self._since_checkpoint = 0

    @classmethod
    def open(
        cls,
        url: str,
        *,
        create: bool = False,
        readonly: bool = False,
        wait_s: float = 0.0,
        station: str = "",
        ttl_s: float = leases.TTL_S,
        clock: Callable[[], float] | None = None,
    ) -> UnitStore:
        """Open the store at `url`: for reading, as one `station` among others, or (neither) for this process alone.

        A lease lasts `ttl_s` seconds without a heartbeat, by the database's clock unless `clock` gives seconds since
        1970. A station that comes back under its name finds what it had in hand to be recovered; so two at a time may
        not have the same. Raises StoreError, naming the process, if another one has the store for itself (after
        `wait_s` seconds); if there is none and not `create`; if it is no store or has a newer schema. An older schema
        is migrated by whoever has the store alone, a SQLite file after a backup.
        """
        database = database_at(url)
        alone = not readonly and not station
        if not create or readonly:
            database.check()
        lock = database.lock(wait_s) if alone else None
        engine = database.engine(write=not readonly)
        try:
            if create and not readonly:
                database.create()
            _prepare(engine, database, write=alone)
            name = "" if readonly else station or f"{_ALONE}{os.getpid()}.{secrets.token_hex(4)}"
            opened = cls(database, engine, lock, station=name, ttl_s=ttl_s, clock=clock)
        except BaseException as error:
            engine.dispose()
            if lock is not None:
                lock.release()
            if isinstance(error, DatabaseError):
                raise database.problem(error) from error
            raise
        opened.url = url
        return opened

    def close(self) -> None:
        """Give back what is leased, let go of the store; twice does no harm."""
        if self._writer is not None:
            try:
                if self._held:
                    host, process = this_host(), this_process()
                    self._writer.run(
                        lambda transaction: leases.give_back(transaction, self.station, host, process), again=False
                    )
            except StoreError:
                pass  # the server is gone: the leases end by themselves
            finally:
                self._held.clear()
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

    # ---- writing

    def import_order(self, lot: Lot, rows: Iterable[OrderRow], beside: Sequence[Change] = ()) -> int:
        """Write the campaign row and one planned unit for each row in one transaction; returns how many.

        `beside` is written with them: the use of what allowed them.
        A fault anywhere, also one raised by `rows` while it is read, leaves the store as it was.
        """

        def work(transaction: Transaction) -> int:
            transaction.execute(
                campaign.insert().values(msgspec.structs.asdict(lot) | {"id": 1, "run": 1, "test": int(lot.test)})
            )
            entries: list[AuditEvent] = []
            count = transaction.copy("unit", PLANNED, _told(map(planned, rows), entries))
            transaction.execute(campaign.update().values(units=count))
            write_entries(transaction, opening(count))
            append(transaction, [lot_entry(transaction, IMPORTED), *entries])
            write(transaction, beside)
            return count

        count = self._write(work, again=False)
        self._count(count + 1)
        return count

    def commit(self, batch: Iterable[Change]) -> None:
        """Write changes of any units in one durable transaction: all of them, or none and an error.

        Of values of one unit that a batch gives twice, the later count. Raises FencedError if another station has one
        of the units, ConflictError if a uniqueness rule is broken, StoreError if the disk is full or a unit unknown,
        ValueError for a column that does not change.
        """
        changes = tuple(batch)
        if not changes:
            return
        touched = leases.touched_by(changes)

        def work(transaction: Transaction) -> int:
            if stale := leases.fence(transaction, self._held, touched):
                raise FencedError(f"{self.name}: another station has unit {', '.join(map(str, stale))}", stale)
            write(transaction, changes)
            written = transaction.rows_written
            leases.mark_begun(transaction, touched.difference(self._held))
            return written

        written = self._write(work)
        for change in changes:
            if type(change) is Leave or (type(change) is UnitChange and change.values.get("state") in FINISHED):
                self._held.pop(change.unit, None)
        self._count(written)

    def add_prepared(self, chunk: PreparedChunk) -> tuple[int, ...]:
        """Write what was prepared for a chunk of the order, in one transaction; the units that it was written for.

        Units that somebody has taken up meanwhile are left out. Raises ConflictError if the chunk was prepared already.
        """

        def work(transaction: Transaction) -> tuple[PreparedChunk, int]:
            changes = changes_of(transaction, chunk)
            write(transaction, changes)
            (kept,) = (change for change in changes if type(change) is PreparedChunk)
            return kept, transaction.rows_written

        kept, written = self._write(work)
        self._count(written)
        return tuple(one.unit for one in kept.units)

    # ---- leases

    def claim(self, limit: int, *, pin: bool = False) -> list[Unit]:
        """Lease the next units to work on, at most `limit`: first all that somebody else left begun, then planned ones.

        A unit that was given out is not given again, unless it was left in an earlier run or dropped. An empty list
        means that nothing is free now; what others have may still come back by `reap`. `pin`: they stand on this
        station's reader from now on, and no other station gets them.
        """

        def work(transaction: Transaction) -> list[Unit]:
            return self._leasing.claim(transaction, limit, without=self._held, pinned=pin, recipe=self.recipe)

        found = self._write(work)
        self._held |= {one.n: one.epoch for one in found}
        return found

    def take(self, n: int, *, pin: bool = False) -> Unit | None:
        """Lease one unit, such as the one that was put on the reader; None if it is finished or another's."""
        if n in self._held:
            return self.unit(n)
        found = self._write(lambda transaction: self._leasing.take(transaction, n, pinned=pin, recipe=self.recipe))
        if found is not None:
            self._held[n] = found.epoch
        return found

    def is_work_left(self) -> bool:
        """Whether others have units in hand that may come back, or left some that `claim` could find."""
        self.reap()
        return bool(self.leased()) or bool(self._all(leases.claimable(self.station, self.recipe)))

    def drop(self, n: int) -> None:
        """Forget a lease that was lost: `commit` said so, and nobody here works on the unit any more."""
        self._held.pop(n, None)

    def begin_run(self) -> None:
        """What earlier runs left open may be taken up again. Having the store alone does this too."""
        self._write(leases.begin_run)

    def heartbeat(self) -> int:
        """Have this station's leases last another `ttl_s`; returns how many it has."""
        host, process = this_host(), this_process()
        return self._write(
            lambda transaction: leases.extend(transaction, self.station, host, process, self._now, self._until)
        )

    @contextmanager
    def keep_alive(self) -> Iterator[None]:
        """A heartbeat every third of `ttl_s`, by a thread, as long as the block lasts."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(self.ttl_s / 3):
                try:
                    self.heartbeat()
                except StoreError:
                    continue  # the commits of the work itself say what is wrong

        thread = threading.Thread(target=beat, name="leases", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def reap(self) -> int:
        """Leases that ended, and those of this machine's processes that have, become units to recover; how many."""
        return self._write(self._reap)

    def pin(self, n: int, *, released: bool = False) -> None:
        """The unit stands on this station's reader: no other one gets it, until it is released."""
        name = "" if released else self.station
        self._write(lambda transaction: leases.pin(transaction, n, name))

    # ---- figures

    def settings(self) -> Settings:
        """Journal mode, synchronous mode and counts, to be printed beside every figure."""
        with self._engine.connect() as reader:
            journal_mode, synchronous = self.database.settings(reader)
        how = (self.database.dialect, journal_mode, synchronous)
        if self._writer is None:
            return Settings(*how, None, None, None)
        return Settings(*how, self._commits, self._changes, self._commits + self._syncs)

    def _write(self, work: Callable[[Transaction], Got], *, again: bool = True) -> Got:
        if self._writer is None:
            raise StoreError(f"{self.name}: opened for reading only")
        if self._is_known:
            return self._writer.run(work, again=again)

        def first(transaction: Transaction) -> Got:
            self._introduce(transaction)
            return work(transaction)

        with self._introducing:  # or a second thread would end the leases that the first has just got
            if not self._is_known:
                done = self._writer.run(first, again=again)
                self._is_known = True
                return done
        return self._writer.run(work, again=again)

    def _introduce(self, transaction: Transaction) -> None:
        """Say who we are, with the first thing written; who has the store alone knows that earlier ones are gone."""
        if self._lock is not None:
            earlier = [row.name for row in leases.holders(transaction) if row.name.startswith(_ALONE)]
            leases.expire_of(transaction, earlier)
            self._reap(transaction)
            leases.begin_run(transaction)
        else:
            leases.expire_of(transaction, [self.station])
        leases.register(transaction, self.station, this_host(), this_process(), self._now)

    def _reap(self, transaction: Transaction) -> int:
        dead = [row.name for row in leases.holders(transaction) if is_gone(row.host, row.process)]
        return leases.expire(transaction, self._now) + leases.expire_of(transaction, dead)

    def _lock_again(self) -> None:
        """A server that restarted has forgotten who had the store."""
        if self._lock is not None:
            self._lock.release()
            self._lock = self.database.lock(self.ttl_s)

    def _count(self, changes: int) -> None:
        with self._count_mutex:
            self._commits += 1
            self._changes += changes
            self._since_checkpoint += changes
            if self._since_checkpoint < _CHECKPOINT_CHANGES or self._writer is None:
                return
            self._since_checkpoint = 0
        syncs = self._writer.checkpoint()
        with self._count_mutex:
            self._syncs += syncs


def _now(database: Database, clock: Callable[[], float] | None) -> sa.ColumnElement[float]:
    """The time at which a statement runs: a given clock's, else the database's where that is a server."""
    if clock is None and database.dialect == "postgresql":
        return sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Float)
    return sa.bindparam("now", callable_=clock or time.time, type_=sa.Float)


def _told(rows: Iterator[Row], entries: list[AuditEvent]) -> Iterator[Row]:
    """Pass rows of units on, adding what the audit log is to say of them to `entries`."""
    while chunk := list(islice(rows, _CHUNK)):
        entries += order_entries(chunk)
        yield from chunk


def _prepare(engine: sa.Engine, database: Database, *, write: bool) -> None:
    with engine.connect().execution_options(immediate=write) as connection, connection.begin():
        if write:
            database.serialise(connection)
            upgrade(connection, database)
        elif (name := schema_of(connection)) != HEAD:
            raise StoreError(
                f"{database.name} has schema {name}, not {HEAD}", hint="continue the campaign to bring it up to date"
            )
