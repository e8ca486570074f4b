"""A station on one blocking link: answers in order, and a device that never answers holds nobody for ever."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from keywright.errors import LinkError
from keywright.production import stations
from keywright.production.engine import Engine
from keywright.production.stations import LinkStation
from keywright.production.watch import Unwatched
from support.bench import Bench
from support.ledger import FOB, Ledger


class Gate:
    """A link to one fob that keeps its n-th answer back until it is opened."""

    name, extended, atr = "gate", True, b""

    def __init__(self, nth: int = 0) -> None:
        self.opened = threading.Event()
        self.closed = False
        self._bench = Bench()
        self._nth = nth
        self._count = 0

    def exchange(self, command: bytes) -> bytes:
        self._count += 1
        self._bench.submit("K-000001", command)
        ((_, answer),) = self._bench.receive()
        assert isinstance(answer, bytes)
        if self._count == self._nth:
            self.opened.wait(10)
        return answer

    def reset(self) -> bytes:
        return self._bench.device("K-000001").reset()

    def close(self) -> None:
        self.closed = True
        self.opened.set()


CPLC = bytes.fromhex("80CA9F7F00")


@contextmanager
def station_on(gate: Gate) -> Iterator[LinkStation]:
    station = LinkStation(gate)
    try:
        yield station
    finally:
        station.close()
    assert gate.closed


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stations, "_USUAL_S", 0.02)


def test_nothing_comes_within_the_limit_and_the_answer_comes_later() -> None:
    gate = Gate(1)
    with station_on(gate) as station:
        station.submit("K-000001", CPLC)
        assert station.receive(limit_s=0.01) == []
        assert station.waiting == 1
        assert station.receive(block=False) == []
        gate.opened.set()
        ((name, answer),) = station.receive()
        assert (name, station.waiting) == ("K-000001", 0)
        assert isinstance(answer, bytes)
        assert answer[-2:] == b"\x90\x00"


def test_answers_keep_the_order_of_what_was_sent() -> None:
    gate = Gate(1)
    with station_on(gate) as station:
        station.submit("one", CPLC)
        station.power_on("two")
        gate.opened.set()
        names: list[str] = []
        while station.waiting:
            names += [name for name, _ in station.receive()]
        assert names == ["one", "two"]


def test_a_fault_of_the_link_itself_reaches_who_asked() -> None:
    class Broken(Gate):
        def exchange(self, command: bytes) -> bytes:
            raise ZeroDivisionError

    with station_on(Broken()) as station:
        station.submit("K-000001", CPLC)
        with pytest.raises(ZeroDivisionError):
            station.receive()


@pytest.mark.parametrize("nth", [1, 7, 13, 20])
def test_the_engine_gives_a_hung_exchange_up_and_the_unit_is_done_once_the_link_answers(nth: int) -> None:
    """The engine's clock runs fast; the link's answer comes when the unit is begun again."""
    gate = Gate(nth)
    hasty = FOB.replace("[[step]]", "[[step]]\ntimeout_s = 5")
    ledger = Ledger.of(hasty, "K-000001")
    now = [0.0]

    def clock() -> float:
        now[0] += 0.001
        return now[0]

    class Fast(LinkStationLike):
        def receive(self, *, block: bool = True, limit_s: float | None = None) -> list[tuple[str, bytes | LinkError]]:
            found = self.station.receive(block=block, limit_s=0.02)
            if not found:
                now[0] += limit_s or 0.0
            return found

    class Begun(Unwatched):
        times = 0

        def started(self, unit: int, serial: str) -> None:
            self.times += 1
            if self.times > 1:
                gate.opened.set()

    with station_on(gate) as station:
        engine = Engine(ledger.as_store(), Fast(station), iter([ledger.job(1)]), watcher=Begun(), clock=clock)
        outcome = engine.run()
    assert (outcome.sealed, outcome.left_open) == (1, 0)
    (note,) = [event.facts for event in ledger.events if event.step == "link"]
    assert note["text"] == "no answer within 5 s"


class LinkStationLike:
    """Passes everything on to a station; what differs is written over it."""

    width = 1

    def __init__(self, station: LinkStation) -> None:
        self.station = station
        self.submit, self.power_on, self.power_off = station.submit, station.power_on, station.power_off
        self.submit_air, self.flush, self.close = station.submit_air, station.flush, station.close

    @property
    def waiting(self) -> int:
        return self.station.waiting

    def receive(self, *, block: bool = True, limit_s: float | None = None) -> list[tuple[str, bytes | LinkError]]:
        return self.station.receive(block=block, limit_s=limit_s)


def test_a_link_that_never_answers_leaves_the_unit_open_and_can_be_closed() -> None:
    class Silent(Gate):
        def reset(self) -> bytes:
            self.opened.wait(10)
            raise LinkError("closed", None)

    now = [0.0]

    class Fast(LinkStationLike):
        def receive(self, *, block: bool = True, limit_s: float | None = None) -> list[tuple[str, bytes | LinkError]]:
            now[0] += limit_s or 0.0
            return self.station.receive(block=block, limit_s=0.001)

    def sleep(seconds: float) -> None:
        now[0] += seconds

    ledger = Ledger.of(FOB, "K-000001")
    with station_on(Silent()) as station:
        engine = Engine(ledger.as_store(), Fast(station), iter([ledger.job(1)]), clock=lambda: now[0], sleep=sleep)
        assert engine.run().left_open == 1
    assert ledger.units[1].failure_code == "timeout"
