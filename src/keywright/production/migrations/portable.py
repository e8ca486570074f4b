"""Schema changes that SQLite and PostgreSQL say differently, said once."""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

_SQLITE_REFUSAL = """
CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is append-only: {verb} refused'); END
"""
_POSTGRESQL_FUNCTION = """
CREATE OR REPLACE FUNCTION keywright_append_only() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'integrity_constraint_violation';
END $body$
"""
_POSTGRESQL_REFUSAL = """
CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION keywright_append_only()
"""
_SQLITE_REFUSAL_BUT = """
CREATE TRIGGER {table}_no_UPDATE BEFORE UPDATE ON {table} WHEN NOT ({allowed})
BEGIN SELECT RAISE(ABORT, '{table} is append-only: UPDATE refused'); END
"""
_POSTGRESQL_REFUSAL_BUT = """
CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table}
FOR EACH ROW WHEN (NOT ({allowed})) EXECUTE FUNCTION keywright_append_only()
"""
_POSTGRESQL_NO_DELETE = """
CREATE TRIGGER {table}_no_delete BEFORE DELETE OR TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION keywright_append_only()
"""


def append_only(table: str) -> None:
    """Have the database refuse every UPDATE and DELETE of a table, whoever asks."""
    if is_sqlite():
        for verb in ("UPDATE", "DELETE"):
            op.execute(_SQLITE_REFUSAL.format(table=table, verb=verb))
        return
    op.execute(_POSTGRESQL_FUNCTION)
    op.execute(_POSTGRESQL_REFUSAL.format(table=table))


def append_only_but(table: str, allowed: str) -> None:
    """As `append_only`, but for an UPDATE of a row for which `allowed` holds, an expression of NEW and OLD."""
    if is_sqlite():
        op.execute(_SQLITE_REFUSAL_BUT.format(table=table, allowed=allowed))
        op.execute(_SQLITE_REFUSAL.format(table=table, verb="DELETE"))
        return
    op.execute(_POSTGRESQL_FUNCTION)
    op.execute(_POSTGRESQL_REFUSAL_BUT.format(table=table, allowed=allowed))
    op.execute(_POSTGRESQL_NO_DELETE.format(table=table))


def replace_check(table: str, name: str, condition: str) -> None:
    """Give a table's CHECK constraint another condition; every row that is there must fit it.

    SQLite has no statement for it. Writing the table's text is the way its makers give for a constraint that only
    becomes wider: rows are untouched, and references to the table stay as they are.
    """
    if not is_sqlite():
        op.execute(f'ALTER TABLE "{table}" DROP CONSTRAINT "{name}"')
        op.execute(f'ALTER TABLE "{table}" ADD CONSTRAINT "{name}" CHECK ({condition})')
        return
    connection = op.get_bind()
    made: str = connection.execute(
        text("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = :name"), {"name": table}
    ).scalar_one()
    changed = _with_condition(made, name, condition)
    version: int = connection.exec_driver_sql("PRAGMA schema_version").scalar_one()
    connection.exec_driver_sql("PRAGMA writable_schema = ON")
    connection.execute(
        text("UPDATE sqlite_master SET sql = :sql WHERE type = 'table' AND name = :name"),
        {"sql": changed, "name": table},
    )
    connection.exec_driver_sql(f"PRAGMA schema_version = {version + 1}")
    connection.exec_driver_sql("PRAGMA writable_schema = OFF")


def is_sqlite() -> bool:
    """Whether the store being changed is a SQLite file."""
    return op.get_bind().dialect.name == "sqlite"


def _with_condition(made: str, name: str, condition: str) -> str:
    begin = made.index("CHECK (", made.index(f"CONSTRAINT {name} ")) + len("CHECK ")
    depth = 0
    for at in range(begin, len(made)):
        depth += {"(": 1, ")": -1}.get(made[at], 0)
        if not depth:
            return f"{made[:begin]}({condition}){made[at + 1 :]}"
    raise ValueError(f"constraint {name} has no end")
