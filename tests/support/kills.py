"""Disturb a campaign at every moment it has, continue it, and hold the outcome against an undisturbed run.

The test process has everything imported; a forked worker runs the campaign and kills itself with SIGKILL at the
chosen moment, or does to it there what else a `Fault` says. The simulated fobs live in another forked process, which
sees no more of it than a closed socket.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, cast

import msgspec

from keywright.errors import LinkError
from keywright.fob import tray
from keywright.fob.fobs import Model
from keywright.fob.pool import COMMAND, FobPool, Frames, Plan, frame
from keywright.production import campaign
from keywright.production.hsm.keystore import Pkcs11Keystore
from keywright.production.keystores.keystore import Keystore
from keywright.production.keystores.software_keystore import SoftwareKeystore
from keywright.production.means import Means
from keywright.production.stations import Station
from keywright.production.unit_store.database import store_path
from keywright.production.unit_store.units import UnitStore
from keywright.production.watch import Unwatched
from keywright.store import Journal

_CLIENT_S: Final = 30.0
_CUT: Final = 3
"""Exit code of a worker whose run was broken off."""
PHASES: Final = ("before intent", "after intent", "after send", "after answer", "before commit", "after commit")


Fault = Literal["kill", "cut", "card", "hsm", "connections", "database"]
"""The worker killed by itself; its run broken off by an exception; an answer of the card lost; the HSM client killed;
the connections to the database ended by its server; that server stopped, to be started again."""
DEADLY: Final = ("kill", "cut")
"""Faults that end the run."""


class Outage(NamedTuple):
    """What can be done to the database: end its connections, stop its server, start it again."""

    end_connections: Callable[[], None]
    stop: Callable[[], None]
    start: Callable[[], None]


class Moment(NamedTuple):
    """Where a kill fell."""

    phase: str
    unit: int
    step: str


class Passed(NamedTuple):
    """What a run came to: the moments it passed, whether it came to its end, and the faults that fell."""

    moments: list[Moment]
    ended: bool
    fallen: Counter[Fault]


class Cut(BaseException):
    """Breaks a run off, as Ctrl-C would. No Exception: nothing may take it for a fault of one unit."""


class Striker(Unwatched):
    """Strikes at these moments, counted from 1. Writes every moment it passes to a pipe, and every fault that fell."""

    def __init__(self, at: Mapping[int, Fault], log: int, strikes: Mapping[Fault, Callable[[], None]]) -> None:
        self._at = at
        self._log = log
        self._count = 0
        self._strikes = strikes

    def moment(self, phase: str, unit: int, step: str) -> None:
        """Count, tell, and perhaps strike."""
        self._count += 1
        os.write(self._log, f"{phase}|{unit}|{step or 'power on'}\n".encode())
        fault = self._at.get(self._count)
        if fault is not None:
            if fault != "card":  # whose answer is yet to come
                self.fell(fault)
            self._strikes[fault]()

    def fell(self, fault: Fault) -> None:
        """Tell it, before the worker is dead."""
        os.write(self._log, f"!{fault}\n".encode())


class Losing:
    """A pool of fobs of whose answers the next one is lost when told so."""

    def __init__(self, pool: FobPool, lost: Callable[[], None]) -> None:
        self._pool = pool
        self._lost = lost
        self._is_next = False

    def lose(self) -> None:
        """The next answer is lost."""
        self._is_next = True

    def receive(self, *, block: bool = True, limit_s: float | None = None) -> list[tuple[str, bytes | LinkError]]:
        """As the pool, but for the answer that is lost."""
        found = self._pool.receive(block=block, limit_s=limit_s)
        if found and self._is_next:
            self._is_next = False
            found[0] = (found[0][0], LinkError("the card was moved", delivered=None))
            self._lost()
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)


class Answer(NamedTuple):
    """What a fob answered to a command."""

    serial: str
    ins: int
    sw: int


class HeardTray(tray.Tray):
    """Writes serial, INS and status of every answer to a file, before the host can see it."""

    file = -1

    def answer(self, kind: int, name: str, payload: bytes) -> bytes:
        """As the tray."""
        message = super().answer(kind, name, payload)
        if kind == COMMAND:
            ((_, _, answer),) = Frames().feed(message)
            os.write(self.file, f"{name} {payload[1]:02X} {answer[-2:].hex()}\n".encode())
        return message


class Lot:
    """A small lot in a directory of its own, copied from a template with the order already imported.

    keystore: open already, or how the worker opens one. store: its URL, if it is not a file of that directory.
    outage: what can be done to its database.
    """

    def __init__(
        self,
        template: Path,
        place: Path,
        keystore: Keystore | Callable[[], Keystore],
        models: Mapping[str, Model],
        store: str = "",
        outage: Outage | None = None,
    ) -> None:
        shutil.copytree(template, place)
        self.place = place
        self.store = store or str(place / "lot.db")
        self.fobs = Path(f"{store_path(self.store)}.fobs")
        self.heard = place / "heard"
        self._keystore = keystore
        self._models = dict(models)
        self._outage = outage

    def run(self, at: int = 0, fault: Fault = "kill") -> tuple[list[Moment], bool]:
        """Resume in a forked worker, one fault at a moment. Returns the moments it passed, and whether it ended."""
        passed = self.disturbed({at: fault} if at else {})
        return passed.moments, passed.ended

    def disturbed(self, strikes: Mapping[int, Fault]) -> Passed:
        """Resume in a forked worker with these faults at moments counted from 1; a deadly one is the last to fall."""
        reader, writer = os.pipe()
        ours, fobs = self._fobs(reader, writer)
        worker = os.fork()
        if not worker:
            os.close(reader)
            with _child():
                self._work(ours, strikes, writer)
        ours.close()
        os.close(writer)
        moments, fallen = self._followed(reader)
        _, status = os.waitpid(worker, 0)
        _end_of_fobs(fobs)
        code = os.waitstatus_to_exitcode(status)
        allowed = {0} | {{"kill": -signal.SIGKILL, "cut": _CUT}[fault] for fault in DEADLY if fallen[fault]}
        assert code in allowed, f"the worker ended with {code}"
        return Passed(moments, code == 0, fallen)

    def undisturbed(self) -> list[Moment]:
        """Run the whole lot in this process, which is warm for its children afterwards."""
        reader, writer = os.pipe()
        ours, fobs = self._fobs(reader, writer)
        try:
            self._work(ours, {}, writer)
        finally:
            ours.close()
            os.close(writer)
        moments, _ = self._followed(reader)
        _end_of_fobs(fobs)
        return moments

    def _fobs(self, *others: int) -> tuple[socket.socket, int]:
        """Start the process of the fobs: a socket to it and its id."""
        ours, theirs = socket.socketpair()
        fobs = os.fork()
        if not fobs:
            for descriptor in others:
                os.close(descriptor)
            ours.close()
            with _child():
                self._serve(theirs)
        theirs.close()
        return ours, fobs

    def _followed(self, reader: int) -> tuple[list[Moment], Counter[Fault]]:
        """Read what a worker tells until it is gone; start the database's server again when it has been stopped."""
        moments, fallen = list[Moment](), Counter[Fault]()
        with os.fdopen(reader, "rb") as log:
            for line in log:
                text = line.decode().strip()
                if not text.startswith("!"):
                    phase, unit, step = text.split("|")
                    moments.append(Moment(phase, int(unit), step))
                    continue
                fault = cast("Fault", text[1:])
                fallen[fault] += 1
                if fault == "database" and self._outage is not None:
                    self._outage.start()
        return moments, fallen

    def answers(self) -> list[Answer]:
        """Every answer of a fob in every run so far, oldest first."""
        lines = (line.split() for line in self.heard.read_text().splitlines())
        return [Answer(serial, int(ins, 16), int(sw, 16)) for serial, ins, sw in lines]

    def _serve(self, sock: socket.socket) -> None:
        HeardTray.file = os.open(self.heard, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        tray.Tray = HeardTray  # type: ignore[misc]  # in this forked child alone
        tray.serve(sock)

    def _work(self, sock: socket.socket, at: Mapping[int, Fault], log: int) -> None:
        plan = Plan(journal=str(self.fobs), models=self._models)
        sock.sendall(frame(COMMAND, "", msgspec.json.encode(plan)))
        pool = Losing(FobPool(sock), lambda: striker.fell("card"))
        keystore = self._keystore() if callable(self._keystore) else self._keystore
        strikes: dict[Fault, Callable[[], None]] = {
            "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
            "cut": _cut,
            "card": pool.lose,
            "hsm": lambda: os.kill(client_pid(keystore), signal.SIGKILL),
        }
        if self._outage is not None:
            strikes |= {"connections": self._outage.end_connections, "database": self._outage.stop}
        striker = Striker(at, log, strikes)
        means = Means(watcher=striker, station=cast("Station", pool), opened_keystore=keystore, wait_s=5.0)
        try:
            campaign.resume(self.store, means)
        except Cut:
            os._exit(_CUT)
        finally:
            pool.close()
            if callable(self._keystore):
                keystore.close()

    def units(self) -> UnitStore:
        """The store, for reading."""
        return UnitStore.open(self.store, readonly=True)

    def memory(self, serial: str) -> dict[str, bytes]:
        """What the fob's own process has left in its memory."""
        journal = Journal(self.fobs)
        try:
            memory = journal.memory(serial)
            return {name: memory.load(name) or b"" for name in memory.names()}
        finally:
            journal.close()


def _cut() -> None:
    raise Cut


def _end_of_fobs(fobs: int) -> None:
    _, status = os.waitpid(fobs, 0)
    assert status == 0, "the fobs' process failed"


def client_pid(keystore: Keystore) -> int:
    """The process that holds the keys of a keystore in a token; waits for one that is being started."""
    assert isinstance(keystore, Pkcs11Keystore)
    deadline = time.monotonic() + _CLIENT_S
    while not keystore.client.client_pid:
        assert time.monotonic() < deadline, "the HSM client did not come back"
        time.sleep(0.01)
    return keystore.client.client_pid


@contextmanager
def _child() -> Any:
    """Leave a forked child without running any of the parent's clean-up."""
    code = 1
    sys.settrace(None)  # what it measured would be lost with it
    try:
        yield
        code = 0
    except BaseException:  # noqa: BLE001 - a forked child must not go on as the test itself
        traceback.print_exc()
    finally:
        os._exit(code)


def template(place: Path, recipe: bytes, order: bytes) -> SoftwareKeystore:
    """A lot in a file that is imported and not begun, and its keystore."""
    keystore = SoftwareKeystore.create(Path(f"{place}.keystore"), now=datetime.now(UTC))
    imported(place, recipe, order, keystore)
    return keystore


def imported(place: Path, recipe: bytes, order: bytes, keystore: Keystore, store: str = "") -> None:
    """A lot that is imported and not begun, in a store by URL or in a file of the folder `place`, which is made."""
    place.mkdir()
    (place / "recipe.toml").write_bytes(recipe)
    (place / "order.csv").write_bytes(order)

    class StopError(Exception):
        pass

    class Never(Unwatched):
        def started(self, unit: int, serial: str) -> None:
            raise StopError

    ours, theirs = socket.socketpair()
    means = Means(watcher=Never(), station=FobPool(ours), opened_keystore=keystore)
    try:
        campaign.run(place / "recipe.toml", place / "order.csv", store or str(place / "lot.db"), means)
    except StopError:
        pass
    finally:
        ours.close()
        theirs.close()
    for lock in place.glob("*.lock"):
        lock.unlink()


MOST_SESSIONS_MORE: Final = {"identify": 0, "authenticate": 1, "own_keys": 2, "personalise": 2, "lock_down": 3}
"""EXTERNAL AUTHENTICATE that a kill costs at most, by the step it falls into: measured; nothing here is by chance."""


def count_phases(moments: list[Moment]) -> Counter[tuple[str, str]]:
    """How many moments there are of each step and phase."""
    return Counter((moment.step, moment.phase) for moment in moments)


def count_named_again(moments: list[Moment]) -> int:
    """How many moments stand for the same state of the program as the one before them.

    A transaction with the results of some steps and an intent has a moment for each; between these nothing happens.
    """
    before, after = ("before commit", "before intent"), ("after commit", "after intent")
    return sum(
        one.phase in same and other.phase in same for one, other in pairwise(moments) for same in (before, after)
    )
