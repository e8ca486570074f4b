"""The benchmark of mesh does what it says, with few devices."""

from __future__ import annotations

import asyncio
import importlib.util
from importlib import import_module
from pathlib import Path

import pytest

from support.peers import require_peer

require_peer("bumble", importlib.util.find_spec("bumble") is not None, "pip install keywright[ble]")

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_devices_are_provisioned_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    mesh = import_module("bench.mesh")
    opened_s, took_s = asyncio.run(asyncio.wait_for(mesh.gatt_devices(5), 60.0))
    assert opened_s > 0
    assert took_s > 0
