"""Several processes for one lot on one machine: started, watched, and started again when one dies.

The simulated fobs stay in one process, because their memory has one writer; every worker reaches it over a local
socket, and a fob is with the worker that powered it on. Units of a dead worker are recovered by whoever is free.
"""

from __future__ import annotations

import contextlib
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, final

import msgspec

from keywright.errors import KeywrightError, UsageError
from keywright.fob.pool import FobPool, Plan
from keywright.fob.uri import parse_uri
from keywright.iso7816.apdu import Command, Response
from keywright.production.ble_lot import is_simulated_over_ble
from keywright.production.crew_messages import (
    Ended,
    Exchanged,
    Finished,
    Noticed,
    Passed,
    Started,
    Told,
    Trouble,
    WorkerPlan,
)
from keywright.production.engine import Outcome
from keywright.production.means import SIM, Means
from keywright.production.unit_store.tables import FINISHED
from keywright.production.unit_store.units import UnitStore
from keywright.production.watch import Watcher

MOST: Final = 64
"""Workers of one lot on one machine."""
_DEATHS: Final = 5
"""So many deaths without a unit finished in between, and it is not chance."""
_GOODBYE_S: Final = 10.0


class WorkerError(KeywrightError):
    """Workers cannot go on with the lot. What they had in hand is to be recovered."""

    code = "worker"

    def __init__(self, message: str, *, hint: str, exit_code: int = 1) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


def check_workers(workers: int, link: str, means: Means) -> None:
    """Raise UsageError for a number, a link or a keystore that several processes cannot work with."""
    if not 1 <= workers <= MOST:
        raise UsageError(f"--workers {workers}: not between 1 and {MOST}")
    if workers == 1:
        return
    if not link.startswith(SIM) or means.station is not None:
        raise UsageError(
            f"--workers {workers}: one reader serves one process",
            hint="run one command for each reader on a PostgreSQL store with --engine ray://…, or leave --workers out",
        )
    if callable(means.unlock):
        raise UsageError(
            "--workers: each worker opens the keystore itself, and none of them can ask for a passphrase",
            hint="use an unlock file: --unlock FILE",
        )


