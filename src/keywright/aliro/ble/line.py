"""One L2CAP channel between two ends in memory, in virtual time: what carries a session without Bluetooth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol, final


class LineEnd(Protocol):
    """An end of a channel, as `aliro.ble.ends.BleEnd` is one."""

    @property
    def is_closed(self) -> bool:
        """Whether the channel is to be closed."""
        ...

    def receive(self, data: bytes, now: float) -> None:
        """Take the octets of one SDU."""
        ...

    def outgoing(self, now: float) -> Sequence[bytes]:
        """SDUs to send now."""
        ...

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        ...

    def disconnected(self, why: str, now: float) -> None:
        """The channel is gone."""
        ...


class Carried(NamedTuple):
    """One SDU on its way."""

    at: float
    from_reader: bool
    octets: bytes


Alter = Callable[[Carried], Sequence[bytes]]
"""What becomes of an SDU: the octets that arrive, in order; nothing of it is lost unless this says so."""


@final
class Line:
    """Carries SDUs in order, each `latency_s` after it was sent. `now` is its clock; it moves in `run` alone."""

    def __init__(
        self,
        reader: LineEnd,
        device: LineEnd,
        *,
        now: float = 0.0,
        latency_s: float = 0.02,
        alter: Alter = lambda carried: (carried.octets,),
    ) -> None:
        self.now = now
        self.carried: list[Carried] = []
        """All SDUs sent, as they were sent."""
        self.is_up = True
        self._ends: Final = {True: reader, False: device}
        self._latency_s = latency_s
        self._alter = alter
        self._due: list[Carried] = []

    def run(self, until: float, stop: Callable[[], bool] = lambda: False) -> None:
        """Go on until that time, until nothing is due any more, or until `stop()` after some step."""
        while self.is_up and not stop():
            self._send()
            if not self.is_up:
                break
            time = self._next()
            if time is None or time > until:
                break
            self.now = max(self.now, time)
            self._deliver()
        self.now = max(self.now, until) if not stop() else self.now

    def disconnect(self, why: str = "the link is lost") -> None:
        """The channel is gone, with all that was on its way."""
        self.is_up = False
        self._due = []
        for end in self._ends.values():
            end.disconnected(why, self.now)

    def _send(self) -> None:
        for side, end in self._ends.items():
            for octets in end.outgoing(self.now):
                carried = Carried(self.now, side, octets)
                self.carried.append(carried)
                arriving = self._alter(carried)
                if not self.is_up:
                    return
                self._due += [Carried(self.now + self._latency_s, side, one) for one in arriving]
        if any(end.is_closed for end in self._ends.values()) and not self._due:
            self.disconnect("the other end has closed the channel")

    def _next(self) -> float | None:
        times = [end.deadline() for end in self._ends.values()]
        times += [self._due[0].at] if self._due else []
        known = [time for time in times if time is not None]
        return min(known) if known else None

    def _deliver(self) -> None:
        while self._due and self._due[0].at <= self.now:
            carried = self._due.pop(0)
            self._ends[not carried.from_reader].receive(carried.octets, self.now)
