"""The journal file: torn tails, damage, two processes, kills, a full disk, and what it costs."""

from __future__ import annotations

import errno
import os
import random
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.errors import StoreError
from keywright.store import Journal, records
from keywright.store import journal as journal_module
from keywright.store.lock import FileLock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fobs.journal"


def write(path: Path, count: int, namespace: str = "fob") -> list[int]:
    """`count` commits n -> value; the file size after each."""
    ends = []
    with Journal(path) as journal:
        memory = journal.memory(namespace)
        for number in range(count):
            memory.commit({f"name {number}": bytes([number]) * 10, "last": b"%d" % number})
            ends.append(path.stat().st_size)
    return ends


def contents(path: Path) -> dict[str, bytes | None]:
    with Journal(path) as journal:
        memory = journal.memory("fob")
        return {name: memory.load(name) for name in memory.names()}


# files


def test_file_and_lock_are_for_the_owner_only(path: Path) -> None:
    old = os.umask(0)
    try:
        Journal(path).close()
    finally:
        os.umask(old)
    for name in (path, Path(f"{path}.lock")):
        assert stat.S_IMODE(name.stat().st_mode) == 0o600


def test_a_compacted_file_is_for_the_owner_only(path: Path) -> None:
    write(path, 3)
    old = os.umask(0)
    try:
        with Journal(path) as journal:
            journal.compact()
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_empty_file_becomes_a_journal(path: Path) -> None:
    path.touch()
    write(path, 1)
    assert contents(path)["last"] == b"0"


@pytest.mark.parametrize("junk", [b"x", b"{}" * 100, records.MAGIC, b"kwjournl" + bytes(12)])
def test_a_file_that_is_no_journal_is_refused_and_left_alone(path: Path, junk: bytes) -> None:
    path.write_bytes(junk)
    with pytest.raises(StoreError, match=str(path)):
        Journal(path)
    assert path.read_bytes() == junk


def test_a_journal_of_another_version_is_refused(path: Path) -> None:
    write(path, 1)
    data = bytearray(path.read_bytes())
    data[9] = 2
    path.write_bytes(data)
    with pytest.raises(StoreError, match="version 2"):
        Journal(path)


def test_a_damaged_header_is_refused_not_taken_for_a_torn_tail(path: Path) -> None:
    write(path, 3)
    data = bytearray(path.read_bytes())
    data[13] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreError, match="header"):
        Journal(path)
    assert path.read_bytes() == data


def test_a_directory_that_does_not_exist_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        Journal(tmp_path / "missing" / "journal")


