"""PostgreSQL as the unit store uses it: an address without secrets, durable commits, and errors that say what to do.

The password comes from where every client of PostgreSQL takes it: PGPASSWORD, PGPASSFILE or ~/.pgpass.
"""

from __future__ import annotations

import os
import re
import socket
import time
from pathlib import Path
from typing import Final, final
from urllib.parse import parse_qsl, unquote, urlsplit

import sqlalchemy as sa
from sqlalchemy.event import listens_for
from sqlalchemy.exc import DatabaseError, OperationalError

from keywright.errors import StoreError, UsageError

_FORM: Final = "give postgresql://USER@HOST:PORT/DATABASE, with ?beside=FOLDER for what belongs beside the store"
_PARAMETERS: Final = ("host", "sslmode", "sslrootcert", "sslcert", "sslkey")
"""Parameters of the connection that a URL may set; `host` names the folder of a local socket."""
_KEY: Final = 0x6B65_7977  # "keyw"
"""First half of the advisory locks' number."""
_HOLD, _SCHEMA = 1, 2
"""Second half: the process that has the store, and the one that changes its schema."""
_CONNECT_S: Final = 10
_POLL_S: Final = 0.05


@final
class PostgresqlDatabase:
    """A store in a database of its own on a PostgreSQL server."""

    dialect = "postgresql"
    retries = True

    def __init__(self, url: str) -> None:
        """Take the URL apart. Raises UsageError, StoreError without the driver; connects to nothing."""
        self._url, beside = _parsed(url)
        database = self._url.database or ""
        self.name = self._url.set(drivername="postgresql", query={}).render_as_string(hide_password=True)
        self.beside = Path(beside) / database
        try:
            import psycopg  # noqa: F401, PLC0415 - only to say in our words that it is missing
        except ImportError as error:
            raise StoreError(
                f"{self.name}: PostgreSQL needs the extra postgresql, which is not installed",
                hint='install it: pip install "keywright[postgresql]"',
            ) from error

    def check(self) -> None:
        """Raise StoreError unless the server has the database, and a store in it."""
        if not self.is_begun():
            raise StoreError(f"{self.name}: there is no store", hint="give the --store of a campaign that was run")

    def create(self) -> None:
        """See that what belongs beside the store has a folder. The database itself is made by its administrator."""
        if not self.beside.parent.is_dir():
            raise StoreError(
                f"{self.beside.parent}: no folder for what belongs beside the store {self.name}",
                hint="make it, or name another one: …/DATABASE?beside=FOLDER",
            )

    def is_begun(self) -> bool:
        """Whether the database has any table. Raises StoreError if it cannot be asked."""
        engine = self.engine(write=False)
        try:
            with engine.connect() as connection:
                return bool(sa.inspect(connection).get_table_names())
        except DatabaseError as error:
            raise self.problem(error) from error
        finally:
            engine.dispose()

    def lock(self, wait_s: float) -> PostgresqlLock:
        """Have the store for this process, on a connection of its own. Raises StoreError naming the holder."""
        self.create()
        engine = self.engine(write=True)
        try:
            return PostgresqlLock(engine, self.name, wait_s)
        except BaseException as error:
            engine.dispose()
            if isinstance(error, DatabaseError):
                raise self.problem(error) from error
            raise

    def engine(self, *, write: bool) -> sa.Engine:
        """Connections whose commits are on the disk when they return; a reader's transaction sees one picture."""
        engine = sa.create_engine(
            self._url,
            isolation_level="READ COMMITTED" if write else "REPEATABLE READ",
            connect_args={
                "connect_timeout": _CONNECT_S,
                "application_name": f"keywright {os.getpid()}@{socket.gethostname()}",
                "options": "-c synchronous_commit=on -c timezone=UTC -c client_min_messages=warning"
                + ("" if write else " -c default_transaction_read_only=on"),
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
            },
            pool_size=5,
            hide_parameters=True,
            pool_pre_ping=True,
        )

        @listens_for(engine, "first_connect")
        def _check_durable(connection: object, _record: object) -> None:
            _check_settings(connection, self.name)

        return engine

    def serialise(self, connection: sa.Connection) -> None:
        """Let nobody else change the schema until the transaction ends."""
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_KEY, _SCHEMA)))

    def back_up(self, schema: str) -> None:
        """Nothing: PostgreSQL undoes a schema change that fails, and its administrator has the backups."""

    def check_in_place(self) -> None:
        """Nothing: the server has the place."""

    def checkpoint(self, connection: sa.Connection) -> int:
        """Nothing: the server makes its own."""
        del connection
        return 0

    def settings(self, connection: sa.Connection) -> tuple[str, str]:
        """How its log is written, and when a commit returns."""
        wal: str = connection.exec_driver_sql("SHOW wal_sync_method").scalar_one()
        synchronous: str = connection.exec_driver_sql("SHOW synchronous_commit").scalar_one()
        return f"wal ({wal})", synchronous

    def problem(self, error: DatabaseError) -> StoreError:
        """What a failed opening or reading means to its user."""
        return StoreError(
            f"{self.name}: {_first_line(error)}",
            hint="see that the server runs; check host, port, user and database, and PGPASSWORD or ~/.pgpass",
        )

    def write_problem(self, error: DatabaseError) -> StoreError:
        """What a failed transaction means to its user."""
        if isinstance(error, OperationalError):
            return self.problem(error)
        return StoreError(f"{self.name}: cannot write: {_first_line(error)}", hint="ask the server's administrator")


