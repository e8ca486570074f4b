"""The power-cut harness itself: it makes every cut once, and finds a device that is not atomic."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from keywright.errors import LinkError
from keywright.link import Exchange
from keywright.store import Memory, RamMemory
from support.power import AFTER_DELIVERY, BEFORE_DELIVERY, INSIDE_COMMAND, CutMemory, PowerCut, sweep


class Counter:
    """Counts a try first, then moves a value to two names: in one commit, or (faulty) in two."""

    atr = b""

    def __init__(self, memory: Memory, *, commits: int = 1) -> None:
        self._memory = memory
        self._commits = commits
        self._open = False
        if memory.load("tries") is None:
            memory.commit({"tries": b"0", "a": b"0", "b": b"0"})

    def handle(self, request: bytes, /) -> bytes:
        try:
            return self._handle(request)
        except Exception:  # noqa: BLE001 - a total responder: PowerCut is no Exception and passes
            return b"\x6f\x00"

    def _handle(self, request: bytes) -> bytes:
        if request == b"open":
            self._memory.commit({"tries": b"%d" % (int(self._memory.load("tries") or 0) + 1)})
            self._open = True
        elif request == b"read":
            return self._memory.load("a") or b""
        elif not self._open:
            return b"\x69\x82"
        elif self._commits == 1:
            self._memory.commit({"a": request, "b": request})
        else:
            self._memory.commit({"a": request})
            self._memory.commit({"b": request})
        return b"\x90\x00"

    def reset(self) -> None:
        self._open = False

    def state(self) -> tuple[bytes | None, bytes | None]:
        return self._memory.load("a"), self._memory.load("b")


def dialogue() -> Generator[bytes, bytes, None]:
    assert (yield b"open") == b"\x90\x00"
    assert (yield b"new") == b"\x90\x00"


def recover(link: Exchange) -> None:
    if link.exchange(b"read") != b"new":
        link.exchange(b"open")
        link.exchange(b"new")


def is_new(device: Counter) -> None:
    assert device.state() == (b"new", b"new")


def test_every_place_is_cut_once_and_counted() -> None:
    assert sweep(Counter, dialogue, recover, is_new) == {BEFORE_DELIVERY: 2, INSIDE_COMMAND: 2, AFTER_DELIVERY: 2}


def test_a_device_that_changes_in_two_commits_is_found() -> None:
    with pytest.raises(AssertionError) as caught:
        sweep(lambda memory: Counter(memory, commits=2), dialogue, recover, is_new)
    assert caught.value.__notes__ == [f"power cut: {INSIDE_COMMAND}, number 3"]


def test_a_recovery_that_only_repeats_what_needs_a_session_is_found() -> None:
    def lazy(link: Exchange) -> None:
        link.exchange(b"new")

    with pytest.raises(AssertionError) as caught:
        sweep(Counter, dialogue, lazy, is_new)
    assert caught.value.__notes__ == [f"power cut: {BEFORE_DELIVERY}, number 1"]


def test_a_device_that_swallows_the_cut_is_found() -> None:
    class Swallowing(Counter):
        def handle(self, request: bytes, /) -> bytes:
            try:
                return self._handle(request)
            except BaseException:  # noqa: BLE001 - the fault under test
                return b"\x90\x00"

    def careless() -> Generator[bytes, bytes, None]:
        yield b"open"
        yield b"new"

    with pytest.raises(AssertionError, match="swallowed"):
        sweep(Swallowing, careless, recover, lambda _device: None)
    with pytest.raises(AssertionError) as caught:
        sweep(Swallowing, dialogue, recover, lambda _device: None)
    assert "the device swallowed the power cut" in caught.value.__notes__


def test_a_dialogue_that_fails_uncut_is_a_failure() -> None:
    def broken() -> Generator[bytes, bytes, None]:
        yield b"open"
        raise LinkError("of another kind")

    with pytest.raises(LinkError, match="of another kind"):
        sweep(Counter, broken, recover, lambda _device: None)


def test_a_cut_memory_cuts_before_or_after_the_named_commit() -> None:
    for before, after, kept in ((2, 0, b"1"), (0, 2, b"2")):
        ram = RamMemory()
        memory = CutMemory(ram, cut_before=before, cut_after=after)
        memory.commit({"a": b"1"})
        with pytest.raises(PowerCut):
            memory.commit({"a": b"2"})
        assert ram.load("a") == memory.load("a") == kept
        assert memory.names() == ["a"]
    assert not issubclass(PowerCut, Exception)
