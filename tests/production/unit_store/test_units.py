"""The unit store: durable, whole, one writer, and constraints that hold whatever the code does."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateTable

from keywright.errors import OrderError, StoreError, UsageError
from keywright.production.migrations import upgrade as migration
from keywright.production.migrations.upgrade import upgrade
from keywright.production.order import OrderRow, read_order
from keywright.production.unit_store import sqlite as database
from keywright.production.unit_store.control_rows import LotMoved
from keywright.production.unit_store.rows import Certificate, Event, Lot, UnitChange
from keywright.production.unit_store.tables import CLOSING, HEAD, PHASES, STATES, metadata
from keywright.production.unit_store.transitions import TransitionError
from keywright.production.unit_store.units import ConflictError, UnitStore

LOT = Lot(
    lot="fob",
    recipe="text",
    recipe_digest="aa",
    order_file="fob.csv",
    order_digest="bb",
    keystore_id="cc",
    test=True,
    link="sim:fob",
    created_at=1.5,
)


def rows(count: int) -> Iterator[OrderRow]:
    return (OrderRow(n, f"S-{n:06d}", "m", "g", {"colour": "rot"}) for n in range(1, count + 1))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lot.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, path: Path) -> str:
    """Of a store that is not there yet, in a file and in a server's database."""
    return str(path) if request.param == "sqlite" else str(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def store(url: str) -> Iterator[UnitStore]:
    with UnitStore.open(url, create=True) as opened:
        opened.import_order(LOT, rows(10))
        yield opened


@pytest.fixture
def file(path: Path) -> Iterator[UnitStore]:
    """What is true of SQLite alone is tried on this one."""
    with UnitStore.open(str(path), create=True) as opened:
        opened.import_order(LOT, rows(10))
        yield opened


def in_a_child(work: Callable[[], object]) -> int:
    """Run in a forked process, which must not touch what its parent has open; returns its exit code."""
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def event(unit: int, phase: str = "intent", step: str = "own_keys", attempt: int = 1, **facts: object) -> Event:
    return Event(unit=unit, step=step, phase=phase, attempt=attempt, facts=facts, at=2.5)  # type: ignore[arg-type]  # any phase is tried


# ---- opening


@pytest.mark.parametrize("form", ["{}", "sqlite:///{}"])
def test_a_store_is_named_by_path_or_url(path: Path, form: str) -> None:
    UnitStore.open(form.format(path), create=True).close()
    assert path.exists()


@pytest.mark.parametrize(
    "url", ["", "sqlite:///", "sqlite://x", "sqlite:x", "postgresql:x", "mysql://h/d", "a\0b", "a\udcff"]
)
def test_another_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="not an address of a store"):
        UnitStore.open(url, create=True)


