"""The crash matrix: every fault, at every moment, of every recipe, over every store and every keystore.

A cell is a recipe on a kind of store with a kind of keystore. Its faults are drawn by a seeded generator, each kind at
least once a cell, from all moments of a run that nothing disturbed; one in four has a second kill while the first is
being recovered from. Whatever happened: no unit lost, none twice, the memory of every fob as undisturbed but for its
counters and its own keys, the audit log whole and the ledger balanced.
"""

from __future__ import annotations

import random
import shutil
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
from support.kills import MOST_SESSIONS_MORE, Fault, Lot, Moment, imported
from support.ledger import CARD, FOB
from support.postgresql import Server

SERIALS: Final = ("K-000001", "K-000002")
"""The first unit of a lot goes alone; then there are others, whose transactions are shared with nobody here."""
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
_SOON: Final = 20
"""The second kill falls into so many first moments of the run that recovers from the first."""

_MOST: Final = max(MOST_SESSIONS_MORE.values())
_LOOK_AGAIN: Final = 8
"""After one fault in so many the finished lot is run once more: nothing may happen."""


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
    missing = {"hsm": cell.keystore != "pkcs11", "database": cell.store != "postgresql"}
    kinds: tuple[Fault, ...] = get_args(Fault)
    return tuple(kind for kind in kinds if not missing.get(kind))


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
        self._memories: dict[str, dict[str, bytes]] = {}
        with self._lot("undisturbed") as lot:
            self.moments, ended = lot.run()
            assert ended
            self._memories |= {serial: lot.memory(serial) for serial in SERIALS}
            self._check(lot, {})

    def close(self) -> None:
        """Give the database back."""
        if self._server is not None:
            self._server.drop_database(self._database)

    def play(self, seed: int, faults: int) -> None:
        """So many faults, each kind in turn, at moments drawn by the seed. Raises AssertionError, saying which."""
        rng = random.Random(seed)
        kinds = faults_of(self.cell)
        for number in range(faults):
            fault, at, again = kinds[number % len(kinds)], rng.randrange(len(self.moments)) + 1, 0
            if number % (2 * len(kinds)) == 0:  # the first of its kind, so a kill; where much is left to do
                at, again = rng.randrange(len(self.moments) // 2) + 1, rng.randrange(_SOON) + 1
            try:
                self._strike(fault, at, again)
            except AssertionError as error:
                moment = self.moments[at - 1]
                error.add_note(f"{self.cell}, seed {seed}: {fault} at moment {at} ({moment}), then a kill at {again}")
                raise

    def _strike(self, fault: Fault, at: int, again: int) -> None:
        with self._lot(f"{fault}-{at}-{again}") as lot:
            passed, ended = lot.run(at, fault)
            assert ended == (fault not in {"kill", "cut"}) or fault == "database"
            self.counts[fault] += 1
            struck = [passed[at - 1]]
            if again and not ended:
                more, ended = lot.run(again)
                if not ended:
                    self.kills_in_recovery += 1
                    struck.append(more[-1])
            if not ended:
                _, ended = lot.run()
                assert ended
            # what is not the worker's own death is felt a step later than it falls
            most = _most(struck) if fault in {"kill", "cut"} else dict.fromkeys(range(1, len(SERIALS) + 1), _MOST)
            self._check(lot, most)
            if self.counts.total() % _LOOK_AGAIN == 0:
                assert lot.run() == ([], True), "a finished unit was touched again"

    def _check(self, lot: Lot, most: dict[int, int]) -> None:
        with lot.units() as store:
            units = list(store.units())
            certificates = {certificate.unit: certificate for certificate in store.certificates()}
            assert [unit.state for unit in units] == ["sealed"] * len(SERIALS)
            assert not list(store.open_intents())
            assert len({unit.device_uid for unit in units}) == len(SERIALS)
            for unit in units:
                answers = [(ins, status) for serial, ins, status in lot.answers() if serial == unit.serial]
                memory, expected = lot.memory(unit.serial), self._memories[unit.serial]
                certificate = certificates.get(unit.n)
                events = list(store.events(unit.n))
                if certificate is not None:
                    check_end(memory, expected, events, certificate, answers, most=most.get(unit.n, 0))
                else:
                    _check_card(memory, expected, answers, most.get(unit.n, 0))
            assert len(certificates) == (0 if self.cell.recipe == "card" else len(SERIALS))
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
            lambda: _end_connections(self._server, database),
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

    def _url(self, database: str, name: str) -> str:
        return f"{self._server.url(database)}?beside={self._place / name}" if self._server is not None else ""


def _end_connections(server: Server | None, database: str) -> None:
    """End what is connected to a database, as a restart of its server would."""
    assert server is not None
    with server.connect() as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (database,))


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


def _most(struck: list[Moment]) -> dict[int, int]:
    """Sessions more than undisturbed that these faults may cost each unit. A fault may meet any unit in work."""
    more: Counter[int] = Counter()
    for moment in struck:
        for n in range(1, len(SERIALS) + 1):
            more[n] += MOST_SESSIONS_MORE.get(moment.step, _MOST)
    return dict(more)


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
