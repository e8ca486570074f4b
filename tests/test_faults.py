"""The count of injected faults: what is told by tests is summed, and a whole run that is short of it fails."""

from __future__ import annotations

from collections import Counter
from typing import Any, get_args

import pytest

from support.faults import NIGHTLY, NIGHTLY_TOTAL, TOLD, USUAL_TOTAL, Kind, Tally, short_of


def enough(*, nightly: bool) -> Counter[str]:
    counts = Counter[str](
        {str(kind): 1 for kind in TOLD} | ({str(k): n for k, n in NIGHTLY.items()} if nightly else {})
    )
    counts["worker"] += (NIGHTLY_TOTAL if nightly else USUAL_TOTAL) - counts.total()
    return counts


@pytest.mark.parametrize("nightly", [False, True])
def test_every_kind_and_the_sum_are_promised(*, nightly: bool) -> None:
    counts = enough(nightly=nightly)
    assert short_of(counts, nightly=nightly) == []
    for kind in TOLD:
        wanted = NIGHTLY.get(kind, 1) if nightly else 1
        if kind != "worker":
            fewer = counts - Counter({kind: 1}) + Counter(worker=1)
            assert short_of(fewer, nightly=nightly) == [f"{kind}: {wanted - 1} of {wanted}"]
    total = counts.total()
    assert short_of(counts - Counter(worker=1), nightly=nightly) == [f"in all: {total - 1} of {total}"]


def test_the_kinds_are_those_that_are_told_of() -> None:
    assert set(get_args(Kind)) == set(TOLD)
    assert set(NIGHTLY) < set(TOLD)


def report(when: str, *properties: tuple[str, Any]) -> pytest.TestReport:
    nothing: dict[str, int] = {}
    place = ("test_it.py", 1, "test_it")
    return pytest.TestReport("test_it.py::test_it", place, nothing, "passed", None, when, (), 0.1, 0, 0.1, properties)  # type: ignore[arg-type]  # one of three words


def test_a_test_is_counted_once(pytestconfig: pytest.Config) -> None:
    tally = Tally(pytestconfig)
    told = ("faults", {"worker": 3, "card": 1})
    for when in ("setup", "call", "teardown"):
        tally.pytest_runtest_logreport(report(when, told, ("other", 1)))
    tally.pytest_runtest_logreport(report("teardown"))
    assert tally.counts == {"worker": 3, "card": 1}


def test_a_whole_run_that_is_short_fails(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    class Config:
        args_source = pytest.Config.ArgsSource.TESTPATHS
        option = pytestconfig.option

    class Session:
        exitstatus: int = pytest.ExitCode.OK

    monkeypatch.setattr("support.faults.is_nightly", lambda: False)
    for name, value in {"keyword": "", "markexpr": "", "maxfail": 0}.items():
        monkeypatch.setattr(pytestconfig.option, name, value)
    tally, session = Tally(Config()), Session()  # type: ignore[arg-type]  # what it looks at of one
    monkeypatch.setenv("KEYWRIGHT_REQUIRE_PEERS", "0")
    tally.pytest_sessionfinish(session)  # type: ignore[arg-type]  # as above
    assert session.exitstatus == pytest.ExitCode.OK
    monkeypatch.setenv("KEYWRIGHT_REQUIRE_PEERS", "1")
    tally.counts.update(enough(nightly=False))
    tally.pytest_sessionfinish(session)  # type: ignore[arg-type]  # as above
    assert session.exitstatus == pytest.ExitCode.OK
    tally.counts["head"] -= 1
    tally.pytest_sessionfinish(session)  # type: ignore[arg-type]  # as above
    assert session.exitstatus == pytest.ExitCode.TESTS_FAILED
