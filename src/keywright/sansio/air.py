"""A medium that endpoints share, in virtual time: what one sends the others hear, later, perhaps twice, perhaps never.

Nothing waits: the clock jumps to whatever is due next, so an hour of radio takes as long as its frames take to compute,
and a seeded source of chance gives the same hour again.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Final, NamedTuple, final

from keywright.sansio.endpoint import Endpoint


class Conditions(NamedTuple):
    """How good the air is. Shares are of frames at each receiver, times are seconds."""

    loss: float = 0.0
    """Share that does not arrive."""
    duplication: float = 0.0
    """Share that arrives twice."""
    latency_s: float = 0.001
    reordering_s: float = 0.0
    """A frame takes up to this much longer, so that a later one may overtake it."""


@final
class Air:
    """A medium. `now` is its clock; it starts at 0 and moves in `run` alone."""

    def __init__(
        self,
        random: Callable[[], float],
        conditions: Conditions | None = None,
        *,
        topic: Callable[[bytes], Hashable | None] = lambda _: None,
    ) -> None:
        """random(): a number from 0 up to 1.

        topic(frame): what a frame is about; stations that joined with topics get frames about those alone, at no cost
        to a frame about anything else. None: about everything.
        """
        self.now: float = 0.0
        self.sent = 0
        """Frames that were sent."""
        self._random = random
        self._conditions = conditions or Conditions()
        self._topic = topic
        self._stations: dict[int, Endpoint[Any]] = {}
        self._hears: dict[int, Callable[[bytes], bool] | None] = {}
        self._tuned: dict[int, set[Hashable]] = {}
        self._untuned: dict[int, None] = {}
        self._listeners: dict[Hashable, dict[int, None]] = {}
        self._due: list[tuple[float, int, int, bytes | None]] = []
        self._woken: dict[int, float] = {}
        self._order: Final = itertools.count()
        self._numbers: Final = itertools.count()

    def join(
        self,
        endpoint: Endpoint[Any],
        *,
        hears: Callable[[bytes], bool] | None = None,
        topics: Iterable[Hashable] | None = None,
    ) -> int:
        """Put an endpoint on the air; the number is for `leave`, `tune` and `wake`.

        hears(frame): whether this station's receiver would pass the frame on at all; without it every frame is.
        topics: what this station listens to; without it everything.
        """
        number = next(self._numbers)
        self._stations[number] = endpoint
        self._hears[number] = hears
        if topics is None:
            self._untuned[number] = None
        else:
            self._tuned[number] = set()
            for one in topics:
                self.tune(number, one)
        self.wake(number)
        return number

    def tune(self, number: int, topic: Hashable, *, on: bool = True) -> None:
        """Let a station that joined with topics listen to one more, or no longer to one."""
        listeners = self._listeners.setdefault(topic, {})
        if on:
            self._tuned[number].add(topic)
            listeners[number] = None
        else:
            self._tuned[number].discard(topic)
            listeners.pop(number, None)
        if not listeners:
            del self._listeners[topic]

    def leave(self, number: int) -> None:
        """Take an endpoint off the air, as a power cut does: what was on its way to it is lost."""
        del self._stations[number], self._hears[number]
        self._untuned.pop(number, None)
        for topic in tuple(self._tuned.get(number, ())):
            self.tune(number, topic, on=False)
        self._tuned.pop(number, None)
        self._woken.pop(number, None)

    def wake(self, number: int) -> None:
        """Look at an endpoint now, because its owner told it something."""
        self._push(self.now, number, None)

    def run(self, until: float, stop: Callable[[], bool] = lambda: False) -> None:
        """Go on until that time, until nothing is due any more, or until `stop()` after some frame."""
        while self._due and self._due[0][0] <= until and not stop():
            self.now, _, number, frame = heapq.heappop(self._due)
            endpoint = self._stations.get(number)
            if endpoint is None:
                continue
            if frame is not None:
                endpoint.receive(frame, self.now)
            elif self._woken.get(number) == self.now:
                del self._woken[number]
            for out in endpoint.outgoing(self.now):
                self._send(number, out)
            self._sleep(number, endpoint.deadline())
        if not stop():
            self.now = max(self.now, until)

    def _sleep(self, number: int, deadline: float | None) -> None:
        if deadline is not None and self._woken.get(number, float("inf")) > deadline:
            self._woken[number] = max(deadline, self.now)
            self._push(self._woken[number], number, None)

    def _send(self, sender: int, frame: bytes) -> None:
        self.sent += 1
        air = self._conditions
        topic = self._topic(frame)
        for number in self._stations if topic is None else (*self._untuned, *self._listeners.get(topic, ())):
            hears = self._hears[number]
            if number == sender or (hears is not None and not hears(frame)):
                continue
            copies = 2 if air.duplication and self._random() < air.duplication else 1
            for _ in range(copies):
                if not air.loss or self._random() >= air.loss:
                    late = air.reordering_s * self._random() if air.reordering_s else 0.0
                    self._push(self.now + air.latency_s + late, number, frame)

    def _push(self, time: float, number: int, frame: bytes | None) -> None:
        heapq.heappush(self._due, (time, next(self._order), number, frame))
