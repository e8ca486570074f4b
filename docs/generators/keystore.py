"""States, periods and paths of keys, from the tables the code uses."""

from __future__ import annotations

from generators.markdown import table
from keywright.production.keystores.key_paths import KeyPath
from keywright.production.keystores.key_states import ORIGINATING, TRANSITIONS, USABLE, KeyState
from keywright.production.keystores.registry import PERIODS, USAGES, YEAR_S


def states() -> str:
    """Every state, what it allows, and what may follow."""
    rows = [
        (
            str(state),
            "yes" if state in ORIGINATING else "no",
            "yes" if state in USABLE else "no",
            ", ".join(str(to) for to in KeyState if (state, to) in TRANSITIONS),
        )
        for state in KeyState
    ]
    return table(("state", "makes something new", "opens and verifies", "may become"), rows)


def periods() -> str:
    """Default usage and periods by purpose."""
    rows = [
        (f"`{purpose}`", f"`{USAGES[purpose]}`", f"{originate // YEAR_S} y", f"{use // YEAR_S} y")
        for purpose, (originate, use) in PERIODS.items()
    ]
    return table(("purpose", "X9.143 usage", "makes something new for", "opens and verifies for"), rows)


def paths() -> str:
    """Every way that session keys go, and what it is worth."""
    rows = [(f"`{path.value}`", path.guarantees, path.does_not_guarantee) for path in KeyPath]
    return table(("recorded", "guaranteed", "not guaranteed"), rows)


PARTS = {"docs/keystore.md": {"states": states, "periods": periods, "paths": paths}}
