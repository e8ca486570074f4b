"""The one table of steps; a step's module is imported when it is first used. What each does: `declared.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Any

from keywright.errors import RecipeError
from keywright.production.chunk import Chunk
from keywright.production.control.declaration import UNDECLARED, Declaration
from keywright.production.job import Facts, Job, StepDialogue
from keywright.production.parameters import STEPS, step_of_others
from keywright.production.steps.declared import DECLARED

Run = Callable[[Job, Any], StepDialogue[None]]
Prepare = Callable[[Chunk, Any], Mapping[int, Facts]]
"""What a step can do for units of a chunk before their devices are there: by number, what it found out for each.

It asks the keystore and nobody else, and gives what `run` will find: twice the same for what is derived. Only what the
store has taken counts, so that it may be run again.
"""


@cache
def step(name: str) -> Run:
    """The `run` of a step by its name: one of ours, or one that another package provides.

    Raises RecipeError for a name that nobody provides.
    """
    found: Run = _module(name).run
    return found


def _module(name: str) -> Any:
    if name in STEPS:
        return import_module(f"keywright.production.steps.{name.replace('.', '_')}")
    other = step_of_others(name)
    if other is None:
        raise RecipeError(f"no step {name!r} is installed", hint=f"steps: {', '.join(STEPS)}")
    return other


@cache
def preparation(name: str) -> Prepare | None:
    """The `prepare` of a step that declares from which columns of the order it prepares; None for any other."""
    if not declaration(name).prepares_from:
        return None
    found: Prepare = _module(name).prepare
    return found


@cache
def declaration(name: str) -> Declaration:
    """What a step says of itself; of a step of another package its `DECLARED`, if it has one."""
    if name in DECLARED:
        return DECLARED[name]
    theirs: Declaration = getattr(step_of_others(name), "DECLARED", UNDECLARED)
    return theirs
