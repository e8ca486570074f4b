"""The steps a recipe may name, imported when one is used.

A step is a module with `run(job, parameters)`, a dialogue that may be run again at any time: what it did before it
finds in the job's history, what was left uncertain it probes.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Final

from keywright.errors import RecipeError
from keywright.production.job import Job, StepDialogue

Run = Callable[[Job, Any], StepDialogue[None]]

_OURS: Final = frozenset({"identify", "authenticate", "own_keys", "personalise", "lock_down"})
_GROUP: Final = "keywright.steps"


def step(name: str) -> Run:
    """The `run` of a step by its name; steps of others come by the entry point group `keywright.steps`.

    Raises RecipeError for a name that nobody provides.
    """
    if name in _OURS:
        run: Run = import_module(f"keywright.production.steps.{name}").run
        return run
    for found in entry_points(group=_GROUP, name=name):
        other: Run = found.load().run
        return other
    raise RecipeError(f"no step {name!r} is installed", hint=f"steps: {', '.join(sorted(_OURS))}")
