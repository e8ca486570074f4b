"""A lot on a real Ray cluster, with one of everything killed in the middle of it.

`make nightly` kills hundreds (tests/nightly/test_ray.py); here each kind falls once.
"""

from __future__ import annotations

import json
from pathlib import Path

from support.namespace import inside

LIMIT_S = 400.0


def test_a_lot_ends_whole_though_everything_that_carries_it_is_killed_once(tmp_path: Path) -> None:
    faults = ["station", "driver", "database", "tray", "head"]
    output = inside("support.ray_lots:disturbed", tmp_path, LIMIT_S, units=150, faults=faults)
    told = json.loads(output.splitlines()[-1])
    assert [fault["kind"] for fault in told["faults"]] == faults
    assert all(fault["pids"] for fault in told["faults"])
