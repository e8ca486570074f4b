"""A lot run by the engine alone: units from a ledger, devices on a bench, a clock that only rests move."""

from __future__ import annotations

from collections.abc import Iterator

from keywright.errors import LinkError
from keywright.production.control.brake import STOPPED
from keywright.production.control.control import TEST_LIMITS, Limits, judge
from keywright.production.control.retry import SEVERAL
from keywright.production.engine import Engine, Outcome
from keywright.production.job import Job
from keywright.production.steps.table import declaration
from keywright.production.watch import Unwatched
from support.bench import Bench, Tamper, untouched
from support.ledger import FOB, Ledger


def serials(count: int) -> list[str]:
    return [f"K-{n:06d}" for n in range(1, count + 1)]


def jobs(ledger: Ledger) -> Iterator[Job]:
    for n in list(ledger.units):
        if ledger.units[n].state in ("planned", "running"):
            yield ledger.job(n)


class Time:
    """A clock that only rests move; `rests` keeps them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rests: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.now += seconds


class LedgerBrake:
    """The brake of a lot in a ledger; failures of earlier runs do not count, as after a release."""

    def __init__(self, ledger: Ledger, limits: Limits = TEST_LIMITS) -> None:
        self._ledger = ledger
        self._limits = limits
        self._since = len(ledger.setbacks)
        self._before = self._sealed()

    def _sealed(self) -> int:
        return sum(one.state == "sealed" for one in self._ledger.units.values())

    def reason(self) -> str:
        """Nobody else could have stopped it."""
        return ""

    def failed(self) -> str:
        """Judge, as the real one does."""
        found = self._ledger.setbacks[self._since :][::-1]
        breach = judge(self._limits, found, self._sealed(), since=self._before, several=SEVERAL)
        return "" if breach is None else f"{breach.text}; {STOPPED}"


def run(ledger: Ledger, bench: Bench, watcher: Unwatched | None = None, time: Time | None = None) -> Outcome:
    """One run over what is left of a lot."""
    time = time or Time()
    engine = Engine(
        ledger.as_store(), bench, jobs(ledger), watcher=watcher, brake=LedgerBrake(ledger), clock=time, sleep=time.sleep
    )
    try:
        return engine.run()
    finally:
        engine.close()


def lot(count: int, **parameters: object) -> tuple[Ledger, Bench, Outcome]:
    """A lot of so many units, run once."""
    ledger, bench = Ledger.of(FOB, *serials(count)), Bench(**parameters)  # type: ignore[arg-type]  # keywords of Bench
    return ledger, bench, run(ledger, bench)


def states(ledger: Ledger) -> dict[str, str]:
    return {one.serial: one.state for one in ledger.units.values()}


def only(serial: str, tamper: Tamper) -> Tamper:
    """A change to one unit's answers."""
    return lambda name, number, command, answer: (tamper if name == serial else untouched)(
        name, number, command, answer
    )


def at(number: int, answer: bytes | LinkError) -> Tamper:
    """Another answer at one exchange."""
    return lambda _name, n, _command, true: answer if n == number else true


SELECT, PUT_KEY, GENERATE, SET_STATUS = 0xA4, 0xD8, 0x46, 0xF0
RETRIES = declaration("identify").retries
"""So many times a unit is begun again in one run."""
EXCHANGES = len(lot(1)[1].sent["K-000001"])
"""Commands of an undisturbed unit."""
SESSIONS = 6
"""EXTERNAL AUTHENTICATE among them: factory keys, the proof, personalise, lock down, and two of the last check."""
