"""The IV index: when it may change, what beacons change, and that it is in memory first."""

from __future__ import annotations

import pytest

from keywright.errors import SequenceError, StoreError
from keywright.mesh.network.iv_index import LEAST_S, RECOVERY_S, IvIndex, IvState
from keywright.store.memory import RamMemory

TEN = IvState(10)


def index(state: IvState = TEN, memory: RamMemory | None = None, *, old: bool = False) -> IvIndex:
    return IvIndex(memory or RamMemory(), state, 0.0, may_change_at_once=old)


def test_an_update_takes_its_time_and_sends_under_the_index_before() -> None:
    memory = RamMemory()
    one = index(memory=memory)
    with pytest.raises(SequenceError, match="96 hours"):
        one.begin_update(LEAST_S - 1)
    one.begin_update(LEAST_S)
    assert (one.state, one.state.sending) == (IvState(11, is_updating=True), 10)
    with pytest.raises(SequenceError, match="in progress already"):
        one.begin_update(9 * LEAST_S)
    with pytest.raises(SequenceError, match="96 hours"):
        one.end_update(LEAST_S + 1)
    one.end_update(2 * LEAST_S)
    assert (one.state, one.state.sending) == (IvState(11), 11)
    with pytest.raises(SequenceError, match="no IV update"):
        one.end_update(9 * LEAST_S)
    assert IvIndex(memory, IvState(0), 0.0).state == IvState(11)


def test_test_mode_needs_no_time() -> None:
    one = index()
    one.begin_update(0.0, test_mode=True)
    one.end_update(0.0, test_mode=True)
    assert one.state == IvState(11)


def test_the_last_index_is_the_last() -> None:
    with pytest.raises(SequenceError):
        index(IvState(0xFFFFFFFF)).begin_update(LEAST_S)


@pytest.mark.parametrize(
    ("mine", "told", "now", "changes"),
    [
        (IvState(10), IvState(10), LEAST_S, False),
        (IvState(10), IvState(9), LEAST_S, False),
        (IvState(10), IvState(11, is_updating=True), LEAST_S - 1, False),
        (IvState(10), IvState(11, is_updating=True), LEAST_S, True),
        (IvState(10, is_updating=True), IvState(10), LEAST_S - 1, False),
        (IvState(10, is_updating=True), IvState(10), LEAST_S, True),
        (IvState(10), IvState(10, is_updating=True), LEAST_S, False),
        (IvState(10), IvState(12), 0.0, True),  # recovery
        (IvState(10), IvState(52, is_updating=True), 0.0, True),
        (IvState(10), IvState(53), LEAST_S, False),
    ],
)
def test_what_a_beacon_changes(mine: IvState, told: IvState, now: float, *, changes: bool) -> None:
    one = index(mine)
    assert one.heard(told, now) == changes
    assert one.state == (told if changes else mine)


def test_a_second_recovery_waits() -> None:
    one = index()
    assert one.heard(IvState(20), 0.0)
    assert not one.heard(IvState(30), RECOVERY_S - 1)
    assert one.heard(IvState(30), RECOVERY_S)


def test_an_index_given_with_an_update_in_progress_may_change_at_once() -> None:
    one = index(IvState(10, is_updating=True), old=True)
    assert one.heard(IvState(10), 0.0)


def test_nothing_changes_that_memory_does_not_take(monkeypatch: pytest.MonkeyPatch) -> None:
    one = index()

    def full(*_: object) -> None:
        raise StoreError("full")

    monkeypatch.setattr(RamMemory, "commit", full)
    with pytest.raises(StoreError):
        one.begin_update(LEAST_S)
    assert one.state == IvState(10)
