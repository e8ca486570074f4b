"""The drivers of endpoints, with a clock that only the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from keywright.sansio import Device, Responder, arun_endpoint, run_endpoint
from support.echo import Echo


class Beacon:
    """Sends a frame every ten seconds, and echoes what it hears; tells what it heard."""

    def __init__(self) -> None:
        self._next = 0.0
        self._echoes: list[bytes] = []
        self._events: list[tuple[float, bytes]] = []

    def receive(self, data: bytes, now: float) -> None:
        self._echoes.append(data[::-1])
        self._events.append((now, data))

    def outgoing(self, now: float) -> list[bytes]:
        frames, self._echoes = self._echoes, []
        if now >= self._next:
            self._next = now + 10
            frames.append(b"beacon")
        return frames

    def deadline(self) -> float | None:
        return self._next

    def events(self) -> list[tuple[float, bytes]]:
        events, self._events = self._events, []
        return events


class Air:
    """Frames that come at given times; waiting moves the clock."""

    def __init__(self, *arrivals: tuple[float, bytes]) -> None:
        self.now = 0.0
        self.arrivals = list(arrivals)
        self.sent: list[tuple[float, bytes]] = []
        self.waits: list[float | None] = []

    def clock(self) -> float:
        return self.now

    def send(self, data: bytes) -> None:
        self.sent.append((self.now, data))

    def receive(self, timeout_s: float | None) -> bytes | None:
        self.waits.append(timeout_s)
        end = float("inf") if timeout_s is None else self.now + timeout_s
        if self.arrivals and self.arrivals[0][0] <= end:
            self.now, data = self.arrivals.pop(0)
            return data
        self.now = end
        return None


def blocking(air: Air, until: float | None) -> list[tuple[float, bytes]]:
    return list(run_endpoint(Beacon(), send=air.send, receive=air.receive, clock=air.clock, until=until))


def asynchronous(air: Air, until: float | None) -> list[tuple[float, bytes]]:
    async def send(data: bytes) -> None:
        air.send(data)

    async def receive(timeout_s: float | None) -> bytes | None:
        await asyncio.sleep(0)
        return air.receive(timeout_s)

    async def collect() -> list[tuple[float, bytes]]:
        run = arun_endpoint(Beacon(), send=send, receive=receive, clock=air.clock, until=until)
        return [event async for event in run]

    return asyncio.run(collect())


runners = pytest.mark.parametrize("run", [blocking, asynchronous])
Run = Callable[[Air, float | None], list[tuple[float, bytes]]]


@runners
def test_frames_go_out_when_they_are_due_and_what_comes_in_is_answered_at_once(run: Run) -> None:
    air = Air((3.0, b"ab"))
    assert run(air, 25.0) == [(3.0, b"ab")]
    assert air.sent == [(0.0, b"beacon"), (3.0, b"ba"), (10.0, b"beacon"), (20.0, b"beacon")]


@runners
def test_it_never_waits_past_the_end(run: Run) -> None:
    air = Air()
    assert run(air, 5.0) == []
    assert air.waits == [5.0]


def test_without_deadline_or_end_it_waits_for_ever_and_the_caller_may_leave() -> None:
    class Listener(Beacon):
        def outgoing(self, now: float) -> list[bytes]:
            return []

        def deadline(self) -> None:
            return None

    air = Air((99.0, b"x"))
    run = run_endpoint(Listener(), send=air.send, receive=air.receive, clock=air.clock)
    assert next(iter(run)) == (99.0, b"x")
    assert air.waits == [None]


def test_a_deadline_in_the_past_is_no_negative_wait() -> None:
    class Late(Beacon):
        def deadline(self) -> float | None:
            return -1.0

    air = Air((0.0, b"x"), (0.0, b"y"))
    run = run_endpoint(Late(), send=air.send, receive=air.receive, clock=air.clock)
    assert next(iter(run)) == (0.0, b"x")
    assert air.waits == [0.0]


def test_the_protocols_of_the_answering_side_are_structural() -> None:
    assert isinstance(Echo(), Device)
    assert isinstance(Echo(), Responder)
    assert not isinstance(Beacon(), Responder)
