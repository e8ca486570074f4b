"""The unit store's tables and words, from the tables the code uses."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, PrimaryKeyConstraint, Table, UniqueConstraint

from generators.markdown import table
from keywright.production.tables import metadata


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


PARTS = {"docs/unit-store.md": {"tables": tables}}
