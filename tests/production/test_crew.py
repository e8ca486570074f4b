"""Several processes on one lot: the same outcome as one, also when they are killed in the middle of their work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keywright.crypto.certificates import load_certificate
from keywright.errors import UsageError
from keywright.fob.pool import FobPool, Plan
from keywright.production import campaign, crew
from keywright.production.crew import WorkerError
from keywright.production.means import Means
from keywright.production.unit_store.units import UnitStore
from keywright.production.watch import Phase, Unwatched
from support.house import ROOT

UNITS = 60
RECIPE = ROOT / "examples/fob.toml"


class Started(subprocess.Popen[bytes]):
    """Remembers every worker of the test."""

    every: list[Started]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        if "keywright.production.worker" in arguments[0]:
            self.every.append(self)


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Started]]:
    """Processes that `crew` started."""
    Started.every = []
    monkeypatch.setattr(subprocess, "Popen", Started)
    yield Started.every
    assert all(worker.poll() is not None for worker in Started.every)


@pytest.fixture
def order(tmp_path: Path) -> Path:
    path = tmp_path / "order.csv"
    rows = "".join(f"K-{n:06d},fob-one,north\n" for n in range(1, UNITS + 1))
    path.write_text(f"serial,model,owner_group\n{rows}", encoding="utf-8")
    return path


class Killer(Unwatched):
    """Kills a worker, each time another one, after so many units were finished."""

    def __init__(self, workers: list[Started], after: list[int]) -> None:
        self._workers = workers
        self._after = after
        self.finished_units: list[int] = []
        self.kills = 0
        self.notices: list[str] = []
        self.steps: set[str] = set()

    def noticed(self, text: str) -> None:
        """Keep it."""
        self.notices.append(text)

    def moment(self, phase: Phase, unit: int, step: str) -> None:
        """Keep the step: workers tell when a unit comes to it."""
        self.steps.add(step)

    def finished(self, unit: int, serial: str, state: str, failure: str) -> None:
        """Count, and perhaps kill."""
        self.finished_units.append(unit)
        if self._after and len(self.finished_units) >= self._after[0]:
            alive = [worker for worker in self._workers if worker.poll() is None]
            alive[len(self.finished_units) % len(alive)].send_signal(signal.SIGKILL)
            self._after.pop(0)
            self.kills += 1


def everything_was_done_once(store: str) -> None:
    """Nothing lost, nothing twice, and every fob holds what the store says."""
    verified = campaign.verify(store, Means())
    assert (verified.checked, verified.agree, verified.disagree) == (UNITS, UNITS, 0)
    with UnitStore.open(store, readonly=True) as units:
        found = list(units.units())
        events = list(units.events())
        assert {unit.state for unit in found} == {"sealed"}
        assert len({unit.device_uid for unit in found}) == UNITS
        assert all((unit.station, unit.until, unit.recover) == ("", None, False) for unit in found)
        certificates = list(units.certificates())
        assert [load_certificate(one.der).subject for one in certificates] == [unit.serial for unit in found]
        assert not list(units.open_intents())
    actions = {event.step for event in events if event.phase == "intent"}
    ends = [(e.unit, e.step) for e in events if e.step in actions and e.phase in ("done", "recovered")]
    assert len(ends) == len(set(ends)) == UNITS * len(actions)
    assert not any(event.phase == "mismatch" for event in events)


def outcome(store: str) -> list[tuple[object, ...]]:
    """What must not depend on how many worked: each unit's row but for times, and what was recorded of it."""
    with UnitStore.open(store, readonly=True) as units:
        return [
            (u.n, u.serial, u.state, u.step, u.device_uid, u.kdd, sorted(u.evidence), u.failure_code, u.failure_text)
            for u in units.units()
        ]


def test_workers_killed_in_the_middle_lose_nothing_and_do_nothing_twice(
    store_url: str, order: Path, tmp_path: Path, workers: list[Started]
) -> None:
    killer = Killer(workers, [3, 10, 11, 25, 40])
    run = campaign.run(RECIPE, order, store_url, Means(workers=3, watcher=killer))
    assert killer.kills == 5
    assert len(workers) == 3 + 5
    assert len(killer.notices) == 5
    assert all(text.endswith("ended (-9) and was started again") for text in killer.notices)
    assert killer.steps == {"identify", "authenticate", "own_keys", "personalise", "lock_down"}
    assert (run.exit_code, run.outcome.sealed, run.outcome.stopped) == (0, UNITS, "")
    assert len(set(killer.finished_units)) == len(killer.finished_units)  # a killed one may not have told its last
    everything_was_done_once(store_url)
    alone = str(tmp_path / "alone.db")
    assert campaign.run(RECIPE, order, alone, Means()).exit_code == 0
    assert outcome(store_url) == outcome(alone)


