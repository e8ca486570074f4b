"""`keywright campaign prepare` and `prepared`: the example's order, whose devices its supplier lists."""

from __future__ import annotations

import json
from pathlib import Path

from keywright.errors import UsageError
from keywright.fob.fobs import chip_serial
from keywright.production.order import read_order
from keywright.production.order_names import named
from support.commands import Keywright
from support.house import ROOT
from support.named_orders import uid_of

RECIPE = str(ROOT / "examples/fob.toml")
ORDER = str(ROOT / "examples/fob-named.csv")


def test_the_example_lists_the_simulated_fobs_as_they_are() -> None:
    for row in read_order(ORDER):
        assert named(row.extra).kdd == chip_serial(row.serial)
        assert named(row.extra).uid == bytes.fromhex(uid_of(row.serial))


def test_the_example_is_prepared_looked_at_and_run(keywright: Keywright, tmp_path: Path) -> None:
    store = str(tmp_path / "lot.db")
    done = keywright("campaign", "prepare", RECIPE, "--order", ORDER, "--store", store)
    assert "6 ordered, of 6 the order names the device" in done.out
    assert "prepared 6 of 6 units" in done.err
    found = json.loads(keywright("campaign", "prepared", "--store", store, "--json").out)
    assert (found["prepared"], found["chunks"], found["damaged"]) == (6, 1, [])
    assert keywright("campaign", "run", RECIPE, "--order", ORDER, "--store", store).code == 0


def test_an_order_that_names_no_device_is_told_what_to_add(keywright: Keywright, tmp_path: Path) -> None:
    order = str(ROOT / "examples/fob.csv")
    done = keywright("campaign", "prepare", RECIPE, "--order", order, "--store", tmp_path / "lot.db")
    assert done.code == UsageError.exit_code
    assert "nothing can be prepared" in done.err
    assert "own_keys from kdd" in done.err
