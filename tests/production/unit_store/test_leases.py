"""Leases: whoever lost one writes nothing, an ended one makes a unit to recover, and nobody gets a unit twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from keywright.errors import StoreError
from keywright.production.unit_store.processes import is_gone, this_host, this_process
from keywright.production.unit_store.rows import Event, UnitChange
from keywright.production.unit_store.units import ConflictError, FencedError, Leave, UnitStore
from support.lots import lot, order

TTL = 30.0


class Clock:
    """Goes on as told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def opened(store_url: str, clock: Clock) -> Iterator[Callable[[str], UnitStore]]:
    """Opens stations on a lot of ten units."""
    with UnitStore.open(store_url, create=True) as store:
        store.import_order(lot(), order(10))
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(UnitStore.open(store_url, station=name, clock=clock, ttl_s=TTL))


Opened = Callable[[str], UnitStore]


def done(n: int, step: str = "s", attempt: int = 1) -> Event:
    return Event(unit=n, step=step, phase="done", at=1.0, attempt=attempt)


def numbers(units: list) -> list[int]:  # type: ignore[type-arg]  # of units
    return [unit.n for unit in units]


def test_two_stations_never_get_the_same_unit(opened: Opened) -> None:
    one, two = opened("one"), opened("two")
    assert numbers(one.claim(3)) == [1, 2, 3]
    assert numbers(two.claim(3)) == [4, 5, 6]
    assert numbers(one.claim(9)) == [7, 8, 9, 10]
    assert two.claim(9) == one.claim(9) == []
    assert one.leased() == 10
    claimed = two.unit(4)
    assert claimed is not None
    assert (claimed.station, claimed.epoch, claimed.until, claimed.recover) == ("two", 1, 1000.0 + TTL, False)


def test_a_station_that_lost_its_lease_writes_nothing_and_is_told_of_which_unit(opened: Opened, clock: Clock) -> None:
    stale, other = opened("stale"), opened("other")
    stale.claim(2)
    stale.commit([done(1), done(2)])
    clock.now += TTL + 1
    assert other.reap() == 2
    for write in (done(1, "t"), UnitChange(1, {"tries": 9}), UnitChange(1, {"state": "sealed"}), Leave(1)):
        with pytest.raises(FencedError) as refused:
            stale.commit([done(2, "t"), write])
        assert refused.value.units == (1, 2)
    assert numbers(other.claim(1)) == [1]
    with pytest.raises(FencedError) as refused:
        stale.commit([done(1, "t")])
    assert refused.value.units == (1,)
    other.commit([done(1, "u"), UnitChange(1, {"state": "running"})])
    assert [event.step for event in other.events(1)] == ["s", "u"]
    unit = other.unit(1)
    assert unit is not None
    assert (unit.tries, unit.state, unit.epoch) == (0, "running", 3)


def test_an_ended_lease_makes_a_unit_to_recover_and_never_a_fresh_one(opened: Opened, clock: Clock) -> None:
    one, two = opened("one"), opened("two")
    assert [unit.recover for unit in one.claim(1)] == [False]
    clock.now += TTL - 1
    assert two.reap() == 0
    clock.now += 2
    assert two.reap() == 1
    assert two.reap() == 0
    assert [(unit.n, unit.recover) for unit in two.claim(2)] == [(1, True), (2, False)]


def test_a_heartbeat_keeps_the_leases_of_its_own_station(opened: Opened, clock: Clock) -> None:
    one, two = opened("one"), opened("two")
    one.claim(2)
    two.claim(1)
    clock.now += TTL - 1
    assert one.heartbeat() == 2
    clock.now += 2
    assert one.reap() == 1
    with pytest.raises(FencedError):
        two.commit([done(3)])
    one.commit([done(1), done(2)])


def test_a_lease_that_ended_but_that_nobody_took_back_still_counts(opened: Opened, clock: Clock) -> None:
    one = opened("one")
    one.claim(1)
    clock.now += 10 * TTL
    one.commit([done(1)])


