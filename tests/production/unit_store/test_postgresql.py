"""A store on a PostgreSQL server: its address, what it refuses, and a server that goes away while it is in use."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.event import listens_for

from keywright.errors import StoreError, UsageError
from keywright.production.unit_store import durable, postgresql
from keywright.production.unit_store.database import database_at, store_path
from keywright.production.unit_store.postgresql import PostgresqlDatabase
from keywright.production.unit_store.rows import Event, UnitChange
from keywright.production.unit_store.tables import event
from keywright.production.unit_store.transaction import Transaction
from keywright.production.unit_store.units import ConflictError, UnitStore
from support.lots import lot, order
from support.postgresql import Server

# ---- addresses


@pytest.mark.parametrize(
    ("url", "beside"),
    [
        ("postgresql://line@db.example:5433/lot", "lot"),
        ("postgres://db.example/lot", "lot"),
        ("postgresql:///lot?host=/run/postgresql", "lot"),
        ("postgresql://line@h/lot?beside=/srv/lots&sslmode=verify-full", "/srv/lots/lot"),
        ("postgresql://line@h/lot%2011", "lot 11"),
    ],
)
def test_what_belongs_to_a_lot_stands_in_a_named_folder_or_here(url: str, beside: str) -> None:
    database = database_at(url)
    assert isinstance(database, PostgresqlDatabase)
    assert database.beside == store_path(url) == Path(beside)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://",
        "postgresql://h",
        "postgresql://h/",
        "postgresql://h/a/b",
        "postgresql://h/..",
        "postgresql://h/..%2Fx",
        "postgresql://h:port/d",
        "postgresql://h:99999/d",
        "postgresql://h/d?password=x",
        "postgresql://h/d?options=-csynchronous_commit%3Doff",
        "postgresql://h/d?beside=a&beside=b",
        "postgresql://h/d?beside",
    ],
)
def test_another_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="not an address"):
        database_at(url)


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match="seen by everybody") as refused:
        database_at("postgresql://line:hunter2@h/lot")
    assert "hunter2" not in str(refused.value) + refused.value.hint


# ---- what cannot be opened


def test_a_server_that_is_not_there_or_has_no_such_database_is_named(postgresql: Server, tmp_path: Path) -> None:
    for url, what in (
        ("postgresql://line@127.0.0.1:1/lot", "refused"),
        (postgresql.url("none"), 'database "none" does not exist'),
        (postgresql.url("postgres", user="nobody_here"), "nobody_here"),
    ):
        for readonly in (True, False):
            with pytest.raises(StoreError, match=what) as refused:
                UnitStore.open(f"{url}?beside={tmp_path}", create=True, readonly=readonly)
            assert "PGPASSWORD" in refused.value.hint


def test_the_password_comes_from_the_environment_and_shows_nowhere(
    postgresql: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    url = f"{postgresql.url(postgresql.create_database(), user='with_password')}?beside={tmp_path}"
    with pytest.raises(StoreError, match="no password supplied"):
        UnitStore.open(url, create=True)
    monkeypatch.setenv("PGPASSWORD", "wrong of the test")
    with pytest.raises(StoreError, match="password authentication failed") as refused:
        UnitStore.open(url, create=True)
    monkeypatch.setenv("PGPASSWORD", "secret of the test")
    with UnitStore.open(url, create=True) as store:
        store.import_order(lot(), order(1))
        shown = f"{store.name} {store.url} {store.database!r} {refused.value}"
        with pytest.raises(ConflictError) as conflict:
            store.import_order(lot(), order(1))
    assert "of the test" not in shown + str(conflict.value) + "".join(capfd.readouterr())


def test_a_folder_that_is_not_there_is_named(postgresql: Server, tmp_path: Path) -> None:
    url = f"{postgresql.url(postgresql.create_database())}?beside={tmp_path / 'none'}"
    with pytest.raises(StoreError, match="no folder for what belongs beside"):
        UnitStore.open(url, create=True)


def test_another_programs_database_and_another_schema_are_refused(postgresql: Server, postgresql_url: str) -> None:
    name = postgresql_url.partition("?")[0].rpartition("/")[2]
    with postgresql.connect(name) as raw:
        raw.execute("CREATE TABLE x (y int)")
        for readonly in (True, False):
            with pytest.raises(StoreError, match="not a store of this program"):
                UnitStore.open(postgresql_url, create=True, readonly=readonly)
        raw.execute("DROP TABLE x")
        UnitStore.open(postgresql_url, create=True).close()
        raw.execute("UPDATE alembic_version SET version_num = '0999'")
        with pytest.raises(StoreError, match="has schema 0999"):
            UnitStore.open(postgresql_url)


@contextmanager
def server_has(server: Server, setting: str, value: str) -> Iterator[None]:
    def change(statement: str) -> None:
        with server.connect() as raw:
            raw.execute(statement.encode())
            raw.execute("SELECT pg_reload_conf()")
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with server.connect() as raw:
                row = raw.execute(f"SHOW {setting}".encode()).fetchone()
            if row is not None and (row[0] == value) is ("SET" in statement.split()):
                return
            time.sleep(0.05)

    change(f"ALTER SYSTEM SET {setting} = '{value}'")
    try:
        yield
    finally:
        change(f"ALTER SYSTEM RESET {setting}")


def test_a_server_that_answers_before_it_has_written_is_refused(
    postgresql: Server, postgresql_url: str, tmp_path: Path
) -> None:
    del tmp_path
    own = Server()  # the other tests' server has to stay durable
    try:
        url = f"{own.url(own.create_database())}?beside=."
        own.end()
        own.settings["fsync"] = "off"
        own.start()
        with pytest.raises(StoreError, match="fsync = off: a power cut would lose"):
            UnitStore.open(url, create=True)
    finally:
        own.stop()
    with server_has(postgresql, "synchronous_commit", "off"), UnitStore.open(postgresql_url, create=True) as store:
        assert store.settings().synchronous == "on"  # asked for by every connection


# ---- a server that goes away


@pytest.fixture
def store(postgresql_url: str) -> Iterator[UnitStore]:
    with UnitStore.open(postgresql_url, create=True) as opened:
        opened.import_order(lot(), order(50))
        yield opened


def done(n: int, step: str = "s") -> Event:
    return Event(unit=n, step=step, phase="done", at=1.0)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT, signal.SIGKILL])
def test_work_goes_on_over_a_server_that_was_restarted(
    store: UnitStore, postgresql: Server, how: signal.Signals
) -> None:
    (unit,) = store.claim(1)
    postgresql.restart(how)
    store.commit([done(unit.n), UnitChange(unit.n, {"state": "sealed"})])
    assert [event.step for event in store.events()] == ["s"]
    postgresql.restart(how)
    assert store.counts()["sealed"] == 1
    postgresql.restart(how)
    assert [one.n for one in store.claim(2)] == [2, 3]
    with pytest.raises(StoreError, match="in use by process"):
        UnitStore.open(store.url)


def test_a_server_that_stays_away_is_an_error_with_a_name(
    store: UnitStore, postgresql: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "RETRY_S", 0.3)
    postgresql.end(signal.SIGQUIT)
    try:
        for ask in (store.lot, store.counts, lambda: store.commit([done(1)]), lambda: store.claim(1)):
            with pytest.raises(StoreError, match=r"postgresql://.*refused"):
                ask()
    finally:
        postgresql.start()
    store.commit([done(1)])


class _Cut:
    """Breaks the connection around one COMMIT: before it is sent, or after it was answered."""

    def __init__(self, store: UnitStore, server: Server, *, sent: bool) -> None:
        self.times = 0
        engine = store._engine

        @listens_for(engine, "commit")
        def _committing(connection: sa.Connection) -> None:
            if self.times:
                return
            self.times += 1
            driver = connection.connection.driver_connection
            assert isinstance(driver, psycopg.Connection)
            if sent:
                driver.commit()  # the server did it; its answer is what gets lost
            with server.connect() as other:
                other.execute("SELECT pg_terminate_backend(%s)", (driver.info.backend_pid,))


@pytest.mark.parametrize("sent", [False, True])
def test_a_commit_without_an_answer_is_looked_up_and_done_once(
    store: UnitStore, postgresql: Server, *, sent: bool
) -> None:
    store.claim(1)
    cut = _Cut(store, postgresql, sent=sent)
    runs = []

    def work(transaction: Transaction) -> str:
        runs.append(1)
        row = {"unit": 1, "step": "s", "phase": "note", "attempt": 1, "facts": "{}", "at": 1.0}
        transaction.execute(event.insert().values(row))
        return "done"

    assert store._writer is not None
    assert store._writer.run(work) == "done"
    assert cut.times == 1
    assert len(runs) == (1 if sent else 2)
    assert len(list(store.events())) == 1


def test_a_claim_whose_answer_was_lost_leases_no_other_units(store: UnitStore, postgresql: Server) -> None:
    _Cut(store, postgresql, sent=True)
    assert [unit.n for unit in store.claim(3)] == [1, 2, 3]
    assert store.leased() == 3


def test_an_import_is_not_repeated_of_rows_that_were_read_once(postgresql: Server, postgresql_url: str) -> None:
    def rows() -> Iterator[object]:
        for row in order(2000):
            if row.n == 1500:
                postgresql.restart()
            yield row

    with UnitStore.open(postgresql_url, create=True) as store:
        with pytest.raises(StoreError):
            store.import_order(lot(), rows())  # type: ignore[arg-type]  # rows of an order
        assert store.lot() is None
        assert store.import_order(lot(), order(2000)) == 2000


def test_values_of_one_unit_and_of_several_arrive_alike(store: UnitStore) -> None:
    """One row goes to a server as it is, several as arrays, which may hold nothing but nulls."""
    values: list[dict[str, object]] = [
        {"device_uid": None, "finished_at": None, "failure_text": 'a "text", {with} \\ signs'},
        {"device_uid": b"\x00\xff", "finished_at": 1.5, "failure_text": ""},
    ]
    for each in values:
        store.commit([UnitChange(1, each)])
        store.commit([UnitChange(n, each | {"device_uid": None}) for n in (2, 3)])
        found = [(unit.device_uid, unit.finished_at, unit.failure_text) for unit in store.units()]
        assert found[0] == tuple(each.values())
        assert found[1:3] == [(None, *found[0][1:])] * 2


def test_threads_that_commit_while_the_server_restarts_lose_nothing_and_repeat_nothing(
    store: UnitStore, postgresql: Server
) -> None:
    """Each step is a row that may be there once: one done twice would be a conflict, one lost would be missing."""
    claimed = store.claim(8)
    troubles: list[Exception] = []
    running = threading.Event()

    def work(n: int) -> None:
        try:
            for step in range(60):
                store.commit([done(n, f"step {step}"), UnitChange(n, {"tries": step})])
                running.set()
        except StoreError as error:
            troubles.append(error)

    threads = [threading.Thread(target=work, args=(unit.n,)) for unit in claimed]
    for thread in threads:
        thread.start()
    running.wait(60)
    for how in (signal.SIGQUIT, signal.SIGKILL):
        time.sleep(0.1)
        postgresql.restart(how)
    for thread in threads:
        thread.join()
    assert troubles == []
    assert sum(1 for _ in store.events()) == 8 * 60
    assert [store.unit(unit.n).tries for unit in claimed] == [59] * 8  # type: ignore[union-attr]  # they are there


# ---- the driver is an extra


def test_a_missing_driver_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match="extra postgresql") as refused:
        postgresql.PostgresqlDatabase("postgresql://h/d")
    assert "keywright[postgresql]" in refused.value.hint


def test_a_lot_in_a_file_imports_no_driver(tmp_path: Path) -> None:
    code = (
        "import sys; from keywright.production.unit_store.units import UnitStore; "
        f"UnitStore.open({str(tmp_path / 'lot.db')!r}, create=True).close(); "
        "sys.exit(bool({'psycopg', 'keywright.production.unit_store.postgresql'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
