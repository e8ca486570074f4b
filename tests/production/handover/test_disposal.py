"""Units that leave the lot: each decided once, in the ledger, and in a production lot with two signatures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from keywright.errors import UsageError
from keywright.production.handover.closing import close, standing_of
from keywright.production.handover.disposal import Disposal, disposable, dispose, operation
from keywright.production.handover.ledger import balances
from keywright.production.people.approvals import ApprovalError, approve, signed
from keywright.production.people.consent import AskedError, Consent, given_or_asked
from keywright.production.reports.report import reading
from keywright.production.unit_store import approval_rows
from keywright.production.unit_store.rows import UnitChange
from keywright.production.unit_store.transitions import TransitionError
from keywright.production.unit_store.units import ConflictError, UnitStore
from support.lots import lot, made_up, order
from support.people import NOW, counting, directory, key


def serial(n: int) -> str:
    return f"KW-F1-{n:06d}"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[UnitStore]:
    """A production lot: one sealed, one quarantined, one rejected, one blank, one in work."""
    with made_up(tmp_path / "lot.db", order(5), campaign=lot(test=False, link="pcsc:X")) as opened:
        for n, state in ((1, "sealed"), (2, "quarantined"), (3, "rejected"), (5, "running")):
            opened.commit([UnitChange(n, {"state": state})])
        yield opened


def accounts(store: UnitStore) -> dict[str, int]:
    with reading(store) as connection:
        return balances(connection, "units").accounts


def test_destroyed_and_returned_units_are_in_the_ledger_and_the_lot_closes(store: UnitStore) -> None:
    dispose(store, "destroy", disposable(store, "destroy", [serial(2), serial(3)]), "water", Consent(), at=1.0)
    dispose(store, "return", disposable(store, "return", [serial(4)]), "not needed", Consent(), at=2.0)
    store.commit([UnitChange(5, {"state": "sealed"})])
    counted = {"sealed": 2, "scrapped": 2, "returned": 1}
    assert accounts(store) == counted
    with reading(store) as connection:
        assert balances(connection, "records").accounts == {"spoiled": 2, "used": 3}
    assert standing_of(store, counted).obstacles == ()
    close(store, counted, Consent(), at=3.0)
    (event,) = store.events(3)
    assert (event.step, event.facts["why"], event.facts["state"]) == ("destroy", "water", "rejected")


@pytest.mark.parametrize(("what", "n"), [("destroy", 4), ("destroy", 5), ("return", 3), ("return", 5)], ids=str)
def test_what_cannot_leave_so_stays(store: UnitStore, what: Disposal, n: int) -> None:
    before = accounts(store)
    with pytest.raises(TransitionError, match=f"{serial(n)} is "):
        disposable(store, what, [serial(1), serial(n)])
    assert accounts(store) == before


def test_no_unit_and_no_such_unit(store: UnitStore) -> None:
    with pytest.raises(UsageError, match="no unit to destroy"):
        disposable(store, "destroy", [])
    with pytest.raises(UsageError, match="no unit 'X'"):
        disposable(store, "destroy", ["X"])


def test_destruction_takes_two_signatures_for_exactly_these_units(store: UnitStore) -> None:
    crew, known = directory(), store.lot()
    assert known is not None
    units = disposable(store, "destroy", [serial(2), serial(3)])
    wanted = operation(known, "destroy", units, "water")
    with pytest.raises(AskedError):
        given_or_asked(store, wanted, crew, key("olga"), at_ms=NOW, rng=counting())
    with pytest.raises(ApprovalError, match="0 of 1 have approved"):
        given_or_asked(store, wanted, crew, None, at_ms=NOW)
    with reading(store) as connection:
        (asked,) = approval_rows.unused_for(connection, wanted)
    done = approve(asked, key("sam"), crew, at_ms=NOW)
    store.commit([signed(done, done.approved[0])])
    for other in (units[:1], [*units, *disposable(store, "destroy", [serial(1)])]):
        with pytest.raises(ApprovalError, match="has not been asked for"):
            given_or_asked(store, operation(known, "destroy", other, "water"), crew, None, at_ms=NOW)
    consent = given_or_asked(store, wanted, crew, None, at_ms=NOW)
    dispose(store, "destroy", units, "water", consent, at=1.0)
    assert accounts(store)["scrapped"] == 2
    (event,) = store.events(2)
    assert (event.facts["person"], event.facts["approval"]) == ("olga", done.id)
    with pytest.raises((ConflictError, TransitionError)):
        dispose(store, "destroy", units, "water", consent, at=2.0)


def test_a_unit_that_changed_since_it_was_signed_for_is_another_operation(store: UnitStore) -> None:
    known = store.lot()
    assert known is not None
    before = operation(known, "destroy", disposable(store, "destroy", [serial(2)]), "water")
    store.commit([UnitChange(2, {"state": "rework"})])
    store.commit([UnitChange(2, {"state": "sealed"})])
    after = operation(known, "destroy", disposable(store, "destroy", [serial(2)]), "water")
    assert before.digest != after.digest