class EndError(Exception):
    """What ends a run in this test."""


def test_a_lot_goes_on_with_another_number_of_workers(order: Path, tmp_path: Path, workers: list[Started]) -> None:
    class Stopper(Unwatched):
        count = 0

        def finished(self, unit: int, serial: str, state: str, failure: str) -> None:
            self.count += 1
            if self.count == 20:
                raise EndError

    store = str(tmp_path / "lot.db")
    with pytest.raises(EndError):
        campaign.run(RECIPE, order, store, Means(workers=2, watcher=Stopper()))
    assert all(worker.poll() is not None for worker in workers)
    with UnitStore.open(store, readonly=True) as units:
        assert units.leased() == 0
    assert campaign.resume(store, Means()).exit_code == 0
    everything_was_done_once(store)


LEASER = """
import sys
from keywright.production.unit_store.units import UnitStore

store = UnitStore.open(sys.argv[1], station="worker 1", ttl_s=3600)
print(len(store.claim(9)), flush=True)
sys.stdin.readline()
"""


def test_a_process_alone_waits_for_what_others_have_in_hand_and_takes_it_up(order: Path, tmp_path: Path) -> None:
    store = str(tmp_path / "lot.db")

    class Until(Unwatched):
        """Does something when so many units were finished."""

        def __init__(self, count: int, then: Callable[[], object]) -> None:
            self.count = count
            self.then = then

        def finished(self, unit: int, serial: str, state: str, failure: str) -> None:
            self.count -= 1
            if not self.count:
                self.then()

    def end() -> None:
        raise EndError

    with pytest.raises(EndError):
        campaign.run(RECIPE, order, store, Means(watcher=Until(5, end)))
    with UnitStore.open(store, readonly=True) as units:
        left = UNITS - units.counts()["sealed"]
    with subprocess.Popen(
        [sys.executable, "-c", LEASER, store], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "9\n"
        assert campaign.resume(store, Means(watcher=Until(left - 9, worker.communicate))).exit_code == 0
    everything_was_done_once(store)


def test_workers_that_always_die_are_not_started_for_ever(
    order: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: list[Started]
) -> None:
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))  # nothing can start there
    monkeypatch.setattr(FobPool, "start", lambda _plan: FobPool(*_pair()))
    monkeypatch.setattr(FobPool, "wait_until_listening", lambda _pool: None)
    with pytest.raises(WorkerError, match="ended 5 times before it finished a unit"):
        campaign.run(RECIPE, order, str(tmp_path / "lot.db"), Means(workers=2))
    assert len(workers) >= 6


def _pair() -> tuple[Any]:
    import socket

    ours, theirs = socket.socketpair()
    theirs.close()
    return (ours,)


def test_the_fobs_process_killed_is_started_again(order: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pools: list[FobPool] = []
    start = FobPool.start

    def started(plan: Plan) -> FobPool:
        pools.append(start(plan))
        return pools[-1]

    class Killing(Unwatched):
        count = 0

        def finished(self, unit: int, serial: str, state: str, failure: str) -> None:
            self.count += 1
            if self.count == 10:
                os.kill(pools[0].pid, signal.SIGKILL)

    monkeypatch.setattr(FobPool, "start", started)
    store = str(tmp_path / "lot.db")
    run = campaign.run(RECIPE, order, store, Means(workers=2, watcher=Killing()))
    assert run.exit_code == 0
    assert len(pools) == 2
    everything_was_done_once(store)


@pytest.mark.parametrize("workers", [0, -1, 65])
def test_a_number_of_workers_that_makes_no_sense_is_refused(workers: int) -> None:
    with pytest.raises(UsageError, match="not between 1 and 64"):
        crew.check_workers(workers, "sim:fob", Means())


def test_one_reader_serves_one_process_and_nobody_types_a_passphrase_for_a_worker() -> None:
    with pytest.raises(UsageError, match="one reader serves one process"):
        crew.check_workers(2, "pcsc:reader", Means())
    with pytest.raises(UsageError, match="passphrase"):
        crew.check_workers(2, "sim:fob", Means(unlock=lambda: b"secret"))
    crew.check_workers(1, "pcsc:reader", Means(unlock=lambda: b"secret"))
    crew.check_workers(64, "sim:fob", Means())
