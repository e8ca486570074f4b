"""The line: leases, and what stands around them. One function for each topic.

`keywright.production.migrations.portable` has what the two kinds of database say differently.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from keywright.production.migrations.portable import append_only, append_only_but

revision = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Each topic by itself; a new topic gets its own function, called here."""
    _leases()
    _audit()


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


def _audit() -> None:
    """The audit log. One of a store from before there was a log begins with what stands there (`audit.log`)."""
    op.create_table(
        "audit",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("body", sa.Text),
        sa.Column("leaf", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1", name="audit_head_single"), primary_key=True),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("edge", sa.LargeBinary, nullable=False),
        sa.Column("last", sa.LargeBinary, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
    )
    op.create_table(
        "audit_checkpoint",
        sa.Column("size", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("vkey", sa.Text, nullable=False),
    )
    head = sa.table("audit_head", *map(sa.column, ("id", "size", "edge", "last", "at_ms", "host")))
    op.execute(head.insert().values(id=1, size=0, edge=sa.literal(b""), last=sa.literal(b""), at_ms=0, host=""))
    append_only_but("audit", "NEW.body IS NULL AND NEW.seq = OLD.seq AND NEW.leaf = OLD.leaf")
    append_only("audit_checkpoint")
