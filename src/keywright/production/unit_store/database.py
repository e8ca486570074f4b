"""Where a lot is kept: a SQLite file by default, a PostgreSQL database by URL. One face for both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from keywright.errors import StoreError, UsageError
from keywright.production.unit_store.sqlite import SqliteFile

_SQLITE: Final = "sqlite:///"
_POSTGRESQL: Final = ("postgresql://", "postgres://")


class Lock(Protocol):
    """A store held by this process."""

    def release(self) -> None:
        """Let go; twice does no harm."""
        ...


class Database(Protocol):
    """One database that holds, or is to hold, the store of one lot."""

    @property
    def name(self) -> str:
        """For messages; never with a password."""
        ...

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        ...

    @property
    def beside(self) -> Path:
        """The path to which `.keystore`, `.fobs` and so on are added for what belongs to the lot."""
        ...

    @property
    def retries(self) -> bool:
        """Whether the server may go away and come back."""
        ...

    def check(self) -> None:
        """Raise StoreError unless something is there that may be a store."""
        ...

    def create(self) -> None:
        """Make the place for a store if there is none. Raises StoreError."""
        ...

    def is_begun(self) -> bool:
        """Whether a store was begun here. Raises StoreError if it cannot be known."""
        ...

    def lock(self, wait_s: float) -> Lock:
        """Have the store for this process alone. Raises StoreError naming the holder."""
        ...

    def engine(self, *, write: bool) -> sa.Engine:
        """Connections with the settings that make commits durable."""
        ...

    def serialise(self, connection: sa.Connection) -> None:
        """Let nobody else change the schema until the transaction ends."""
        ...

    def back_up(self, schema: str) -> None:
        """Keep a copy of a store of that schema, where the database cannot undo a change. Raises StoreError."""
        ...

    def check_in_place(self) -> None:
        """Raise StoreError if what is committed now would not be found where the store is."""
        ...

    def checkpoint(self, connection: sa.Connection) -> int:
        """Do what is due after some thousand changes; returns how many syncs it took."""
        ...

    def settings(self, connection: sa.Connection) -> tuple[str, str]:
        """Journal mode and synchronous mode."""
        ...

    def problem(self, error: DatabaseError) -> StoreError:
        """What a failed opening or reading means to its user."""
        ...

    def write_problem(self, error: DatabaseError) -> StoreError:
        """What a failed transaction means to its user."""
        ...


def database_at(url: str) -> Database:
    """The database of `--store`: a path, `sqlite:///PATH` or `postgresql://USER@HOST:PORT/DATABASE`.

    Raises UsageError for any other address, StoreError if the extra for PostgreSQL is not installed.
    """
    if url.startswith(_POSTGRESQL):
        from keywright.production.unit_store.postgresql import PostgresqlDatabase  # noqa: PLC0415 - an extra; most need none

        return PostgresqlDatabase(url)
    path = url.removeprefix(_SQLITE)
    if not path or "://" in path or path.startswith(("sqlite:", "postgres:", "postgresql:", ":")) or "\x00" in path:
        raise UsageError(
            f"--store {url}: not an address of a store",
            hint="give a path, sqlite:///PATH or postgresql://USER@HOST:PORT/DATABASE",
        )
    if any("\ud800" <= sign <= "\udfff" for sign in path):
        raise UsageError(
            f"--store {path!r}: not an address of a store: not UTF-8",
            hint="give a name that other programs can be told",
        )
    return SqliteFile(Path(path))


def store_path(url: str) -> Path:
    """The path to which the names of a lot's other files are added. Raises UsageError as `database_at`."""
    return database_at(url).beside


@contextmanager
def closing_lock(url: str, wait_s: float) -> Iterator[None]:
    """Hold the lock of a store that is not there yet, while what belongs beside it is made."""
    held = database_at(url).lock(wait_s)
    try:
        yield
    finally:
        held.release()
