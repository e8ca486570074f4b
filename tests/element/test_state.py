"""What an element remembers: records, birth, restart, and a memory that fails."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from keywright.codec.message import Message
from keywright.element import SecureElement, state
from keywright.element.new_keys import made_key
from keywright.element.state import Storage, Transaction
from keywright.errors import DecodeError, StatusError, StoreError
from keywright.sansio.dialogue import drive
from keywright.scp.scp03 import KeySet, external_authenticate, initialize_update
from keywright.store import RamMemory
from support.cards import HOST_CHALLENGE, ISD, OWN, EchoApplet, Terminal, contents, element
from support.messages import all_messages, check_message


@pytest.mark.parametrize("cls", all_messages(state))
def test_every_record_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


@pytest.mark.parametrize(
    "record",
    [
        state.KeyRecord(1, 0x88, b"secret"),
        state.KeySetRecord((state.KeyRecord(1, 0x88, b"secret"),)),
        state.KeyComponentsRecord((state.KeyComponentRecord(0xA1, b"secret"),)),
        state.FactoryRecord(0xFF, b"secret"),
        made_key({0x88: b"sixteen secret!!"}, 1),
    ],
    ids=lambda record: type(record).__name__,
)
def test_no_record_shows_its_keys(record: object) -> None:
    assert "secret" not in f"{record!r} {record!s}"


class TestBirth:
    def test_it_is_one_commit(self) -> None:
        commits: list[Mapping[str, bytes | None]] = []

        class Watched(Ram):
            def commit(self, changes: Mapping[str, bytes | None]) -> None:
                commits.append(dict(changes))
                super().commit(changes)

        element(memory=Watched(), applets=[EchoApplet()])
        assert len(commits) == 1

    def test_a_memory_that_holds_an_element_wins_over_the_parameters(self) -> None:
        memory = RamMemory()
        element(memory=memory, kvn=0x30, iin=b"first", i=0x70, sequence_counter=7)
        before = contents(memory)
        here = Terminal(element(memory=memory, kvn=0x20, keys=OWN, iin=b"second", i=0x71, isd_aid=b"other"))
        assert contents(memory) == before
        assert here.raw("00CA004200") == b"first\x90\x00"
        assert here.initialize_update(kvn=0x30).data[-3:] == b"\0\0\x08"

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("isd_aid", b"1234"),
            ("isd_aid", bytes(17)),
            ("kvn", 0),
            ("kvn", 256),
            ("i", 0x40),
            ("i", 0x72),
            ("i", 0x60),
            ("sequence_counter", -1),
            ("sequence_counter", 1 << 24),
            ("kdd", bytes(9)),
            ("life_cycle", 0x02),
            ("try_limit", 0),
            ("try_limit", 1 << 16),
            ("max_data", 126),
            ("max_data", 1 << 16),
        ],
    )
    def test_parameters_that_describe_no_element_are_refused_and_nothing_is_written(
        self, name: str, value: object
    ) -> None:
        memory = RamMemory()
        with pytest.raises(ValueError, match=name if name != "i" else "i[:=]"):
            element(memory=memory, **{name: value})
        assert memory.names() == []

    def test_an_atr_that_is_none_is_refused(self) -> None:
        with pytest.raises(DecodeError):
            element(atr=b"\x3b")

    def test_a_memory_of_random_challenges_needs_a_source_again(self) -> None:
        memory = RamMemory()
        element(memory=memory, i=0x60, rng=bytes)
        with pytest.raises(ValueError, match="rng"):
            element(memory=memory)

    def test_path_and_memory_exclude_each_other(self) -> None:
        with pytest.raises(ValueError, match="both"):
            SecureElement(path="x", memory=RamMemory())

    def test_a_memory_of_another_format_is_refused(self) -> None:
        with pytest.raises(StoreError, match="format"):
            element(memory=RamMemory({"element": b"\xff"}))


class TestJournal:
    def test_an_element_at_a_path_is_as_it_was_left(self, tmp_path: Path) -> None:
        path = tmp_path / "card"
        with element(path=path, kdd=bytes(range(10))) as card:
            assert Terminal(card).authenticate().put_keys(0x30, OWN).sw == 0x9000
        with element(path=path) as card:
            here = Terminal(card)
            assert card.attempts == 1
            assert here.initialize_update(kvn=0xFF).sw == 0x6A88
            assert here.initialize_update().data[:11] == bytes(range(10)) + b"\x30"
            here.authenticate(keys=OWN)

    def test_a_second_process_would_be_told_who_holds_it(self, tmp_path: Path) -> None:
        path = tmp_path / "card"
        with element(path=path), pytest.raises(StoreError):
            element(path=path)

    def test_a_refused_parameter_leaves_no_lock_behind(self, tmp_path: Path) -> None:
        path = tmp_path / "card"
        with pytest.raises(ValueError, match="rng"):
            element(path=path, i=0x60)
        element(path=path).close()


class Ram:
    """A memory that can be filled up."""

    def __init__(self) -> None:
        self.ram = RamMemory()
        self.full = False

    def load(self, name: str) -> bytes | None:
        return self.ram.load(name)

    def names(self) -> list[str]:
        return self.ram.names()

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        if self.full:
            raise StoreError("full")
        self.ram.commit(changes)


class TestFullMemory:
    def test_no_challenge_is_given_that_was_not_counted(self) -> None:
        memory = Ram()
        here = Terminal(element(memory=memory))
        memory.full = True
        assert here.initialize_update().sw == 0x6A84
        memory.full = False
        assert here.raw("8482330010" + "00" * 16).hex() == "6985"

    def test_no_host_is_authenticated_whose_try_was_not_counted(self) -> None:
        memory = Ram()
        here = Terminal(element(memory=memory, try_limit=3))
        opening = drive(initialize_update(KeySet.gp_test(), HOST_CHALLENGE), here.exchange)
        memory.full = True
        with pytest.raises(StatusError, match="6A84"):
            drive(external_authenticate(opening), here.exchange)
        memory.full = False
        assert here.sw("80F28002024F00") == 0x6982
        assert here.card.attempts == 0

    def test_a_change_that_does_not_fit_is_6a84_and_neither_memory_nor_card_believes_it(self) -> None:
        memory = Ram()
        here = Terminal(element(memory=memory, applets=[EchoApplet()]))
        session = here.authenticate()
        before = contents(memory)
        memory.full = True
        assert session.put_keys(0x30, OWN).sw == 0x6A84
        assert session(0x80, 0xF0, 0x80, 0xFF, ISD).sw == 0x6A84
        assert session(0x80, 0xE2, 0x90, 0x00, b"\xdf\x01\x01\x00").sw == 0x6A84
        assert here.select(bytes.fromhex("F06B77000001")).sw == 0x6A84
        assert contents(memory) == before
        assert here.card.life_cycle == 0x01
        assert session(0x80, 0xCA, 0xDF, 0x01).sw == 0x6A88
        memory.full = False
        assert session.put_keys(0x30, OWN).sw == 0x9000


class TestTransaction:
    def test_changes_are_seen_by_their_command_and_by_memory_after_commit(self) -> None:
        memory = RamMemory({"a": b"1", "b": b"2"})
        change = Transaction(Storage(memory))
        change.write("a", b"9")
        change.write("b", None)
        assert (change.read("a"), change.read("b"), memory.load("a")) == (b"9", None, b"1")
        change.commit()
        change.commit()
        assert contents(memory) == {"a": b"9"}

    def test_a_large_value_is_read_from_memory_each_time(self) -> None:
        memory = RamMemory({"big": bytes(1000)})
        storage = Storage(memory)
        assert storage.read("big") == bytes(1000)
        storage.commit({"big": b"\1" * 1000})
        assert storage.read("big") == b"\1" * 1000
        storage.commit({"big": b"small"})
        memory.commit({"big": b"behind"})
        assert storage.read("big") == b"small"
        storage.forget()
        assert storage.read("big") == b"behind"
