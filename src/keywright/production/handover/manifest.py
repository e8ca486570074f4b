"""The manifest of a lot: the signed records of its sealed units as one JSON array, for whoever gets the units."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import sqlalchemy as sa

from keywright.crypto.ec import EcPublicKey
from keywright.errors import StoreError
from keywright.production.handover.unit_record import RecordContent, read_cose_record, read_jws_record
from keywright.production.outfile import replacing
from keywright.production.reports.report import reading
from keywright.production.unit_store.handover_tables import unit_record
from keywright.production.unit_store.mark_rows import is_marked
from keywright.production.unit_store.tables import unit
from keywright.production.unit_store.units import UnitStore

_OPENING: Final = "[\n"


def write_manifest(store: UnitStore, target: Path, public: EcPublicKey) -> int:
    """Write the record of every sealed unit, each checked with the key first; returns how many there are.

    Units that are marked, because a key that reached them is compromised, are left out.

    Raises StoreError for a sealed unit without a record, AuthenticationError if one is not of this key, and leaves
    `target` as it was; UsageError if it cannot be written.
    """
    count = 0
    with replacing(target, opening=_OPENING, store=store.path) as file:
        file.write(_OPENING)
        for jws in _records(store, public):
            file.write(f"{',' if count else ''}{msgspec.json.encode(jws).decode()}\n")
            count += 1
        file.write("]\n")
    return count


def read_manifest(path: Path, public: EcPublicKey) -> list[RecordContent]:
    """The records of a manifest, each checked. Raises StoreError if it is none, AuthenticationError for a wrong one."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=list[str])
    except (OSError, msgspec.MsgspecError) as error:
        raise StoreError(f"{path}: no manifest") from error
    contents = [read_jws_record(jws, public) for jws in found]
    if len({content.uid for content in contents}) != len(contents):
        raise StoreError(f"{path}: names a unit twice")
    return contents


def public_pem(public: EcPublicKey) -> str:
    """The key that checks a manifest, for the customer."""
    text = base64.b64encode(public.spki()).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""])


def _records(store: UnitStore, public: EcPublicKey) -> Iterator[str]:
    query = (
        sa.select(unit.c.n, unit.c.serial, unit_record.c.jws, unit_record.c.cose)
        .join_from(unit, unit_record, unit_record.c.unit == unit.c.n, isouter=True)
        .where(unit.c.state == "sealed", ~is_marked())
        .order_by(unit.c.n)
    )
    with reading(store) as connection:
        for row in connection.execute(query):
            if row.jws is None:
                raise StoreError(
                    f"unit {row.n} ({row.serial}) has no record",
                    hint="it was sealed before units had records, or with a keystore that has no identity",
                )
            content = read_jws_record(row.jws, public)
            if content != read_cose_record(bytes(row.cose), public) or content.serial != row.serial:
                raise StoreError(f"unit {row.n} ({row.serial}): its two records do not say the same of it")
            yield row.jws
