"""The states of a ceremony, from the table the code uses."""

from __future__ import annotations

from generators.markdown import table
from keywright.production.ceremony.states import TABLE


def states() -> str:
    """One row for each pair that is allowed."""
    rows = []
    for (state, event), to in TABLE.items():
        more = f"`{to.last}`" if to.before is to.last else f"`{to.before}`, with the last one `{to.last}`"
        rows.append((f"`{state}`", event, more))
    return table(("state", "event", "then"), rows)


PARTS = {"docs/ceremonies.md": {"states": states}}
