"""A lot on a Ray cluster with everything it needs, in a namespace of its own, and what can be killed of it.

    inside("support.ray_bodies:disturbed", tmp_path, 300, units=240, faults=["driver", "head"])

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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from keywright.errors import StoreError
from keywright.fob.fobs import simulated_fob
from keywright.production import campaign
from keywright.production.means import Means
from keywright.production.preparation import standing
from keywright.production.recipe import read_recipe
from keywright.production.unit_store.units import Unit, UnitStore
from keywright.store import Journal, RamMemory
from support.endings import COUNTING, check_end
from support.house import ROOT
from support.named_orders import by_kdd, serials
from support.postgresql import Server

RECIPE: Final = ROOT / "examples/fob.toml"
HSM_RECIPE: Final = ROOT / "examples/fob-hsm.toml"
KEYWRIGHT: Final = (sys.executable, "-m", "keywright")
STATIONS: Final = ("1", "2")
FINISH_S: Final = 60.0
"""A disturbed lot ends without help so long after the last thing that was killed is back."""
MOST_SESSIONS: Final = 3
"""EXTERNAL AUTHENTICATE that one kill costs a unit at most (`support.kills.MOST_SESSIONS_MORE`)."""

COMMANDS: Final = {
    "station": "ray::StationActor",
    "tray": "keywright.fob.tray",
    "worker": "ray::prepare",
    "driver": "-m keywright.production.cluster.drive",
    "raylet": "/raylet/raylet ",
    "gcs": "/gcs/gcs_server ",
    "head": "ray.scripts.scripts start",
    "hsm": "keywright.production.hsm.process",
}
FAULTS: Final = (*COMMANDS, "command", "stop", "database", "postmaster")
"""What can be killed. `worker` is a process of the bulk lane, `hsm` the client of a token, `command` the whole run,
which is then given again, `stop` its end by SIGTERM, `database` an immediate restart of the server.
"""
OWN: Final = "ray://local"
GONE_S: Final = 20.0
"""After so long nothing of a command that was killed may be left."""


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
    """A lot of simulated fobs in PostgreSQL, carried by the real command, and its undisturbed twin in SQLite."""

    def __init__(self, place: Path, units: int, seed: int, keystore: str, *, engine: str = OWN, host: str = "") -> None:
        """`host`: where the database is to be reached from other machines too."""
        self.place = place
        self.keystore = keystore
        self.recipe = HSM_RECIPE if keystore.startswith("pkcs11:") else RECIPE
        self.engine = engine
        self.units = units
        self.chance = random.Random(seed)
        self.faults: list[Fault] = []
        self.more: dict[str, Callable[[], tuple[int, ...]]] = {}
        """What else can be killed, by kind."""
        self.watched: Callable[[], object] = lambda: None
        """Called often while the lot runs."""
        self.order = place / "order.csv"
        self.order.write_text(by_kdd(serials(units)), encoding="utf-8")
        self.server = Server(*filter(None, [host]))
        self.url = f"{self.server.url(self.server.create_database())}?beside={place}"
        self.command: subprocess.Popen[bytes] | None = None
        self.output = place / "command.out"
        self.began = self.ended = self.first = 0.0
        self._sealed = 0
        self._looked = 0.0

    # ---- faults

    def kill(self, kind: str) -> tuple[int, ...]:
        """Kill it; the numbers of what was killed, none if there was nothing of the kind."""
        if kind in ("command", "stop"):
            return self._end_command(signal.SIGKILL if kind == "command" else signal.SIGTERM)
        if kind == "database":
            self.server.restart(signal.SIGQUIT)
            return (self.server.pid,)
        if kind == "postmaster":
            self.server.restart(signal.SIGKILL)
            return (self.server.pid,)
        return self.more[kind]() if kind in self.more else killed(self._victims(kind))

    def _victims(self, kind: str) -> list[int]:
        """One of the processes of that kind."""
        found = [pid for pid in processes(COMMANDS[kind]) if pid not in bound()]
        return self.chance.sample(found, 1) if found else []

    def _end_command(self, number: signal.Signals) -> tuple[int, ...]:
        """Kill the whole command, or tell it to stop; see that nothing of it lives on, and give it again."""
        assert self.command is not None
        self.command.send_signal(number)
        self.command.wait(GONE_S)
        if number == signal.SIGTERM:
            assert self.command.returncode == 128 + number
            error = json.loads(self.output.read_bytes())["error"]
            assert error["message"] == "interrupted by SIGTERM; nothing is lost"
            assert error["hint"].endswith(f"--store {self.url} --engine {self.engine}")
        self.wait_until_gone(tuple(COMMANDS.values()) if self.engine == OWN else (COMMANDS["driver"],))
        pid = self.command.pid
        self.start()
        return (pid,)

    @classmethod
    def wait_until_gone(cls, words: Sequence[str], patience_s: float = GONE_S) -> None:
        """What was started for the lot has ended. Raises AssertionError naming what has not."""
        cls.wait_until(lambda: not any(map(processes, words)), f"left behind of {words}", patience_s)

    @staticmethod
    def wait_until(what: Callable[[], bool], else_: str, patience_s: float = GONE_S) -> None:
        """It is so, in time. Raises AssertionError."""
        until = time.monotonic() + patience_s
        while not what():
            assert time.monotonic() < until, else_
            time.sleep(0.05)

    # ---- the lot

    def sealed(self) -> int:
        """Units that are sealed, looked at some times a second; what was known last while the database is away."""
        if time.monotonic() - self._looked > 0.2:
            self._looked = time.monotonic()
            with contextlib.suppress(StoreError), UnitStore.open(self.url, readonly=True) as store:
                self._sealed = store.counts()["sealed"] if store.lot() else 0
                self.first = self.first or (time.monotonic() if self._sealed else 0.0)
        return self._sealed

    def start(self) -> None:
        """Give the command; the same one goes on with a lot."""
        words = ["--order", str(self.order), "--store", self.url, "--workers", str(len(STATIONS)), "--json"]
        words += ["--engine", self.engine, "--keystore", self.keystore]
        with self.output.open("wb") as output:
            self.command = subprocess.Popen([*KEYWRIGHT, "campaign", "run", str(self.recipe), *words], stdout=output)

    def run(self, faults: Sequence[str], share: float = 0.75) -> dict[str, Any]:
        """Run the lot to its end, the faults spread over its first three quarters. All have to fall.

        Returns what the command says of the lot.
        """
        left = list(faults)
        before = self.sealed()
        step = (self.units - before) * share / max(1, len(left))
        at = [before + round(step * (number + 0.5)) for number in range(len(left))]
        self.began = time.monotonic()
        self.start()
        assert self.command is not None
        while self.command.poll() is None:
            if left and self.sealed() >= at[len(faults) - len(left)] and (pids := self.kill(left[0])):
                done = Fault(kind=left.pop(0), sealed=self._sealed, at_s=time.monotonic() - self.began, pids=pids)
                self.faults.append(done)
                say(f"{done.at_s:6.1f} s  killed {done.kind} {done.pids} at {done.sealed} sealed")
            self.watched()
            time.sleep(0.05)
        self.ended = time.monotonic()
        told: dict[str, Any] = json.loads(self.output.read_bytes() or b"{}")
        assert self.command.returncode == 0, f"{self.command.returncode}: {told}"
        assert not left, f"never fell: {left}"
        return told

    def finished_in_s(self) -> float:
        """Seconds from the last fault, whatever it took to put it right, to the end."""
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
            found = standing(store, read_recipe(self.recipe))
            assert (found.looked_at, found.damaged) == (self.units, ()), "tasks looked at every unit of the order"
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
        first, *rows = lot.order.read_text().splitlines()
        rows = lot.chance.sample(rows, units)
        order.write_text("\n".join((first, *rows, "")), encoding="utf-8")
        done = campaign.run(lot.recipe, order, str(store), Means(keystore=lot.keystore))
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