def test_a_directory_in_place_of_the_file_is_a_store_error_and_frees_the_lock(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for _ in range(2):
        with pytest.raises(StoreError, match="directory"):
            Journal(tmp_path / "d")


def test_a_closed_journal_refuses(path: Path) -> None:
    journal = Journal(path)
    memory = journal.memory("fob")
    memory.commit({"a": b"1"})
    journal.close()
    journal.close()
    with pytest.raises(StoreError, match="closed"):
        memory.load("a")
    with pytest.raises(StoreError, match="closed"):
        memory.commit({"a": b"2"})
    with pytest.raises(StoreError, match="closed"):
        journal.compact()


# torn tails and damage


def test_every_cut_through_the_last_commit_gives_the_state_before_it(path: Path) -> None:
    ends = write(path, 3)
    whole = path.read_bytes()
    for cut in range(ends[1], ends[2]):
        path.write_bytes(whole[:cut])
        with Journal(path) as journal:
            assert journal.dropped_bytes == cut - ends[1]
            assert journal.memory("fob").load("last") == b"1"
            assert journal.memory("fob").names() == ["last", "name 0", "name 1"]
        assert path.stat().st_size == ends[1]


def test_a_commit_after_a_torn_tail_is_found_again(path: Path) -> None:
    ends = write(path, 3)
    os.truncate(path, ends[2] - 1)
    with Journal(path) as journal:
        journal.memory("fob").commit({"after": b"x"})
    assert contents(path)["after"] == b"x"


def test_a_last_record_whose_bytes_never_reached_the_disk_is_a_torn_tail(path: Path) -> None:
    ends = write(path, 3)
    data = path.read_bytes()
    path.write_bytes(data[: ends[1]] + bytes(ends[2] - ends[1]) + bytes(4096))
    assert contents(path)["last"] == b"1"


@given(st.data())
def test_damage_before_the_last_record_is_an_error_that_names_its_offset(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("damage") / "j"
    ends = write(path, 4)
    whole = bytearray(path.read_bytes())
    position = data.draw(st.integers(records.HEADER_SIZE, ends[2] - 1))
    whole[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(whole)
    damaged = max(end for end in [records.HEADER_SIZE, *ends] if end <= position)
    with pytest.raises(StoreError, match=f"damaged at offset {damaged} "):
        Journal(path)
    assert path.read_bytes() == whole


def test_a_value_that_looks_like_a_record_is_not_taken_for_one(path: Path) -> None:
    write(path, 2)
    image = path.read_bytes()[records.HEADER_SIZE :]
    with Journal(path) as journal:
        end = path.stat().st_size
        journal.memory("fob").commit({"image": image, "more": bytes(10)})
    os.truncate(path, path.stat().st_size - 5)
    with Journal(path) as journal:
        assert path.stat().st_size == end
        assert journal.dropped_bytes > 0


def test_records_copied_to_another_place_are_not_valid(path: Path) -> None:
    ends = write(path, 2)
    data = path.read_bytes()
    path.write_bytes(data + data[ends[0] : ends[1]])
    with Journal(path) as journal:
        assert journal.dropped_bytes == ends[1] - ends[0]


def test_a_whole_record_that_is_malformed_is_an_error(path: Path) -> None:
    Journal(path).close()
    head = path.read_bytes()
    salt = records.parse_header(head, "j")
    payload = b"\x00\x01n" + b"\x01\x00\x00\x00\x09a" + b"short"
    crc = records.checksum(salt, len(head), payload)
    path.write_bytes(head + records.RECORD_HEAD.pack(records.MARKER, len(payload), crc) + payload)
    with pytest.raises(StoreError, match=f"offset {len(head)} is malformed"):
        Journal(path)


@given(st.binary(max_size=60))
def test_any_payload_parses_or_is_a_value_error(payload: bytes) -> None:
    try:
        records.parse_payload(payload, 0)
    except ValueError:
        return


@given(
    st.text(max_size=20),
    st.dictionaries(st.text(max_size=20), st.none() | st.binary(max_size=50), max_size=5),
    st.integers(0, 1 << 40),
)
def test_a_record_says_where_its_values_are(space: str, changes: dict[str, bytes | None], offset: int) -> None:
    record, found = records.build_record(7, offset, space, changes)
    payload = record[records.RECORD_HEAD.size :]
    assert records.parse_payload(payload, offset + records.RECORD_HEAD.size) == (space, found)
    for name, place, size in found:
        value = changes[name]
        assert (size == records.DELETED) == (value is None)
        assert value is None or record[place - offset : place - offset + size] == value


def test_what_is_too_long_is_named_and_nothing_is_written(path: Path) -> None:
    with Journal(path) as journal:
        size = path.stat().st_size
        for namespace, name, value, what in [
            ("x" * 65536, "n", b"", "namespace"),
            ("x", "n" * 256, b"", "name n"),
            ("x", "n", bytes(1 << 24), "value of n"),
        ]:
            with pytest.raises(ValueError, match=what):
                journal.memory(namespace).commit({name: value})
        with pytest.raises(ValueError, match="commit: more"):
            journal.memory("x").commit({str(n): bytes((1 << 24) - 1) for n in range(17)})
        assert path.stat().st_size == size
        assert journal.namespaces() == []


# failures of the file system


def test_a_write_that_the_disk_cuts_short_is_undone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Journal(path) as journal:
        memory = journal.memory("fob")
        memory.commit({"a": b"old"})
        real = os.write
        monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:7]))
        with pytest.raises(StoreError, match="no space left; nothing was changed"):
            memory.commit({"a": b"new"})
        monkeypatch.undo()
        assert memory.load("a") == b"old"
        memory.commit({"b": b"next"})
    assert contents(path) == {"a": b"old", "b": b"next"}


