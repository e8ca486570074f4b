"""A tray of simulated fobs in a process of its own: messages, power, planned cuts, and who owns the journal."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.errors import LinkError
from keywright.fob.fobs import Model, chip_serial, simulated_fob
from keywright.fob.pool import COMMAND, POWER_OFF, POWER_ON, Cut, FobPool, Frames, Plan, frame
from keywright.fob.tray import Tray, serve
from keywright.globalplatform.host import identify
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.layers import complete, transmit
from keywright.link import Loopback
from keywright.production.stations import exchange_with
from keywright.sansio.dialogue import drive, through
from keywright.scp.scp03 import KeySet, open_channel
from keywright.scp.scp03.host import CardCryptogramError
from keywright.store import Journal, Memory, RamMemory

CPLC = bytes.fromhex("80CA9F7F00")
INITIALIZE_UPDATE = bytes.fromhex("80500000080102030405060708" + "00")
GET_STATUS = Command(0x80, 0xF2, 0x80, 0x02, b"\x4f\x00", 0)
CHALLENGE = bytes(8)


# ---- messages of the socket -----------------------------------------------------------------------------------

MESSAGES = st.lists(
    st.tuples(st.integers(0, 2), st.text("ABC-0123äö", max_size=20), st.binary(max_size=300)), min_size=1, max_size=6
)


@given(MESSAGES, st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_messages_come_back_whole_however_the_stream_is_cut(
    messages: list[tuple[int, str, bytes]], cuts: list[int]
) -> None:
    stream = b"".join(frame(*message) for message in messages)
    frames, found, at = Frames(), [], 0
    for size in cuts:
        found += frames.feed(stream[at : at + size])
        at += size
    found += frames.feed(stream[at:])
    assert found == messages
    assert frames.feed(b"") == []


# ---- a tray in a thread of this process -----------------------------------------------------------------------


@pytest.fixture
def serving() -> Iterator[Serving]:
    place = Serving()
    yield place
    place.end()


class Serving:
    """Trays that run in threads; every one is gone at the end of the test."""

    def __init__(self) -> None:
        self._open: list[tuple[FobPool, threading.Thread]] = []

    def pool(self, plan: Plan) -> FobPool:
        ours, theirs = socket.socketpair()
        thread = threading.Thread(target=self._serve, args=(theirs,))
        thread.start()
        ours.sendall(frame(COMMAND, "", msgspec.json.encode(plan)))
        pool = FobPool(ours)
        self._open.append((pool, thread))
        return pool

    @staticmethod
    def _serve(sock: socket.socket) -> None:
        with sock:
            serve(sock)

    def end(self) -> None:
        for pool, thread in self._open:
            pool.close()
            thread.join(10)
            assert not thread.is_alive()
        self._open.clear()


def test_many_fobs_answer_each_for_itself(serving: Serving) -> None:
    pool = serving.pool(Plan())
    names = [f"FOB-{n}" for n in range(30)]
    for name in names:
        pool.submit(name, CPLC)
    assert pool.waiting == 30
    answers: dict[str, bytes | LinkError] = {}
    while pool.waiting:
        answers |= dict(pool.receive())
    assert answers.keys() == set(names)
    for name in names:
        answer = answers[name]
        assert isinstance(answer, bytes)
        assert chip_serial(name)[:4] in answer
    assert pool.receive(block=False) == []
    assert pool.pid == os.getpid()


def test_a_fob_answers_to_reset_and_forgets_its_session(serving: Serving) -> None:
    pool = serving.pool(Plan())
    exchange = exchange_with(pool, "FOB-1")
    channel = drive(open_channel(KeySet.gp_test(), CHALLENGE), exchange)
    pool.power_on("FOB-1")
    ((name, atr),) = pool.receive()
    assert (name, atr) == ("FOB-1", simulated_fob("x", RamMemory()).atr)
    assert exchange(channel.wrap(GET_STATUS)).sw == 0x6982


def test_a_fob_that_was_removed_comes_back_with_its_memory(serving: Serving) -> None:
    pool = serving.pool(Plan())
    exchange = exchange_with(pool, "FOB-1")
    pool.submit("FOB-1", INITIALIZE_UPDATE)
    ((_, first),) = pool.receive()
    pool.power_off("FOB-1")
    pool.submit("FOB-1", INITIALIZE_UPDATE)
    ((_, second),) = pool.receive()
    assert isinstance(first, bytes)
    assert isinstance(second, bytes)
    assert first[-5:-2] == b"\0\0\1"
    assert second[-5:-2] == b"\0\0\2"
    assert drive(through(identify(), complete), exchange).uid


def test_models_make_the_fobs_that_differ(serving: Serving) -> None:
    stranger = Model(factory_key="11" * 16, kvn=0x01)
    pool = serving.pool(Plan(models={"ODD": stranger}))
    drive(open_channel(KeySet.gp_test(), CHALLENGE), exchange_with(pool, "USUAL"))
    with pytest.raises(CardCryptogramError):
        drive(open_channel(KeySet.gp_test(), CHALLENGE), exchange_with(pool, "ODD"))
    key = bytes.fromhex("11" * 16)
    assert drive(open_channel(KeySet.of(key, key, key), CHALLENGE), exchange_with(pool, "ODD")).kvn == 0x01


# ---- planned power cuts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cut", "counted"),
    [
        (Cut(ins=0x50, nth=2, commit=1), 1),
        (Cut(ins=0x50, nth=2, commit=0), 2),
        (Cut(ins=0x50, nth=1, commit=1), 0),
    ],
)
def test_a_planned_cut_falls_once_at_its_command(serving: Serving, cut: Cut, counted: int) -> None:
    """Before the commit the counter has not moved; after everything only the answer is lost."""
    pool = serving.pool(Plan(cuts={"FOB-1": cut}))
    for n in range(1, cut.nth):
        pool.submit("FOB-1", INITIALIZE_UPDATE)
        ((_, answer),) = pool.receive()
        assert isinstance(answer, bytes)
        assert answer[-5:-2] == n.to_bytes(3)
    pool.submit("FOB-1", CPLC)
    assert isinstance(pool.receive()[0][1], bytes)
    pool.submit("FOB-1", INITIALIZE_UPDATE)
    ((_, lost),) = pool.receive()
    assert isinstance(lost, LinkError)
    assert lost.delivered is None
    pool.submit("FOB-1", INITIALIZE_UPDATE)
    ((_, answer),) = pool.receive()
    assert isinstance(answer, bytes)
    assert answer[-5:-2] == (counted + 1).to_bytes(3)


def test_a_cut_of_one_fob_leaves_the_others_alone(serving: Serving) -> None:
    pool = serving.pool(Plan(cuts={"FOB-1": Cut(ins=0x50)}))
    for name in ("FOB-1", "FOB-2"):
        pool.submit(name, INITIALIZE_UPDATE)
    answers: dict[str, bytes | LinkError] = {}
    while pool.waiting:
        answers |= dict(pool.receive())
    assert isinstance(answers["FOB-1"], LinkError)
    assert isinstance(answers["FOB-2"], bytes)


def test_a_cut_that_never_comes_due_does_no_harm() -> None:
    tray = Tray(Plan(cuts={"FOB-1": Cut(ins=0x50, nth=3)}), lambda _: RamMemory())
    for kind, payload in ((POWER_ON, b""), (COMMAND, CPLC), (COMMAND, b""), (COMMAND, INITIALIZE_UPDATE)):
        ((found, name, _),) = Frames().feed(tray.answer(kind, "FOB-1", payload))
        assert (found, name) == (0, "FOB-1")
    assert tray.answer(POWER_OFF, "FOB-1", b"") == b""


# ---- the journal ----------------------------------------------------------------------------------------------


def count(pool: FobPool, name: str) -> int:
    pool.submit(name, INITIALIZE_UPDATE)
    ((_, answer),) = pool.receive()
    assert isinstance(answer, bytes)
    return int.from_bytes(answer[-5:-2])


def test_fobs_keep_their_memory_in_the_journal(serving: Serving, tmp_path: Path) -> None:
    plan = Plan(journal=str(tmp_path / "fobs"))
    assert [count(serving.pool(plan), "A")] == [1]
    serving.end()
    pool = serving.pool(plan)
    assert (count(pool, "A"), count(pool, "B")) == (2, 1)
    serving.end()
    with_journal = Journal(tmp_path / "fobs")
    assert set(with_journal.namespaces()) == {"A", "B"}
    with_journal.close()


def test_a_tray_that_keeps_nothing_reads_the_journal_and_leaves_it(serving: Serving, tmp_path: Path) -> None:
    path = tmp_path / "fobs"
    count(serving.pool(Plan(journal=str(path))), "A")
    serving.end()
    before = path.read_bytes()
    pool = serving.pool(Plan(journal=str(path), keep=False))
    assert [count(pool, "A"), count(pool, "A"), count(pool, "B")] == [2, 3, 1]
    serving.end()
    assert path.read_bytes() == before


def test_a_journal_held_by_another_comes_as_the_error_of_the_first_answer(serving: Serving, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "fobs")
    pool = serving.pool(Plan(journal=str(tmp_path / "fobs"), wait_s=0.0))
    pool.submit("A", CPLC)
    with pytest.raises(LinkError, match=str(os.getpid())) as caught:
        pool.receive()
    assert caught.value.delivered is False
    journal.close()


def test_what_the_process_said_before_it_went_is_not_lost_when_more_is_sent(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    pool = FobPool(ours)
    with Journal(tmp_path / "fobs"), theirs:
        ours.sendall(frame(COMMAND, "", msgspec.json.encode(Plan(journal=str(tmp_path / "fobs"), wait_s=0.0))))
        serve(theirs)
    pool.submit("A", CPLC)
    with pytest.raises(LinkError, match=f"in use by process {os.getpid()}"):
        pool.flush()
    pool.submit("A", CPLC)
    with pytest.raises(LinkError, match="the process of the simulated fobs is gone"):
        pool.flush()
    pool.close()


# ---- the process ----------------------------------------------------------------------------------------------


def test_the_process_starts_answers_and_ends_with_its_host(tmp_path: Path) -> None:
    with FobPool.start(Plan(journal=str(tmp_path / "fobs"))) as pool:
        assert pool.pid != os.getpid()
        assert count(pool, "A") == 1
        pid = pool.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    Journal(tmp_path / "fobs").close()


def test_a_killed_process_is_a_link_failure_and_its_journal_is_whole(tmp_path: Path) -> None:
    plan = Plan(journal=str(tmp_path / "fobs"))
    with FobPool.start(plan) as pool:
        assert count(pool, "A") == 1
        os.kill(pool.pid, signal.SIGKILL)
        pool.submit("A", CPLC)
        with pytest.raises(LinkError, match="process of the simulated fobs"):
            pool.receive()
    with FobPool.start(plan) as pool:
        assert count(pool, "A") == 2


# ---- what a fob is --------------------------------------------------------------------------------------------


def test_every_serial_is_another_chip() -> None:
    chips = {chip_serial(f"FOB-{n}") for n in range(1000)}
    assert len(chips) == 1000
    assert {len(chip) for chip in chips} == {10}


def test_a_fob_is_the_same_chip_at_every_start_and_its_model_counts_once() -> None:
    memory: Memory = RamMemory()
    first = drive(identify(), exchange_of(memory, Model(kvn=0x20)))
    again = drive(identify(), exchange_of(memory, Model(kvn=0x21)))
    assert first == again
    assert first.keys is not None
    assert first.keys.versions == (0x20,)
    assert first.cplc is not None
    assert chip_serial("FOB-1") == first.cplc.ic_serial + first.cplc.ic_batch.to_bytes(2) + chip_serial("FOB-1")[6:]


def exchange_of(memory: Memory, model: Model) -> Callable[[Command], Response]:
    return transmit(Loopback(simulated_fob("FOB-1", memory, model)))


def test_a_model_does_not_show_its_key() -> None:
    assert "11" * 4 not in repr(Model(factory_key="11" * 16))


def test_a_fob_with_a_try_limit_blocks_its_key_set() -> None:
    fob = simulated_fob("FOB-1", RamMemory(), Model(try_limit=2))
    for sw in ("6982", "6982"):
        fob.handle(INITIALIZE_UPDATE)
        assert fob.handle(bytes.fromhex("8482330010" + "00" * 16)).hex() == sw
    assert fob.handle(INITIALIZE_UPDATE).hex() == "6983"
