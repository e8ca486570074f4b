"""A lot on a real Ray cluster, with one of everything killed in the middle of it; in `make nightly` hundreds."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from support.faults import OF_RAY, Kind, is_nightly
from support.namespace import inside

IS_NIGHTLY = is_nightly()
LIMIT_S = 3600.0 if IS_NIGHTLY else 400.0
SAMPLE = {"station": 1, "driver": 1, "database": 1, "tray": 1, "head": 1}
"""In a normal run."""
NIGHTLY = {"station": 21, "driver": 5, "database": 4, "postmaster": 1, "tray": 3, "head": 1, "raylet": 1, "gcs": 1}
"""In each of the lots of a night."""
LOTS = 10 if IS_NIGHTLY else 1
KINDS = NIGHTLY if IS_NIGHTLY else SAMPLE
EACH = 45 if IS_NIGHTLY else 30
"""Units for one fault."""


def test_a_night_kills_as_often_as_was_promised() -> None:
    heads = sum(NIGHTLY[kind] for kind in ("head", "raylet", "gcs"))
    databases = NIGHTLY["database"] + NIGHTLY["postmaster"]
    assert (10 * NIGHTLY["station"], 10 * NIGHTLY["driver"], 10 * databases, 10 * heads) == (210, 50, 50, 30)


@pytest.mark.parametrize("seed", range(LOTS))
def test_a_lot_ends_whole_though_everything_that_carries_it_is_killed(
    tmp_path: Path, injected: Counter[Kind], seed: int
) -> None:
    """It ends within 60 s of the last fault, without help; `support.ray_lots` looks at every unit."""
    faults = [kind for kind, number in KINDS.items() for _ in range(number)]
    random.Random(seed).shuffle(faults)
    body = "support.ray_lots:disturbed"
    output = inside(body, tmp_path, LIMIT_S, units=EACH * len(faults), faults=faults, seed=seed)
    told = json.loads(output.splitlines()[-1])
    injected.update(OF_RAY[fault["kind"]] for fault in told["faults"])
    assert Counter(fault["kind"] for fault in told["faults"]) == Counter(KINDS)
    assert all(fault["pids"] for fault in told["faults"])
