"""A lot: campaign, units, events and certificates."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from keywright.production.migrations.portable import append_only

revision = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Make all tables of the first schema."""
    _campaign()
    _unit()
    _event()
    _certificate()
    append_only("event")


def _campaign() -> None:
    op.create_table(
        "campaign",
        sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1", name="campaign_single"), primary_key=True),
        sa.Column("lot", sa.Text, nullable=False),
        sa.Column("recipe", sa.Text, nullable=False),
        sa.Column("recipe_digest", sa.Text, nullable=False),
        sa.Column("order_file", sa.Text, nullable=False),
        sa.Column("order_digest", sa.Text, nullable=False),
        sa.Column("units", sa.Integer, nullable=False),
        sa.Column("keystore_id", sa.Text, nullable=False),
        sa.Column("test", sa.Integer, nullable=False),
        sa.Column("link", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
    )


def _unit() -> None:
    op.create_table(
        "unit",
        sa.Column("n", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("serial", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("owner_group", sa.Text, nullable=False),
        sa.Column("extra", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("device_uid", sa.LargeBinary),
        sa.Column("kdd", sa.LargeBinary),
        sa.Column("evidence", sa.Text, nullable=False),
        sa.Column("failure_code", sa.Text, nullable=False),
        sa.Column("failure_text", sa.Text, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("started_at", sa.Float),
        sa.Column("finished_at", sa.Float),
        sa.UniqueConstraint("serial", name="unit_serial"),
        sa.UniqueConstraint("device_uid", name="unit_device"),
        sa.CheckConstraint("state IN ('planned', 'running', 'sealed', 'quarantined', 'rejected')", name="unit_state"),
    )
    op.create_index("unit_by_state", "unit", ["state", "n"])


def _event() -> None:
    op.create_table(
        "event",
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("unit", sa.Integer, sa.ForeignKey("unit.n"), nullable=False),
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("phase", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.UniqueConstraint("unit", "step", "phase", "attempt", name="event_once"),
        sa.CheckConstraint(
            "phase IN ('intent', 'done', 'recovered', 'failed', 'mismatch', 'note')", name="event_phase"
        ),
    )


def _certificate() -> None:
    op.create_table(
        "certificate",
        sa.Column("serial_number", sa.Text, primary_key=True),
        sa.Column("unit", sa.Integer, sa.ForeignKey("unit.n"), nullable=False),
        sa.Column("spki_sha256", sa.LargeBinary, nullable=False),
        sa.Column("der", sa.LargeBinary, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.UniqueConstraint("unit", name="certificate_unit"),
        sa.UniqueConstraint("spki_sha256", name="certificate_key"),
    )
