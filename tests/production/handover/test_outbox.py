"""The outbox: in order, each record once as the receiver sees it, and one bad record holds up nobody."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from keywright.errors import UsageError
from keywright.production.handover import outbox
from keywright.production.handover.outbox import (
    LONGEST_WAIT_S,
    Acknowledged,
    Answer,
    OutboxChange,
    Receiver,
    ReceiverError,
    Sent,
    Tally,
    UnitRecord,
    body_hash,
    wait_s,
)
from keywright.production.handover.receivers import FolderReceiver, HttpReceiver, receiver_for
from keywright.production.reports.report import reading
from keywright.production.unit_store.rows import Change, UnitChange, UnknownUnitError
from keywright.production.unit_store.units import ConflictError, UnitStore
from support.lots import made_up, order
from support.receiving import Registry, answering, serving

UNITS = 6


def record(n: int, text: str = "") -> UnitRecord:
    return UnitRecord(n, f"head.{n}{text}.sig", b"\xd2", 1.0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[UnitStore]:
    with made_up(tmp_path / "lot.db", order(UNITS)) as opened:
        for n in (2, 1, 3, 4, 6, 5):
            opened.commit([UnitChange(n, {"state": "sealed"}), record(n)])
        yield opened


SEALED = [2, 1, 3, 4, 6, 5]


class Memory:
    """A receiver in memory. `fail`: units of which it says nothing."""

    def __init__(self, *fail: int) -> None:
        self.kept: dict[int, str] = {}
        self.arrived: list[int] = []
        self.fail = set(fail)

    def take(self, sent: Sent) -> Answer:
        self.arrived.append(sent.unit)
        if sent.unit in self.fail:
            raise ReceiverError("cannot be reached", delivered=None)
        before = self.kept.setdefault(sent.unit, sent.jws)
        return "stored" if self.arrived.count(sent.unit) == 1 else "same" if before == sent.jws else "conflict"


def half(size: int) -> bytes:
    return b"\x80".ljust(size, b"\0")


def send(
    store: UnitStore,
    receiver: Receiver,
    now: float = 10.0,
    commit: Callable[[Sequence[Change]], None] | None = None,
    max_tries: int = 12,
) -> Tally:
    def next_due(at: float, after: int) -> list[Sent]:
        with reading(store) as connection:
            return outbox.due(connection, now=at, after=after)

    return outbox.send(next_due, commit or store.commit, receiver, clock=lambda: now, rng=half, max_tries=max_tries)


def standing(store: UnitStore) -> dict[str, int]:
    with reading(store) as connection:
        return outbox.counts(connection)


def test_a_row_is_there_exactly_when_its_unit_is_sealed(tmp_path: Path) -> None:
    with made_up(tmp_path / "other.db", order(2)) as opened:
        with pytest.raises(UnknownUnitError):
            opened.commit([record(1), UnitChange(9, {"state": "sealed"})])
        assert standing(opened) == {"waiting": 0, "dead": 0, "conflict": 0}
        opened.commit([record(1), UnitChange(1, {"state": "sealed"})])
        with pytest.raises(ConflictError):
            opened.commit([record(1, "other")])
        assert standing(opened)["waiting"] == 1


def test_records_go_in_the_order_of_sealing(store: UnitStore) -> None:
    receiver = Memory()
    assert send(store, receiver) == Tally(stored=UNITS)
    assert receiver.arrived == SEALED
    assert standing(store) == {"waiting": 0, "dead": 0, "conflict": 0}
    assert send(store, receiver) == Tally()


def test_one_that_fails_holds_up_nobody_and_waits_longer_each_time(store: UnitStore) -> None:
    receiver = Memory(1)
    assert send(store, receiver) == Tally(stored=UNITS - 1, failed=1)
    assert receiver.arrived == SEALED
    now = 10.0
    for tries in range(1, 5):
        wait = wait_s(tries, half)
        assert send(store, receiver, now=now + wait - 0.001) == Tally()
        now += wait
        assert send(store, receiver, now=now) == Tally(failed=1)
    receiver.fail.clear()
    with reading(store) as connection:
        (trouble,) = outbox.troubles(connection)
    assert (trouble["unit"], trouble["tries"], trouble["last_error"]) == (1, 5, "cannot be reached")
    assert send(store, receiver, now=now + LONGEST_WAIT_S) == Tally(same=1)
    assert receiver.kept.keys() == set(SEALED)


def test_the_wait_doubles_with_jitter_and_has_an_end() -> None:
    for tries in range(1, 60):
        longest = min(2.0 ** (tries - 1), LONGEST_WAIT_S)
        assert wait_s(tries, bytes) == longest / 2
        assert longest / 2 < wait_s(tries, half) < wait_s(tries, lambda size: b"\xff" * size) < longest


def test_after_too_many_tries_a_record_is_put_aside_until_somebody_asks(store: UnitStore) -> None:
    receiver = Memory(2, 3)
    now = 10.0
    for _ in range(3):
        send(store, receiver, now=now, max_tries=3)
        now += 10
    assert standing(store) == {"waiting": 0, "dead": 2, "conflict": 0}
    assert receiver.kept.keys() == {1, 4, 5, 6}
    assert send(store, receiver, now=now + 1e9) == Tally()
    receiver.fail.clear()
    with reading(store) as connection:
        aside = outbox.set_aside(connection)
    store.commit(outbox.revived(aside, now=now))
    assert send(store, receiver, now=now) == Tally(same=2)


def test_another_record_of_the_same_unit_is_an_incident_and_stays(store: UnitStore) -> None:
    receiver = Memory()
    receiver.kept[3] = "something else"
    receiver.arrived = [3]
    assert send(store, receiver) == Tally(stored=UNITS - 1, conflicts=1)
    assert standing(store) == {"waiting": 0, "dead": 0, "conflict": 1}
    assert send(store, receiver, now=1e9) == Tally()


def test_only_the_very_record_that_was_acknowledged_leaves(store: UnitStore) -> None:
    with reading(store) as connection:
        first, *_ = outbox.due(connection, now=10.0)
    store.commit([Acknowledged(first.seq, "0" * 64)])
    assert standing(store)["waiting"] == UNITS
    store.commit([Acknowledged(first.seq, first.hash)])
    assert standing(store)["waiting"] == UNITS - 1


ROUNDS = {"before sending": UNITS - 1, "after sending": UNITS - 1, "in the commit": 2, "after the commit": UNITS}
"""How often a sender can be cut there: one record further each time, but for a commit that never comes about."""


class Cut(BaseException):
    """The power goes."""


@pytest.mark.parametrize("kind", ["memory", "folder", "http"])
@pytest.mark.parametrize("point", ROUNDS)
def test_a_cut_anywhere_loses_nothing_and_stores_nothing_twice(
    store: UnitStore, tmp_path: Path, kind: str, point: str
) -> None:
    """Cut at each record in turn; then sent to the end. The receiver has every record, and stored each once."""
    registry = Registry()
    with serving(registry) as url:
        receivers: dict[str, Receiver] = {
            "memory": Memory(),
            "folder": FolderReceiver(tmp_path / "registry"),
            "http": HttpReceiver(url),
        }
        inner = receivers[kind]
        stored: list[int] = []
        for _ in range(ROUNDS[point]):
            with pytest.raises(Cut):
                send(store, *_cutting(store, inner, stored, point))
        send(store, _Counting(inner, stored))
    assert sorted(stored) == sorted(SEALED)
    assert standing(store) == {"waiting": 0, "dead": 0, "conflict": 0}
    if kind == "folder":
        found = {path.name: path.read_text() for path in (tmp_path / "registry").iterdir()}
        assert found == {f"{n}.jws": record(n).jws for n in SEALED}
    elif kind == "http":
        assert registry.bodies == {n: record(n).jws for n in SEALED}
        assert registry.stored == UNITS


class _Counting:
    """Keeps what was stored anew; cuts before or after the record of one place."""

    def __init__(self, inner: Receiver, stored: list[int], before: int = 0, after: int = 0) -> None:
        self._inner, self._stored = inner, stored
        self._before, self._after = before, after
        self._number = 0

    def take(self, sent: Sent) -> Answer:
        self._number += 1
        if self._number == self._before:
            raise Cut
        answer = self._inner.take(sent)
        if answer == "stored":
            self._stored.append(sent.unit)
        if self._number == self._after:
            raise Cut
        return answer


def _cutting(
    store: UnitStore, inner: Receiver, stored: list[int], point: str
) -> tuple[Receiver, float, Callable[[Sequence[Change]], None]]:
    def commit(changes: Sequence[Change]) -> None:
        if point == "in the commit":
            with pytest.raises(UnknownUnitError):
                store.commit([*changes, UnitChange(99, {"tries": 1})])
            raise Cut
        store.commit(changes)
        if point == "after the commit":
            raise Cut

    before, after = (2 if point == name else 0 for name in ("before sending", "after sending"))
    return _Counting(inner, stored, before, after), 10.0, commit


def test_a_process_that_is_killed_while_it_sends_loses_nothing(tmp_path: Path) -> None:
    """A child is killed right after the n-th record has arrived, for every n; the last one finishes."""
    path, folder = tmp_path / "lot.db", tmp_path / "registry"
    with made_up(path, order(UNITS)) as opened:
        for n in range(1, UNITS + 1):
            opened.commit([UnitChange(n, {"state": "sealed"}), record(n)])
    for _ in range(UNITS):
        child = os.fork()
        if not child:
            _killed_after_one(path, folder)
        _, status = os.waitpid(child, 0)
        assert os.WEXITSTATUS(status) == 9
    with UnitStore.open(str(path)) as opened:
        assert send(opened, FolderReceiver(folder)).stored == UNITS - 1
        assert standing(opened) == {"waiting": 0, "dead": 0, "conflict": 0}
    assert {one.name: one.read_text() for one in folder.iterdir()} == {
        f"{n}.jws": record(n).jws for n in range(1, UNITS + 1)
    }


def _killed_after_one(path: Path, folder: Path) -> None:
    inner = FolderReceiver(folder)

    class Killed:
        def take(self, sent: Sent) -> Answer:
            inner.take(sent)
            os._exit(9)

    try:
        with UnitStore.open(str(path)) as opened:
            send(opened, Killed())
    finally:
        os._exit(1)


def sent(n: int = 1, text: str = "") -> Sent:
    jws = record(n, text).jws
    return Sent(1, n, body_hash(jws), jws, 0)


def test_a_folder_knows_a_record_again(tmp_path: Path) -> None:
    receiver = receiver_for(f"file:{tmp_path / 'registry'}")
    assert [receiver.take(sent()), receiver.take(sent()), receiver.take(sent(1, "x"))] == ["stored", "same", "conflict"]
    assert (tmp_path / "registry/1.jws").read_text() == sent().jws
    (tmp_path / "file").write_text("")
    with pytest.raises(ReceiverError, match="cannot be kept"):
        receiver_for(f"file:{tmp_path / 'file'}").take(sent())


def test_a_server_acknowledges_in_its_own_words() -> None:
    registry = Registry()
    with serving(registry) as url:
        receiver = receiver_for(url)
        assert [receiver.take(sent()), receiver.take(sent()), receiver.take(sent(1, "x"))] == [
            "stored",
            "same",
            "conflict",
        ]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"ok",
        b"{}",
        b'{"result": "stored"}',
        b'{"result": "gone", "key": "k"}',
        b'{"result":"stored","key":"2-00"}',
    ],
)
def test_what_is_no_acknowledgement_acknowledges_nothing(store: UnitStore, answer: bytes) -> None:
    registry = Registry()
    registry.answers = dict.fromkeys(SEALED, answer)
    with serving(registry) as url:
        assert send(store, HttpReceiver(url)) == Tally(failed=UNITS)
    assert standing(store)["waiting"] == UNITS


@pytest.mark.parametrize("status", [302, 400, 404, 500, 503])
def test_a_refusal_is_tried_again_and_others_go_on(store: UnitStore, status: int) -> None:
    registry = Registry()
    registry.faults = {1: [status]}
    with serving(registry) as url:
        assert send(store, HttpReceiver(url)) == Tally(stored=UNITS - 1, failed=1)
        assert send(store, HttpReceiver(url), now=100.0) == Tally(stored=1)
    assert registry.arrivals == [*SEALED, 1]


def test_a_server_that_is_not_there(store: UnitStore) -> None:
    with serving(Registry()) as url:
        pass
    assert send(store, HttpReceiver(url, timeout_s=1.0)) == Tally(failed=UNITS)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
        b"HTTP/1.1 409 Conflict\r\nContent-Length: 100\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 " + b"O" * 70_000,
    ],
)
def test_what_is_no_http_holds_up_nobody(store: UnitStore, answer: bytes) -> None:
    with answering(answer) as url:
        assert send(store, HttpReceiver(url)) == Tally(failed=UNITS)
    assert standing(store)["waiting"] == UNITS


@pytest.mark.parametrize("uri", ["", "file:", "ftp://x", "registry", "HTTP://x"])
def test_what_names_no_receiver(uri: str) -> None:
    with pytest.raises(UsageError, match="no receiver"):
        receiver_for(uri)


def test_the_key_is_unit_and_body() -> None:
    assert sent().key == f"1-{hashlib.sha256(record(1).jws.encode()).hexdigest()}"
    assert json.dumps(sent(2).key) != json.dumps(sent(2, "x").key)
    assert OutboxChange(1, "waiting", 0, 0.0, "").error == ""
