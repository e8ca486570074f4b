"""One transaction of the unit store, as what writes a Change sees it; SQL written once for SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final, TypeAlias, final

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import ReturningUpdate
from sqlalchemy.sql.type_api import TypeEngine

__all__ = ["Given", "Prepared", "Row", "Transaction", "added"]

Row = tuple[object, ...]
Given: TypeAlias = Mapping[str, sa.ColumnElement[Any]]
"""The parameters of a statement as SQL, by name."""

_CHUNK: Final = 1000
"""Rows held in memory at a time while they are added."""


@final
class Prepared:
    """A statement for many rows of parameters, compiled once for each kind of database.

    SQLite runs it for each row; a server runs it once, over a table of all rows that comes as an array for each
    parameter: to run it for each row would cost both ends more than the change itself. One row comes as it is.
    """

    def __init__(
        self, parameters: Mapping[str, TypeEngine[Any]], build: Callable[[Given], sa.Insert | sa.Update]
    ) -> None:
        """`parameters` in the order of a row. On SQLite the statement must name them in this order, each once."""
        self._parameters = dict(parameters)
        self._build = build
        self._texts: dict[tuple[str, bool], str] = {}

    def text(self, dialect: str, *, arrays: bool = False) -> str:
        """The statement as the driver takes it. Raises ValueError if it names its parameters otherwise."""
        found = self._texts.get((dialect, arrays))
        if found is None:
            given = self._unnested() if arrays else self._bound(dialect)
            found = self._texts[dialect, arrays] = self._compiled(dialect, given)
        return found

    def _compiled(self, dialect: str, given: Given) -> str:
        compiled = self._build(given).compile(dialect=_POSITIONAL[dialect])
        if compiled.positiontup != list(self._parameters):
            raise ValueError(f"parameters stand as {compiled.positiontup}, not {list(self._parameters)}")
        return str(compiled).replace("%s", "%b")  # in binary form: as text, an array is escaped piece by piece

    def _bound(self, dialect: str) -> Given:
        bound = {name: sa.bindparam(name, type_=kind) for name, kind in self._parameters.items()}
        return bound if dialect == "sqlite" else {name: sa.cast(one, one.type) for name, one in bound.items()}

    def _unnested(self) -> Given:
        arrays = (sa.cast(sa.bindparam(name), sa.ARRAY(kind)) for name, kind in self._parameters.items())
        columns = (sa.column(name, kind) for name, kind in self._parameters.items())
        return dict(sa.func.unnest(*arrays).table_valued(*columns, name="given").render_derived().c)


def added(table: sa.Table, names: Sequence[str]) -> Prepared:
    """What adds rows of these columns to a table, numbered in their order."""

    def build(given: Given) -> sa.Insert:
        return table.insert().inline().from_select(list(names), sa.select(*given.values()))

    return Prepared({name: table.c[name].type for name in names}, build)


@final
class Transaction:
    """What a writer may use inside the transaction of a batch: rows read here cannot change before it ends."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._made: Any = None
        self.dialect = connection.dialect.name
        """`sqlite` or `postgresql`."""
        self.rows_written = 0

    def run(self, statement: Prepared, rows: Sequence[Row], *, is_change: bool = True) -> int:
        """Run a statement for each row of parameters; returns how many rows it wrote in all.

        Rows that only tell of changes are not counted among them.
        """
        if not rows:
            return 0
        if is_change:
            self.rows_written += len(rows)
        many = len(rows) > 1
        is_file = self.dialect == "sqlite"
        text = statement.text(self.dialect, arrays=many and not is_file)
        with self._cursor(text) as cursor:
            if not many:
                cursor.execute(text, rows[0])
            elif is_file:
                cursor.executemany(text, rows)
            else:
                cursor.execute(text, [list(column) for column in zip(*rows, strict=True)])
            written: int = cursor.rowcount
        return written

    def one(self, query: sa.Select[*tuple[Any, ...]]) -> sa.Row[*tuple[Any, ...]] | None:
        """The only row of a query, or None."""
        return self._connection.execute(query).one_or_none()

    def all(self, query: sa.Select[*tuple[Any, ...]]) -> Sequence[sa.Row[*tuple[Any, ...]]]:
        """All rows of a query."""
        return self._connection.execute(query).all()

    def returning(
        self, statement: ReturningUpdate[Any], values: Mapping[str, object]
    ) -> Sequence[sa.Row[*tuple[Any, ...]]]:
        """Run a statement that returns rows, and those rows."""
        return self._connection.execute(statement, values).all()

    def copy(self, table: str, columns: Sequence[str], rows: Iterable[Row]) -> int:
        """Add many rows, as fast as the database takes them; returns how many."""
        if self.dialect == "sqlite":
            return self._insert(table, columns, rows)
        names = ", ".join(f'"{name}"' for name in columns)
        statement = f'COPY "{table}" ({names}) FROM STDIN'
        count = 0
        with self._cursor(statement) as cursor, cursor.copy(statement) as stream:
            for row in rows:
                stream.write_row(row)
                count += 1
        return count

    def _insert(self, table: str, columns: Sequence[str], rows: Iterable[Row]) -> int:
        count = 0
        remaining = iter(rows)
        places = ", ".join("?" * len(columns))
        statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608 - names of ours
        with self._cursor(statement) as cursor:
            while chunk := list(islice(remaining, _CHUNK)):
                cursor.executemany(statement, chunk)
                count += len(chunk)
        return count

    def units(self, columns: Sequence[str], numbers: Iterable[int], *, lock: bool = False) -> Sequence[Row]:
        """Columns of units by their numbers, in that order. `lock`: as for `fetch`."""
        asked = sorted(numbers)
        query = f"SELECT {', '.join(columns)} FROM unit WHERE n "  # noqa: S608 - names of ours
        if self.dialect == "sqlite":
            return self.fetch(f"{query} IN ({', '.join('?' * len(asked))}) ORDER BY n", asked, lock=lock)
        return self.fetch(f"{query} = ANY(%s) ORDER BY n", [asked], lock=lock)

    def fetch(self, query: str, parameters: Sequence[object] = (), *, lock: bool = False) -> Sequence[Row]:
        """All rows of a query that every transaction asks, past SQLAlchemy; `lock`: nobody else can change them now."""
        text = f"{query} FOR UPDATE" if lock and self.dialect == "postgresql" else query
        with self._cursor(text) as cursor:
            cursor.execute(text, parameters)
            found: Sequence[Row] = cursor.fetchall()
        return found

    @contextmanager
    def _cursor(self, text: str) -> Iterator[Any]:
        """The driver's own cursor: SQLAlchemy's would cost more than the statement. Errors are as it names them."""
        connection = self._connection
        driver: Any = connection.connection.driver_connection
        kind = connection.dialect.loaded_dbapi.Error
        try:
            if self._made is None:
                self._made = driver.cursor()
            yield self._made
        except kind as error:
            is_gone = connection.dialect.is_disconnect(error, driver, None)
            if is_gone:
                connection.invalidate(error)
            raise DBAPIError.instance(text, None, error, kind, connection_invalidated=is_gone) from error

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
