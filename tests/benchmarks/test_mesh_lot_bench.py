"""The benchmark of a lot over PB-ADV does what it says, with few devices."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_a_lot_is_provisioned_in_virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    took_s, on_air_s = import_module("bench.mesh_lot").adv_devices(30, 10)
    assert 0 < took_s < 60
    assert 5 < on_air_s < 60
