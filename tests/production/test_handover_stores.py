"""Approvals, ledger, outbox, labels and closing do the same in SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keywright.production.handover import outbox
from keywright.production.handover.closing import close, standing_of
from keywright.production.handover.disposal import disposable, dispose, operation
from keywright.production.handover.label_drawing import Size
from keywright.production.handover.labels import first_prints, print_labels, reprints
from keywright.production.handover.ledger import BOOKS, LedgerEntry, balances, standing
from keywright.production.handover.outbox import Answer, Sent, UnitRecord
from keywright.production.people.approvals import approve, signed
from keywright.production.people.consent import Consent, ask, given
from keywright.production.reports.report import reading
from keywright.production.unit_store import approval_rows
from keywright.production.unit_store.rows import UnitChange
from keywright.production.unit_store.units import ConflictError, UnitStore
from support.lots import lot, order
from support.people import NOW, counting, directory, key

UNITS = 4


@pytest.fixture
def store(store_url: str) -> Iterator[UnitStore]:
    with UnitStore.open(store_url, create=True) as opened:
        opened.import_order(lot(test=False, link="pcsc:X"), order(UNITS))
        yield opened


class Taking:
    """Takes all but one record, that one only the second time."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    def take(self, record: Sent, /) -> Answer:
        self.taken.append(record.unit)
        if record.unit == 2 and self.taken.count(2) == 1:
            raise outbox.ReceiverError("busy", delivered=None)
        return "stored"


def test_a_lot_from_its_first_unit_to_its_closing(store: UnitStore, tmp_path: Path) -> None:
    for n in (1, 2, 3):
        store.commit([UnitChange(n, {"state": "running"})])
        store.commit([UnitChange(n, {"state": "sealed"}), UnitRecord(n, f"a.{n}.b", b"\x01", 1.0)])
    store.commit([UnitChange(4, {"state": "rejected"})])
    with pytest.raises(ConflictError):
        store.commit([LedgerEntry("records", "spoiled", "planned", 1, 4)])

    crew, known = directory(), store.lot()
    assert known is not None
    units = disposable(store, "destroy", ["KW-F1-000004"])
    wanted = operation(known, "destroy", units, "water")
    done = approve(ask(store, wanted, key("olga"), crew, at_ms=NOW, rng=counting()), key("sam"), crew, at_ms=NOW)
    store.commit([signed(done, done.approved[0])])
    consent = given(store, wanted, crew, at_ms=NOW)
    dispose(store, "destroy", units, "water", consent, at=1.0)
    with pytest.raises(ConflictError):
        store.commit([UnitChange(1, {"tries": 7}), *consent.changes])
    with reading(store) as connection:
        assert approval_rows.found(connection, done.id) == done
        assert approval_rows.is_used(connection, done.id)

    receiver = Taking()
    for now in (10.0, 20.0):
        outbox.send(_due(store), store.commit, receiver, clock=_at(now), rng=bytes)
    assert receiver.taken == [1, 2, 3, 2]

    assert (
        print_labels(store, first_prints(store), tmp_path / "l.pdf", kind="pdf", size=Size(), consent=Consent(), at=1.0)
        == 3
    )
    assert [one.number for one in reprints(store, ["KW-F1-000003"])] == [1]

    with reading(store) as connection:
        for book in BOOKS:
            assert balances(connection, book).accounts == standing(connection, book)
    counted = {"sealed": 3, "scrapped": 1}
    stands = standing_of(store, counted)
    assert (stands.obstacles, stands.unsent) == ((), 0)
    close(store, counted, Consent(), at=2.0)
    assert standing_of(store).state == "closed"


def _at(now: float) -> Callable[[], float]:
    return lambda: now


def _due(store: UnitStore) -> outbox.NextDue:
    def due(now: float, after: int) -> list[Sent]:
        with reading(store) as connection:
            return outbox.due(connection, now=now, after=after)

    return due
