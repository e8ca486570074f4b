"""Works the units of a lot: many at once, their commands and their commits each grouped across units.

A unit's way through its recipe is one dialogue. The engine carries its commands to the station and its changes to
the store, in one transaction with the changes of whichever other units wait at that moment; a unit goes on only
when its changes are on the disk. While a transaction is written, the station works.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Final, final

import msgspec

from keywright.errors import KeywrightError, LinkError
from keywright.iso7816.apdu import Response
from keywright.iso7816.channels import is_secured
from keywright.iso7816.layers import completed, parse_answer
from keywright.production.control.brake import UNBRAKED, Brake
from keywright.production.control.retry import DeviceTimeoutError, Severity, kind_of, rule_of
from keywright.production.fetching import Fetcher
from keywright.production.job import Commit, Facts, Fetch, Job, OnAir, RejectedError, StepDialogue, StepRequest
from keywright.production.lane import Lane
from keywright.production.on_air import encode_sent
from keywright.production.stations import Station
from keywright.production.steps.table import step
from keywright.production.unit_store.control_rows import Setback
from keywright.production.unit_store.tables import State
from keywright.production.unit_store.units import ConflictError, FencedError, UnitStore
from keywright.production.watch import Phase, Unwatched, Watcher

TICK_S: Final = 0.25
"""How long the engine waits for answers before it looks at its clock."""
FETCHING_TICK_S: Final = 0.02
"""The same while a server is asked too, whose answer comes another way."""
_OK: Final = Response(b"")
_SEALED: Final = {"step": "", "failure_code": "", "failure_text": ""}
"""A unit that is done has no trouble any more, whatever an earlier run left it with."""


logger = logging.getLogger(__name__)


class InternalError(KeywrightError):
    """A fault of the program, met by one unit. The log has the rest."""

    code = "internal"
    hint = "the unit is set aside; this is a fault of keywright, report it with the log"


class Outcome(msgspec.Struct):
    """What a run did. `stopped` says why it ended early, or is empty."""

    sealed: int = 0
    failed: int = 0
    left_open: int = 0
    stopped: str = ""

    def add(self, more: Outcome) -> None:
        """What was done after it, as one outcome."""
        self.sealed += more.sealed
        self.failed += more.failed
        self.left_open += more.left_open
        self.stopped = more.stopped


class _Waiting(msgspec.Struct):
    """Changes of one lane that wait for the next transaction; `state` is set when they are its last."""

    lane: Lane
    commit: Commit
    state: str = ""
    failure: str = ""


def whole_recipe(job: Job) -> StepDialogue[None]:
    """Every step of the recipe in order."""
    for spec in job.recipe.steps:
        job.step = spec.name
        yield from step(spec.name)(job, spec.parameters)


@final
class Engine:
    """Runs `work` (the whole recipe unless told otherwise) over the jobs it is given, as long as `brake` lets it.

    `clock` (seconds, never set back) and `sleep` are for the time limits of steps and the rests before retries; steps
    know neither.
    """

    def __init__(
        self,
        store: UnitStore,
        station: Station,
        jobs: Iterator[Job],
        *,
        watcher: Watcher | None = None,
        work: Callable[[Job], StepDialogue[None]] = whole_recipe,
        brake: Brake = UNBRAKED,
        proven: int = 0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """`proven`: so many units went through here before without trouble, so that it need not begin with one."""
        self._store = store
        self._station = station
        self._jobs = jobs
        self._watcher = watcher or Unwatched()
        self._work = work
        self._brake = brake
        self._proven = proven
        self._clock = clock
        self._sleep = sleep
        self._now = self._looked = clock()
        self._resting: list[Lane] = []
        self._lanes: dict[str, Lane] = {}
        self._batch: list[_Waiting] = []
        self._sent: list[Lane] = []
        self._fetcher = Fetcher()
        self._has_failed = False
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Work until nothing is left or the lot has to stop. Raises LinkError when the whole station is gone."""
        with closing(self._fetcher):
            while self._fill() or self._lanes:
                self._now = self._clock()
                self._wake()
                self._flush()
                is_waiting = bool(self._station.waiting or self._fetcher.waiting)
                if self._batch and (len(self._batch) * 3 >= len(self._lanes) or not is_waiting):
                    self._commit()
                elif is_waiting:
                    self._listen()
                elif self._resting:
                    self._sleep(max(0.0, min(lane.until for lane in self._resting) - self._now))
        return self.outcome

    def _listen(self) -> None:
        """Hear what the station and servers have, and give up on units that have kept it waiting too long."""
        if self._fetcher.waiting:
            got = self._fetcher.receive(0.0 if self._station.waiting else TICK_S)
            for name, content in got:
                self._fetched(self._lanes[name], content)
            if got or not self._station.waiting:
                return
        limit_s = FETCHING_TICK_S if self._fetcher.waiting else TICK_S
        for name, answer in self._station.receive(limit_s=limit_s):
            lane = self._lanes.get(name)
            if lane is None or lane.owed:
                if lane is not None:
                    lane.owed -= 1
                continue  # it was given up: its unit has been reset since, or has come to its end
            lane.answer_due = False
            self._answered(lane, answer)
        now = self._clock()
        if now - self._looked < TICK_S:
            return
        self._looked = now
        for lane in [one for one in self._lanes.values() if one.is_overdue(now)]:
            lane.answer_due = False
            lane.owed += 1
            self._answered(lane, DeviceTimeoutError(f"no answer within {lane.timeout_s:g} s", None))

    def _wake(self) -> None:
        """Begin the units again that have rested long enough."""
        due = [lane for lane in self._resting if lane.until <= self._now]
        for lane in due:
            self._resting.remove(lane)
            self._begin(lane)

    def _fill(self) -> bool:
        """Take up units. A lot begins with one unit and widens as units succeed; True when one was taken up."""
        taken = False
        room = min(self._station.width, 1 + self._proven + self.outcome.sealed)
        while len(self._lanes) < room and not self._is_stopped():
            job = next(self._jobs, None)
            if job is None:
                break
            lane = Lane(job)
            self._lanes[job.unit.serial] = lane
            self._begin(lane)
            taken = True
        return taken

    def _is_stopped(self) -> bool:
        self.outcome.stopped = self.outcome.stopped or self._brake.reason()
        return bool(self.outcome.stopped)

    def _begin(self, lane: Lane) -> None:
        job = lane.job
        job.release()
        job.begun = job.clock()
        lane.begin(self._clock())
        self._watcher.started(job.unit.n, job.unit.serial)
        self._station.power_on(job.unit.serial)

    def _flush(self) -> None:
        self._station.flush()
        for lane in self._sent:
            self._watcher.moment("after send", lane.job.unit.n, lane.job.step)
        self._sent.clear()

    def _answered(self, lane: Lane, answer: bytes | LinkError) -> None:
        job = lane.job
        if lane.dialogue is None:
            if isinstance(answer, LinkError):
                self._met(lane, answer)
                return
            lane.dialogue = completed(self._work(job))
            self._advance(lane, next)
            return
        if isinstance(answer, LinkError):
            error = answer
            self._advance(lane, lambda dialogue: dialogue.throw(error))
            return
        self._watcher.moment("after answer", job.unit.n, job.step)
        try:
            response = Response(answer) if lane.sent is None else parse_answer(answer)
        except LinkError as garbage:
            error = garbage
            self._advance(lane, lambda dialogue: dialogue.throw(error))
            return
        sent, plain, before = lane.sent, job.plain, job.opened
        self._advance(lane, lambda dialogue: dialogue.send(response))
        if sent is not None:
            opened = response if job.opened is None or job.opened is before else job.opened
            read = plain if plain is not None and is_secured(sent.cla) else sent
            self._watcher.exchanged(job.unit.n, sent, read, response, opened)

    def _fetched(self, lane: Lane, answer: bytes | KeywrightError) -> None:
        if isinstance(answer, KeywrightError):
            self._advance(lane, lambda dialogue: dialogue.throw(answer))
        else:
            self._advance(lane, lambda dialogue: dialogue.send(Response(answer)))

    def _advance(self, lane: Lane, resume: Callable[[StepDialogue[None]], StepRequest]) -> None:
        """Resume a unit's dialogue and see to what it asks for next."""
        if lane.dialogue is None:
            raise AssertionError("a lane is advanced only once its unit has answered to reset")
        try:
            request = resume(lane.dialogue)
        except StopIteration:
            self._end(lane, "sealed", {"evidence": lane.job.evidence()})
            return
        except KeywrightError as error:
            self._met(lane, error)
            return
        except Exception as fault:  # a fault of ours, met by one unit, must not hold up the lot for ever
            logger.exception("unit %d, step %s", lane.job.unit.n, lane.job.step)
            self._failed(lane, InternalError(f"{type(fault).__name__} in step {lane.job.step}"))
            return
        if type(request) is Commit:
            self._tell(request, lane, "before intent", "before commit")
            self._batch.append(_Waiting(lane, request))
            return
        if type(request) is Fetch:  # which has a time limit of its own, and no answer of the unit is due
            self._fetcher.submit(lane.job.unit.serial, request)
            return
        lane.waits(self._now)
        if type(request) is OnAir:
            lane.sent = None
            self._station.submit_air(lane.job.unit.serial, encode_sent(request))
        else:
            lane.sent = request
            self._station.submit(lane.job.unit.serial, request.encode())
        self._sent.append(lane)

    # ---- endings

    def _end(self, lane: Lane, state: State, facts: Facts, error: KeywrightError | None = None) -> None:
        job = lane.job
        where = _SEALED if state == "sealed" else {"step": job.step}
        job.change(state=state, finished_at=job.clock(), **where, **facts)
        self._end_with(lane, state, error)

    def _end_with(self, lane: Lane, state: str, error: KeywrightError | None) -> None:
        if error is not None:
            lane.job.add(_setback(lane.job, error, ended=state != "open"))
        commit = lane.job.take_pending()
        self._tell(commit, lane, "before intent", "before commit")
        failure = "" if error is None else f"{error.code}: {error}"
        self._batch.append(_Waiting(lane, commit, state, failure))

    def _failed(self, lane: Lane, error: KeywrightError) -> None:
        job = lane.job
        job.record("failed", job.step, {"code": error.code, "text": str(error), "hint": error.hint})
        state: State = "rejected" if isinstance(error, RejectedError) else "quarantined"
        facts = {"failure_code": error.code, "failure_text": str(error)}
        self._end(lane, state, facts, error)

    def _met(self, lane: Lane, error: KeywrightError) -> None:
        """See to an error by its table: begin the unit again after a rest, leave it for the next run, set it aside."""
        severity = lane.severity(error)
        if severity is Severity.UNIT:
            self._failed(lane, error)
            return
        job = lane.job
        self._note(job, error)
        rest = lane.rest_s() if severity is Severity.TRANSIENT else None
        if rest is not None:
            job.release()
            lane.until = self._clock() + rest
            self._resting.append(lane)
        elif severity is Severity.TRANSIENT and not isinstance(error, LinkError):
            self._failed(lane, error)
        else:
            job.change(failure_code=error.code, failure_text=str(error), step=job.step)
            job.leave()
            self._end_with(lane, "open", error)

    def _note(self, job: Job, error: KeywrightError) -> None:
        """Record what interrupted a unit."""
        if isinstance(error, LinkError):
            delivered = {True: "yes", False: "no", None: "unknown"}[error.delivered]
            job.record("note", "link", {"text": str(error), "delivered": delivered, "step": job.step})
        else:
            job.record("note", "retry", {"text": str(error), "code": error.code, "step": job.step})

    def _finish(self, waiting: _Waiting) -> None:
        unit, outcome = waiting.lane.job.unit, self.outcome
        waiting.lane.job.release()
        del self._lanes[unit.serial]
        self._station.power_off(unit.serial)
        if waiting.state == "sealed":
            outcome.sealed += 1
        else:
            outcome.left_open += waiting.state == "open"
            outcome.failed += waiting.state != "open"
            self._has_failed = True
        self._watcher.finished(unit.n, unit.serial, waiting.state, waiting.failure)

    # ---- store

    def _commit(self) -> None:
        """One transaction for all that wait.

        If a uniqueness rule breaks, or another station has one of them, each by itself: one fails alone.
        """
        batch, self._batch = self._batch, []
        try:
            self._store.commit([change for waiting in batch for change in waiting.commit.changes])
        except (ConflictError, FencedError):
            for waiting in batch:
                self._commit_alone(waiting)
        else:
            for waiting in batch:
                self._committed(waiting)
        if self._has_failed:  # the brake is asked once for all that have become durable together
            self._has_failed = False
            self.outcome.stopped = self._brake.failed() or self.outcome.stopped

    def _commit_alone(self, waiting: _Waiting) -> None:
        try:
            self._store.commit(waiting.commit.changes)
        except FencedError as error:
            self._lost(waiting.lane, error)
        except ConflictError as error:
            self._failed(waiting.lane, error)
        else:
            self._committed(waiting)

    def _lost(self, lane: Lane, error: FencedError) -> None:
        """Another station has the unit: nothing more is sent or written here, and it is nobody's failure."""
        unit = lane.job.unit
        if lane.dialogue is not None:
            with contextlib.suppress(KeywrightError):
                lane.dialogue.close()
        del self._lanes[unit.serial]
        self._store.drop(unit.n)
        self._station.power_off(unit.serial)
        self.outcome.left_open += 1
        self._watcher.finished(unit.n, unit.serial, "open", f"{error.code}: {error}")

    def _committed(self, waiting: _Waiting) -> None:
        self._tell(waiting.commit, waiting.lane, "after intent", "after commit")
        if waiting.state:
            self._finish(waiting)
        else:
            self._advance(waiting.lane, lambda dialogue: dialogue.send(_OK))

    def _tell(self, commit: Commit, lane: Lane, of_intent: Phase, of_result: Phase) -> None:
        """Tell the watcher of a transaction: for each step of which it holds a result, and for its intent."""
        n = lane.job.unit.n
        for step_name in commit.settled or (() if commit.intent else (commit.step,)):
            self._watcher.moment(of_result, n, step_name)
        if commit.intent:
            self._watcher.moment(of_intent, n, commit.step)

    def close(self) -> None:
        """Drop the units in work where they stand; the store knows how to go on."""
        for lane in self._lanes.values():
            if lane.dialogue is not None:
                with contextlib.suppress(KeywrightError):
                    lane.dialogue.close()
            with contextlib.suppress(KeywrightError):
                lane.job.release()
        self._lanes.clear()


def _setback(job: Job, error: KeywrightError, *, ended: bool) -> Setback:
    return Setback(
        unit=job.unit.n,
        kind=kind_of(error, job.step),
        code=error.code,
        text=str(error),
        severity=(Severity.UNIT if ended else rule_of(error).severity).value,
        ended=ended,
        at=job.clock(),
    )