def test_a_missing_empty_or_foreign_file_is_refused_and_left_alone(path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        UnitStore.open(str(path))
    assert list(path.parent.iterdir()) == []
    path.touch()
    with pytest.raises(StoreError, match="the store is empty"):
        UnitStore.open(str(path))
    path.write_text("serial,model\n")
    for create in (False, True):
        with pytest.raises(StoreError, match="not a store of this program"):
            UnitStore.open(str(path), create=create)
    assert path.read_text() == "serial,model\n"
    with pytest.raises(StoreError, match="cannot be"):
        UnitStore.open(str(path.parent), create=True)
    with pytest.raises(StoreError, match="cannot be"):
        UnitStore.open(str(path.parent / "no" / "lot.db"), create=True)


def test_another_program_s_database_is_refused(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE x (y)")
    other.close()
    with pytest.raises(StoreError, match="not a store of this program"):
        UnitStore.open(str(path), create=True)


def test_a_damaged_database_is_refused(path: Path) -> None:
    UnitStore.open(str(path), create=True).close()
    content = bytearray(path.read_bytes())
    content[100:4096] = b"\xff" * 3996
    path.write_bytes(content)
    with pytest.raises(StoreError, match="cannot be used: "):
        UnitStore.open(str(path))


def test_commits_are_durable_by_the_settings(file: UnitStore) -> None:
    settings = file.settings()
    assert (settings.journal_mode, settings.synchronous) == ("wal", "FULL")
    assert (settings.commits, settings.changes, settings.syncs) == (1, 11, 1)
    with file._reader.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == database.BUSY_TIMEOUT_MS


def test_a_second_process_is_refused_with_the_pid_of_the_first(store: UnitStore, url: str, path: Path) -> None:
    link = path.with_name("link.db")
    if url == str(path):
        link.symlink_to(path)
    for name in (url, str(link)) if link.exists() else (url,):
        code = f"from keywright.production.unit_store.units import UnitStore; UnitStore.open({name!r})"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert run.returncode == 1
        assert f"is in use by process {os.getpid()}" in run.stderr
    with pytest.raises(StoreError, match=f"in use by process {os.getpid()}"):
        UnitStore.open(url)
    store.close()
    store.close()
    UnitStore.open(url).close()


def test_a_store_is_free_again_when_its_process_was_killed(url: str) -> None:
    def work() -> None:
        UnitStore.open(url, create=True)
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_a_child(work) == -signal.SIGKILL
    UnitStore.open(url, wait_s=10).close()


def test_others_may_read_while_one_writes_but_never_write(store: UnitStore, url: str) -> None:
    with UnitStore.open(url, readonly=True) as reader:
        store.commit([UnitChange(3, {"state": "sealed"})])
        assert reader.counts()["sealed"] == 1
        for write in (
            lambda: reader.commit([event(1)]),
            lambda: reader.import_order(LOT, rows(1)),
            lambda: reader.commit([LotMoved(event="finish", at=1.0)]),
        ):
            with pytest.raises(StoreError, match="for reading only"):
                write()
        with reader._reader.connect() as connection, pytest.raises(Exception, match=r"read-?only"):
            connection.exec_driver_sql("DELETE FROM certificate")


def test_nothing_is_made_for_reading(url: str) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        UnitStore.open(url, create=True, readonly=True)


# ---- import


def test_an_imported_order_reads_back(store: UnitStore) -> None:
    assert store.lot() == msgspec.structs.replace(LOT, units=10)
    units = list(store.units())
    assert [(unit.n, unit.serial) for unit in units] == [(row.n, row.serial) for row in rows(10)]
    unit = store.unit(7)
    assert unit == units[6] == store.find("S-000007")
    assert unit is not None
    assert (unit.extra, unit.state, unit.step, unit.evidence, unit.tries) == ({"colour": "rot"}, "planned", "", {}, 0)
    assert (unit.device_uid, unit.kdd, unit.started_at, unit.finished_at) == (None, None, None, None)
    assert store.unit(11) is None
    assert store.find("none") is None
    assert store.counts() == dict.fromkeys(STATES, 0) | {"planned": 10}


def test_a_store_holds_one_lot(store: UnitStore) -> None:
    with pytest.raises(ConflictError):
        store.import_order(LOT, rows(3))
    assert store.counts()["planned"] == 10


def test_a_fault_in_the_order_leaves_nothing_imported(url: str, tmp_path: Path) -> None:
    order = tmp_path / "order.csv"
    lines = [f"S-{n},m,g" for n in range(3000)]
    order.write_text("\n".join(["serial,model,owner_group", *lines, "S-7,m,g"]))
    with UnitStore.open(url, create=True) as store:
        with pytest.raises(OrderError, match="line 3002"):
            store.import_order(LOT, read_order(order))
        assert store.lot() is None
        assert list(store.units()) == []
        with pytest.raises(ConflictError, match=r"unit[._]serial"):
            store.import_order(LOT, [OrderRow(1, "A", "m", "g"), OrderRow(2, "A", "m", "g")])
        assert store.import_order(LOT, rows(2)) == 2


def test_a_kill_in_the_middle_of_an_import_leaves_nothing_imported(url: str) -> None:
    def until_killed() -> Iterator[OrderRow]:
        yield from rows(5000)
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_a_child(lambda: UnitStore.open(url, create=True).import_order(LOT, until_killed())) == -signal.SIGKILL
    with UnitStore.open(url, wait_s=10) as store:
        assert store.lot() is None
        assert store.counts()["planned"] == 0
        assert store.import_order(LOT, rows(5)) == 5


def test_what_was_committed_survives_a_kill_right_after(url: str) -> None:
    with UnitStore.open(url, create=True) as store:
        store.import_order(LOT, rows(100))

    def work() -> None:
        killed = UnitStore.open(url)
        for n in range(1, 51):
            killed.commit([event(n), UnitChange(n, {"state": "running"})])
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_a_child(work) == -signal.SIGKILL
    with UnitStore.open(url, wait_s=10) as store:
        assert store.counts()["running"] == 50
        assert len(list(store.open_intents())) == 50


# ---- changes


def test_a_batch_changes_units_and_adds_events_and_certificates(store: UnitStore) -> None:
    certificate = Certificate(serial_number="41", unit=2, spki_sha256=b"k" * 32, der=b"der", at=3.5)
    happened = [event(1, kvn=0x30, kcvs="ab" * 9, nested={"a": [1, None, "ü"]}), event(2, "done"), event(1, "done")]
    changed = {"state": "running", "step": "own_keys", "device_uid": b"uid", "kdd": b"k" * 10, "tries": 1}
    store.commit([happened[0], UnitChange(1, changed | {"evidence": {"i": 0x70}}), *happened[1:], certificate])
    assert list(store.events(1)) == [happened[0], happened[2]]
    assert list(store.events()) == happened
    unit = store.unit(1)
    assert unit is not None
    assert {name: getattr(unit, name) for name in changed} == changed
    assert unit.evidence == {"i": 0x70}
    assert store.find_device(b"uid") == unit
    assert store.find_device(b"other") is None
    assert store.certificate(2) == certificate
    assert store.certificate(1) is None


def test_of_values_given_twice_in_a_batch_the_later_count(store: UnitStore) -> None:
    first = UnitChange(1, {"state": "running", "step": "a", "started_at": 1.0})
    store.commit([first, UnitChange(2, {"tries": 3}), UnitChange(1, {"state": "sealed"})])
    unit = store.unit(1)
    assert unit is not None
    assert (unit.state, unit.step, unit.started_at) == ("sealed", "a", 1.0)


def test_an_empty_batch_is_no_transaction(store: UnitStore) -> None:
    store.commit([])
    assert store.settings().commits == 1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            event(1, "done", "identify"),
            ConflictError,
            r"event\.unit, event\.step, event\.phase, event\.attempt|event_once",
        ),
        (UnitChange(2, {"device_uid": b"one"}), ConflictError, r"unit\.device_uid|unit_device"),
        (UnitChange(2, {"state": "lost"}), TransitionError, "unit 2 is planned: it cannot become lost"),
        (event(2, "begun"), ConflictError, "event_phase"),
        (event(99), ConflictError, "FOREIGN KEY|foreign key"),
        (UnitChange(99, {"state": "sealed"}), StoreError, "names a unit that the lot does not have"),
        (UnitChange(2, {"serial": "X"}), ValueError, "serial cannot be changed"),
        (UnitChange(2, {"no": 1}), ValueError, "no cannot be changed"),
        (event(2, uid=b"bytes"), TypeError, "bytes"),
        (UnitChange(2, {"evidence": {"uid": b"bytes"}}), TypeError, "bytes"),
    ],
)
def test_a_bad_change_leaves_the_whole_batch_undone(
    store: UnitStore, change: Event | UnitChange, error: type[Exception], message: str
) -> None:
    store.commit([event(1, "done", "identify"), UnitChange(1, {"device_uid": b"one"})])
    with pytest.raises(error, match=message):
        store.commit([UnitChange(3, {"state": "sealed"}), event(3), change])
    assert store.counts()["sealed"] == 0
    assert list(store.events(3)) == []
    store.commit([event(3)])


