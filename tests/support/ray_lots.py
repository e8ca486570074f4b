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
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
import pytest

from keywright.errors import StoreError
from keywright.fob.fobs import simulated_fob
from keywright.production import campaign
from keywright.production.cluster.address import Cluster
from keywright.production.means import Means
from keywright.production.unit_store.units import Unit, UnitStore
from keywright.store import Journal, RamMemory
from support.endings import COUNTING, check_end
from support.house import ROOT
from support.postgresql import Server
from support.softhsm import make_token

RECIPE: Final = ROOT / "examples/fob.toml"
HSM_RECIPE: Final = ROOT / "examples/fob-hsm.toml"
KEYWRIGHT: Final = (sys.executable, "-m", "keywright")
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

    def __init__(self, place: Path, units: int, seed: int, keystore: str = "") -> None:
        self.place = place
        self.keystore = keystore
        self.recipe = HSM_RECIPE if keystore.startswith("pkcs11:") else RECIPE
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

        means = Means(engine=cluster or Cluster(), workers=len(STATIONS), meanwhile=meanwhile, keystore=self.keystore)
        done = campaign.run(self.recipe, self.order, self.url, means)
        self.ended = time.monotonic()
        assert not left, f"never fell: {left}"
        return done

    def finished_in_s(self) -> float:
        """Seconds from the last fault to the end."""
        return self.ended - self.began - self.faults[-1].at_s

    # ---- what came of it

    def memory(self, unit: Unit) -> dict[str, bytes]:
        """What the fob has kept where it stands; one that another station gave back is there as it was made."""
        kept = {file.suffix[1:]: _memory(journal, unit.serial) for file, journal in self._journals.items()}
        here = kept.pop(unit.pinned)
        for elsewhere in filter(None, kept.values()):
            assert _constant(elsewhere) == _constant(_fresh(unit.serial)), f"{unit.serial} was begun on two stations"
        return here

    @contextlib.contextmanager
    def memories(self) -> Iterator[None]:
        """Open the stations' journals."""
        files = sorted(self.place.glob("*.fobs.*[0-9]"))
        assert len(files) == len(STATIONS), files
        self._journals = {file: Journal(file) for file in files}
        try:
            yield
        finally:
            for journal in self._journals.values():
                journal.close()

    def check(self, compared: int = 0) -> None:
        """0 lost, 0 twice, every fob as an undisturbed run on one machine leaves it but for counters and own keys.

        `compared` fobs, by chance, are held against such a run; 0 all of them.
        """
        twin = Twin(self, compared or self.units)
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
                memory, expected = self.memory(unit), twin.memories.get(unit.serial)
                if expected is not None:
                    check_end(memory, expected, events[unit.n], certificates[unit.n], (), most=most)  # type: ignore[arg-type]  # a list of events


class Twin:
    """The same order with the same keystore, run on one machine in SQLite by nobody disturbed."""

    def __init__(self, lot: RayLot, units: int) -> None:
        store, order = lot.place / "twin.db", lot.place / "twin.csv"
        keystore = lot.keystore or str(next(lot.place.glob("*.keystore")))
        first, *rows = lot.order.read_text().splitlines()
        rows = lot.chance.sample(rows, units)
        order.write_text("\n".join((first, *rows, "")), encoding="utf-8")
        done = campaign.run(lot.recipe, order, str(store), Means(keystore=keystore))
        assert done.exit_code == 0
        journal = Journal(store.with_name("twin.db.fobs"))
        serials = [row.partition(",")[0] for row in rows]
        self.memories = {serial: _memory(journal, serial) for serial in serials}
        journal.close()


def say(text: str) -> None:
    """To whoever started this body."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def bound() -> set[int]:
    """The small processes that hold a kept one."""
    return set(processes("keywright.production.cluster.bound"))


def _fresh(serial: str) -> dict[str, bytes]:
    memory = RamMemory()
    simulated_fob(serial, memory).reset()
    return {name: memory.load(name) or b"" for name in memory.names()}


def _constant(memory: dict[str, bytes]) -> dict[str, bytes]:
    return {name: value for name, value in memory.items() if not name.startswith(COUNTING)}


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


def whole_line(place: Path, *, units: int, softhsm: bool, report: str) -> None:
    """The real command with a token, PostgreSQL and Ray; one station is killed; what came of it is written down."""
    with pytest.MonkeyPatch.context() as patch:
        keystore = make_token(place, patch, "line").uri if softhsm else f"software:{place / 'keys'}"
        lot = RayLot(place, units, 20261127, keystore)
        try:
            command("keystore", "new", keystore)
            told = _run_and_kill(lot)
            lot.check(compared=min(units, 200))
            verified = command("campaign", "verify", "--store", lot.url, "--keystore", keystore, "--json")
            log = str(place / "log")
            command("audit", "export", "--store", lot.url, "--out", log)
            (witness,) = place.glob("lot*.witness")
            audit = command("audit", "verify", log, "--witness", str(witness))
            told |= {"verified": json.loads(verified), "audit": audit.strip().splitlines()}
            told |= {"keystore": "SoftHSM2" if softhsm else "software", "store": _database(lot)}
            Path(report).write_text(json.dumps(told, indent=1), encoding="utf-8")
        finally:
            lot.server.stop()


def _run_and_kill(lot: RayLot) -> dict[str, object]:
    began = time.monotonic()
    words = ["--order", str(lot.order), "--store", lot.url, "--keystore", lot.keystore, "--workers", "2", "--json"]
    with subprocess.Popen(
        [*KEYWRIGHT, "campaign", "run", str(lot.recipe), *words, "--engine", "ray://local"], stdout=subprocess.PIPE
    ) as process:
        first = 0.0
        while process.poll() is None and not lot.faults:
            sealed = lot.sealed()
            first = first or (time.monotonic() if sealed else 0.0)
            if sealed >= lot.units * 0.4 and (pids := lot.kill("station")):
                lot.faults.append(Fault(kind="station", sealed=sealed, at_s=time.monotonic() - began, pids=pids))
            time.sleep(0.2)
        output, _ = process.communicate()
        ended = time.monotonic()
    assert process.returncode == 0, output.decode()
    assert lot.faults, "nothing was killed"
    return {
        "units": lot.units,
        "killed": msgspec.to_builtins(lot.faults),
        "seconds": round(ended - began, 1),
        "seconds_from_first_sealed": round(ended - first, 1),
        "units_a_second": round(lot.units / (ended - first), 1),
        "summary": json.loads(output),
    }


def command(*words: str) -> str:
    """Run the command line; its output."""
    done = subprocess.run([*KEYWRIGHT, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _database(lot: RayLot) -> dict[str, object]:
    with lot.server.connect() as connection:
        asked = ("server_version", "fsync", "synchronous_commit")
        rows = [connection.execute(f"SHOW {name}").fetchone() for name in asked]
    return {name: row[0] for name, row in zip(asked, rows, strict=True) if row is not None}
