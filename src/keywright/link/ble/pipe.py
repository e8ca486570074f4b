"""What runs over GATT here: a pipe of two characteristics, and the endpoints at its ends.

A pipe is a service with one characteristic that the client writes without response and one that the server notifies. A
frame is the value of one write or one notification. The pipe is open while the client listens.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

from keywright.errors import LinkError
from keywright.sansio.endpoint import Endpoint

Event = TypeVar("Event")
Clock = Callable[[], float]

LEAST_MTU = 23
GOOD_MTU = 247
"""ATT_MTU that fits the longest data packet of the link layer (Bluetooth Core 6.0, Vol 6 Part B 2.4)."""


Pipe: TypeAlias = tuple[str, str, str]
"""UUIDs of a service, the characteristic to write and the one that notifies: 4 hex digits, or 8-4-4-4-12."""


class Advertisement(NamedTuple):
    """What was heard of a device: its address, AD structures, signal strength in dBm if measured."""

    address: str
    """As `connect` takes it: six octets, with /P after a public one."""
    data: bytes
    rssi_dbm: int | None
    is_connectable: bool


class Linked(Protocol):
    """The end of a pipe inside an endpoint: what says when to disconnect and is told when that has happened."""

    @property
    def is_closed(self) -> bool:
        """Whether the connection is to be ended."""
        ...

    def disconnected(self, why: str, now: float) -> None:
        """The connection is gone."""
        ...


class Peripheral(Linked, Protocol):
    """Endpoint: the server's end of a pipe, over many connections one after the other."""

    @property
    def pipe(self) -> Pipe:
        """The service to show; looked at between connections."""
        ...

    @property
    def advertising(self) -> Sequence[bytes]:
        """AD structures that tell of it, the most important first."""
        ...

    def connected(self, mtu: int, now: float) -> None:
        """A client listens, on a connection with this ATT_MTU."""
        ...

    def receive(self, data: bytes, now: float) -> None:
        """Take the value of one write."""
        ...

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Values to notify now."""
        ...

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        ...

    def events(self) -> Sequence[Any]:
        """What has happened."""
        ...


class Values(Protocol):
    """What values of one pipe go through: `BleConnection`, or another one in a test."""

    def send(self, value: bytes) -> None:
        """Raises LinkError if the connection is gone."""
        ...

    def receive(self, timeout_s: float | None) -> bytes | None:
        """The next value, None if none came in time. Raises LinkError if the connection is gone."""
        ...

    def close(self) -> None:
        """Disconnect."""
        ...


class AsyncValues(Protocol):
    """The asynchronous twin of `Values`: `Connection`."""

    async def send(self, value: bytes) -> None:
        """Raises LinkError if the connection is gone."""
        ...

    async def receive(self, timeout_s: float | None) -> bytes | None:
        """The next value, None if none came in time. Raises LinkError if the connection is gone."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...


async def arun_pipe(
    endpoint: Endpoint[Event],
    link: Linked,
    connection: AsyncValues,
    *,
    clock: Clock = time.monotonic,
    until: float | None = None,
) -> AsyncIterator[Event]:
    """Run a client's endpoint over a connection and yield its events, until its link is closed or the connection gone.

    until: the time at which to end in any case.
    link: the end of the pipe that `endpoint` has within. The connection is closed at the end; a loss of it is told to
    `link` and nobody else. Leaving the loop early leaves the connection open.
    """
    while True:
        for value in endpoint.outgoing(clock()):
            try:
                await connection.send(value)
            except LinkError as error:
                link.disconnected(str(error), clock())
                break
        events = endpoint.events()
        for event in events:
            yield event
        if events:
            continue  # its owner may have told it something
        if link.is_closed or (until is not None and clock() >= until):
            await connection.close()
            return
        try:
            data = await connection.receive(_timeout(endpoint.deadline(), until, clock()))
        except LinkError as error:
            link.disconnected(str(error), clock())
            continue
        if data is not None:
            endpoint.receive(data, clock())


def run_pipe(
    endpoint: Endpoint[Event],
    link: Linked,
    connection: Values,
    *,
    clock: Clock = time.monotonic,
    until: float | None = None,
) -> Iterator[Event]:
    """The blocking twin of `arun_pipe`."""
    while True:
        for value in endpoint.outgoing(clock()):
            try:
                connection.send(value)
            except LinkError as error:
                link.disconnected(str(error), clock())
                break
        events = endpoint.events()
        yield from events
        if events:
            continue  # as above
        if link.is_closed or (until is not None and clock() >= until):
            connection.close()
            return
        try:
            data = connection.receive(_timeout(endpoint.deadline(), until, clock()))
        except LinkError as error:
            link.disconnected(str(error), clock())
            continue
        if data is not None:
            endpoint.receive(data, clock())


def _timeout(deadline: float | None, until: float | None, now: float) -> float | None:
    times = [time for time in (deadline, until) if time is not None]
    return max(0.0, min(times) - now) if times else None