def test_a_full_disk_is_an_error_and_no_loss(file: UnitStore) -> None:
    assert file._writer is not None
    raw = file._writer._connected().connection.dbapi_connection
    assert raw is not None
    pages = raw.cursor().execute("PRAGMA page_count").fetchone()[0]
    raw.cursor().execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="cannot write: database or disk is full"):
        file.commit([event(1, attempt=n, note="x" * 500) for n in range(1, 200)])
    raw.cursor().execute(f"PRAGMA max_page_count = {pages + 1000}")
    assert list(file.events()) == []
    file.commit([event(1)])
    assert list(file.events()) == [event(1)]


def test_events_are_never_changed_or_deleted(store: UnitStore) -> None:
    store.commit([event(1)])
    engine = store.database.engine(write=True)
    for statement in ("UPDATE event SET phase = 'done'", "DELETE FROM event"):
        with engine.connect() as raw, pytest.raises(IntegrityError, match="append-only"):
            raw.exec_driver_sql(statement)
    engine.dispose()
    assert list(store.events()) == [event(1)]


def test_the_state_of_the_lot_is_kept(store: UnitStore) -> None:
    store.commit([LotMoved(event="finish", at=1.0)])
    lot = store.lot()
    assert lot is not None
    assert lot.state == "complete"


