"""The table of controls, each with the tests that show it."""

from __future__ import annotations

from generators.markdown import table
from keywright.production.audit.controls import CONTROLS, Control
from support.controls import TESTS, exists


def controls() -> str:
    """One row for each control. Raises LookupError for a test that is not there."""
    return table(("id", "what is asked", "how far", "what the software does", "shown by"), map(_row, CONTROLS))


def _row(control: Control) -> tuple[str, ...]:
    tests = TESTS[control.id]
    if missing := [test for test in tests if not exists(test)]:
        raise LookupError(f"{control.id}: there is no test {missing[0]}")
    does = control.does + (f". *Left:* {control.left}" if control.left else "")
    shown = "<br>".join(f"`tests/{test}`" for test in tests) or "no test"
    return (control.id, control.asked, f"**{control.standing}**", does, shown)


PARTS = {"docs/controls.md": {"controls": controls}}
