"""The benchmark of mesh without a carrier does what it says, with few devices."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_a_handshake_and_a_small_lot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    core = import_module("bench.mesh_core")
    core.handshake()
    figure = core.lot_figure(3)
    assert figure.verdict == "holds"
    assert core.lot(2) > 0
