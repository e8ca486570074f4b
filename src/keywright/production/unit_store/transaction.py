"""One transaction of the unit store, as what writes a Change sees it; SQL written once for SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final, final

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import ReturningUpdate

__all__ = ["Prepared", "Row", "Transaction"]

Row = tuple[object, ...]

_CHUNK: Final = 1000
"""Rows held in memory at a time while they are added."""


@final
class Prepared:
    """A statement whose parameters stand in `order`, compiled once for each kind of database.

    SQLAlchemy's own handling of each row's parameters would halve what a second can commit.
    """

    def __init__(self, statement: sa.Insert | sa.Update, order: Sequence[str]) -> None:
        self._statement = statement
        self._order = tuple(order)
        self._texts: dict[str, str] = {}

    def text(self, dialect: sa.Dialect) -> str:
        """The statement as the driver of `dialect` takes it. Raises ValueError if its parameters stand otherwise."""
        found = self._texts.get(dialect.name)
        if found is None:
            found = self._texts[dialect.name] = self._compiled(dialect)
        return found

    def _compiled(self, dialect: sa.Dialect) -> str:
        keys = self._order if isinstance(self._statement, sa.Insert) else None
        compiled = self._statement.compile(dialect=_POSITIONAL[dialect.name], column_keys=keys)
        if tuple(compiled.positiontup or ()) != self._order:
            raise ValueError(f"parameters stand as {compiled.positiontup}, not {self._order}")
        return str(compiled)


@final
class Transaction:
    """What a writer may use inside the transaction of a batch: rows read here cannot change before it ends."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self.rows_written = 0

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._connection.dialect.name

    def run(self, statement: Prepared, rows: Sequence[Row], *, is_change: bool = True) -> int:
        """Run a statement once for each row of parameters; returns how many rows it wrote in all.

        Rows that only tell of changes are not counted among them.
        """
        if not rows:
            return 0
        if is_change:
            self.rows_written += len(rows)
        text = statement.text(self._connection.dialect)
        return self._connection.exec_driver_sql(text, list(rows)).rowcount

    def one(self, query: sa.Select[*tuple[Any, ...]]) -> sa.Row[*tuple[Any, ...]] | None:
        """The only row of a query, or None."""
        return self._connection.execute(query).one_or_none()

    def all(self, query: sa.Select[*tuple[Any, ...]]) -> Sequence[sa.Row[*tuple[Any, ...]]]:
        """All rows of a query."""
        return self._connection.execute(query).all()

    def returning(self, statement: ReturningUpdate[Any]) -> Sequence[sa.Row[*tuple[Any, ...]]]:
        """Run a statement that returns rows, and those rows."""
        return self._connection.execute(statement).all()

    def copy(self, table: str, columns: Sequence[str], rows: Iterable[Row]) -> int:
        """Add many rows, as fast as the database takes them; returns how many."""
        if self.dialect == "sqlite":
            return self._insert(table, columns, rows)
        names = ", ".join(f'"{name}"' for name in columns)
        statement = f'COPY "{table}" ({names}) FROM STDIN'
        count = 0
        try:
            with self._driver().cursor() as cursor, cursor.copy(statement) as stream:
                for row in rows:
                    stream.write_row(row)
                    count += 1
        except self._connection.dialect.loaded_dbapi.Error as error:  # past SQLAlchemy, so named as it names them
            raise DBAPIError.instance(statement, None, error, self._connection.dialect.loaded_dbapi.Error) from error
        return count

    def _insert(self, table: str, columns: Sequence[str], rows: Iterable[Row]) -> int:
        count = 0
        remaining = iter(rows)
        places = ", ".join("?" * len(columns))
        statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608 - names of ours
        while chunk := list(islice(remaining, _CHUNK)):
            self._connection.exec_driver_sql(statement, chunk)
            count += len(chunk)
        return count

    def _driver(self) -> Any:
        return self._connection.connection.driver_connection

    def fetch(self, text: str, parameters: Row = ()) -> Sequence[Row]:
        """All rows of a query written for this database's driver: what is asked in every transaction is asked so."""
        cursor = self._connection.exec_driver_sql(text, parameters).cursor
        if cursor is None:
            raise AssertionError("a query has a cursor until it is read")
        return cursor.fetchall()

    def execute(self, statement: sa.Insert | sa.Update | sa.Delete, values: Mapping[str, object] | None = None) -> int:
        """Run any other statement once; returns how many rows it wrote."""
        written = self._connection.execute(statement, values or {}).rowcount
        self.rows_written += written
        return written


def _positional() -> dict[str, sa.Dialect]:
    from sqlalchemy.dialects import postgresql, sqlite  # noqa: PLC0415 - read once, here only

    return {
        "sqlite": sqlite.dialect(),
        "postgresql": postgresql.dialect(paramstyle="format"),  # type: ignore[no-untyped-call]  # of the library
    }


_POSITIONAL: Final = _positional()
