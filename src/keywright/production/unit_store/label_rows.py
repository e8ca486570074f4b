"""That a label was printed, as a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from keywright.production.unit_store.handover_tables import label
from keywright.production.unit_store.rows import Change
from keywright.production.unit_store.transaction import Transaction, added


class LabelPrinted(Change, frozen=True):
    """A change: a unit's label was printed; `number` 0 first, then its reprints, which have an approval."""

    unit: int
    number: int
    approval: str
    at: float


def write(transaction: Transaction, changes: Sequence[LabelPrinted]) -> None:
    """A row each."""
    transaction.run(_PRINTED, [msgspec.structs.astuple(change) for change in changes])


_PRINTED: Final = added(label, LabelPrinted.__struct_fields__)
