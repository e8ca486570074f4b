"""The line: leases, and what stands around them. One function for each topic.

`keywright.production.migrations.portable` has what the two kinds of database say differently.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from keywright.production.migrations.portable import append_only, append_only_but, replace_check

revision = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Each topic by itself; a new topic gets its own function, called here."""
    _leases()
    _audit()
    _approvals()
    _ledger()
    _handover()
    _keys()
    _control()
    _preparation()


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
        sa.Column("mark", sa.Text, nullable=False, server_default=sa.text("''")),
    )
    op.create_index("event_trouble", "event", ["unit"], sqlite_where=_TROUBLE, postgresql_where=_TROUBLE)
    op.add_column("campaign", sa.Column("run", sa.Integer, nullable=False, server_default=sa.text("0")))
    op.execute(
        "UPDATE unit SET recover = 1 WHERE state IN ('planned', 'running') "
        "AND (state = 'running' OR EXISTS (SELECT 1 FROM event WHERE event.unit = unit.n))"
    )


def _keys() -> None:
    """What a compromised key reached is listed from here, without a look at the units themselves."""
    reached = sa.text("kdd IS NOT NULL")
    op.create_index("unit_reached", "unit", ["n", "serial", "kdd"], sqlite_where=reached, postgresql_where=reached)


_LEASED = sa.text("until IS NOT NULL")
_RECOVER = sa.text("recover = 1")
_TROUBLE = sa.text("phase NOT IN ('intent', 'done')")


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
        sa.Column("vkey", sa.Text, nullable=False, server_default=sa.text("''")),
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


def _approvals() -> None:
    """What persons asked for and allowed, that it was used, and what auditors have seen."""
    op.create_table(
        "approval",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("directory", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("object", sa.Text, nullable=False),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "approval_signature",
        sa.Column("approval", sa.Text, sa.ForeignKey("approval.id"), primary_key=True),
        sa.Column("person", sa.Text, primary_key=True),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "approval_use",
        sa.Column("approval", sa.Text, sa.ForeignKey("approval.id"), primary_key=True),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "review",
        sa.Column("size", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("first", sa.Integer, nullable=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("directory", sa.Text, nullable=False),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
    )
    for table in ("approval", "approval_signature", "approval_use", "review"):
        append_only(table)


def _ledger() -> None:
    """Units and records by double entry; a lot from before there was a ledger begins it with how it stands."""
    op.create_table(
        "ledger",
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("book", sa.Text, nullable=False),
        sa.Column("unit", sa.Integer, sa.ForeignKey("unit.n")),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("quantity", sa.Integer, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.CheckConstraint("book IN ('units', 'records')", name="ledger_book"),
        sa.CheckConstraint("quantity > 0", name="ledger_quantity"),
        sa.CheckConstraint("source <> target", name="ledger_moves"),
        sa.CheckConstraint("NOT (book = 'records' AND source = 'spoiled')", name="ledger_spoiled_stays"),
    )
    op.execute(
        "INSERT INTO ledger (book, source, target, quantity, at) "
        "SELECT 'units', 'supply', unit.state, COUNT(*), MIN(campaign.created_at) "
        "FROM unit, campaign GROUP BY unit.state"
    )
    op.execute(
        "INSERT INTO ledger (book, source, target, quantity, at) "
        "SELECT 'records', 'supply', account, COUNT(*), MIN(at) FROM (SELECT campaign.created_at AS at, "
        "CASE unit.state WHEN 'planned' THEN 'planned' WHEN 'sealed' THEN 'used' WHEN 'rejected' THEN 'spoiled' "
        "ELSE 'issued' END AS account FROM unit, campaign) AS found GROUP BY account"
    )
    append_only("ledger")


def _handover() -> None:
    """Signed records, what has to be sent of them, labels, and the closing of the lot."""
    op.create_table(
        "unit_record",
        sa.Column("unit", sa.Integer, sa.ForeignKey("unit.n"), primary_key=True, autoincrement=False),
        sa.Column("jws", sa.Text, nullable=False),
        sa.Column("cose", sa.LargeBinary, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
    op.create_table(
        "outbox",
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("unit", sa.Integer, sa.ForeignKey("unit_record.unit"), nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("next_at", sa.Float, nullable=False),
        sa.Column("last_error", sa.Text, nullable=False),
        sa.UniqueConstraint("unit", name="outbox_unit"),
        sa.CheckConstraint("state IN ('waiting', 'dead', 'conflict')", name="outbox_state"),
    )
    op.create_table(
        "label",
        sa.Column("unit", sa.Integer, sa.ForeignKey("unit.n"), primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("approval", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.CheckConstraint("number = 0 OR (number > 0 AND approval <> '')", name="label_reprint_approved"),
    )
    op.create_table(
        "closing",
        sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1", name="closing_single"), primary_key=True),
        sa.Column("counted", sa.Text, nullable=False),
        sa.Column("approval", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
    for table in ("unit_record", "label", "closing"):
        append_only(table)


def _control() -> None:
    """What stopped a lot and who let it go on, failures in their order, and units made anew."""
    replace_check(
        "unit",
        "unit_state",
        "state IN ('planned', 'running', 'rework', 'sealed', 'quarantined', 'rejected', 'scrapped', 'returned')",
    )
    op.add_column("campaign", sa.Column("allowed", sa.Integer))
    op.create_table(
        "setback",
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("unit", sa.Integer, sa.ForeignKey("unit.n"), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("ended", sa.Integer, nullable=False),
        sa.Column("sealed", sa.Integer, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.CheckConstraint("severity IN ('transient', 'unit', 'lot')", name="setback_severity"),
    )
    op.create_table(
        "lot_event",
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("came_from", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("approval", sa.Text, nullable=False),
        sa.Column("setbacks", sa.Integer, nullable=False),
        sa.Column("sealed", sa.Integer, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
    op.create_table(
        "remake",
        sa.Column("unit", sa.Integer, sa.ForeignKey("unit.n"), primary_key=True, autoincrement=False),
        sa.Column("instead_of", sa.Integer, sa.ForeignKey("unit.n"), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("approval", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.UniqueConstraint("instead_of", name="remake_once"),
        sa.CheckConstraint("unit <> instead_of", name="remake_another"),
    )
    op.create_table(
        "unit_mark",
        sa.Column("unit", sa.Integer, sa.ForeignKey("unit.n"), primary_key=True, autoincrement=False),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
    for table in ("setback", "lot_event", "remake", "unit_mark"):
        append_only(table)


def _preparation() -> None:
    """What was prepared for units before their devices were there, a chunk of the order in each transaction."""
    op.create_table(
        "prepared_chunk",
        sa.Column("recipe", sa.Text, primary_key=True),
        sa.Column("first", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("last", sa.Integer, nullable=False),
        sa.Column("units", sa.Integer, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.CheckConstraint("first <= last", name="prepared_chunk_order"),
    )
    op.create_table(
        "prepared",
        sa.Column("recipe", sa.Text, primary_key=True),
        sa.Column("unit", sa.Integer, sa.ForeignKey("unit.n"), primary_key=True, autoincrement=False),
        sa.Column("kdd", sa.LargeBinary),
        sa.Column("uid", sa.LargeBinary),
        sa.Column("steps", sa.Text, nullable=False),
        sa.UniqueConstraint("recipe", "kdd", name="prepared_kdd"),
        sa.UniqueConstraint("recipe", "uid", name="prepared_uid"),
    )
    for table in ("prepared_chunk", "prepared"):
        append_only(table)