def test_the_thread_of_a_station_keeps_its_leases_and_no_others(store_url: str) -> None:
    with UnitStore.open(store_url, create=True) as store:
        store.import_order(lot(), order(2))
    with (
        UnitStore.open(store_url, station="one", ttl_s=0.3) as one,
        UnitStore.open(store_url, station="two", ttl_s=0.3) as two,
        one.keep_alive(),
    ):
        first, other = one.claim(1)[0].until, two.claim(1)[0].until
        assert first is not None
        deadline = time.monotonic() + 30
        while ends(one, 1) < first + 1 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert ends(one, 1) >= first + 1
        assert ends(one, 2) == other


def ends(store: UnitStore, n: int) -> float:
    unit = store.unit(n)
    assert unit is not None
    assert unit.until is not None
    return unit.until


def test_a_finished_unit_is_nobodys_and_a_later_lease_is_a_new_epoch(opened: Opened) -> None:
    one = opened("one")
    one.claim(1)
    one.commit([UnitChange(1, {"state": "sealed"})])
    unit = one.unit(1)
    assert unit is not None
    assert (unit.station, unit.until, unit.recover, unit.epoch) == ("", None, False, 1)
    assert one.leased() == 0
    assert one.take(1) is None


def test_a_unit_left_open_waits_for_the_next_run(opened: Opened) -> None:
    one, two = opened("one"), opened("two")
    one.claim(1)
    one.commit([done(1), Leave(1)])
    assert numbers(two.claim(1)) == [2]
    two.begin_run()
    assert [(unit.n, unit.recover) for unit in one.claim(1)] == [(1, True)]


def test_a_unit_is_taken_by_its_number_unless_another_has_it(opened: Opened) -> None:
    one, two = opened("one"), opened("two")
    assert one.take(7) is not None
    assert one.take(7) is not None
    assert two.take(7) is None
    assert two.take(11) is None
    with pytest.raises(FencedError):
        two.commit([done(7)])


def test_a_unit_on_a_reader_belongs_to_its_station_until_it_is_released(opened: Opened, clock: Clock) -> None:
    one, two = opened("one"), opened("two")
    one.claim(1, pin=True)
    one.commit([done(1)])
    clock.now += TTL + 1
    two.reap()
    assert two.take(1) is None
    assert numbers(two.claim(1)) == [2]
    assert two.stations_pinned() == {"one"}
    assert numbers(one.claim(1)) == [1] if not one._held else one.take(1) is not None
    one.pin(1, released=True)
    clock.now += TTL + 1
    two.reap()
    assert two.take(1) is not None


def test_a_unit_that_nothing_happened_to_stands_nowhere_once_its_station_is_gone(opened: Opened, clock: Clock) -> None:
    one, two = opened("one"), opened("two")
    one.claim(2, pin=True)
    one.commit([Event(unit=2, step="link", phase="note", at=1.0), Leave(2)])  # begun, though it is still planned
    clock.now += TTL + 1
    assert two.reap() == 1
    assert two.stations_pinned() == {"one"}
    two.begin_run()
    assert [(unit.n, unit.recover) for unit in two.claim(2)] == [(1, True), (3, False)]
    assert numbers(one.claim(1)) == [2]


def test_a_station_that_ends_in_order_gives_back_what_it_has(opened: Opened) -> None:
    one, two = opened("one"), opened("two")
    one.claim(3, pin=True)
    one.commit([done(2)])
    one.close()
    assert [(unit.n, unit.recover) for unit in two.claim(9) if unit.n < 4] == [(1, False), (3, False)]
    assert two.stations_pinned() == {"one"}
    again = opened("one")
    assert numbers(again.claim(1)) == [2]
    again.commit([UnitChange(2, {"state": "sealed"})])
    assert two.stations_pinned() == set()


def test_a_station_that_comes_back_finds_its_units_to_be_recovered(store_url: str, opened: Opened) -> None:
    one = opened("one")
    one.claim(2, pin=True)
    again = opened("one")
    assert [(unit.n, unit.recover) for unit in again.claim(3)] == [(1, True), (2, True), (3, False)]
    with pytest.raises(FencedError):
        one.commit([done(1)])


