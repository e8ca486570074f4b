"""The unit store's tables and words, from the tables the code uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, PrimaryKeyConstraint, Table, UniqueConstraint

from generators.markdown import table
from keywright.production.control.retry import RULES, Rule
from keywright.production.steps.declared import DECLARED
from keywright.production.unit_store.tables import STATES, metadata
from keywright.production.unit_store.transitions import LOT, UNIT


def tables() -> str:
    """Every table with its columns and rules."""
    return "\n\n".join(_table(one) for one in metadata.sorted_tables)


def _table(one: Table) -> str:
    rows = [(f"`{column.name}`", str(column.type).lower(), "" if column.nullable else "yes") for column in one.columns]
    rules = "".join(f"\n- {rule}" for rule in sorted(_rules(one)))
    return f"### {one.name}\n\n{table(('column', 'type', 'always there'), rows)}\n\nRules:\n{rules}"


def _rules(one: Table) -> list[str]:
    found = []
    for rule in one.constraints:
        names = ", ".join(f"`{column.name}`" for column in rule.columns)  # type: ignore[attr-defined]  # all have them
        match rule:
            case PrimaryKeyConstraint():
                found.append(f"primary key {names}")
            case UniqueConstraint():
                found.append(f"once only: {names}")
            case ForeignKeyConstraint():
                found.append(f"{names} refers to `{next(iter(rule.elements)).target_fullname}`")
            case CheckConstraint():
                found.append(f"`{rule.sqltext}`")
    return found


def actions() -> str:
    """Every action of every step, as it is declared."""
    heads = ("action", "where", "what it does", "probe if it is found open", "had taken effect", "had not", "undone by")
    rows = [
        (f"`{one.name}`", one.kind, one.does, one.probe or "-", one.applied or "-", one.repair, one.undo or "cannot be")
        for declared in DECLARED.values()
        for one in declared.actions
    ]
    return table(heads, rows)


def errors() -> str:
    """What each kind of error means for its unit and for the lot."""
    return table(("error", "severity", "why"), [(_error(rule), rule.severity.value, rule.why) for rule in RULES])


def _error(rule: Rule) -> str:
    status = f" {rule.sw:04X}" if rule.sw is not None else ""
    more = (
        ", the first time at a step in a run"
        if rule.once
        else f", from {rule.units} units on the lot" * bool(rule.units)
    )
    return f"`{rule.error.code}`{status}{more}"


def unit_moves() -> str:
    """Every state with what may happen to a unit in it."""
    return _moves(STATES, UNIT)


def lot_moves() -> str:
    """The same of a lot."""
    return _moves(tuple(dict.fromkeys([*(state for state, _ in LOT), *LOT.values()])), LOT)


def _moves(states: tuple[str, ...], moves: Mapping[tuple[Any, Any], str]) -> str:
    rows = [
        (f"`{state}`", ", ".join(f"{move} → `{to}`" for (source, move), to in moves.items() if source == state) or "-")
        for state in states
    ]
    return table(("state", "what may happen"), rows)


PARTS = {
    "docs/unit-store.md": {
        "tables": tables,
        "actions": actions,
        "severities": errors,
        "unit-moves": unit_moves,
        "lot-moves": lot_moves,
    }
}
