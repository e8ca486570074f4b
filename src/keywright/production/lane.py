"""One unit in work: its job, how far its dialogue is, and when the line loses patience with it."""

from __future__ import annotations

from typing import final

from keywright.errors import KeywrightError
from keywright.iso7816.apdu import Command
from keywright.production.control.declaration import Patience
from keywright.production.control.retry import Severity, kind_of, rule_of
from keywright.production.job import Job, StepDialogue
from keywright.production.steps.table import declaration


@final
class Lane:
    """A unit in work. Times are the engine's; `dialogue` is None until the unit has answered to reset."""

    __slots__ = ("_counted", "_patience", "_step", "answer_due", "dialogue", "job", "owed", "restarts", "sent", "until")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.dialogue: StepDialogue[None] | None = None
        self.sent: Command | None = None
        self.restarts = 0
        self.owed = 0
        """Answers that were given up and may still come."""
        self.until = 0.0
        """While it waits: when its step has to be over. While it rests: when it is begun again."""
        self.answer_due = False
        self._step: str | None = None
        self._patience = _patience(job, "")
        self._counted: set[str] = set()

    def begin(self, now: float) -> None:
        """The unit is reset: its patience starts anew."""
        self.dialogue = None
        self._step = None
        self.waits(now)

    def waits(self, now: float) -> None:
        """An answer is due; the time of a step counts from its first command."""
        self.answer_due = True
        if self.job.step != self._step:
            self._step = self.job.step
            self._patience = _patience(self.job, self._step)
            self.until = now + self._patience.timeout_s

    def is_overdue(self, now: float) -> bool:
        """Whether its answer has not come in the time that the step has."""
        return self.answer_due and now >= self.until

    @property
    def timeout_s(self) -> float:
        """How long its step may take."""
        return self._patience.timeout_s

    def severity(self, error: KeywrightError) -> Severity:
        """What an error means for this unit: a transient one that may happen once is its own the second time."""
        rule = rule_of(error)
        if not rule.once:
            return rule.severity
        kind = kind_of(error, self.job.step)
        severity = Severity.UNIT if kind in self._counted else rule.severity
        self._counted.add(kind)
        return severity

    def rest_s(self) -> float | None:
        """Rest before the unit is begun again, or None when it was begun again often enough in this run."""
        patience = _patience(self.job, self.job.step)
        if self.restarts >= patience.retries:
            return None
        self.restarts += 1
        return patience.rest_s(self.restarts)


def _patience(job: Job, name: str) -> Patience:
    """Patience of a step; before the first one, that of the first."""
    spec = job.recipe.step(name) or job.recipe.steps[0]
    return spec.parameters.patience(declaration(spec.name))