def test_without_a_lease_a_unit_is_changed_only_while_nobody_has_one_and_is_then_one_to_recover(
    opened: Opened,
) -> None:
    one, two = opened("one"), opened("two")
    one.claim(1)
    with pytest.raises(FencedError):
        two.commit([UnitChange(1, {"tries": 1})])
    two.commit([done(5), UnitChange(6, {"state": "quarantined"})])
    assert [(unit.n, unit.recover) for unit in one.claim(2)] == [(5, True), (2, False)]


def test_a_lost_lease_is_not_given_back_to_the_station_before_it_was_dropped(opened: Opened, clock: Clock) -> None:
    one = opened("one")
    one.claim(1)
    clock.now += TTL + 1
    assert one.reap() == 1
    assert numbers(one.claim(1)) == [2]
    one.drop(1)
    assert [(unit.n, unit.recover) for unit in one.claim(1)] == [(1, True)]


def test_a_fault_of_another_kind_leaves_the_leases_as_they_are(opened: Opened) -> None:
    one = opened("one")
    one.claim(1)
    one.commit([done(1)])
    with pytest.raises(ConflictError):
        one.commit([done(1), UnitChange(1, {"state": "sealed"})])
    one.commit([done(1, attempt=2)])


WORKER = """
import os, signal, sys
from keywright.production.unit_store.units import UnitStore

store = UnitStore.open(sys.argv[1], station="killed", ttl_s=3600)
print([unit.n for unit in store.claim(3)], flush=True)
sys.stdin.readline()
"""


def test_whoever_has_the_store_alone_finds_units_of_killed_stations_to_be_recovered(
    store_url: str, opened: Opened
) -> None:
    opened("here")
    worker = subprocess.run(
        [sys.executable, "-c", WORKER, store_url], check=True, input="\n", stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout == "[1, 2, 3]\n"  # it ended without a word to the store
    with UnitStore.open(store_url) as alone:
        assert [(unit.n, unit.recover) for unit in alone.claim(4)] == [
            (1, True),
            (2, True),
            (3, True),
            (4, False),
        ]


def test_units_of_a_killed_process_of_this_machine_are_recovered_at_once(store_url: str, opened: Opened) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, store_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    with worker.stdin, worker.stdout:
        assert worker.stdout.readline() == "[1, 2, 3]\n"
        here = opened("here")
        assert here.reap() == 0
        os.kill(worker.pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while not here.reap() and time.monotonic() < deadline:  # its remains are enough: nobody has waited for it yet
            time.sleep(0.01)
        worker.wait()
    assert [(unit.n, unit.recover) for unit in here.claim(4)] == [(1, True), (2, True), (3, True), (4, False)]


def test_threads_that_begin_together_introduce_their_station_once(store_url: str) -> None:
    with UnitStore.open(store_url, create=True) as store:
        store.import_order(lot(), order(40))
    for turn in range(5):
        with UnitStore.open(store_url, station=f"station {turn}") as station:
            ready = threading.Barrier(4)
            claimed: list[int] = []

            def work(
                station: UnitStore = station, ready: threading.Barrier = ready, claimed: list[int] = claimed
            ) -> None:
                ready.wait()
                claimed.extend(numbers(station.claim(2)))

            threads = [threading.Thread(target=work) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(set(claimed)) == 8 == station.leased()
            station.commit([UnitChange(n, {"state": "sealed"}) for n in claimed])


def test_what_becomes_of_processes_elsewhere_is_not_guessed() -> None:
    assert not is_gone(this_host(), this_process())
    assert not is_gone("another machine", "1:1")
    assert is_gone(this_host(), f"{os.getpid()}:1")
    assert is_gone(this_host(), f"{2**22 + 1}:1")


def test_many_stations_at_once_share_a_lot_without_a_unit_lost_or_given_twice(store_url: str) -> None:
    with UnitStore.open(store_url, create=True) as store:
        store.import_order(lot(), order(200))
    given: list[int] = []
    troubles: list[Exception] = []

    def work(name: str) -> None:
        try:
            with UnitStore.open(store_url, station=name) as station:
                while units := station.claim(7):
                    for unit in units:
                        station.commit([done(unit.n), UnitChange(unit.n, {"state": "sealed"})])
                        given.append(unit.n)
        except StoreError as error:
            troubles.append(error)

    threads = [threading.Thread(target=work, args=(f"station {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not troubles
    assert sorted(given) == list(range(1, 201))
