"""The one table of steps; a step's module is imported when it is first used. What each does: `declared.py`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

from keywright.errors import RecipeError
from keywright.production.control.declaration import UNDECLARED, Declaration
from keywright.production.job import Job, StepDialogue
from keywright.production.parameters import STEPS, step_of_others
from keywright.production.steps.declared import DECLARED

Run = Callable[[Job, Any], StepDialogue[None]]


@cache
def step(name: str) -> Run:
    """The `run` of a step by its name: one of ours, or one that another package provides.

    Raises RecipeError for a name that nobody provides.
    """
    if name in STEPS:
        ours: Run = import_module(f"keywright.production.steps.{name}").run
        return ours
    other = step_of_others(name)
    if other is None:
        raise RecipeError(f"no step {name!r} is installed", hint=f"steps: {', '.join(STEPS)}")
    theirs: Run = other.run
    return theirs


@cache
def declaration(name: str) -> Declaration:
    """What a step says of itself; of a step of another package its `DECLARED`, if it has one."""
    if name in DECLARED:
        return DECLARED[name]
    theirs: Declaration = getattr(step_of_others(name), "DECLARED", UNDECLARED)
    return theirs
