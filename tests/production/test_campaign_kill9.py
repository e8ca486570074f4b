"""The command itself, killed with SIGKILL from outside at moments nobody chose, and run again until it is done.

When to kill is drawn by a seeded generator: some kills come after so many milliseconds, and fall into the start, the
keystore or the import; most come when the simulated fobs' journal has grown by so many bytes, and fall into the work.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from keywright.crypto.certificates import load_certificate
from keywright.production.unit_store.units import UnitStore
from support.faults import Kind
from support.house import ROOT

KILLS = 20
UNITS = 120
EARLY = 5
"""Kills by the clock."""
LOTS = 4
BYTES_BETWEEN = 8_000
"""What the journal grows between two kills, on the average: some four units."""
PATIENCE_S = 120.0
POLL_S = 0.001


class Line:
    """One lot, its files, and the command that works on it."""

    def __init__(self, place: Path, units: int) -> None:
        self.order = place / "order.csv"
        self.store = place / "lot.db"
        self.fobs = place / "lot.db.fobs"
        rows = "".join(f"K-{n:06d},fob-one,north\n" for n in range(1, units + 1))
        self.order.write_text(f"serial,model,owner_group\n{rows}", encoding="utf-8")

    def start(self) -> subprocess.Popen[str]:
        return self._open("run", str(ROOT / "examples/fob.toml"), "--order", str(self.order))

    def ask(self, verb: str) -> dict[str, int]:
        process = self._open(verb)
        out, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, err
        found: dict[str, int] = json.loads(out)
        return found

    def grown(self) -> int:
        return self.fobs.stat().st_size if self.fobs.exists() else 0

    def _open(self, verb: str, *arguments: str) -> subprocess.Popen[str]:
        command = [
            sys.executable,
            "-m",
            "keywright",
            "campaign",
            verb,
            *arguments,
            "--store",
            str(self.store),
            "--json",
        ]
        environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.order.parent
        )


def killed_after(process: subprocess.Popen[str], seconds: float) -> None:
    """Kill after so long, unless it ends before."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)


def killed_when_grown(process: subprocess.Popen[str], line: Line, size: int) -> None:
    """Kill as soon as the fobs' journal is larger than that, unless the command ends before."""
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None and line.grown() <= size and time.monotonic() < deadline:
        time.sleep(POLL_S)
    process.send_signal(signal.SIGKILL)


def test_the_command_killed_twenty_times_loses_nothing_and_does_nothing_twice(
    tmp_path: Path, injected: Counter[Kind]
) -> None:
    """Usually one lot is enough; a slow look at the journal may let it end early, then another one goes on."""
    chance = random.Random(20261123)
    kills = 0
    for number in range(LOTS):
        place = tmp_path / str(number)
        place.mkdir()
        line = Line(place, UNITS)
        kills += kill_and_continue(line, chance, KILLS - kills)
        everything_was_done_once(line)
        if kills >= KILLS:
            injected["command"] = kills
            return
    raise AssertionError(f"only {kills} kills fell")


def kill_and_continue(line: Line, chance: random.Random, most: int) -> int:
    """Run the command until it ends by itself, killing it at most so often; how often that was."""
    kills = 0
    while True:
        with line.start() as process:
            if kills >= most:
                process.communicate(timeout=PATIENCE_S)
            elif kills < EARLY:
                killed_after(process, chance.uniform(0.05, 0.8))
            else:
                killed_when_grown(process, line, line.grown() + chance.randrange(2 * BYTES_BETWEEN))
            if process.wait() != -signal.SIGKILL:
                assert process.returncode == 0
                return kills
        kills += 1


def everything_was_done_once(line: Line) -> None:
    """The report, the check of every unit, and the store itself."""
    report = line.ask("report")
    counts = {"ordered": UNITS, "sealed": UNITS, "quarantined": 0, "rejected": 0, "open": 0, "unsettled": 0}
    assert {name: report[name] for name in counts} == counts
    verified = line.ask("verify")
    assert (verified["checked"], verified["agree"], verified["disagree"]) == (UNITS, UNITS, 0)
    nothing_was_done_twice(line)


def nothing_was_done_twice(line: Line) -> None:
    """One certificate, one device and one end of every action for each unit; no intent open, no cryptogram wrong."""
    with UnitStore.open(str(line.store), readonly=True) as store:
        units = list(store.units())
        certificates = list(store.certificates())
        events = list(store.events())
        assert not list(store.open_intents())
    assert len({unit.device_uid for unit in units}) == UNITS
    assert [certificate.unit for certificate in certificates] == [unit.n for unit in units]
    assert [load_certificate(certificate.der).subject for certificate in certificates] == [u.serial for u in units]
    actions = {event.step for event in events if event.phase == "intent"}
    ends = [(e.unit, e.step) for e in events if e.step in actions and e.phase in ("done", "recovered")]
    assert len(ends) == len(set(ends)) == UNITS * len(actions)
    assert not any(event.phase == "mismatch" for event in events)
