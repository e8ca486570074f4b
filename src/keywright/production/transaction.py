"""One transaction of the unit store, as what writes a Change sees it; SQL written once for SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, final

import sqlalchemy as sa

__all__ = ["Prepared", "Row", "Transaction"]

Row = tuple[object, ...]


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

    def one(self, query: sa.Select[Any]) -> sa.Row[Any] | None:
        """The only row of a query, or None."""
        return self._connection.execute(query).one_or_none()

    def all(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        """All rows of a query."""
        return self._connection.execute(query).all()

    def execute(self, statement: sa.Insert | sa.Update | sa.Delete, values: Mapping[str, object] | None = None) -> int:
        """Run any other statement once; returns how many rows it wrote."""
        self.rows_written += 1
        return self._connection.execute(statement, values or {}).rowcount


def _positional() -> dict[str, sa.Dialect]:
    from sqlalchemy.dialects import postgresql, sqlite  # noqa: PLC0415 - read once, here only

    return {
        "sqlite": sqlite.dialect(),
        "postgresql": postgresql.dialect(paramstyle="format"),  # type: ignore[no-untyped-call]  # of the library
    }


_POSITIONAL: Final = _positional()
