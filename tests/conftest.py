"""Settings of the whole suite: how many random cases, and a loud word on every foreign peer that was left out."""

from __future__ import annotations

import pytest
from hypothesis import settings

from support.peers import REQUIRE, left_out, peers_required

pytest_plugins = ["support.postgresql"]

_CASES = 100

# ci is the default everywhere: the same cases on every machine. nightly draws new ones, and twenty times as many.
settings.register_profile("ci", max_examples=_CASES, deadline=None, derandomize=True, database=None)
settings.register_profile("nightly", max_examples=20 * _CASES, deadline=None)
settings.load_profile("ci")


def pytest_report_header() -> str:
    """Say at the start whether a missing peer is a failure of this run."""
    return f"foreign peers: {'required' if peers_required() else 'skipped where missing'} ({REQUIRE})"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List what was left out, with the way to get it."""
    skipped = terminalreporter.getreports("skipped")
    counts = left_out([str(report.longrepr[2]) for report in skipped if isinstance(report.longrepr, tuple)])
    if not counts:
        return
    terminalreporter.section("LEFT OUT: foreign peers that are not installed here", sep="!", yellow=True, bold=True)
    for peer, tests in sorted(counts.items()):
        terminalreporter.write_line(f"{tests:4} test{'s' if tests > 1 else ' '}  {peer}", yellow=True)
    terminalreporter.write_line(f"Nothing of this was tested here. With {REQUIRE}=1 each would be a failure.")