@final
class _Worker:
    """One process, and what it said so far."""

    def __init__(self, plan: WorkerPlan) -> None:
        self.plan = plan
        self._rest = b""
        self.ended = False
        self.process = subprocess.Popen(
            [sys.executable, "-m", "keywright.production.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            bufsize=0,
        )
        with contextlib.suppress(BrokenPipeError):
            self._stdin.write(msgspec.json.encode(plan) + b"\n")

    @property
    def _stdin(self) -> IO[bytes]:
        if self.process.stdin is None:
            raise AssertionError("it was started with a pipe")
        return self.process.stdin

    @property
    def stdout(self) -> IO[bytes]:
        """What it tells."""
        if self.process.stdout is None:
            raise AssertionError("it was started with a pipe")
        return self.process.stdout

    def told(self) -> list[Told] | None:
        """What it says now; None when it has ended."""
        data = self.stdout.read(1 << 16)
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [msgspec.json.decode(line, type=Told) for line in lines]

    def end(self) -> None:
        """Have it drop what it has, and wait for it."""
        self._stdin.close()
        try:
            self.process.wait(_GOODBYE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.stdout.close()


@final
class Crew:
    """The workers of one run."""

    def __init__(self, units: UnitStore, plans: list[WorkerPlan], tray: Plan, watcher: Watcher) -> None:
        self._units = units
        self._plans = plans
        self._tray_plan = tray
        self._watcher = watcher
        self._deaths: dict[str, int] = {}
        self._selector = selectors.DefaultSelector()
        self._workers: dict[str, _Worker] = {}
        self._tray: FobPool | None = None
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Work until no worker finds anything more to do. Raises WorkerError when they cannot go on."""
        before = self._units.counts()
        try:
            self._units.reap()
            self._start_tray()
            for plan in self._plans:
                self._start(plan)
            while self._workers:  # a lot that is stopped is so for all: each ends when its units have
                for key, _ in self._selector.select():
                    self._hear(key.data)
        finally:
            self._end()
        after = self._units.counts()  # a worker may die between its last commit and its word of it
        finished = {state: after[state] - before[state] for state in FINISHED}
        self.outcome.sealed = finished.pop("sealed")
        self.outcome.failed = sum(finished.values())
        return self.outcome

    def _hear(self, worker: _Worker) -> None:
        told = worker.told()
        if told is None:
            self._gone(worker)
            return
        for one in told:
            match one:
                case Started(unit, serial):
                    self._watcher.started(unit, serial)
                case Noticed(text):
                    self._watcher.noticed(f"{worker.plan.name}: {text}")
                case Finished(unit, serial, state, failure):
                    self._deaths.clear()
                    self.outcome.left_open += state == "open"
                    self._watcher.finished(unit, serial, state, failure)
                case Passed(phase, unit, step):
                    self._watcher.moment(phase, unit, step)
                case Exchanged(unit):
                    sent, plain = Command.parse(one.sent), Command.parse(one.plain)
                    self._watcher.exchanged(unit, sent, plain, Response.parse(one.got), Response.parse(one.opened))
                case Ended(stopped):
                    worker.ended = True
                    self.outcome.stopped = self.outcome.stopped or stopped
                case Trouble(code, text, hint, exit_code):
                    self._trouble(code, text, hint, exit_code)

    def _trouble(self, code: str, text: str, hint: str, exit_code: int) -> None:
        """A worker that lost the fobs' process is started again with it, like one that was killed."""
        if code != "link" or self._tray is None or self._tray.is_running:
            raise WorkerError(f"{code}: {text}", hint=hint, exit_code=exit_code)

    def _gone(self, worker: _Worker) -> None:
        self._selector.unregister(worker.stdout)
        del self._workers[worker.plan.name]
        worker.end()
        if worker.ended:
            return
        name = worker.plan.name
        self._deaths[name] = self._deaths.get(name, 0) + 1
        if self._deaths[name] > _DEATHS:
            raise WorkerError(
                f"{name} ended {_DEATHS} times before it finished a unit (exit code {worker.process.returncode})",
                hint="its last words are above; what it had in hand is to be recovered",
            )
        self._units.reap()
        if self._tray is None or not self._tray.is_running:
            self._start_tray()
        self._start(worker.plan)
        self._watcher.noticed(f"{name} ended ({worker.process.returncode}) and was started again")

    def _start(self, plan: WorkerPlan) -> None:
        worker = self._workers[plan.name] = _Worker(plan)
        self._selector.register(worker.stdout, selectors.EVENT_READ, worker)

    def _start_tray(self) -> None:
        """Raises LinkError, in the tray's own words, when it cannot be had."""
        if self._tray is not None:
            self._tray.close()
        self._tray = FobPool.start(self._tray_plan)
        self._tray.wait_until_listening()

    def _end(self) -> None:
        for worker in self._workers.values():
            worker.end()
        self._selector.close()
        if self._tray is not None:
            self._tray.close()
        self._units.reap()


@contextmanager
def crew(units: UnitStore, link: str, tray: Plan, means: Means) -> Iterator[Crew]:
    """Workers for a lot whose store `units` has alone: they join it as stations."""
    with tempfile.TemporaryDirectory(prefix="keywright-") as folder:  # mode 0700
        path = str(Path(folder) / "tray")
        air = str(Path(folder) / "air") if is_simulated_over_ble(parse_uri(link)) else ""
        plans = [
            WorkerPlan(
                name=f"worker {number}",
                store=units.url,
                link=link,
                tray=path,
                air=air,
                keystore=means.keystore,
                unlock="" if means.unlock is None else str(means.unlock),
                width=means.width,
                traced=means.traced,
                prepares=number == 1,
            )
            for number in range(1, means.workers + 1)
        ]
        yield Crew(units, plans, msgspec.structs.replace(tray, listen=path, ble=air), means.watcher)
