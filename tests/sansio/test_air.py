"""The shared medium: who hears what, when, how often."""

from __future__ import annotations

import random

from keywright.sansio.air import Air, Conditions


class Station:
    """Sends what it is given at time 0, and keeps what it hears."""

    def __init__(self, *frames: bytes) -> None:
        self.frames = list(frames)
        self.heard: list[tuple[float, bytes]] = []

    def receive(self, data: bytes, now: float) -> None:
        self.heard.append((now, data))

    def outgoing(self, now: float) -> list[bytes]:
        frames, self.frames = self.frames, []
        return frames

    def deadline(self) -> None:
        return None

    def events(self) -> list[object]:
        return []


def contents(station: Station) -> list[bytes]:
    return [frame for _, frame in station.heard]


def test_everybody_hears_but_the_sender() -> None:
    air = Air(random.Random(1).random)
    one, two, three = Station(b"a"), Station(), Station(b"b")
    for station in (one, two, three):
        air.join(station)
    air.run(1.0)
    assert (contents(one), contents(two), contents(three)) == ([b"b"], [b"a", b"b"], [b"a"])
    assert air.sent == 2
    assert air.now == 1.0


def test_topics_are_heard_by_who_is_tuned_and_by_who_hears_all() -> None:
    air = Air(random.Random(1).random, topic=lambda frame: None if frame == b"all" else frame[:1])
    sender, everything, a, b, picky = Station(), Station(), Station(), Station(), Station()
    number = air.join(sender)
    air.join(everything)
    tuned = air.join(a, topics=[b"a"])
    air.join(b, topics=[b"b"])
    air.join(picky, topics=[b"a"], hears=lambda frame: frame.endswith(b"2"))

    def send(*frames: bytes) -> None:
        sender.frames = list(frames)
        air.wake(number)
        air.run(air.now + 1.0)

    send(b"a1", b"b1", b"c1", b"all")
    assert contents(everything) == [b"a1", b"b1", b"c1", b"all"]
    assert (contents(a), contents(b), contents(picky)) == ([b"a1", b"all"], [b"b1", b"all"], [])
    air.tune(tuned, b"c")
    air.tune(tuned, b"a", on=False)
    send(b"a2", b"c2")
    assert contents(a) == [b"a1", b"all", b"c2"]
    assert contents(picky) == [b"a2"]
    air.leave(tuned)
    send(b"c3")
    assert contents(a)[-1] == b"c2"


def test_the_same_seed_gives_the_same_air() -> None:
    def heard(seed: int) -> list[tuple[float, bytes]]:
        air, listener = Air(random.Random(seed).random, Conditions(0.3, 0.3, 0.01, 0.5)), Station()
        air.join(Station(*(bytes((number,)) for number in range(100))))
        air.join(listener)
        air.run(10.0)
        return listener.heard

    assert heard(1) == heard(1) != heard(2)
    frames = [frame for _, frame in heard(1)]
    assert 50 < len(set(frames)) < 90
    assert len(frames) > len(set(frames))
    assert frames != sorted(frames)
