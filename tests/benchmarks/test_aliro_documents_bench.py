"""The benchmark of Aliro's documents does what it says, with a short list."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_documents_and_a_short_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    bench = import_module("bench.aliro_documents")
    rows = bench.figures(entries=300, rounds=2)
    assert [row.target for row in rows] == [bench.SIGNED, bench.SIGNED, None, bench.LOOK_UP_MS]
    assert rows[-1].verdict == "holds"
