"""A store read while it is written keeps what was committed, also when the writer is then killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from keywright.production.order import OrderRow
from keywright.production.unit_store.units import Lot, UnitStore

WRITER = """
import os, signal, sys
from keywright.production.unit_store.units import Event, UnitStore

store = UnitStore.open(sys.argv[1])
with UnitStore.open(sys.argv[1], readonly=True) as same_process:
    same_process.counts()
print("ready", flush=True)
sys.stdin.readline()
for number in range(50):
    store.commit([Event(unit=1, step=f"step-{number}", phase="done", at=float(number))])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_reader_of_the_same_process_does_not_cost_the_commits_of_a_killed_writer(tmp_path: Path) -> None:
    path = str(tmp_path / "lot.db")
    lot = Lot(
        lot="lot",
        recipe="",
        recipe_digest="",
        order_file="",
        order_digest="",
        keystore_id="",
        test=True,
        link="sim:fob",
        created_at=0.0,
    )  # fmt: skip - one field a line says no more
    with UnitStore.open(path, create=True) as store:
        store.import_order(lot, [OrderRow(1, "A", "m", "g")])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    assert writer.stdout is not None
    assert writer.stdin is not None
    with writer.stdout, writer.stdin:
        assert writer.stdout.readline() == b"ready\n"
        with UnitStore.open(path, readonly=True) as elsewhere:
            elsewhere.counts()
        writer.stdin.write(b"go\n")
        writer.stdin.flush()
        assert writer.wait(30) == -signal.SIGKILL
    with UnitStore.open(path, readonly=True) as store:
        assert len(list(store.events(1))) == 50
