"""Bring a store's schema to what this code knows, with a copy of the old file beside it first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from keywright.errors import StoreError
from keywright.production.unit_store.database import Database
from keywright.production.unit_store.tables import HEAD

SCRIPTS: Final = Path(__file__).parent


def schema_of(connection: Connection) -> str | None:
    """The store's schema name, or None for an empty file. Raises StoreError if it is some other database."""
    tables = set(inspect(connection).get_table_names())
    if not tables:
        return None
    if "alembic_version" not in tables:
        raise StoreError("this is a database, but not a store of this program", hint="give another --store")
    names = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    if len(names) != 1:
        raise StoreError("the store does not say which schema it has", hint="restore it from a backup")
    return str(names[0])


def upgrade(connection: Connection, database: Database, *, head: str = HEAD, scripts: Path = SCRIPTS) -> None:
    """Migrate inside the connection's transaction, which the caller commits.

    A SQLite file that already has content is copied to `PATH.schema-NAME.bak` before. A schema that this code does not
    know is refused by name.
    """
    current = schema_of(connection)
    if current == head:
        return
    # alembic takes a quarter of a second to import: only a new or an old store pays for it.
    from alembic.config import Config  # noqa: PLC0415 - only a store of another schema needs it
    from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415 - as above
    from alembic.runtime.migration import MigrationContext, RevisionStep  # noqa: PLC0415 - as above
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - as above

    script = ScriptDirectory(str(scripts))
    known = {revision.revision for revision in script.walk_revisions()}
    if current is not None and current not in known:
        raise StoreError(
            f"{database.name} has schema {current}; this program knows schemas up to {head}",
            hint="use the version of keywright that wrote it, or a newer one",
        )
    if current is not None:
        database.back_up(current)

    def steps(revision: str, _context: MigrationContext) -> Sequence[RevisionStep]:
        return script._upgrade_revs(head, revision)  # noqa: SLF001 - what alembic's own `command.upgrade` passes

    with EnvironmentContext(Config(), script, fn=steps, destination_rev=head) as environment:
        environment.configure(connection=connection, transactional_ddl=True)
        environment.run_migrations()