@pytest.mark.parametrize("phase", PHASES)
def test_an_intent_is_open_until_a_closing_event_of_its_attempt(store: UnitStore, phase: str) -> None:
    store.commit([event(1), event(2), event(2, attempt=2), event(3, "done")])
    if phase != "intent":
        store.commit([event(2, phase)])
    settled = [event(2)] if phase in CLOSING else []
    expected = [one for one in (event(1), event(2), event(2, attempt=2)) if one not in settled]
    assert list(store.open_intents()) == expected
    assert list(store.open_intents(1)) == [event(1)]
    assert list(store.open_intents(3)) == []


def test_many_threads_may_commit(store: UnitStore) -> None:
    def work(n: int) -> None:
        for attempt in range(1, 21):
            store.commit([event(n, attempt=attempt), UnitChange(n, {"tries": attempt})])
            assert store.unit(n).tries == attempt  # type: ignore[union-attr]  # the unit is there

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(1 for _ in store.events()) == 160
    assert store.settings().commits == 161


def test_checkpoints_are_made_and_counted(file: UnitStore) -> None:
    for n, attempt in itertools.product(range(1, 11), range(1, 6)):
        file.commit([event(n, attempt=attempt * 1000 + k) for k in range(100)])
    settings = file.settings()
    assert (settings.commits, settings.changes) == (51, 5011)
    assert settings.syncs == 51 + 3
    wal = Path(f"{file.path}-wal").stat().st_size
    for attempt in range(1, 20):
        file.commit([event(1, "note", attempt=attempt * 1000 + k) for k in range(100)])
    assert Path(f"{file.path}-wal").stat().st_size == wal


# ---- claiming


def test_units_are_claimed_once_in_order(store: UnitStore) -> None:
    assert [unit.n for unit in store.claim(4)] == [1, 2, 3, 4]
    assert [unit.n for unit in store.claim(4)] == [5, 6, 7, 8]
    assert [unit.n for unit in store.claim(4)] == [9, 10]
    assert store.claim(4) == []


def test_what_an_earlier_process_began_is_claimed_first_and_what_is_finished_never(url: str) -> None:
    with UnitStore.open(url, create=True) as store:
        store.import_order(LOT, rows(300))
        states = {2: "sealed", 3: "quarantined", 4: "rejected", 7: "running", 200: "running"}
        store.commit([UnitChange(n, {"state": state}) for n, state in states.items()])
        store.commit([event(9), event(3)])
    with UnitStore.open(url) as store:
        claimed = [unit.n for unit in store.claim(3)]
        while some := store.claim(7):
            store.commit([UnitChange(unit.n, {"state": "running"}) for unit in some])
            claimed += [unit.n for unit in some]
    assert claimed[:3] == [7, 9, 200]
    assert claimed[3:] == [n for n in range(1, 301) if n not in (2, 3, 4, 7, 9, 200)]


def test_units_of_some_states_are_listed_in_the_order_of_the_order(store: UnitStore) -> None:
    store.commit([UnitChange(n, {"state": "sealed"}) for n in (8, 2)])
    assert [unit.n for unit in store.units(("sealed",))] == [2, 8]
    assert [unit.n for unit in store.units(("quarantined",))] == []


def test_a_listing_is_a_picture_of_when_it_began(store: UnitStore) -> None:
    listing = store.units()
    assert next(listing).n == 1
    store.commit([UnitChange(10, {"state": "sealed"})])
    assert [unit.state for unit in listing][-1] == "planned"


# ---- schema


def test_the_migrations_make_the_tables_the_code_uses(file: UnitStore) -> None:
    with file._reader.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
        tables = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'table'").all()
    assert differences == []
    made = {name: definitions(sql) for name, sql in tables}
    for name, table in metadata.tables.items():
        assert made[name] == definitions(str(CreateTable(table).compile(dialect=sqlite.dialect())))


def definitions(sql: str) -> list[str]:
    """Columns and constraints of a CREATE TABLE, in no order: SQLite puts a column added later after the last one."""
    depth, found = 0, [""]
    for character in " ".join(sql.split()).partition("(")[2]:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and not depth:
            found.append("")
        elif depth >= 0:
            found[-1] += character
    return sorted(one.strip() for one in found)


