"""An auditor's sign-off as a row: which entries of the log were seen, and by whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from keywright.production.canonical import canonical
from keywright.production.unit_store.handover_tables import review
from keywright.production.unit_store.rows import Change
from keywright.production.unit_store.transaction import Transaction

_DOMAIN: Final = b"keywright review of a log 1\n"


class Reviewed(Change, frozen=True):
    """A change: an auditor has seen the entries from `first` up to `size`, not included; fields as the columns.

    `root` (32 bytes): of the tree of the first `size` entries. `directory`: the id of the one that the person is in.
    """

    size: int
    first: int
    root: bytes
    directory: str
    person: str
    at_ms: int
    text: str
    signature: bytes = b""

    def content(self) -> bytes:
        """What the signature covers: everything but itself."""
        fields = msgspec.structs.asdict(self) | {"root": self.root.hex()}
        del fields["signature"]
        return _DOMAIN + canonical(fields)


def write(transaction: Transaction, changes: Sequence[Reviewed]) -> None:
    """A row each."""
    for change in changes:
        transaction.execute(review.insert(), msgspec.structs.asdict(change))
