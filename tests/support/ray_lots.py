"""A lot on a Ray cluster with everything it needs, in a namespace of its own, and what can be killed of it.

    inside("support.ray_lots:disturbed", tmp_path, 300, units=240, faults=["driver", "head"])

Everything runs as the command line runs it; only the faults, and the look at what came of the lot, are the tests'.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from keywright.errors import StoreError
from keywright.production import campaign
from keywright.production.cluster.address import Cluster
from keywright.production.means import Means
from keywright.production.units import UnitStore
from keywright.store import Journal
from support.endings import check_end
from support.house import ROOT
from support.postgresql import Server

RECIPE: Final = ROOT / "examples/fob.toml"
STATIONS: Final = ("1", "2")
FINISH_S: Final = 60.0
"""A disturbed lot ends without help so long after the last thing that was killed is back."""
MOST_SESSIONS: Final = 3
"""EXTERNAL AUTHENTICATE that one kill costs a unit at most (`support.kills.MOST_SESSIONS_MORE`)."""

_COMMANDS: Final = {
    "station": "ray::StationActor",
    "tray": "keywright.fob.tray",
    "worker": "ray::prepare",
    "driver": "-m keywright.production.cluster.drive",
    "raylet": "/raylet/raylet ",
    "gcs": "/gcs/gcs_server ",
    "head": "ray.scripts.scripts start",
}
FAULTS: Final = (*_COMMANDS, "database", "postmaster")
"""What can be killed. `worker` is a process of the bulk lane, `database` an immediate restart of the server."""


class Fault(msgspec.Struct, kw_only=True):
    """One fault: what was killed, how many units were sealed then, when (seconds since the lot began)."""

    kind: str
    sealed: int
    at_s: float
    pids: tuple[int, ...] = ()


def processes(*words: str) -> list[int]:
    """Processes of this namespace whose command line has all these words."""
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            with contextlib.suppress(OSError):
                command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if all(word in command for word in words):
                    found.append(int(place.name))
    return sorted(found)


def killed(pids: Sequence[int]) -> tuple[int, ...]:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return tuple(pids)


class RayLot:
    """A lot of simulated fobs in PostgreSQL, begun at once, and its undisturbed twin in SQLite."""

    def __init__(self, place: Path, units: int, seed: int) -> None:
        self.place = place
        self.units = units
        self.chance = random.Random(seed)
        self.faults: list[Fault] = []
        self.order = place / "order.csv"
        rows = "".join(f"K-{n:06d},fob-one,north\n" for n in range(1, units + 1))
        self.order.write_text(f"serial,model,owner_group\n{rows}", encoding="utf-8")
        self.server = Server()
        self.url = f"{self.server.url(self.server.create_database())}?beside={place}"
        self.began = self.ended = 0.0
        self._sealed = 0
        self._looked = 0.0

    # ---- faults

    def kill(self, kind: str) -> tuple[int, ...]:
        """Kill it; the numbers of what was killed, none if there was nothing of the kind."""
        if kind == "database":
            self.server.restart(signal.SIGQUIT)
            return (self.server.pid,)
        if kind == "postmaster":
            self.server.restart(signal.SIGKILL)
            return (self.server.pid,)
        return killed(self._victims(kind))

    def _victims(self, kind: str) -> list[int]:
        """One of the processes of that kind."""
        found = [pid for pid in processes(_COMMANDS[kind]) if pid not in bound()]
        return self.chance.sample(found, 1) if found else []

    # ---- the lot

    def sealed(self) -> int:
        """Units that are sealed, looked at some times a second; what was known last while the database is away."""
        if time.monotonic() - self._looked > 0.2:
            self._looked = time.monotonic()
            with contextlib.suppress(StoreError), UnitStore.open(self.url, readonly=True) as store:
                self._sealed = store.counts()["sealed"]
        return self._sealed

    def run(self, faults: Sequence[str], *, cluster: Cluster | None = None) -> campaign.Run:
        """Run the lot to its end, the faults spread over its first three quarters. All have to fall."""
        left = list(faults)
        at = [round(self.units * 0.75 * (number + 0.5) / max(1, len(left))) for number in range(len(left))]
        self.began = time.monotonic()

        def meanwhile() -> None:
            if left and self.sealed() >= at[len(faults) - len(left)] and (pids := self.kill(left[0])):
                done = Fault(kind=left.pop(0), sealed=self._sealed, at_s=time.monotonic() - self.began, pids=pids)
                self.faults.append(done)
                say(f"{done.at_s:6.1f} s  killed {done.kind} {done.pids} at {done.sealed} sealed")

        means = Means(engine=cluster or Cluster(), workers=len(STATIONS), meanwhile=meanwhile)
        done = campaign.run(RECIPE, self.order, self.url, means)
        self.ended = time.monotonic()
        assert not left, f"never fell: {left}"
        return done

    def finished_in_s(self) -> float:
        """Seconds from the last fault to the end."""
        return self.ended - self.began - self.faults[-1].at_s

    # ---- what came of it

    def memory(self, serial: str) -> dict[str, bytes]:
        """What the fob has kept, wherever it stood. It stood on one station only."""
        found = [kept for journal in self._journals if (kept := _memory(journal, serial))]
        assert len(found) == 1, f"{serial} has been on {len(found)} stations"
        return found[0]

    @contextlib.contextmanager
    def memories(self) -> Iterator[None]:
        """Open the stations' journals."""
        files = sorted(self.place.glob("*.fobs.*[0-9]"))
        assert len(files) == len(STATIONS), files
        self._journals = [Journal(file) for file in files]
        try:
            yield
        finally:
            for journal in self._journals:
                journal.close()

    def check(self) -> None:
        """0 lost, 0 twice, every fob as an undisturbed run on one machine leaves it but for counters and own keys."""
        twin = Twin(self)
        most = MOST_SESSIONS * len(self.faults)
        with UnitStore.open(self.url, readonly=True) as store, self.memories():
            units = list(store.units())
            certificates = {certificate.unit: certificate for certificate in store.certificates()}
            events: dict[int, list[object]] = {unit.n: [] for unit in units}
            for event in store.events():
                events[event.unit].append(event)
            assert not list(store.open_intents())
            assert store.leased() == 0
            assert [unit.state for unit in units] == ["sealed"] * self.units
            assert len({unit.device_uid for unit in units}) == self.units
            for unit in units:
                memory, expected = self.memory(unit.serial), twin.memories[unit.serial]
                check_end(memory, expected, events[unit.n], certificates[unit.n], (), most=most)  # type: ignore[arg-type]  # a list of events


