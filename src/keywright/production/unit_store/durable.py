"""The writing connection of a store: a transaction is on the disk when it returns, also over a server that restarts."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar, final

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError, IntegrityError

from keywright.errors import StoreError
from keywright.production.unit_store.database import Database
from keywright.production.unit_store.tables import station
from keywright.production.unit_store.transaction import Prepared, Transaction

Got = TypeVar("Got")

RETRY_S: Final = 60.0
"""How long a server may be gone before that is an error."""
_PAUSES_S: Final = (0.02, 0.05, 0.1, 0.2, 0.5)
_SERIALISATION: Final = ("40001", "40P01")
"""SQLSTATE of transactions that the server undid because of others: begun anew, they succeed."""
_COMING: Final = ("57P01", "57P02", "57P03")
"""SQLSTATE of a server that goes down or comes up."""


_MARK: Final = Prepared(
    {"mark_": sa.Text(), "name_": sa.Text()},
    lambda given: station.update().where(station.c.name == given["name_"]).values(mark=given["mark_"]),
)


class ConflictError(StoreError):
    """A change breaks a uniqueness rule (a device, certificate or intent that is already there); nothing changed."""

    code = "conflict"


@final
class Durable:
    """Transactions of one process, one after the other. Any thread may ask for one."""

    def __init__(self, database: Database, engine: sa.Engine, station: str, reconnected: Callable[[], None]) -> None:
        """`reconnected` is called when a lost connection was made anew, before it is used."""
        self._station = station
        self._database = database
        self._engine = engine
        self._reconnected = reconnected
        self._mutex = threading.RLock()
        self._connection: sa.Connection | None = None
        self._lost = False

    def run(self, work: Callable[[Transaction], Got], *, again: bool = True) -> Got:
        """Do some work in one transaction and return what it returned, once that is on the disk.

        A transaction that a restarting server undid is done again, unless `again` is False; one whose commit was
        not answered is looked up first, and is never done twice. Raises ConflictError if a uniqueness rule is broken,
        StoreError if the disk is full or the server does not come back within a minute.
        """
        with self._mutex:
            for error in attempts(self._database):
                begun = _Begun()
                try:
                    return self._once(work, begun)
                except IntegrityError as broken:
                    raise ConflictError(f"{self._database.name}: {_text(broken)}") from broken
                except DatabaseError as found:
                    if not self._database.retries or not is_passing(found):
                        raise self._database.write_problem(found) from found
                    self._drop()
                    if begun.committing and self._was_committed(begun.mark):
                        return begun.result  # type: ignore[return-value]  # what `work` returned
                    if not again:
                        raise self._database.write_problem(found) from found
                    error(found)
            raise AssertionError("attempts end by an error")

    def checkpoint(self) -> int:
        """What the database wants done now and then; returns the syncs it took."""
        with self._mutex:
            return self._database.checkpoint(self._connected())

    def close(self) -> None:
        """Let go of the connection; twice does no harm."""
        with self._mutex:
            self._drop()
            self._lost = False

    def _once(self, work: Callable[[Transaction], Got], begun: _Begun) -> Got:
        connection = self._connected()
        with connection.begin():
            transaction = Transaction(connection)
            begun.result = result = work(transaction)
            begun.mark = self._marked(transaction)
            self._database.check_in_place()
            begun.committing = True
        return result

    def _marked(self, transaction: Transaction) -> str:
        """Leave a mark by which this transaction can be recognised, where its commit may go unanswered.

        The server's own number of it would not do: one that a crash has undone may be given to another transaction.
        """
        if not self._database.retries:
            return ""
        mark = secrets.token_hex(8)
        return mark if transaction.run(_MARK, [(mark, self._station)], is_change=False) else ""

    def _connected(self) -> sa.Connection:
        if self._connection is None:
            connection = self._engine.connect().execution_options(immediate=True)
            if self._lost:
                try:
                    self._reconnected()
                except BaseException as error:
                    connection.close()
                    if isinstance(error.__cause__, DatabaseError):
                        raise error.__cause__ from error  # the server went again meanwhile: another turn
                    raise
                self._lost = False
            self._connection = connection
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None
            self._lost = True

    def _was_committed(self, mark: str) -> bool:
        """Whether a transaction's mark is there. One that still runs holds the row, and is waited for."""
        query = sa.select(station.c.mark).where(station.c.name == self._station).with_for_update()
        for failed in attempts(self._database):
            try:
                with self._engine.begin() as connection:
                    return bool(mark) and connection.execute(query).scalar() == mark
            except DatabaseError as found:
                if not is_passing(found):
                    raise self._database.write_problem(found) from found
                failed(found)
        raise AssertionError("attempts end by an error")


class _Begun:
    """How far a transaction came."""

    result: object = None
    mark: str = ""
    committing: bool = False


def attempts(database: Database) -> Iterator[Callable[[DatabaseError], None]]:
    """Turns at something that a restarting server may fail; ends by StoreError after `RETRY_S`.

    Each turn gets a function to be called with what went wrong; it waits a little.
    """
    deadline = time.monotonic() + RETRY_S
    turn = 0

    def failed(error: DatabaseError) -> None:
        if time.monotonic() > deadline:
            raise database.problem(error) from error
        time.sleep(_PAUSES_S[min(turn, len(_PAUSES_S) - 1)])

    while True:
        yield failed
        turn += 1


def is_passing(error: DatabaseError) -> bool:
    """Whether the same thing may succeed in a moment: the server is gone, starting, or undid it because of others."""
    state = getattr(error.orig, "sqlstate", None)
    if state in _SERIALISATION or state in _COMING or error.connection_invalidated:
        return True
    return (
        state is None and type(error.orig).__name__ == "OperationalError" and "psycopg" in type(error.orig).__module__
    )


def _text(error: DatabaseError) -> str:
    return str(error.orig).strip().partition("\n")[0]
