"""What nobody asks for any more is ended."""

from __future__ import annotations

import threading

from keywright.production.cluster.watchdog import Watchdog

PATIENCE_S = 20.0


class Time:
    """Seconds, and a thread that has seen them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.looked = threading.Event()

    def clock(self) -> float:
        self.looked.set()
        return self.now

    def at(self, now: float) -> None:
        """It is so late, and the watchdog has looked at least twice since."""
        self.now = now
        for _ in range(2):
            self.looked.clear()
            self.looked.wait(0.5)


def test_it_ends_what_was_not_said_to_be_alive_and_not_before() -> None:
    time, ended = Time(), threading.Event()
    dog = Watchdog(60.0, ended.set, clock=time.clock, poll_s=0.001)
    time.at(59.0)
    assert not ended.is_set()
    dog.alive()
    time.at(118.0)
    assert not ended.is_set()
    time.at(119.0)
    assert ended.wait(PATIENCE_S)


def test_what_is_at_work_for_long_is_not_ended() -> None:
    time, ended = Time(), threading.Event()
    dog = Watchdog(60.0, ended.set, clock=time.clock, poll_s=0.001)
    with dog.busy():
        time.at(1000.0)
        assert not ended.is_set()
    time.at(1059.0)
    assert not ended.is_set()
    time.at(1061.0)
    assert ended.wait(PATIENCE_S)
