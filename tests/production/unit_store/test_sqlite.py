"""A store in a file: its name is nothing but a name, and only the file of that name is written."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from keywright.errors import StoreError
from keywright.production.unit_store.rows import UnitChange
from keywright.production.unit_store.units import UnitStore
from support.lots import lot, order


@pytest.mark.parametrize("name", ["a?mode=memory", "b#c", "d%20e", "ü &x=y;z"])
def test_the_name_of_a_file_is_nothing_but_its_name(tmp_path: Path, name: str) -> None:
    UnitStore.open(str(tmp_path / name), create=True).close()
    assert {path.name.removesuffix(".lock") for path in tmp_path.iterdir()} == {name}


@pytest.mark.parametrize("what", ["removed", "replaced"])
def test_nothing_is_committed_into_a_file_that_nobody_finds_again(tmp_path: Path, what: str) -> None:
    path = tmp_path / "lot.db"
    with UnitStore.open(str(path), create=True) as store:
        store.import_order(lot(), order(3))
        store.commit([UnitChange(1, {"state": "running"})])
        away = path.rename(path.with_name("away"))
        if what == "replaced":
            path.write_bytes(away.read_bytes())
        for _ in range(2):
            with pytest.raises(StoreError, match="was removed or replaced while it was in use"):
                store.commit([UnitChange(2, {"state": "running"})])
        if what == "removed":
            with pytest.raises(StoreError), store.reading() as reader:
                reader.execute(sa.text("SELECT 1"))
            assert not path.exists(), "reading makes none either"
        away.replace(path)
        store.commit([UnitChange(3, {"state": "running"})])
    with UnitStore.open(str(path)) as store:
        assert [unit.state for unit in store.units()] == ["running", "planned", "running"]