def test_a_write_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_fd: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Journal(path) as journal:
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(StoreError, match="No space left on device"):
            journal.memory("fob").commit({"a": b"new"})
        monkeypatch.undo()
        assert journal.namespaces() == []


def test_a_failed_write_that_cannot_be_undone_closes_the_journal_to_commits(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    with Journal(path) as journal:
        monkeypatch.setattr(os, "write", broken)
        monkeypatch.setattr(os, "ftruncate", broken)
        with pytest.raises(StoreError, match="Input/output"):
            journal.memory("fob").commit({"a": b"1"})
        monkeypatch.undo()
        with pytest.raises(StoreError, match="could not be undone"):
            journal.memory("fob").commit({"a": b"1"})


def test_with_sync_every_commit_is_synced_and_without_none(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    for sync, expected in ((False, 0), (True, 3)):
        with Journal(path, sync=sync) as journal:
            for number in range(3):
                journal.memory("fob").commit({"a": b"%d" % number})
        assert len(synced) == expected


def test_after_a_failed_sync_nothing_more_is_committed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with Journal(path, sync=True) as journal:
        monkeypatch.setattr(os, "fdatasync", broken)
        with pytest.raises(StoreError, match="unknown"):
            journal.memory("fob").commit({"a": b"1"})
        monkeypatch.undo()
        with pytest.raises(StoreError, match="unknown"):
            journal.memory("fob").commit({"a": b"2"})


def test_a_file_cut_short_by_another_program_is_noticed(path: Path) -> None:
    write(path, 2)
    with Journal(path) as journal:
        os.truncate(path, records.HEADER_SIZE)
        with pytest.raises(StoreError, match="cut short"):
            journal.memory("fob").load("last")


# compaction


def test_compaction_keeps_what_counts_and_nothing_else(path: Path) -> None:
    write(path, 50)
    with Journal(path) as journal:
        memory = journal.memory("fob")
        journal.memory("gone").commit({"x": bytes(1000)})
        journal.memory("gone").commit({"x": None})
        memory.commit({f"name {number}": None for number in range(49)})
        journal.compact()
        assert path.stat().st_size < 120
        assert memory.names() == ["last", "name 49"]
        assert memory.load("name 49") == bytes([49]) * 10
        memory.commit({"after": b"x"})
        assert journal.namespaces() == ["fob"]
    assert contents(path) == {"last": b"49", "name 49": bytes([49]) * 10, "after": b"x"}


def test_a_journal_of_mostly_garbage_is_compacted_at_opening(path: Path) -> None:
    with Journal(path) as journal:
        for number in range(200):
            journal.memory("fob").commit({"a": bytes([number]) * 1000})
    assert path.stat().st_size > 200_000
    with Journal(path) as journal:
        assert path.stat().st_size < 2000
        assert journal.memory("fob").load("a") == bytes([199]) * 1000


def test_a_running_journal_never_holds_much_more_garbage_than_values(path: Path) -> None:
    largest = 0
    with Journal(path) as journal:
        for number in range(60):
            journal.memory(f"fob {number % 3}").commit({"a": bytes([number]) * 1_000_000})
            largest = max(largest, path.stat().st_size)
        assert largest < 13_000_000
        assert [journal.memory(f"fob {n}").load("a") for n in range(3)] == [
            bytes([57 + n]) * 1_000_000 for n in range(3)
        ]


def test_a_compaction_nobody_asked_for_that_fails_does_not_fail_the_commit(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(journal_module, "_GARBAGE_RUNNING", 1000)
    with Journal(path) as journal:
        monkeypatch.setattr(os, "fsync", full)
        for number in range(40):
            journal.memory("fob").commit({"a": bytes([number]) * 100})
        assert journal.memory("fob").load("a") == bytes([39]) * 100
        with pytest.raises(StoreError, match="cannot be compacted"):
            journal.compact()
        monkeypatch.undo()
        journal.compact()
        assert journal.memory("fob").load("a") == bytes([39]) * 100
    assert contents(path) == {"a": bytes([39]) * 100}


def test_what_a_kill_in_a_compaction_left_behind_does_no_harm(path: Path) -> None:
    write(path, 3)
    Path(f"{path}.new").write_bytes(path.read_bytes()[:30])
    assert contents(path)["last"] == b"2"
    with Journal(path) as journal:
        journal.compact()
    assert contents(path)["last"] == b"2"


def test_a_file_that_is_no_journal_is_neither_replaced_nor_locked(path: Path) -> None:
    write(path, 3)
    Path(f"{path}.new").write_bytes(b"somebody's own, long enough to have a header")
    with Journal(path) as journal, pytest.raises(StoreError, match="is not a keywright journal"):
        journal.compact()
    assert Path(f"{path}.new").read_bytes().startswith(b"somebody's own")
    other = path.with_name("other")
    other.write_bytes(b"not a journal, whatever it is")
    with pytest.raises(StoreError, match="is not a keywright journal"):
        Journal(other)
    assert not Path(f"{other}.lock").exists()


def test_a_lock_file_of_another_program_is_left_as_it_is(path: Path) -> None:
    Path(f"{path}.lock").write_text("[[package]]\n")
    with pytest.raises(StoreError, match="no lock of this program"):
        Journal(path)
    assert Path(f"{path}.lock").read_text() == "[[package]]\n"


# cache and threads


def test_the_cache_is_bounded_and_never_stale(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "_CACHE_BYTES", 20_000)
    with Journal(path) as journal:
        memory = journal.memory("fob")
        for number in range(500):
            memory.commit({f"{number % 50}": b"%d" % number + bytes(100)})
            memory.load(f"{number % 50}")
            assert journal._cached <= 20_000
        for number in range(450, 500):
            assert memory.load(f"{number % 50}") == b"%d" % number + bytes(100)
        assert journal._cached == sum(len(value) + 200 for value in journal._cache.values()) <= 20_000


def test_threads_share_a_journal(path: Path) -> None:
    with Journal(path) as journal:

        def work(thread: int) -> None:
            memory = journal.memory(f"fob {thread}")
            for number in range(200):
                memory.commit({"a": b"%d %d" % (thread, number)})
                assert memory.load("a") == b"%d %d" % (thread, number)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    with Journal(path) as journal:
        assert [journal.memory(f"fob {n}").load("a") for n in range(4)] == [b"%d 199" % n for n in range(4)]


# processes

HOLDER = """
import sys
from keywright.store import Journal
journal = Journal(sys.argv[1])
journal.memory("fob").commit({"held": b"1"})
print("held", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the journal until it is told a line."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_process_is_refused_and_told_who_holds_it(path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(StoreError, match=f"in use by process {holder.pid}$"):
        Journal(path)


def test_a_second_opening_in_one_process_is_refused(path: Path) -> None:
    with Journal(path), pytest.raises(StoreError, match=f"in use by process {os.getpid()}$"):
        Journal(path)


def test_a_killed_holder_holds_nothing(path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    assert contents(path) == {"held": b"1"}


def test_an_opener_may_wait_for_the_holder_to_finish(path: Path, holder: subprocess.Popen[str]) -> None:
    assert holder.stdin is not None
    timer = threading.Timer(0.1, lambda: (holder.stdin.write("go\n"), holder.stdin.flush()))  # type: ignore[union-attr] # checked above
    timer.start()
    with Journal(path, wait_s=30.0) as journal:
        assert journal.memory("fob").load("held") == b"1"
    timer.join()


def test_an_opener_that_waits_in_vain_is_told_who_holds_it(path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(StoreError, match=str(holder.pid)):
        Journal(path, wait_s=0.05)


def test_a_stale_pid_is_never_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = FileLock(f"{path}.lock", "j")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    Path(f"{path}.lock").write_text(f"{gone.pid}\n")
    with pytest.raises(StoreError, match="in use by process unknown"):
        FileLock(f"{path}.lock", "j")
    lock.release()
    lock.release()


def test_a_forked_child_cannot_commit_to_its_parents_journal(path: Path) -> None:
    with Journal(path) as journal:
        child = os.fork()
        if child == 0:
            try:
                journal.memory("fob").commit({"a": b"child"})
            except StoreError:
                os._exit(0)
            os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert journal.namespaces() == []


WRITER = """
import os, sys
from keywright.store import Journal, journal
journal._GARBAGE_RUNNING = 4000
with Journal(sys.argv[1]) as store:
    fobs = [store.memory(f"fob {n}") for n in range(3)]
    start = max(int(fob.load("count") or 0) for fob in fobs)
    print("open", flush=True)
    for number in range(start + 1, 1_000_000):
        text = b"%d" % number
        fobs[number % 3].commit({"count": text, "copy": text * (1 + number % 40), "odd": text if number % 2 else None})
        os.write(1, text + b"\\n")
"""


def test_a_writer_killed_anywhere_leaves_every_finished_commit_and_no_half_one(path: Path) -> None:
    draw = random.Random(20)
    for _ in range(20):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"open\n"
            for _ in range(draw.randrange(1, 400)):
                process.stdout.readline()
            process.send_signal(signal.SIGKILL)
            told = [int(line) for line in process.stdout.read().splitlines(keepends=True) if line.endswith(b"\n")]
        with Journal(path) as journal:
            counts = []
            for number in range(3):
                memory = journal.memory(f"fob {number}")
                count = memory.load("count") or b"0"
                counts.append(int(count))
                assert memory.load("copy") in (count * (1 + int(count) % 40), None)
                assert memory.load("odd") == (count if int(count) % 2 else None)
            newest = max(counts)
            assert not told or newest in (told[-1], told[-1] + 1)
            assert sorted(counts)[-3:] == [newest - 2, newest - 1, newest]


def test_a_hundred_thousand_values_cost_little_memory(path: Path) -> None:
    program = """
import sys, resource
from keywright.store import Journal
with Journal(sys.argv[1]) as journal:
    values = {"registry": bytes(120), "keys": bytes(100), "state": bytes(20), "applet": bytes(200)}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for n in range(25_000):
        journal.memory(f"FOB-{n:08d}").commit(values)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    result = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, check=True, text=True)
    assert int(result.stdout) < 40_000  # KiB, of which 8 MiB cache; 100,000 namespaces stay under 150 MB


def test_a_file_that_cannot_be_read_is_a_store_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    write(path, 1)
    with Journal(path) as journal:
        monkeypatch.setattr(os, "pread", broken)
        with pytest.raises(StoreError, match="Input/output error at offset"):
            journal.memory("fob").load("last")


def test_a_value_too_large_for_the_cache_is_read_from_the_file(path: Path) -> None:
    with Journal(path) as journal:
        journal.memory("fob").commit({"a": bytes(2_000_000)})
        assert journal.memory("fob").load("a") == bytes(2_000_000)
        assert journal._cached == 0
        assert repr(journal) == f"<Journal {path} 1 namespaces>"


def test_a_holder_of_another_user_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_ours(_pid: int, _signal: int) -> None:
        raise PermissionError

    with Journal(path):
        monkeypatch.setattr(os, "kill", not_ours)
        with pytest.raises(StoreError, match=f"in use by process {os.getpid()}$"):
            Journal(path)


# looking only


def test_looking_changes_nothing_not_even_a_torn_tail_or_garbage(path: Path) -> None:
    with Journal(path) as journal:
        for number in range(200):
            journal.memory("fob").commit({"a": bytes([number]) * 1000})
    path.write_bytes(path.read_bytes() + b"torn")
    Path(f"{path}.lock").unlink()
    before = path.read_bytes()
    with Journal(path, readonly=True) as journal:
        assert journal.dropped_bytes == 4
        assert journal.memory("fob").load("a") == bytes([199]) * 1000
        with pytest.raises(StoreError, match="read only"):
            journal.memory("fob").commit({"a": b""})
        with pytest.raises(StoreError, match="read only"):
            journal.compact()
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_looking_needs_no_lock_and_sees_one_moment(path: Path, holder: subprocess.Popen[str]) -> None:
    with Journal(path, readonly=True) as journal:
        assert holder.stdin is not None
        print(file=holder.stdin, flush=True)
        holder.wait()
        with Journal(path) as writer:
            writer.memory("fob").commit({"held": b"2"})
            writer.compact()
        assert journal.memory("fob").load("held") == b"1"


def test_an_empty_or_missing_file_is_not_made_a_journal_by_looking(path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        Journal(path, readonly=True)
    assert not path.exists()
    path.touch()
    with Journal(path, readonly=True) as journal:
        assert journal.namespaces() == []
    assert path.stat().st_size == 0
