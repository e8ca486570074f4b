"""A lot on a real Ray cluster, with one of everything killed in the middle of it; in `make nightly` hundreds."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from support.faults import OF_RAY, Kind, is_nightly
from support.namespace import inside
from support.ray_lots import FINISH_S

IS_NIGHTLY = is_nightly()
LIMIT_S = 3600.0 if IS_NIGHTLY else 400.0
SAMPLE = {"station": 1, "driver": 1, "database": 1, "tray": 1, "head": 1, "command": 1}
"""In a normal run."""
NIGHTLY = {
    "station": 21,
    "tray": 3,
    "driver": 5,
    "database": 4,
    "postmaster": 1,
    "head": 1,
    "raylet": 1,
    "gcs": 1,
    "command": 2,
    "stop": 1,
}
"""In each of the lots of a night."""
LOTS = 10
HSM_KILLS = 2
"""More, where the keys are in a token."""
EACH = 8 if IS_NIGHTLY else 15
"""Units for one fault: the next one often falls while the last is being recovered from."""


def test_a_night_kills_as_often_as_was_promised() -> None:
    night = Counter({kind: LOTS * number for kind, number in NIGHTLY.items()})
    assert night["station"] >= 200
    assert night["driver"] >= 50
    assert night["database"] + night["postmaster"] >= 50
    assert night["head"] + night["raylet"] + night["gcs"] >= 20
    assert night["command"] >= 20


@pytest.mark.parametrize("seed", range(LOTS if IS_NIGHTLY else 1))
def test_a_lot_ends_whole_though_everything_that_carries_it_is_killed(
    tmp_path: Path, injected: Counter[Kind], seed: int
) -> None:
    """It ends within 60 s of the last fault, without help; `support.ray_lots` looks at every unit.

    The keys of every second lot are in a token.
    """
    softhsm = seed % 2 == 1
    kinds = Counter(NIGHTLY if IS_NIGHTLY else SAMPLE) + Counter({"hsm": HSM_KILLS * softhsm})
    faults = list(kinds.elements())
    random.Random(seed).shuffle(faults)
    body = "support.ray_bodies:disturbed"
    output = inside(body, tmp_path, LIMIT_S, units=EACH * len(faults), faults=faults, seed=seed, softhsm=softhsm)
    told = json.loads(output.splitlines()[-1])
    print(output)  # noqa: T201 - what fell when, for whoever runs it with -s
    injected.update(OF_RAY[fault["kind"]] for fault in told["faults"] if fault["kind"] in OF_RAY)
    assert Counter(fault["kind"] for fault in told["faults"]) == kinds
    assert all(fault["pids"] for fault in told["faults"])
    assert told["finished_in_s"] < FINISH_S
