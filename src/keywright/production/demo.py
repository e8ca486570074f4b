"""The demonstration lot: the example order and recipe, and a fault plan of its own.

The order of the example is 24 good fobs. The demonstration adds two that the order and the recipe know nothing
special of: one whose maker loaded other keys than agreed, and one whose power goes in the middle of PUT KEY, after
the new keys are in its memory and before it can say so.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import msgspec

from keywright.errors import StoreError, UsageError
from keywright.fob.fobs import Model
from keywright.fob.pool import Cut, Plan
from keywright.globalplatform.messages import Ins
from keywright.production.campaign import Run, Verified
from keywright.production.units import UnitStore

WRONG_KEYS: Final = "KW-F1-WRONGKEY"
POWER_CUT: Final = "KW-F1-POWERCUT"
_OTHER_KEY: Final = "c0ffee" * 5 + "c0"
_MARK: Final = ".keywright-demo"


class Demo(msgspec.Struct, frozen=True):
    """Where the demonstration's files are, and what its fobs are like."""

    place: Path
    recipe: Path
    order: Path
    store: Path
    report: Path
    csv: Path
    plan: Plan
    good: int


def examples() -> Path:
    """The examples: beside the package when it was installed, in the checkout otherwise. Raises UsageError."""
    package = Path(__file__).parents[1]
    for place in (package / "examples", package.parents[1] / "examples"):
        if (place / "fob.toml").is_file():
            return place
    raise UsageError("the examples are not installed", hint="run the demonstration from a checkout: make demo")


def prepare(place: Path) -> Demo:
    """Empty the demonstration's directory (one it made itself, or none) and write its order. Raises StoreError."""
    if place.exists():
        if not (place / _MARK).exists():
            raise StoreError(f"{place} is not a demonstration's directory", hint="give another one with --place")
        shutil.rmtree(place)
    place.mkdir(mode=0o700, parents=True)
    (place / _MARK).touch()
    source = examples()
    rows = (source / "fob.csv").read_text("utf-8").splitlines()
    empty = "," * (rows[0].count(",") - 2)
    added = [f"{serial},fob-one,north{empty}" for serial in (WRONG_KEYS, POWER_CUT)]
    order = place / "order.csv"
    order.write_text("\n".join([*rows, *added]) + "\n", "utf-8")
    shutil.copy(source / "fob.toml", place / "recipe.toml")
    return Demo(
        place=place,
        recipe=place / "recipe.toml",
        order=order,
        store=place / "lot.db",
        report=place / "report.html",
        csv=place / "units.csv",
        plan=Plan(
            models={WRONG_KEYS: Model(factory_key=_OTHER_KEY)},
            cuts={POWER_CUT: Cut(Ins.PUT_KEY, commit=0)},
        ),
        good=len(rows) - 1,
    )


def problems(demo: Demo, run: Run, verified: Verified) -> list[str]:
    """What did not go as planned; empty when exactly the planned things happened."""
    summary = run.summary
    found = []
    if (summary.sealed, summary.quarantined, summary.rejected, summary.open) != (demo.good + 1, 1, 0, 0):
        found.append(f"{summary.sealed} sealed, {summary.quarantined} quarantined, {summary.open} open")
    if verified.agree != summary.sealed:
        found.append(f"{verified.disagree} of {verified.checked} sealed fobs do not hold what was recorded")
    with UnitStore.open(str(demo.store), readonly=True) as store:
        found += _of_wrong_keys(store) + _of_power_cut(store)
    return found


def _of_wrong_keys(store: UnitStore) -> list[str]:
    unit = store.find(WRONG_KEYS)
    if unit is None or (unit.state, unit.failure_code) != ("quarantined", "card-cryptogram"):
        return [f"{WRONG_KEYS} was not quarantined for its keys"]
    if any(event.phase == "intent" for event in store.events(unit.n)):
        return [f"{WRONG_KEYS} was tried with keys that do not fit"]
    return []


def _of_power_cut(store: UnitStore) -> list[str]:
    unit = store.find(POWER_CUT)
    if unit is None or unit.state != "sealed":
        return [f"{POWER_CUT} was not recovered"]
    events = [(event.step, event.phase) for event in store.events(unit.n)]
    return [] if ("own_keys.put", "recovered") in events else [f"the power of {POWER_CUT} was not cut in PUT KEY"]
