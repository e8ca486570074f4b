"""Peers that speak unasked or keep time, and the two drivers that run one.

An endpoint is told what came in and what time it is, and says what goes out and when it wants to be woken. It holds
no socket and no clock, so a test plays hours in a moment and a recording replays exactly.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Protocol, TypeVar

Event_co = TypeVar("Event_co", covariant=True)
Event = TypeVar("Event")


class Endpoint(Protocol[Event_co]):
    """One end of such a protocol. Times are seconds of one clock that never goes back; its zero means nothing."""

    def receive(self, data: bytes, now: float) -> None:
        """Take one frame from the peer. Total: a frame that means nothing is dropped."""
        ...

    def outgoing(self, now: float) -> Sequence[bytes]:
        """The frames to send now; each is given out once. Also does what is due at `now`."""
        ...

    def deadline(self) -> float | None:
        """When `outgoing` wants to be called at the latest, None if nothing is due."""
        ...

    def events(self) -> Sequence[Event_co]:
        """What has happened since the last call, in order; each is given out once."""
        ...


def run_endpoint(
    endpoint: Endpoint[Event],
    *,
    send: Callable[[bytes], None],
    receive: Callable[[float | None], bytes | None],
    clock: Callable[[], float],
    until: float | None = None,
) -> Iterator[Event]:
    """Run an endpoint over a blocking port and yield its events; the caller stops by leaving the loop.

    receive(timeout_s): the next frame, None if none came in time (timeout None: wait for ever). until: the time at
    which to end. Raises what `send` and `receive` raise.
    """
    while True:
        now = clock()
        for frame in endpoint.outgoing(now):
            send(frame)
        yield from endpoint.events()
        if until is not None and now >= until:
            return
        data = receive(_timeout(endpoint.deadline(), until, clock()))
        if data is not None:
            endpoint.receive(data, clock())


async def arun_endpoint(
    endpoint: Endpoint[Event],
    *,
    send: Callable[[bytes], Awaitable[None]],
    receive: Callable[[float | None], Awaitable[bytes | None]],
    clock: Callable[[], float],
    until: float | None = None,
) -> AsyncIterator[Event]:
    """Run an endpoint over an asynchronous port and yield its events; the twin of `run_endpoint`."""
    while True:
        now = clock()
        for frame in endpoint.outgoing(now):
            await send(frame)
        for event in endpoint.events():
            yield event
        if until is not None and now >= until:
            return
        data = await receive(_timeout(endpoint.deadline(), until, clock()))
        if data is not None:
            endpoint.receive(data, clock())


def _timeout(deadline: float | None, until: float | None, now: float) -> float | None:
    """Seconds to the nearer of two times, None if neither is set, never negative."""
    times = [time for time in (deadline, until) if time is not None]
    return max(0.0, min(times) - now) if times else None
