"""Reading a log: its entries in their order, by number, action, object or actor."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Final

import msgspec
import sqlalchemy as sa

from keywright.errors import StoreError
from keywright.production.audit.events import Body, decode_body
from keywright.production.unit_store.tables import audit

_CHUNK: Final = 1000


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries: numbers from `first` up to `last`, and patterns (`unit.*`) that a name has to fit; empty: any.

    `object` is a type, or a type and an id with a slash between.
    """

    first: int = 0
    last: int | None = None
    action: str = ""
    object: str = ""
    actor: str = ""

    def fits(self, body: Body) -> bool:
        """Whether an entry is one of them, by what it says."""
        kind, name = body.object.type, f"{body.object.type}/{body.object.id}"
        return (
            (not self.action or fnmatchcase(body.action, self.action))
            and (not self.actor or fnmatchcase(body.actor.id, self.actor))
            and (not self.object or fnmatchcase(kind, self.object) or fnmatchcase(name, self.object))
        )


def entries(reader: sa.Connection, wanted: Wanted) -> Iterator[Body]:
    """The entries in their order; those that were given up after their time say nothing and are left out.

    Raises StoreError for one that cannot be read.
    """
    query = sa.select(audit.c.seq, audit.c.body).where(audit.c.seq >= wanted.first, audit.c.body.is_not(None))
    if wanted.last is not None:
        query = query.where(audit.c.seq <= wanted.last)
    for row in reader.execution_options(yield_per=_CHUNK).execute(query.order_by(audit.c.seq)):
        try:
            body = decode_body(row.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StoreError(
                f"entry {row.seq} of the log cannot be read", hint="keywright audit verify --store … says what is wrong"
            ) from error
        if wanted.fits(body):
            yield body
