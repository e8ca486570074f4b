"""The line: leases, and what stands around them. One function for each topic.

`keywright.production.migrations.portable` has what the two kinds of database say differently.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Each topic by itself; a new topic gets its own function, called here."""
    _leases()


def _leases() -> None:
    """Who works on a unit. Units that were begun before there were leases are to be recovered."""
    op.add_column("unit", sa.Column("epoch", sa.Integer, nullable=False, server_default=sa.text("0")))
    op.add_column("unit", sa.Column("station", sa.Text, nullable=False, server_default=sa.text("''")))
    op.add_column("unit", sa.Column("until", sa.Float))
    op.add_column("unit", sa.Column("recover", sa.Integer, nullable=False, server_default=sa.text("0")))
    op.add_column("unit", sa.Column("pinned", sa.Text, nullable=False, server_default=sa.text("''")))
    op.add_column("unit", sa.Column("left_in", sa.Integer, nullable=False, server_default=sa.text("0")))
    op.create_index("unit_leased", "unit", ["until"], sqlite_where=_LEASED, postgresql_where=_LEASED)
    op.create_index("unit_to_recover", "unit", ["n"], sqlite_where=_RECOVER, postgresql_where=_RECOVER)
    op.create_table(
        "station",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("process", sa.Text, nullable=False),
        sa.Column("seen_at", sa.Float, nullable=False),
    )
    op.add_column("campaign", sa.Column("run", sa.Integer, nullable=False, server_default=sa.text("0")))
    op.execute(
        "UPDATE unit SET recover = 1 WHERE state IN ('planned', 'running') "
        "AND (state = 'running' OR EXISTS (SELECT 1 FROM event WHERE event.unit = unit.n))"
    )


_LEASED = sa.text("until IS NOT NULL")
_RECOVER = sa.text("recover = 1")