class Twin:
    """The same order with the same keystore, run on one machine in SQLite by nobody disturbed."""

    def __init__(self, lot: RayLot) -> None:
        store = lot.place / "twin.db"
        keystore = next(lot.place.glob("*.keystore"))
        done = campaign.run(RECIPE, lot.order, str(store), Means(keystore=str(keystore)))
        assert done.exit_code == 0
        journal = Journal(store.with_name("twin.db.fobs"))
        serials = [line.partition(",")[0] for line in lot.order.read_text().splitlines()[1:]]
        self.memories = {serial: _memory(journal, serial) for serial in serials}
        journal.close()


def say(text: str) -> None:
    """To whoever started this body."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def bound() -> set[int]:
    """The small processes that hold a kept one."""
    return set(processes("keywright.production.cluster.bound"))


def _memory(journal: Journal, serial: str) -> dict[str, bytes]:
    memory = journal.memory(serial)
    return {name: memory.load(name) or b"" for name in memory.names()}


# ---- bodies, run by `support.namespace.inside`


def disturbed(place: Path, *, units: int, faults: list[str], seed: int = 20261127) -> None:
    """A lot with these faults; prints them and the time to the end as JSON."""
    lot = RayLot(place, units, seed)
    try:
        done = lot.run(faults)
        lot.check()
        assert done.exit_code == 0
        took = lot.finished_in_s() if faults else 0.0
        assert took < FINISH_S
        say(json.dumps({"faults": msgspec.to_builtins(lot.faults), "finished_in_s": round(took, 1)}))
    finally:
        lot.server.stop()
