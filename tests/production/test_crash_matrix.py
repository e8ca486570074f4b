"""The crash matrix of `support.matrix`: a seeded sample in a normal run, the whole of it nightly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from keywright.production.hsm.keystore import Pkcs11Keystore
from keywright.production.keystores.keystore import Keystore
from keywright.production.keystores.software_keystore import SoftwareKeystore
from support.faults import Kind, is_nightly
from support.kills import Fault
from support.matrix import CELLS, Cell, Ground, faults_of
from support.postgresql import Server
from support.softhsm import make_token
from support.warm import fork_hsm_clients, share_compiled

FAULTS = 5_120 if is_nightly() else 480
"""Over all cells. In a normal run the sweeps of `test_campaign_kills` add more kills, one at each moment."""
SHARES = 4 if is_nightly() else 1
"""Tests of one cell, so that several processes share it."""
EACH = FAULTS // len(CELLS) // SHARES
COUNTED: Final[dict[Fault, Kind]] = {
    "kill": "worker",
    "cut": "cut",
    "card": "card",
    "hsm": "hsm",
    "connections": "connections",
    "database": "database",
}


@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_no_fault_loses_or_doubles_a_unit(
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    injected: Counter[Kind],
    cell: Cell,
    share: int,
) -> None:
    server: Server | None = request.getfixturevalue("postgresql") if cell.store == "postgresql" else None
    share_compiled(monkeypatch)
    ground = Ground(cell, tmp_path, keystore(cell, tmp_path, monkeypatch), server)
    try:
        ground.play(seed=share, faults=EACH)
    finally:
        ground.close()
        injected.update({COUNTED[fault]: number for fault, number in ground.counts.items()})
    assert set(ground.counts) == set(faults_of(cell))
    assert sum(ground.counts.values()) == EACH
    assert ground.kills_in_recovery


def keystore(cell: Cell, place: Path, monkeypatch: pytest.MonkeyPatch) -> Keystore | Callable[[], Keystore]:
    """A new keystore of the cell's kind; one in a token is opened by each worker for itself."""
    if cell.keystore == "software":
        return SoftwareKeystore.create(place / "keystore", now=datetime.now(UTC))
    fork_hsm_clients(monkeypatch)
    token = make_token(place / "hsm", monkeypatch)
    Pkcs11Keystore.create(token.parsed, now=datetime.now(UTC), owner="the test").close()
    return lambda: Pkcs11Keystore.open(token.parsed)