def test_an_open_store_of_this_schema_does_not_import_alembic(path: Path) -> None:
    UnitStore.open(str(path), create=True).close()
    code = (
        "import sys; from keywright.production.unit_store.units import UnitStore; "
        f"UnitStore.open({str(path)!r}).close(); sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_newer_schema_is_refused_by_name(path: Path) -> None:
    UnitStore.open(str(path), create=True).close()
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '0999'")
    raw.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=f"has schema 0999; this program knows schemas up to {HEAD}"):
        UnitStore.open(str(path))
    with pytest.raises(StoreError, match=f"has schema 0999, not {HEAD}"):
        UnitStore.open(str(path), readonly=True)
    assert path.read_bytes() == before
    with sqlite3.connect(path) as raw:
        raw.execute("DELETE FROM alembic_version")
    raw.close()
    with pytest.raises(StoreError, match="does not say which schema"):
        UnitStore.open(str(path))


NEXT = """
import sqlalchemy as sa
from alembic import op
revision = "0999"
down_revision = "0002"
def upgrade():
    op.add_column("unit", sa.Column("colour", sa.Text))
    op.execute("UPDATE unit SET colour = 'rot'")
    if FAIL:
        raise OSError("disk")
"""


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    target = tmp_path / "scripts"
    shutil.copytree(migration.SCRIPTS, target, ignore=shutil.ignore_patterns("__pycache__"))
    return target


def test_an_older_store_is_migrated_after_a_backup(path: Path, scripts: Path) -> None:
    with UnitStore.open(str(path), create=True) as store:
        store.import_order(LOT, rows(5))
    (scripts / "versions" / "v0999_colour.py").write_text(NEXT.replace("FAIL", "False"))
    engine = database.engine_for(path, write=True)
    with engine.connect().execution_options(immediate=True) as connection, connection.begin():
        upgrade(connection, database.SqliteFile(path), head="0999", scripts=scripts)
        upgrade(connection, database.SqliteFile(path), head="0999", scripts=scripts)
        assert connection.exec_driver_sql("SELECT DISTINCT colour FROM unit").scalars().all() == ["rot"]
    engine.dispose()
    with pytest.raises(StoreError, match="has schema 0999"):
        UnitStore.open(str(path))
    backup = path.with_name("lot.db.schema-0002.bak")
    with UnitStore.open(str(backup)) as store:
        assert store.counts()["planned"] == 5
    assert not list(path.parent.glob("*.part"))


def test_a_migration_that_fails_leaves_the_store_as_it_was(path: Path, scripts: Path) -> None:
    with UnitStore.open(str(path), create=True) as store:
        store.import_order(LOT, rows(5))
    (scripts / "versions" / "v0999_colour.py").write_text(NEXT.replace("FAIL", "True"))
    engine = database.engine_for(path, write=True)
    with pytest.raises(OSError, match="disk"), engine.connect() as connection, connection.begin():
        upgrade(connection, database.SqliteFile(path), head="0999", scripts=scripts)
    engine.dispose()
    with UnitStore.open(str(path)) as store:
        assert store.counts()["planned"] == 5


def test_no_migration_without_a_backup(path: Path, scripts: Path) -> None:
    UnitStore.open(str(path), create=True).close()
    (scripts / "versions" / "v0999_colour.py").write_text(NEXT.replace("FAIL", "False"))
    path.with_name("lot.db.schema-0002.bak").mkdir()
    engine = database.engine_for(path, write=True)
    with (
        pytest.raises(StoreError, match="the backup cannot be written"),
        engine.connect() as connection,
        connection.begin(),
    ):
        upgrade(connection, database.SqliteFile(path), head="0999", scripts=scripts)
    engine.dispose()
    UnitStore.open(str(path)).close()


# ---- size


def test_twenty_thousand_units_are_imported_and_read_without_being_held(path: Path) -> None:
    code = (
        "import resource, sys\n"
        "from keywright.production.order import OrderRow\n"
        "from keywright.production.unit_store.rows import Lot\n"
        "from keywright.production.unit_store.units import UnitStore\n"
        "lot = Lot(lot='l', recipe='', recipe_digest='', order_file='', order_digest='', keystore_id='', test=True,\n"
        "          link='', created_at=0.0)\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "def run(count, name):\n"
        "    with UnitStore.open(name, create=True) as store:\n"
        "        rows = (OrderRow(n, f'S-{n:060d}', 'm', 'g', {'x': 'y' * 400}) for n in range(count))\n"
        "        store.import_order(lot, rows)\n"
        "        return sum(1 for _ in store.units())\n"
        f"run(2000, {str(path)!r} + '.small')\n"
        "before = peak()\n"
        f"assert run(20000, {str(path)!r}) == 20000\n"
        "assert peak() - before < 8000, peak() - before\n"
    )
    run = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
