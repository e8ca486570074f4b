"""Tables of the unit store as the code uses them; the migrations make them, and a test compares the two.

Uniqueness lives in constraints, never in code: a serial, a device, a certificate or an intent that exists once in the
world exists once here.
"""

from __future__ import annotations

from typing import Final, Literal

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

State = Literal["planned", "running", "rework", "sealed", "quarantined", "rejected", "scrapped", "returned"]
STATES: Final[tuple[State, ...]] = (
    "planned",
    "running",
    "rework",
    "sealed",
    "quarantined",
    "rejected",
    "scrapped",
    "returned",
)
OPEN: Final[tuple[State, ...]] = ("planned", "running", "rework")
"""States of units that the campaign still has to do something with."""
FINISHED: Final[tuple[State, ...]] = ("sealed", "quarantined", "rejected", "scrapped", "returned")
"""States that a unit does not leave by itself. `transitions.UNIT` says which leads where."""

Phase = Literal["intent", "done", "recovered", "failed", "mismatch", "note"]
PHASES: Final[tuple[Phase, ...]] = ("intent", "done", "recovered", "failed", "mismatch", "note")
CLOSING: Final[tuple[Phase, ...]] = ("done", "recovered", "failed", "mismatch")
"""Phases that settle the intent of the same unit, step and attempt."""

HEAD: Final = "0002"
"""The schema this code reads and writes: the newest file in `migrations/versions`."""


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(map(repr, values))})"


_LEASED: Final = text("until IS NOT NULL")
_RECOVER: Final = text("recover = 1")
_TROUBLE: Final = text("phase NOT IN ('intent', 'done')")
IN_TROUBLE: Final = text("event.phase NOT IN ('intent', 'done')")
"""Events that tell of something unusual: few, and an index holds them."""
_REACHED: Final = text("kdd IS NOT NULL")

metadata: Final = MetaData()

campaign: Final = Table(
    "campaign",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="campaign_single"), primary_key=True),
    Column("lot", Text, nullable=False),
    Column("recipe", Text, nullable=False),
    Column("recipe_digest", Text, nullable=False),
    Column("order_file", Text, nullable=False),
    Column("order_digest", Text, nullable=False),
    Column("units", Integer, nullable=False),
    Column("keystore_id", Text, nullable=False),
    Column("test", Integer, nullable=False),
    Column("link", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("state", Text, nullable=False),
    Column("run", Integer, nullable=False, server_default=text("0")),
    Column("allowed", Integer),
)
"""The lot: one row, written together with its units. `units` counts them; times are seconds since 1970, UTC.

`allowed`: fresh units up to this number may be taken up, while the first article is not accepted; NULL for all.
"""

unit: Final = Table(
    "unit",
    metadata,
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("serial", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("owner_group", Text, nullable=False),
    Column("extra", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("device_uid", LargeBinary),
    Column("kdd", LargeBinary),
    Column("evidence", Text, nullable=False),
    Column("failure_code", Text, nullable=False),
    Column("failure_text", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("started_at", Float),
    Column("finished_at", Float),
    Column("epoch", Integer, nullable=False, server_default=text("0")),
    Column("station", Text, nullable=False, server_default=text("''")),
    Column("until", Float),
    Column("recover", Integer, nullable=False, server_default=text("0")),
    Column("pinned", Text, nullable=False, server_default=text("''")),
    Column("left_in", Integer, nullable=False, server_default=text("0")),
    UniqueConstraint("serial", name="unit_serial"),
    UniqueConstraint("device_uid", name="unit_device"),
    CheckConstraint(_one_of("state", STATES), name="unit_state"),
    Index("unit_by_state", "state", "n"),
    Index("unit_leased", "until", sqlite_where=_LEASED, postgresql_where=_LEASED),
    Index("unit_reached", "n", "serial", "kdd", sqlite_where=_REACHED, postgresql_where=_REACHED),
    Index("unit_to_recover", "n", sqlite_where=_RECOVER, postgresql_where=_RECOVER),
)
"""One ordered unit. `extra` and `evidence` are JSON objects; `step` the step it stands in, or empty.

A lease: `station` works on it until `until`; `epoch` counts leases. `recover` is 1 for a unit that somebody began and
nobody works on; `pinned` names the station whose reader holds it; `left_in` is the run that last left it open.
"""

station: Final = Table(
    "station",
    metadata,
    Column("name", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("process", Text, nullable=False),
    Column("seen_at", Float, nullable=False),
    Column("mark", Text, nullable=False, server_default=text("''")),
)
"""Who works on units: the host by its boot, the process by its number and when it began.

`mark` is the last transaction it committed: by it a commit that a restarting server did not answer is recognised.
"""

event: Final = Table(
    "event",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("unit", Integer, ForeignKey("unit.n"), nullable=False),
    Column("step", Text, nullable=False),
    Column("phase", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("facts", Text, nullable=False),
    Column("at", Float, nullable=False),
    UniqueConstraint("unit", "step", "phase", "attempt", name="event_once"),
    CheckConstraint(_one_of("phase", PHASES), name="event_phase"),
    Index("event_trouble", "unit", sqlite_where=_TROUBLE, postgresql_where=_TROUBLE),
)
"""What happened, append-only (triggers refuse changes). `facts` is a JSON object, bytes in it as hex text."""

certificate: Final = Table(
    "certificate",
    metadata,
    Column("serial_number", Text, primary_key=True),
    Column("unit", Integer, ForeignKey("unit.n"), nullable=False),
    Column("spki_sha256", LargeBinary, nullable=False),
    Column("der", LargeBinary, nullable=False),
    Column("at", Float, nullable=False),
    UniqueConstraint("unit", name="certificate_unit"),
    UniqueConstraint("spki_sha256", name="certificate_key"),
)
"""Issued device certificates: one for each unit and each key pair. `serial_number` is hex text."""

audit: Final = Table(
    "audit",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("body", Text),
    Column("leaf", LargeBinary, nullable=False),
)
"""The audit log, append-only but for bodies given up after their time: `body` is what was hashed, `leaf` the hash."""

audit_head: Final = Table(
    "audit_head",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="audit_head_single"), primary_key=True),
    Column("size", Integer, nullable=False),
    Column("edge", LargeBinary, nullable=False),
    Column("last", LargeBinary, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("host", Text, nullable=False),
    Column("vkey", Text, nullable=False, server_default=text("''")),
)
"""Where the log ends: its tree's right edge, the last leaf, and the last entry's time (ms since 1970, UTC) and host.

`vkey` is the key that signs it, as its last entry about one says; empty if there is none yet.
"""

audit_checkpoint: Final = Table(
    "audit_checkpoint",
    metadata,
    Column("size", Integer, primary_key=True, autoincrement=False),
    Column("note", Text, nullable=False),
    Column("vkey", Text, nullable=False),
)
"""Signed checkpoints of the log, append-only, each with the key that checks it."""
