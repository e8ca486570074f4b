"""SQLite as the unit store uses it: a file, settings that make commits durable, and explicit transactions."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final, final
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.event import listens_for
from sqlalchemy.exc import DatabaseError

from keywright.errors import StoreError
from keywright.store.lock import FileLock

BUSY_TIMEOUT_MS: Final = 30_000
SYNCHRONOUS: Final = {0: "OFF", 1: "NORMAL", 2: "FULL", 3: "EXTRA"}
SYNCS_PER_CHECKPOINT: Final = 3
"""Of the log, of the database, and of the header of the log begun anew; as strace counts them."""

_SETTINGS: Final = (
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    # Checkpoints are made, and counted, by the store itself.
    "PRAGMA wal_autocheckpoint = 0",
)


@final
class SqliteFile:
    """A store in one file; what belongs to its lot stands beside it."""

    dialect = "sqlite"
    retries = False

    def __init__(self, path: Path) -> None:
        self.beside = path
        self.name = str(path)
        self._opened: tuple[int, int] | None = None

    def check(self) -> None:
        """Raise StoreError unless there is a file that may be a store."""
        check_file(self.beside)

    def create(self) -> None:
        """Make the file if there is none. Raises StoreError."""
        create_file(self.beside)

    def is_begun(self) -> bool:
        """Whether something is there: one of no size was begun when the disk was full, or by a killed process."""
        return self.beside.exists() and self.beside.stat().st_size > 0

    def lock(self, wait_s: float) -> FileLock:
        """The lock of the store, however its path is spelled. Raises StoreError naming the pid of the holder."""
        try:
            return FileLock(f"{self.beside.resolve()}.lock", f"the store {self.name}", wait_s)
        except OSError as error:
            raise StoreError(f"{self.name}: cannot be locked: {error.strerror}", hint="give another --store") from error

    def engine(self, *, write: bool) -> sa.Engine:
        """Connections that begin transactions only as told."""
        engine = engine_for(self.beside, write=write)
        if write:
            listens_for(engine, "first_connect")(self._remember)
        return engine

    def _remember(self, _connection: object, _record: object) -> None:
        self._opened = _identity(self.beside)

    def check_in_place(self) -> None:
        """Raise StoreError if the file that is written was removed or replaced: nobody would find it again."""
        if _identity(self.beside) != self._opened:
            raise StoreError(
                f"{self.name}: was removed or replaced while it was in use; nothing more is written",
                hint="put the file back, or a backup, before anything else is done with the units",
            )

    def serialise(self, connection: sa.Connection) -> None:
        """Nothing to do: writers begin with BEGIN IMMEDIATE."""

    def back_up(self, schema: str) -> None:
        """Copy the file beside it before its schema changes. Raises StoreError."""
        back_up(self.beside, self.beside.with_name(f"{self.beside.name}.schema-{schema}.bak"))

    def checkpoint(self, connection: sa.Connection) -> int:
        """Move what the log holds into the database; returns how many syncs that took."""
        checkpoint(connection)
        return SYNCS_PER_CHECKPOINT

    def settings(self, connection: sa.Connection) -> tuple[str, str]:
        """Journal mode and synchronous mode."""
        journal_mode: str = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
        synchronous: int = connection.exec_driver_sql("PRAGMA synchronous").scalar_one()
        return journal_mode, SYNCHRONOUS[synchronous]

    def problem(self, error: DatabaseError) -> StoreError:
        """What a failed opening or reading means to its user."""
        if "not a database" in str(error.orig):
            return StoreError(f"{self.name}: not a store of this program", hint="give another --store")
        return StoreError(f"{self.name}: cannot be used: {error.orig}", hint="restore it from a backup")

    def write_problem(self, error: DatabaseError) -> StoreError:
        """What a failed transaction means to its user."""
        hint = "free some disk space"
        if "locked" in str(error.orig):
            hint = "another process held the store for too long; try again when it is done"
        return StoreError(f"{self.name}: cannot write: {error.orig}", hint=hint)


def check_file(path: Path) -> None:
    """See that there is a file that may be a database. Raises StoreError if there is none.

    It is never opened here: closing any descriptor of a file drops the locks that SQLite holds on it in this process
    (POSIX), and another process would then take a log in use for one that nobody needs.
    """
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise StoreError(f"{path}: there is no store", hint="give the --store of a campaign that was run") from error
    except OSError as error:
        raise StoreError(f"{path}: cannot be opened: {error.strerror}", hint="give another --store") from error
    if not path.is_file():
        raise StoreError(f"{path}: cannot be opened: not a file", hint="give another --store")
    if not size:
        raise StoreError(f"{path}: the store is empty", hint="run the campaign first")


def create_file(path: Path) -> None:
    """Make an empty file durably if there is none. Raises StoreError if it cannot be, or is no file."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o644))
        sync_folder(path.parent)
    except FileExistsError:
        if path.is_dir() or path.stat().st_size:
            check_file(path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be made: {error.strerror}", hint="give another --store") from error


def checkpoint(connection: sa.Connection) -> None:
    """Move what the write-ahead log holds into the database, as far as no reader needs it; waits for nobody."""
    raw = connection.connection.dbapi_connection
    if raw is not None:
        raw.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)").close()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def engine_for(path: Path, *, write: bool) -> sa.Engine:
    """An engine whose connections begin transactions only as told: writers at once, readers when they first read.

    None makes a file.
    """

    def connected() -> sqlite3.Connection:
        place = f"file:{quote(os.fsencode(path.absolute()))}?mode=rw"
        # Without the level the driver would begin transactions by itself, too late for DDL and for reads.
        return sqlite3.connect(place, uri=True, isolation_level=None, check_same_thread=False)

    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)), hide_parameters=True, creator=connected)

    @listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        for setting in _SETTINGS:
            connection.execute(setting)
        if not write:
            connection.execute("PRAGMA query_only = ON")

    @listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        immediate = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _identity(path: Path) -> tuple[int, int]:
    """Which file it is; zeros for none."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


def back_up(path: Path, copy: Path) -> None:
    """Copy a database that may be in use, and sync the copy. Raises StoreError if `copy` cannot be written."""
    partial = copy.with_name(f"{copy.name}.part")
    try:
        partial.unlink(missing_ok=True)
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(partial)) as target:
            source.backup(target)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(copy)
        sync_folder(copy.parent)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{copy}: the backup cannot be written: {error}", hint="free some space beside it") from error
