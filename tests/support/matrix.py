"""The crash matrix: every fault, at every moment, of every recipe, over every store and every keystore.

A cell is a recipe on a kind of store with a kind of keystore. A lot of it meets several faults on its way, drawn by a
seeded generator: which, and how many moments after the one before; one in four so soon that the one before is still
being recovered from. After every kill the stopped lot is looked at as it lies there: no unit lost, none twice, the
audit log whole, the ledger balanced. At its end also the memory of every fob is as undisturbed but for its counters and
its own keys, and one more run finds nothing to do.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, get_args

from psycopg import sql

from keywright.fob.fobs import Model
from keywright.production.audit.export import export
from keywright.production.audit.verdict import Verdict
from keywright.production.audit.verify import verify
from keywright.production.handover.ledger import BOOKS, balances, differences, standing
from keywright.production.keystores.keystore import Keystore
from keywright.production.unit_store.units import UnitStore
from support.endings import EXTERNAL_AUTHENTICATE, check_end, no_try_is_wrong
from support.kills import DEADLY, MOST_SESSIONS_MORE, Fault, Lot, Outage, Passed, imported
from support.ledger import CARD, FOB
from support.postgresql import Server

SERIALS: Final = ("K-000001", "K-000002", "K-000003")
"""The first unit of a lot goes alone; then there are others, which share transactions."""
_TRIES: Final = 3
RECIPES: Final[dict[str, tuple[str, Model]]] = {
    "fob": (FOB, Model(try_limit=_TRIES)),
    "fob, factory set stays": (FOB, Model(try_limit=_TRIES, initial_keys_stay=True)),
    "card": (CARD, Model(try_limit=_TRIES)),
    "fob, S16": (
        FOB.replace("i = [0x70]", "i = [0x71]").replace("level = 0x33", 'level = 0x33\nsession_keys = "export"'),
        Model(try_limit=_TRIES, i=0x71),
    ),
}
STORES: Final = ("sqlite", "postgresql")
KEYSTORES: Final = ("software", "pkcs11")
A_LOT: Final = 10
"""Faults of one lot."""
_SOON: Final = 20
"""A fault that comes soon comes within so many moments of the one before."""
_SOFT: Final = 2
"""So many faults that are not its own death a worker meets at most, at most once each: a unit is begun again only so
often in a run."""
_DECK: Final[tuple[Fault, ...]] = ("kill", "card", "kill", "hsm", "cut", "connections", "kill", "database")
"""What is drawn from, in another order each time."""

_IS_SOON: Final = 0.25
_HOW: Final = itertools.cycle((signal.SIGQUIT, signal.SIGKILL, signal.SIGQUIT, signal.SIGINT))
"""How a server is stopped: at once, by a crash of its first process, in order."""
_MOST: Final = max(MOST_SESSIONS_MORE.values())


class Cell(NamedTuple):
    """A recipe on a store with a keystore."""

    recipe: str
    store: str
    keystore: str

    def __str__(self) -> str:
        return " / ".join(self)


CELLS: Final = tuple(Cell(r, s, k) for r in RECIPES for s in STORES for k in KEYSTORES)


def faults_of(cell: Cell) -> tuple[Fault, ...]:
    """The kinds of fault that a cell can meet."""
    missing = {"hsm": cell.keystore != "pkcs11"} | dict.fromkeys(
        ("connections", "database"), cell.store != "postgresql"
    )
    return tuple(kind for kind in get_args(Fault) if not missing.get(kind))


class Ground:
    """A lot of a cell that is imported and not begun, and what a run of it looks like that nothing disturbs.

    keystore: open, or how a worker opens one for itself. server: needed where the cell's store is PostgreSQL.
    """

    def __init__(
        self, cell: Cell, place: Path, keystore: Keystore | Callable[[], Keystore], server: Server | None
    ) -> None:
        self.cell = cell
        self.counts: Counter[Fault] = Counter()
        self.kills_in_recovery = 0
        self._place = place
        self._server = server
        self._database = server.create_database() if server is not None else ""
        self._keystore = keystore
        text, model = RECIPES[cell.recipe]
        self._models: dict[str, Model] = dict.fromkeys(SERIALS, model)
        order = "serial,model,owner_group\n" + "".join(f"{serial},fob-one,north\n" for serial in SERIALS)
        if cell.keystore == "pkcs11":
            text = text.replace('scheme = "sp800-108"', 'scheme = "ecb"')
        opened = keystore() if callable(keystore) else keystore
        imported(place / "template", text.encode(), order.encode(), opened, self._url(self._database, "template"))
        if callable(keystore):
            opened.close()
        if server is not None:
            _settle_sequences(server, self._database)
        with self._lot("undisturbed") as lot:
            self.moments = lot.undisturbed()
            self._memories = {serial: lot.memory(serial) for serial in SERIALS}
            self._check(lot, 0)

    def close(self) -> None:
        """Give the database back."""
        if self._server is not None:
            self._server.drop_database(self._database)

    def play(self, seed: int, faults: int) -> None:
        """So many faults, drawn by the seed. Raises AssertionError, saying which fell into the lot that is wrong."""
        rng = random.Random(seed)
        kinds = faults_of(self.cell)
        drawn: list[Fault] = [kind for kind in _DECK if kind in kinds]
        deck: list[Fault] = []
        lots = 0
        while (left := faults - self.counts.total()) > 0:
            while len(deck) < A_LOT:
                deck.extend(rng.sample(drawn, len(drawn)))
            planned: list[Fault] = deck[: min(A_LOT, left)]
            lots += 1
            fell = _Fallen()
            try:
                self._disturb(f"{seed}-{lots}", rng, planned, fell)
            except AssertionError as error:
                error.add_note(f"{self.cell}, seed {seed}, lot {lots}: {fell}")
                raise
            deck[: min(A_LOT, left)] = planned  # what is left of them is for the next lot
            self.counts += fell.counts
            self.kills_in_recovery += fell.soon

    def _disturb(self, name: str, rng: random.Random, planned: list[Fault], fell: _Fallen) -> None:
        """Take one lot through these faults, and take from them those that fell."""
        with self._lot(name) as lot:
            while True:
                strikes = self._strikes(rng, planned)
                passed = lot.disturbed(strikes)
                fell.add(strikes, passed)
                for fault in passed.fallen.elements():
                    planned.remove(fault)
                if passed.ended:
                    break
                self._check_stopped(lot)
            self._check(lot, fell.most)
            assert lot.run() == ([], True), "a finished unit was touched again"

    def _strikes(self, rng: random.Random, planned: list[Fault]) -> dict[int, Fault]:
        """The next of the planned faults that one worker meets, by the moment at which they fall."""
        strikes: dict[int, Fault] = {}
        at, soft = 0, 0
        for fault in planned:
            if fault not in DEADLY:
                if soft == _SOFT or fault in strikes.values():
                    continue
                soft += 1
            apart = _SOON if rng.random() < _IS_SOON else 2 * len(self.moments) // (A_LOT + 1)
            at += rng.randrange(apart) + 1
            strikes[at] = fault
            if fault in DEADLY:
                break
        return strikes

    def _check_stopped(self, lot: Lot) -> None:
        """The store as a killed worker left it, before anybody recovers anything."""
        with lot.units() as store:
            units = list(store.units())
            assert [unit.serial for unit in units] == list(SERIALS)
            aside = [
                f"{unit.serial} {unit.failure_text}" for unit in units if unit.state in ("quarantined", "rejected")
            ]
            assert not aside, f"a fault was taken for the unit's: {aside}"
            certificates = [certificate.unit for certificate in store.certificates()]
            assert len(certificates) == len(set(certificates))
            self._check_books(store, lot)

    def _check(self, lot: Lot, most: int) -> None:
        """The finished lot; `most`: so many sessions more than undisturbed may have been opened to each unit."""
        heard = lot.answers()
        with lot.units() as store:
            units = list(store.units())
            certificates = {certificate.unit: certificate for certificate in store.certificates()}
            assert [unit.serial for unit in units] == list(SERIALS)
            assert [(unit.state, unit.failure_text) for unit in units] == [("sealed", "")] * len(SERIALS)
            assert not list(store.open_intents())
            assert len({unit.device_uid for unit in units}) == len(SERIALS)
            for unit in units:
                answers = [(ins, status) for serial, ins, status in heard if serial == unit.serial]
                memory, expected = lot.memory(unit.serial), self._memories[unit.serial]
                certificate = certificates.get(unit.n)
                if certificate is not None:
                    check_end(memory, expected, list(store.events(unit.n)), certificate, answers, most=most)
                else:
                    _check_card(memory, expected, answers, most)
            assert len(certificates) == (0 if self.cell.recipe == "card" else len(SERIALS))
            self._check_books(store, lot)

    def _check_books(self, store: UnitStore, lot: Lot) -> None:
        """The ledger is balanced, and the audit log whole."""
        engine = store.database.engine(write=False)
        with engine.connect() as connection:
            for book in BOOKS:
                assert not differences(balances(connection, book).accounts, standing(connection, book))
        engine.dispose()
        verdict = audited(store, lot.place)
        assert verdict.whole, str(verdict.findings)

    def _lot(self, name: str) -> _Made:
        return _Made(self, name)

    def made(self, name: str) -> Lot:
        """A copy of the lot that is not begun."""
        place, database = self._place / name, ""
        if self._server is not None:
            database = f"{self._database}_{name}".replace("-", "_")
            with self._server.connect() as connection:
                connection.execute(
                    sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                        sql.Identifier(database), sql.Identifier(self._database)
                    )
                )
        lot = Lot(
            self._place / "template",
            place,
            self._keystore,
            self._models,
            self._url(database, name),
            self._outage(database),
        )
        if database:  # what stands beside a database has its name; the key of the audit log is among it
            for file in place.glob(f"{self._database}.*"):
                file.rename(place / file.name.replace(self._database, database, 1))
        return lot

    def remove(self, name: str) -> None:
        """Remove such a copy."""
        shutil.rmtree(self._place / name, ignore_errors=True)
        if self._server is not None:
            self._server.drop_database(f"{self._database}_{name}".replace("-", "_"))

    def _outage(self, database: str) -> Outage | None:
        server = self._server
        if server is None:
            return None

        def end_connections() -> None:
            statement = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
            with server.connect() as connection:
                connection.execute(statement, (database,))

        how = next(_HOW)

        def stop() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(server.pid, how)

        return Outage(end_connections, stop, lambda: server.restart(how))

    def _url(self, database: str, name: str) -> str:
        return f"{self._server.url(database)}?beside={self._place / name}" if self._server is not None else ""


def _settle_sequences(server: Server, database: str) -> None:
    """Let the next value of every sequence be written to the server's log.

    A sequence logs 32 values ahead. CREATE DATABASE copies how many of them are left, but into the copy's log goes the
    value without them: a crash would set the copy back, which no database that was not copied suffers.
    """
    with server.connect(database) as connection:
        connection.execute(
            "SELECT setval(format('%I.%I', schemaname, sequencename)::regclass, coalesce(last_value, start_value), "
            "last_value IS NOT NULL) FROM pg_sequences"
        )


class _Fallen:
    """The faults that fell into one lot."""

    def __init__(self) -> None:
        self.counts: Counter[Fault] = Counter()
        self.soon = 0
        """So many came within `_SOON` moments of the kill before."""
        self.most = 0
        """Sessions more than undisturbed that they may cost each unit."""
        self._told: list[str] = []
        self._was_killed = False

    def add(self, strikes: dict[int, Fault], passed: Passed) -> None:
        """Those of one run. What is not the worker's own death is felt a step later than it falls."""
        self.counts += passed.fallen
        for at, fault in strikes.items():
            if at <= len(passed.moments) and passed.fallen[fault]:
                moment = passed.moments[at - 1]
                self._told.append(f"{fault} at {at} ({moment.phase}, unit {moment.unit}, {moment.step})")
                self.most += MOST_SESSIONS_MORE.get(moment.step, _MOST) if fault in DEADLY else _MOST
        if self._was_killed and min(strikes, default=_SOON + 1) <= _SOON and passed.fallen:
            self.soon += 1
        self._was_killed = not passed.ended
        self._told.append("ended" if passed.ended else "run again")

    def __str__(self) -> str:
        return ", ".join(self._told)


class _Made:
    """A copy of a ground's lot for the time of a `with`."""

    def __init__(self, ground: Ground, name: str) -> None:
        self._ground = ground
        self._name = name

    def __enter__(self) -> Lot:
        return self._ground.made(self._name)

    def __exit__(self, *exc: object) -> None:
        self._ground.remove(self._name)


def audited(store: UnitStore, place: Path) -> Verdict:
    """What the verifier says of an export of the store's log."""
    path = place / "audit"
    path.unlink(missing_ok=True)
    export(store, path)
    return verify(path)


def _check_card(
    memory: dict[str, bytes], expected: dict[str, bytes], answers: list[tuple[int, int]], most: int
) -> None:
    """A unit without a credential: its memory but for the counters, and no wrong try."""
    counting = ("attempts", "counter/")
    same = [name for name in expected if not name.startswith(counting)]
    assert memory.keys() == expected.keys()
    assert {name: memory[name] for name in same} == {name: expected[name] for name in same}
    assert not no_try_is_wrong(answers)
    sessions = sum(ins == EXTERNAL_AUTHENTICATE for ins, _ in answers)
    undisturbed = int.from_bytes(expected["attempts"])
    assert undisturbed <= sessions <= undisturbed + most
