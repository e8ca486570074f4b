"""Tables of what stands around units: approvals, reviews, the ledger, records handed over, labels, the closing."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
)

from keywright.production.unit_store.tables import metadata

approval: Final = Table(
    "approval",
    metadata,
    Column("id", Text, primary_key=True),
    Column("directory", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("facts", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("person", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("signature", LargeBinary, nullable=False),
)
"""What somebody asked for, append-only. `facts` is canonical JSON, `digest` 32 bytes, `signature` Ed25519."""

approval_signature: Final = Table(
    "approval_signature",
    metadata,
    Column("approval", Text, ForeignKey("approval.id"), primary_key=True),
    Column("person", Text, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("signature", LargeBinary, nullable=False),
)
"""Who allowed it, append-only; a person signs once."""

approval_use: Final = Table(
    "approval_use",
    metadata,
    Column("approval", Text, ForeignKey("approval.id"), primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)
"""That an approval has allowed something, append-only: the key makes it allow that once."""

review: Final = Table(
    "review",
    metadata,
    Column("size", Integer, primary_key=True, autoincrement=False),
    Column("first", Integer, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("directory", Text, nullable=False),
    Column("person", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("text", Text, nullable=False),
    Column("signature", LargeBinary, nullable=False),
)
"""That an auditor has seen the entries of the log from `first` up to `size`, append-only; `root` of the tree then."""

ledger: Final = Table(
    "ledger",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("book", Text, nullable=False),
    Column("unit", Integer, ForeignKey("unit.n")),
    Column("source", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("at", Float, nullable=False),
    CheckConstraint("book IN ('units', 'records')", name="ledger_book"),
    CheckConstraint("quantity > 0", name="ledger_quantity"),
    CheckConstraint("source <> target", name="ledger_moves"),
    CheckConstraint("NOT (book = 'records' AND source = 'spoiled')", name="ledger_spoiled_stays"),
)
"""Double entry, append-only: every row takes from one account what it gives to another. No unit: of several at once."""

unit_record: Final = Table(
    "unit_record",
    metadata,
    Column("unit", Integer, ForeignKey("unit.n"), primary_key=True, autoincrement=False),
    Column("jws", Text, nullable=False),
    Column("cose", LargeBinary, nullable=False),
    Column("at", Float, nullable=False),
)
"""The signed record of a sealed unit, append-only, in both forms."""

outbox: Final = Table(
    "outbox",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("unit", Integer, ForeignKey("unit_record.unit"), nullable=False),
    Column("hash", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("next_at", Float, nullable=False),
    Column("last_error", Text, nullable=False),
    UniqueConstraint("unit", name="outbox_unit"),
    CheckConstraint("state IN ('waiting', 'dead', 'conflict')", name="outbox_state"),
)
"""Records that no receiver has acknowledged yet, in the order of sealing. `hash`: SHA-256 of the JWS, hex text."""

label: Final = Table(
    "label",
    metadata,
    Column("unit", Integer, ForeignKey("unit.n"), primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("approval", Text, nullable=False),
    Column("at", Float, nullable=False),
    CheckConstraint("number = 0 OR (number > 0 AND approval <> '')", name="label_reprint_approved"),
)
"""Labels printed, append-only: number 0 is the first, a higher one the reprint of that number."""

closing: Final = Table(
    "closing",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="closing_single"), primary_key=True),
    Column("counted", Text, nullable=False),
    Column("approval", Text, nullable=False),
    Column("at", Float, nullable=False),
)
"""That the lot was closed, and what was counted then (a JSON object: account to number)."""
