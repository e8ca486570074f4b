"""Rows of the store that the audit log speaks for: which columns an entry's hash covers, and how a row is named.

What is not listed here (leases, for example) may change without an entry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa

from keywright.production.unit_store.control_tables import lot_event, remake, setback
from keywright.production.unit_store.handover_tables import (
    approval,
    approval_signature,
    approval_use,
    closing,
    label,
    outbox,
    review,
    unit_record,
)
from keywright.production.unit_store.prepared_tables import prepared_chunk
from keywright.production.unit_store.tables import campaign, certificate, event, unit

_LOT: Final = (
    "lot",
    "recipe",
    "recipe_digest",
    "order_file",
    "order_digest",
    "units",
    "keystore_id",
    "test",
    "link",
    "created_at",
    "state",
    "allowed",
)
ORDERED: Final = ("n", "serial", "model", "owner_group", "extra")
"""Columns of a unit that its order gives and that never change; entries about the order cover them."""
_UNIT: Final = (
    *ORDERED,
    "state",
    "step",
    "device_uid",
    "kdd",
    "evidence",
    "failure_code",
    "failure_text",
    "tries",
    "started_at",
    "finished_at",
)

DIGITS: Final = 9
"""Numbers in the names of objects have no more."""


class Rows(NamedTuple):
    """A table as the log sees it: `type` of the objects, the columns that name one, and those that its hash covers.

    Of a table whose rows change, the last entry about a row tells what it must be; of one whose rows do not, each.
    """

    type: str
    table: sa.Table
    key: tuple[str, ...]
    columns: tuple[str, ...]
    is_changing: bool = False

    def query(self) -> sa.Select[*tuple[Any, ...]]:
        """The covered columns."""
        return sa.select(*(self.table.c[name] for name in self.columns))

    def name_of(self, values: Sequence[object]) -> str:
        """The object's id: its key columns with slashes between."""
        found = dict(zip(self.columns, values, strict=True))
        return "/".join(str(found[name]) for name in self.key)

    def key_of(self, name: str) -> tuple[int | str, ...] | None:
        """The values of the key columns of an object, or None for a name that no row can have.

        Only the second part of a key may hold a slash (the name of a step).
        """
        first, _, rest = name.partition("/")
        texts = [name] if len(self.key) == 1 else [first, *rest.rsplit("/", len(self.key) - 2)]
        if len(texts) != len(self.key):
            return None
        found: list[int | str] = []
        for key, text in zip(self.key, texts, strict=True):
            if not isinstance(self.table.c[key].type, sa.Integer):
                found.append(text)
            elif text.isdecimal() and len(text) <= DIGITS:
                found.append(int(text))
            else:
                return None
        return tuple(found)


UNTOUCHED: Final[tuple[object, ...]] = ("planned", "", None, None, "{}", "", "", 0, None, None)
"""The other columns of a unit that no entry but the order's speaks of."""
ORDER: Final = "order"
"""The type of the objects of entries about the order: units m to n, named `m-n`."""

LOT: Final = Rows("lot", campaign, ("lot",), _LOT, is_changing=True)
UNIT: Final = Rows("unit", unit, ("n",), _UNIT, is_changing=True)
EVENT: Final = Rows(
    "event",
    event,
    ("unit", "step", "phase", "attempt"),
    ("unit", "step", "phase", "attempt", "facts", "at"),
)
CERTIFICATE: Final = Rows(
    "certificate",
    certificate,
    ("serial_number",),
    ("serial_number", "unit", "spki_sha256", "der", "at"),
)

UNIT_RECORD: Final = Rows("unit-record", unit_record, ("unit",), ("unit", "jws", "cose", "at"))
APPROVAL: Final = Rows(
    "approval",
    approval,
    ("id",),
    ("id", "directory", "action", "object", "facts", "digest", "person", "at_ms", "signature"),
)
APPROVAL_SIGNATURE: Final = Rows(
    "approval-signature",
    approval_signature,
    ("approval", "person"),
    ("approval", "person", "at_ms", "signature"),
)
APPROVAL_USE: Final = Rows("approval-use", approval_use, ("approval",), ("approval", "digest", "at_ms"))
LABEL: Final = Rows("label-row", label, ("unit", "number"), ("unit", "number", "approval", "at"))
PREPARED: Final = Rows(
    "prepared-chunk", prepared_chunk, ("recipe", "first"), ("recipe", "first", "last", "units", "digest", "at")
)
REVIEW: Final = Rows(
    "review",
    review,
    ("size",),
    ("size", "first", "root", "directory", "person", "at_ms", "text", "signature"),
)
SETBACK: Final = Rows(
    "setback",
    setback,
    ("seq",),
    ("seq", "unit", "kind", "code", "text", "severity", "ended", "sealed", "at"),
)
LOT_EVENT: Final = Rows(
    "lot-event",
    lot_event,
    ("seq",),
    ("seq", "event", "came_from", "state", "cause", "text", "person", "approval", "setbacks", "sealed", "at"),
)
REMAKE: Final = Rows("remake", remake, ("unit",), ("unit", "instead_of", "reason", "person", "approval", "at"))
OUTBOX: Final = Rows(
    "outbox",
    outbox,
    ("hash",),
    ("hash", "unit", "state", "tries", "next_at", "last_error"),
    is_changing=True,
)
"""Begins with the signed record that it sends, and ends with the receiver's acknowledgement: an entry without a row."""
CLOSING: Final = Rows("closing-row", closing, ("id",), ("id", "counted", "approval", "at"))

SUBJECTS: Final[tuple[Rows, ...]] = (
    LOT,
    UNIT,
    EVENT,
    CERTIFICATE,
    UNIT_RECORD,
    APPROVAL,
    APPROVAL_SIGNATURE,
    APPROVAL_USE,
    LABEL,
    CLOSING,
    PREPARED,
    REVIEW,
    SETBACK,
    LOT_EVENT,
    REMAKE,
    OUTBOX,
)
BY_TYPE: Final = {rows.type: rows for rows in SUBJECTS}


def row_hash(values: Sequence[object]) -> str:
    """SHA-256, in hex, of a row: the JSON list of its values, bytes as base64, numbers in their shortest form."""
    return hashlib.sha256(msgspec.json.encode(values)).hexdigest()


def ordered_hash(units: Iterable[Sequence[object]]) -> str:
    """SHA-256, in hex, of what was ordered: of each unit n, serial, model, owner group, extra (as JSON text)."""
    found = hashlib.sha256()
    for values in units:
        found.update(msgspec.json.encode(tuple(values[: len(ORDERED)])))
    return found.hexdigest()
