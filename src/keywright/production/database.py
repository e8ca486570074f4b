"""SQLite as the unit store uses it: addresses, settings that make commits durable, and explicit transactions."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.event import listens_for

from keywright.errors import StoreError, UsageError
from keywright.store.lock import FileLock

BUSY_TIMEOUT_MS: Final = 10_000
SYNCHRONOUS: Final = {0: "OFF", 1: "NORMAL", 2: "FULL", 3: "EXTRA"}

_SCHEME: Final = "sqlite:///"
_SETTINGS: Final = (
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    # Checkpoints are made, and counted, by the store itself.
    "PRAGMA wal_autocheckpoint = 0",
)


def store_path(url: str) -> Path:
    """The file of a store: `sqlite:///PATH` or a bare path. Raises UsageError for any other URL."""
    path = url.removeprefix(_SCHEME)
    if not path or "://" in path or path.startswith(("sqlite:", ":")) or "\x00" in path:
        raise UsageError(f"--store {url}: not an address of a store", hint="give a path or sqlite:///PATH")
    return Path(path)


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


def lock(path: Path, wait_s: float) -> FileLock:
    """The lock of the store at `path`, however it is spelled. Raises StoreError naming the pid of the holder."""
    try:
        return FileLock(f"{path.resolve()}.lock", f"the store {path}", wait_s)
    except OSError as error:
        raise StoreError(f"{path}: cannot be locked: {error.strerror}", hint="give another --store") from error


@contextmanager
def closing_lock(path: Path, wait_s: float) -> Iterator[None]:
    """Hold the lock of a store that is not there yet, while what belongs beside it is made."""
    held = lock(path, wait_s)
    try:
        yield
    finally:
        held.release()


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
    """An engine whose connections begin transactions only as told: writers at once, readers when they first read."""
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        # Without this the driver would begin transactions by itself, too late for DDL and for reads.
        connect_args={"isolation_level": None, "check_same_thread": False},
    )

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
