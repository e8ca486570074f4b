"""A lot on three machines of a cluster that somebody else keeps, one of which is killed; in `make nightly` again and
again, the head among them.
"""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from support.faults import OF_RAY, Kind, is_nightly
from support.namespace import inside
from support.peers import require_peer
from support.ray_lots import FINISH_S

IS_NIGHTLY = is_nightly()
LIMIT_S = 3600.0 if IS_NIGHTLY else 400.0
KINDS = (
    {"machine": 6, "station": 6, "driver": 3, "command": 2, "raylet": 2, "gcs": 1, "database": 2}
    if IS_NIGHTLY
    else {"machine": 1}
)
EACH = 12
"""Units for one fault, and before the first."""


@pytest.mark.parametrize("softhsm", [False, True] if IS_NIGHTLY else [False], ids=lambda there: "hsm" if there else "")
def test_a_lot_on_machines_ends_whole_though_they_are_killed(
    tmp_path: Path, injected: Counter[Kind], *, softhsm: bool
) -> None:
    """Each station stands on a machine of its own; its units wait for it, or for another machine with a reader."""
    require_peer("several networks", shutil.which("ip") is not None, "apt-get install iproute2")
    faults = list(Counter(KINDS).elements())
    random.Random(1).shuffle(faults)
    lot = {"units": EACH * (len(faults) + 1), "faults": faults, "softhsm": softhsm, "deserted": IS_NIGHTLY}
    output = inside("support.ray_machines:disturbed", tmp_path, LIMIT_S, **lot)
    print(output)  # noqa: T201 - what fell when, for whoever runs it with -s
    told = json.loads(output.splitlines()[-1])
    injected.update(OF_RAY[fault["kind"]] for fault in told["faults"])
    assert Counter(fault["kind"] for fault in told["faults"]) == Counter(KINDS)
    assert told["finished_in_s"] < FINISH_S
