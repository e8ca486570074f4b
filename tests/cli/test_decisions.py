"""`keywright campaign release`, `rework`, `remake`, `change-recipe`, and what reports say of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from keywright.production.unit_store.rows import UnitChange
from keywright.production.unit_store.units import UnitStore
from support.commands import Keywright
from support.ledger import FOB
from support.lots import lot, made_up, order

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "fob.toml").write_text(f"{FOB}\n[control]\nfirst_article = 1\n", encoding="utf-8")
    rows = (EXAMPLES / "fob.csv").read_text().splitlines(keepends=True)[:4]
    (tmp_path / "fob.csv").write_text("".join(rows))
    return tmp_path


def test_the_first_article_waits_is_released_and_the_lot_goes_on(keywright: Keywright, place: Path) -> None:
    run = ("campaign", "run", place / "fob.toml", "--order", place / "fob.csv", "--store", place / "lot.db")
    first = keywright(*run)
    assert first.code == 1
    assert "Waiting: the first article (units 1 to 1) is to be accepted" in first.out
    assert "Next: keywright campaign release --store" in first.out
    again = keywright(*run)
    assert again.code == 5
    assert "keywright campaign release" in again.err
    status = json.loads(keywright("campaign", "status", "--store", place / "lot.db", "--json").out)
    assert (status["state"], status["sealed"], status["open"]) == ("waiting", 1, 2)
    assert keywright("campaign", "release", "--store", place / "lot.db", "--why", "good").code == 0
    done = keywright(*run)
    assert done.code == 0
    assert "complete, every unit sealed" in done.out
    assert "accept" in done.out
    page = place / "report.html"
    assert keywright("campaign", "report", "--store", place / "lot.db", "--html", page).code == 0
    assert "<h2>Decisions</h2>" in page.read_text(encoding="utf-8")


def test_units_are_reworked_and_made_anew(keywright: Keywright, tmp_path: Path) -> None:
    store = tmp_path / "lot.db"
    with made_up(store, order(4)) as opened:
        serials = [unit.serial for unit in opened.units()]
        for n, state in enumerate(("quarantined", "quarantined", "rejected"), 1):
            opened.commit([UnitChange(n, {"state": state})])

    def decide(*words: object) -> dict[str, object]:
        ran = keywright("campaign", *words, "--store", store, "--why", "because", "--json")
        assert ran.code == 0, ran.err
        found: dict[str, object] = json.loads(ran.out)
        return found

    assert decide("rework", serials[0])["state"] == "rework"
    destroyed = keywright("campaign", "destroy", serials[1], "--why", "broken", "--store", store)
    assert destroyed.code == 0, destroyed.err
    assert decide("remake", serials[1], "--serial", "NEW-1") == {"serial": "NEW-1", "n": 5, "instead_of": serials[1]}
    refused = keywright("campaign", "rework", serials[2], "--store", store, "--why", "r")
    assert refused.code == 1
    assert "only a quarantined unit is worked on again" in refused.err
    shown = " ".join(keywright("campaign", "status", "--store", store).out.split())
    assert "4 ordered, 0 sealed, 1 made anew, 1 rejected, 1 scrapped, 3 open, 1 of them in rework" in shown


def test_another_recipe_only_before_anything_was_begun(keywright: Keywright, place: Path) -> None:
    store = place / "made.db"
    with made_up(store, order(2), campaign=lot(lot="fob")):
        pass
    change = ("campaign", "change-recipe", place / "fob.toml", "--store", store, "--why", "new")
    assert keywright(*change).code == 0
    with UnitStore.open(str(store)) as opened:
        opened.commit([UnitChange(1, {"state": "running"})])
    refused = keywright(*change)
    assert refused.code == 5
    assert "it is pinned to it" in refused.err
