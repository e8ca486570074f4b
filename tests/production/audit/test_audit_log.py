"""The log in the transactions of the store: on both kinds of database, with several writers, whatever is cut."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from keywright.errors import StoreError
from keywright.production.audit.events import Actor, AuditEvent, Body, decode_body, encode_body
from keywright.production.audit.log import KINDS, Log
from keywright.production.canonical import canonical
from keywright.production.unit_store import writers
from keywright.production.unit_store.leases import Leave
from keywright.production.unit_store.rows import Change
from keywright.production.unit_store.tables import audit, audit_head
from keywright.production.unit_store.transaction import Transaction
from keywright.production.unit_store.units import ConflictError, UnitStore
from keywright.production.unit_store.writers import WRITERS
from support.audited import altered, event, exported, judged, made, work

SILENT = {
    "Leave": "a lease, no fact about a unit",
    "PreparedChunk": "its writer makes the entry, about the whole chunk",
    "Closed": "its writer makes the entries, with the state of the lot",
    "BodiesGivenUp": "comes with an entry that says so",
    "KeyNamed": "comes with an entry that says so",
    "UnitsMarked": "comes with an entry that has the digest of its rows",
    "CheckpointMade": "speaks of the log, from outside it",
}
"""Kinds of change that the log does not tell of, and why."""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    path = tmp_path / "lot.db"
    return str(path) if request.param == "sqlite" else str(request.getfixturevalue("postgresql_url"))


def bodies(store: UnitStore) -> list[Body]:
    with store.reading() as connection:
        return [decode_body(row.body) for row in connection.execute(sa.select(audit.c.body).order_by(audit.c.seq))]


def test_every_kind_of_change_is_told_or_has_a_reason_not_to_be() -> None:
    kinds = {kind for writer in WRITERS for kind in writer.kinds}
    assert {kind.__name__ for kind in kinds - set(KINDS)} == set(SILENT)
    assert WRITERS[-1].kinds == KINDS, "the log comes last"


def test_what_was_written_is_whole_on_both_databases(url: str, tmp_path: Path) -> None:
    with made(url) as store:
        verdict = judged(exported(store, tmp_path / "export"), tmp_path / "export")
    assert verdict.findings == ()
    assert verdict.size == 19


def test_a_body_has_the_one_spelling_that_canonical_gives(url: str) -> None:
    with made(url) as store:
        store.commit(
            [AuditEvent(action="x.y", object_type='\u00e9\n\x01\u2028"', object_id="\U0001f511", approvals=("a", "b"))]
        )
        for body in bodies(store):
            assert encode_body(body) == canonical(msgspec.to_builtins(body))


def test_several_writers_write_one_log(url: str, tmp_path: Path) -> None:
    made(url, units=2, planned=40, is_stopped=False).close()

    def write(name: str) -> None:
        with UnitStore.open(url, station=name) as store:
            for unit in store.claim(10):
                for batch in work(unit.n):
                    store.commit(batch)

    threads = [threading.Thread(target=write, args=(f"station{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with UnitStore.open(url, readonly=True) as store:
        verdict = judged(exported(store, tmp_path / "export"), tmp_path / "export")
    assert verdict.findings == ()
    assert verdict.size > 12 + 100


def test_a_batch_that_is_refused_leaves_no_entry(url: str) -> None:
    with made(url) as store:
        before = len(bodies(store))
        with pytest.raises(ConflictError):
            store.commit(
                [AuditEvent(action="a.b", object_type="c", object_id="d"), event(1, "own_keys.put", "done", 1.0)]
            )
        with pytest.raises(StoreError):
            store.commit([event(999, "x", "note", 1.0)])
        assert len(bodies(store)) == before


def test_an_entry_that_cannot_be_written_undoes_the_change(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_transaction: Transaction, _changes: object) -> None:
        raise StoreError("the log is full")

    with made(url) as store:
        before = len(bodies(store)), len(list(store.events()))
        last = writers.Writer(KINDS, broken)
        monkeypatch.setattr(writers.write, "__defaults__", ((*WRITERS[:-1], last),))
        with pytest.raises(StoreError):
            store.commit([event(1, "x", "note", 1.0)])
        assert (len(bodies(store)), len(list(store.events()))) == before


def test_the_database_refuses_to_change_the_log(url: str) -> None:
    with made(url) as store:
        for statement in (
            audit.delete().where(audit.c.seq == 3),
            audit.update().where(audit.c.seq == 3).values(body="{}"),
            audit.update().where(audit.c.seq == 3).values(body=None, leaf=b""),
        ):
            with pytest.raises(StoreError):
                store._write(lambda transaction, done=statement: transaction.execute(done))  # type: ignore[misc]  # bound now


class Clocks:
    """A wall clock and a monotonic one, set by hand."""

    def __init__(self) -> None:
        self.wall, self.steady = 1_700_000_000.0, 5.0

    def log(self, host: str = "here") -> Log:
        return Log(Actor("os", "tester", "1"), host, clock=lambda: self.wall, monotonic=lambda: self.steady)


def noted(store: UnitStore, log: Log, number: int) -> None:
    happened = AuditEvent(action="a.b", object_type="c", object_id=str(number))
    store._write(lambda transaction: log.append(transaction, [happened]))


def test_a_clock_that_went_back_is_noted_by_the_log_itself(tmp_path: Path) -> None:
    clocks = Clocks()
    with made(tmp_path / "lot.db") as store:
        clocks.wall += 1_000_000_000.0
        noted(store, clocks.log(), 1)
        clocks.wall -= 0.002
        noted(store, clocks.log(), 2)
        verdict = judged(exported(store, tmp_path / "export"), tmp_path / "export")
        assert [body.action for body in bodies(store)][-2:] == ["clock.step-back", "a.b"]
    assert verdict.whole
    assert "went back by 2 ms; the log noted it itself" in verdict.notes[0]


def test_a_clock_of_another_host_may_lie_a_little_behind(tmp_path: Path) -> None:
    clocks = Clocks()
    with made(tmp_path / "lot.db") as store:
        clocks.wall += 1_000_000_000.0
        noted(store, clocks.log(), 1)
        clocks.wall -= 4.0
        noted(store, clocks.log("there"), 2)
        assert [body.action for body in bodies(store)][-2:] == ["a.b", "a.b"]
        clocks.wall -= 6.0
        noted(store, clocks.log("elsewhere"), 3)
        assert [body.action for body in bodies(store)][-2:] == ["clock.step-back", "a.b"]


def test_a_clock_that_went_back_unnoted_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a log would be that was written by something else: the chain fits, the time does not."""
    monkeypatch.setattr("keywright.production.audit.log.is_step_back", lambda *_: False)
    clocks = Clocks()
    with made(tmp_path / "lot.db") as store:
        clocks.wall += 1_000_000_000.0
        noted(store, clocks.log(), 1)
        clocks.wall -= 1.0
        noted(store, clocks.log(), 2)
        clocks.steady -= 1.0
        noted(store, clocks.log(), 3)
        verdict = judged(exported(store, tmp_path / "export"), tmp_path / "export")
    assert [(found.position, found.kind) for found in verdict.findings] == [(20, "clock"), (21, "clock")]


def test_a_store_from_before_the_log_begins_it_with_what_is_there(tmp_path: Path) -> None:
    made(tmp_path / "lot.db").close()
    altered(
        tmp_path / "lot.db",
        "DELETE FROM audit",
        "UPDATE audit_head SET size = 0, edge = x'', last = x'', at_ms = 0, host = ''",
    )
    with UnitStore.open(str(tmp_path / "lot.db")) as store:
        store.commit([event(1, "later", "note", 1.0)])
        verdict = judged(exported(store, tmp_path / "export"), tmp_path / "export")
        assert bodies(store)[0].action == "lot.adopt"
    assert verdict.findings == ()


def test_a_lease_has_no_entry(tmp_path: Path) -> None:
    made(tmp_path / "lot.db", is_stopped=False).close()
    with UnitStore.open(str(tmp_path / "lot.db")) as store:
        unit = store.claim(1)[0]
        with store.reading() as connection:
            before = connection.execute(sa.select(audit_head.c.size)).scalar_one()
        changes: list[Change] = [Leave(unit.n)]
        store.commit(changes)
        assert len(bodies(store)) == before
