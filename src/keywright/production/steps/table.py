"""The one table of steps; a step's module is imported when it is first used."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Final

from keywright.errors import RecipeError
from keywright.production.job import Job, StepDialogue

Run = Callable[[Job, Any], StepDialogue[None]]

_OURS: Final = frozenset({"identify", "authenticate", "own_keys", "personalise", "lock_down"})
_GROUP: Final = "keywright.steps"


@cache
def step(name: str) -> Run:
    """The `run` of a step by its name; steps of others come by the entry point group `keywright.steps`.

    Raises RecipeError for a name that nobody provides.
    """
    if name in _OURS:
        ours: Run = import_module(f"keywright.production.steps.{name}").run
        return ours
    for found in entry_points(group=_GROUP, name=name):
        theirs: Run = found.load().run
        return theirs
    raise RecipeError(f"no step {name!r} is installed", hint=f"steps: {', '.join(sorted(_OURS))}")
