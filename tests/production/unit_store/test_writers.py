"""Changes of any kind are written in one transaction, by whoever the table names for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from keywright.production.order import OrderRow
from keywright.production.unit_store import sqlite
from keywright.production.unit_store.rows import Change, Event, UnitChange, UnknownUnitError
from keywright.production.unit_store.tables import event, unit
from keywright.production.unit_store.transaction import Prepared, Transaction
from keywright.production.unit_store.units import UnitStore
from keywright.production.unit_store.writers import WRITERS, Writer, write
from support.lots import lot


class Told(Change, frozen=True):
    """A kind that only this test knows."""

    text: str


def test_a_writer_gets_its_kinds_in_the_order_of_the_batch_and_sees_what_was_written_before(tmp_path: Path) -> None:
    path = tmp_path / "lot.db"
    with UnitStore.open(str(path), create=True) as store:
        store.import_order(lot(), [OrderRow(n, f"S{n}", "m", "g") for n in (1, 2)])
    seen: list[object] = []

    def count_events(transaction: Transaction, changes: Sequence[Change]) -> None:
        number = transaction.one(sa.select(sa.func.count()).select_from(event))
        assert number is not None
        seen.append((number[0], list(changes), transaction.dialect))

    happened = [Event(unit=n, step="s", phase="done", at=1.0) for n in (2, 1)]
    batch = [happened[0], Told("a"), UnitChange(1, {"tries": 1}), happened[1]]
    engine = sqlite.engine_for(path, write=True)
    with engine.connect().execution_options(immediate=True) as connection, connection.begin():
        write(Transaction(connection), batch, [*WRITERS, Writer((Told, Event), count_events)])
    engine.dispose()
    assert seen == [(2, [happened[0], Told("a"), happened[1]], "sqlite")]


def test_a_change_that_nobody_writes_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with UnitStore.open(str(tmp_path / "lot.db"), create=True) as store:
        store.import_order(lot(), [OrderRow(1, "S1", "m", "g")])
        with pytest.raises(TypeError, match="nobody writes Told"):
            store.commit([UnitChange(1, {"tries": 1}), Told("a")])
        with pytest.raises(UnknownUnitError):
            store.commit([UnitChange(1, {"tries": 1}), UnitChange(2, {"tries": 1})])
        (unit,) = store.units()
        assert unit.tries == 0


def test_a_statement_that_names_its_parameters_in_another_order_than_a_row_has_them_is_refused() -> None:
    turned = Prepared(
        {"n_": unit.c.n.type, "step": unit.c.step.type},
        lambda given: unit.update().where(unit.c.n == given["n_"]).values(step=given["step"]),
    )
    with pytest.raises(ValueError, match="parameters stand as"):
        turned.text("sqlite")
    assert "unnest" in turned.text("postgresql", arrays=True)
