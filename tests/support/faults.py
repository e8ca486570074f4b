"""How many faults of each kind a run of the suite injected, counted in one place and held against what is promised.

A test that injects faults asks for the fixture `injected`, a counter by kind, and adds each fault that really fell. The
end of the run prints the sums of all processes; a run of the whole suite with every peer present fails when they are
short of the promise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, Literal

import pytest
from hypothesis import settings

from support.peers import peers_required

Kind = Literal[
    "worker", "cut", "hsm", "card", "connections", "database", "command", "ray", "tray", "driver", "head", "machine"
]

TOLD: Final[dict[Kind, str]] = {
    "worker": "kill -9 of a forked worker by itself",
    "cut": "run broken off by an exception",
    "hsm": "kill -9 of the HSM client",
    "card": "answer of a card lost",
    "connections": "connections to the database ended",
    "database": "database server stopped and started",
    "command": "kill -9 of the real command",
    "ray": "kill -9 of a Ray station actor or worker",
    "tray": "kill -9 of a station's simulated cards",
    "driver": "kill -9 of the Ray driver",
    "head": "kill -9 of the Ray head",
    "machine": "kill -9 of a machine of the cluster",
}
OF_RAY: Final[dict[str, Kind]] = {
    "station": "ray",
    "worker": "ray",
    "tray": "tray",
    "driver": "driver",
    "head": "head",
    "raylet": "head",
    "gcs": "head",
    "database": "database",
    "postmaster": "database",
    "hsm": "hsm",
    "command": "command",
    "machine": "machine",
}
"""What `support.ray_lots` kills, by what it counts as."""

NIGHTLY: Final[dict[Kind, int]] = {"ray": 200, "driver": 50, "database": 50, "head": 20, "command": 20}
NIGHTLY_TOTAL: Final = 5_000
USUAL_TOTAL: Final = 500
_USUAL_CASES: Final = 100
_PROPERTY: Final = "faults"


def is_nightly() -> bool:
    """Whether this is `make nightly`."""
    return (settings.default or settings()).max_examples > _USUAL_CASES


def short_of(counts: Mapping[str, int], *, nightly: bool) -> list[str]:
    """What the counts lack of what is promised: nightly so many of some kinds, else one of each."""
    total = NIGHTLY_TOTAL if nightly else USUAL_TOTAL
    wanted = dict.fromkeys(TOLD, 1) | (NIGHTLY if nightly else {})
    lacking = [
        f"{kind}: {counts.get(kind, 0)} of {number}" for kind, number in wanted.items() if counts.get(kind, 0) < number
    ]
    if sum(counts.values()) < total:
        lacking.append(f"in all: {sum(counts.values())} of {total}")
    return lacking


@pytest.fixture
def injected(request: pytest.FixtureRequest) -> Iterator[Counter[Kind]]:
    """Faults by kind, to be counted up by the test."""
    counts: Counter[Kind] = Counter()
    yield counts
    assert counts.keys() <= TOLD.keys()
    request.node.user_properties.append((_PROPERTY, dict(counts)))


class Tally:
    """Adds up what the tests of all processes tell; lives in the process that reports."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.counts: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The report of a test's end has what its fixtures left."""
        if report.when == "teardown":
            for name, value in report.user_properties:
                if name == _PROPERTY and isinstance(value, dict):
                    self.counts.update(value)

    @property
    def lacking(self) -> list[str]:
        """What a whole run is short of; nothing is expected of a part of the suite or where peers may be missing."""
        option = self._config.option
        chosen = option.keyword or option.markexpr or getattr(option, "lf", False) or option.maxfail
        is_whole = self._config.args_source is pytest.Config.ArgsSource.TESTPATHS and not chosen
        return short_of(self.counts, nightly=is_nightly()) if is_whole and peers_required() else []

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail a run that is short."""
        if self.lacking and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The table."""
        if not self.counts:
            return
        terminalreporter.section(f"FAULTS injected: {self.counts.total()}")
        for kind in filter(self.counts.__getitem__, TOLD):
            terminalreporter.write_line(f"{self.counts[kind]:6} {kind:12} {TOLD[kind]}")
        for line in self.lacking:
            terminalreporter.write_line(f"short of the promise: {line}", red=True)


def pytest_configure(config: pytest.Config) -> None:
    """Count where the reports of all processes come together."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Tally(config), "faults-tally")