@final
class PostgresqlLock:
    """An advisory lock, held as long as its connection is."""

    def __init__(self, engine: sa.Engine, name: str, wait_s: float) -> None:
        """Take it, waiting up to wait_s seconds. Raises StoreError naming who has it."""
        self._engine: sa.Engine | None = engine
        self._connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        deadline = time.monotonic() + wait_s
        while not self._connection.execute(sa.select(sa.func.pg_try_advisory_lock(_KEY, _HOLD))).scalar_one():
            if time.monotonic() >= deadline:
                holder = self._holder()
                self.release()
                raise StoreError(
                    f"the store {name} is in use by {holder}", hint="wait for that process to finish, or stop it"
                )
            time.sleep(_POLL_S)

    def _holder(self) -> str:
        found = self._connection.execute(
            sa.text(
                "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid) "
                "WHERE locktype = 'advisory' AND classid = :key AND objid = :what AND granted "
                "AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            ),
            {"key": _KEY, "what": _HOLD},
        ).scalar()
        match = re.fullmatch(r"keywright (\d+)@(.*)", found or "")
        return f"process {match[1]} on {match[2]}" if match else "another process"

    def release(self) -> None:
        """Let go; twice does no harm."""
        if self._engine is not None:
            self._connection.close()
            self._engine.dispose()
            self._engine = None


def _parsed(url: str) -> tuple[sa.URL, str]:
    """The address for SQLAlchemy and the folder for what belongs beside the store."""
    try:
        parts = urlsplit(url)
        port = parts.port
        query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise UsageError("--store: not an address of a PostgreSQL database", hint=_FORM) from error
    if parts.password is not None:
        raise UsageError(
            "--store: a password in an address is seen by everybody on this machine",
            hint="leave it out; put it into PGPASSWORD or ~/.pgpass",
        )
    database = unquote(parts.path.removeprefix("/"))
    parameters = dict(query)
    beside = parameters.pop("beside", ".")
    wrong = sorted(set(parameters) - set(_PARAMETERS))
    if (
        wrong
        or not re.fullmatch(r"[^/\x00.][^/\x00]*", database)
        or len(parameters) + ("beside" in dict(query)) != len(query)
    ):
        what = f"parameter {wrong[0]!r}" if wrong else "database name"
        raise UsageError(f"--store {url}: not an address of a store: {what}", hint=_FORM)
    user = unquote(parts.username) if parts.username else None
    made = sa.URL.create("postgresql+psycopg", user, None, parts.hostname, port, database, parameters)
    return made, beside or "."


def _check_settings(connection: object, name: str) -> None:
    """Raise StoreError for a server that would answer a commit before it is on the disk."""
    cursor = connection.cursor()  # type: ignore[attr-defined]  # a connection of the driver, which has no type here
    for setting, wanted in (("fsync", "on"), ("full_page_writes", "on"), ("synchronous_commit", "on")):
        found = cursor.execute(f"SHOW {setting}").fetchone()[0]
        if found != wanted:
            connection.rollback()  # type: ignore[attr-defined]  # as above
            raise StoreError(
                f"{name}: the server has {setting} = {found}: a power cut would lose what it confirmed",
                hint=f"set {setting} = {wanted} on the server",
            )
    connection.rollback()  # type: ignore[attr-defined]  # as above


def _first_line(error: DatabaseError) -> str:
    return str(error.orig).strip().partition("\n")[0]
