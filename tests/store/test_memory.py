"""What every memory promises: in RAM and in a journal alike."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from keywright.store import Journal, Memory, RamMemory


@pytest.fixture(params=["ram", "journal"])
def memory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Memory]:
    if request.param == "ram":
        yield RamMemory()
        return
    with Journal(tmp_path / "journal") as journal:
        yield journal.memory("fob")


def test_a_new_memory_is_empty(memory: Memory) -> None:
    assert memory.names() == []
    assert memory.load("keys") is None


def test_what_is_committed_is_loaded(memory: Memory) -> None:
    memory.commit({"keys": b"\x01\x02", "empty": b""})
    assert memory.load("keys") == b"\x01\x02"
    assert memory.load("empty") == b""
    assert memory.names() == ["empty", "keys"]


def test_the_last_commit_counts(memory: Memory) -> None:
    memory.commit({"a": b"1", "b": b"1"})
    memory.commit({"a": b"2"})
    assert (memory.load("a"), memory.load("b")) == (b"2", b"1")


def test_none_deletes_also_what_never_was(memory: Memory) -> None:
    memory.commit({"a": b"1", "b": b"2"})
    memory.commit({"a": None, "never": None})
    assert memory.names() == ["b"]
    assert memory.load("a") is None


def test_a_commit_of_nothing_changes_nothing(memory: Memory) -> None:
    memory.commit({})
    assert memory.names() == []


def test_it_is_a_memory(memory: Memory) -> None:
    assert isinstance(memory, Memory)


def test_repr_shows_no_value(memory: Memory) -> None:
    memory.commit({"keys": b"SECRETKEY"})
    assert "SECRET" not in repr(memory)


def test_ram_memory_copies_what_it_is_given() -> None:
    contents = {"a": b"1"}
    memory = RamMemory(contents)
    contents["a"] = b"2"
    changes: dict[str, bytes | None] = {"b": b"3"}
    memory.commit(changes)
    changes["b"] = b"4"
    assert (memory.load("a"), memory.load("b")) == (b"1", b"3")


changes = st.dictionaries(st.sampled_from("abcde"), st.none() | st.binary(max_size=40), max_size=4)


@given(st.lists(changes, max_size=12))
def test_ram_memory_is_a_dictionary(commits: list[dict[str, bytes | None]]) -> None:
    memory, model = RamMemory(), dict[str, bytes]()
    for commit in commits:
        memory.commit(commit)
        model.update({name: value for name, value in commit.items() if value is not None})
        for name, value in commit.items():
            if value is None:
                model.pop(name, None)
    assert {name: memory.load(name) for name in memory.names()} == model


class JournalModel(RuleBasedStateMachine):
    """A journal against dictionaries, opened again, compacted and with a torn tail at any time."""

    root: ClassVar[Path]

    def __init__(self) -> None:
        super().__init__()
        self.path = Path(tempfile.mkdtemp(dir=self.root)) / "journal"
        self.journal = Journal(self.path)
        self.model: dict[str, dict[str, bytes]] = {}

    @rule(namespace=st.sampled_from(["fob 1", "fob 2", "ö"]), changes=changes)
    def commit(self, namespace: str, changes: dict[str, bytes | None]) -> None:
        self.journal.memory(namespace).commit(changes)
        names = self.model.setdefault(namespace, {})
        for name, value in changes.items():
            if value is None:
                names.pop(name, None)
            else:
                names[name] = value

    @rule()
    def compact(self) -> None:
        self.journal.compact()

    @rule()
    def open_again(self) -> None:
        self.journal.close()
        self.journal = Journal(self.path)
        assert self.journal.dropped_bytes == 0

    @rule(junk=st.binary(min_size=1, max_size=11))
    def tear(self, junk: bytes) -> None:
        self.journal.close()
        with self.path.open("ab") as stream:
            stream.write(junk)
        self.journal = Journal(self.path)
        assert self.journal.dropped_bytes == len(junk)

    @invariant()
    def same(self) -> None:
        expected = {namespace: names for namespace, names in self.model.items() if names}
        assert self.journal.namespaces() == sorted(expected)
        for namespace, names in self.model.items():
            memory = self.journal.memory(namespace)
            assert {name: memory.load(name) for name in memory.names()} == names

    def teardown(self) -> None:
        self.journal.close()


def test_a_journal_is_a_dictionary_of_dictionaries(tmp_path: Path) -> None:
    from hypothesis import settings
    from hypothesis.stateful import run_state_machine_as_test

    JournalModel.root = tmp_path
    run_state_machine_as_test(JournalModel, settings=settings(max_examples=40, stateful_step_count=20))
