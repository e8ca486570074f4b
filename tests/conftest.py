"""Settings of the whole suite: how many random cases, a loud word on every foreign peer that was left out, and the
canary key, of which no part may show in what the suite writes.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from support import canary
from support.peers import REQUIRE, left_out, peers_required

pytest_plugins = ["support.postgresql", "support.faults"]

_CASES = 100
_LEAKS = pytest.StashKey[list[str]]()

canary.install()

# ci is the default everywhere: the same cases on every machine. nightly draws new ones, and twenty times as many.
settings.register_profile("ci", max_examples=_CASES, deadline=None, derandomize=True, database=None)
settings.register_profile("nightly", max_examples=20 * _CASES, deadline=None)
settings.load_profile("ci")


def pytest_report_header() -> str:
    """Say at the start whether a missing peer is a failure of this run."""
    return f"foreign peers: {'required' if peers_required() else 'skipped where missing'} ({REQUIRE})"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say where parts of the canary were found; list what was left out, with the way to get it."""
    if found := terminalreporter.config.stash.get(_LEAKS, []):
        terminalreporter.section("CANARY: parts of a key were written", sep="!", red=True, bold=True)
        for line in found:
            terminalreporter.write_line(line, red=True)
    skipped = terminalreporter.getreports("skipped")
    counts = left_out([str(report.longrepr[2]) for report in skipped if isinstance(report.longrepr, tuple)])
    if not counts:
        return
    terminalreporter.section("LEFT OUT: foreign peers that are not installed here", sep="!", yellow=True, bold=True)
    for peer, tests in sorted(counts.items()):
        terminalreporter.write_line(f"{tests:4} test{'s' if tests > 1 else ' '}  {peer}", yellow=True)
    terminalreporter.write_line(f"Nothing of this was tested here. With {REQUIRE}=1 each would be a failure.")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Look for the canary in what a test said: its traceback, output and log."""
    report = yield
    text = "\n".join((report.longreprtext, *(part for _, part in report.sections)))
    for form in canary.CANARY.forms_in(text.encode("utf-8", "replace")):
        item.config.stash.setdefault(_LEAKS, []).append(f"{report.nodeid} said it: {form}")
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Look for the canary in what the tests left in their folders; one that is found fails the session."""
    found = session.config.stash.setdefault(_LEAKS, [])
    base: Path | None = getattr(getattr(session.config, "_tmp_path_factory", None), "_basetemp", None)
    worker = getattr(session.config, "workeroutput", None)
    if base is not None and (worker is not None or not hasattr(session.config, "workerinput")):
        found += canary.leaks(base)
    if worker is not None:
        worker["canary"] = found
    if found:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker of pytest-xdist found."""
    node.config.stash.setdefault(_LEAKS, []).extend(getattr(node, "workeroutput", {}).get("canary", ()))
