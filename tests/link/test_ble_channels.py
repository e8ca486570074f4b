"""L2CAP channels over bumble: octets both ways, several clients, and servers that are not as they should be."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from keywright.errors import LinkError, PolicyError
from keywright.link.ble import Radio, VirtualAir
from keywright.link.ble.channels import Channel, ChannelEnd, ChannelService, open_channel, serve_channels
from support.peers import require_peer

require_peer("bumble", importlib.util.find_spec("bumble") is not None, "pip install keywright[ble]")

BASE = "6f8b1b70-5f0b-4c0e-9d4e-00000000000"
SERVICE = ChannelService("FFF2", f"{BASE}1", f"{BASE}2")
STRUCTURES = (bytes.fromhex("0303F2FF"),)


class Mirror:
    """An end that gives octets back reversed; `stop` closes it."""

    def __init__(self, choice: bytes) -> None:
        self.choice = choice
        self.is_closed = False
        self.lost = ""
        self.received = b""
        self.pending: list[bytes] = []
        self._events: list[bytes] = []

    def disconnected(self, why: str, now: float) -> None:
        del now
        self.lost = why
        self.is_closed = True

    def receive(self, data: bytes, now: float) -> None:
        del now
        self.received += data
        self._events.append(data)
        self.pending.append(data[::-1])
        self.is_closed = data == b"stop"

    def outgoing(self, now: float) -> Sequence[bytes]:
        del now
        pending, self.pending = self.pending, []
        return pending

    def deadline(self) -> None:
        return None

    def events(self) -> Sequence[bytes]:
        events, self._events = self._events, []
        return events


class Mirrors:
    """A station whose channels are mirrors; what one is told, all others say too."""

    service = SERVICE

    def __init__(self, again_s: float | None = None) -> None:
        self.ends: list[Mirror] = []
        self.asked = 0
        self.asked_thrice = asyncio.Event()
        self._again_s = again_s
        self.wake: Callable[[], None] = lambda: None

    def served(self, wake: Callable[[], None]) -> None:
        self.wake = wake

    def place(self, psm: int) -> bytes:
        return psm.to_bytes(2)

    def advertising(self, address: str) -> tuple[Sequence[bytes], float | None]:
        assert address.count(":") == 5
        self.asked += 1
        if self.asked == 3:
            self.asked_thrice.set()
        return STRUCTURES, self._again_s

    def connected(self, choice: bytes, now: float) -> Mirror:
        del now
        if choice == b"none":
            raise PolicyError("not this one")
        self.ends.append(Mirror(choice))
        return self.ends[-1]

    def told(self, end: ChannelEnd, event: Any) -> None:
        for one in self.ends:
            if one is not end:
                one.pending.append(b"heard " + event)


def choose(place: bytes, choice: bytes = b"this") -> tuple[int, bytes]:
    return int.from_bytes(place), choice


def run(body: Callable[[Radio, list[Radio], Mirrors], Awaitable[None]], *, clients: int = 1, **options: Any) -> None:
    """A served station and clients, in one event loop."""

    async def main() -> None:
        air, station, ready = VirtualAir(), Mirrors(options.pop("again_s", None)), asyncio.Event()
        server, *others = [await Radio.open(air=air) for _ in range(clients + 1)]
        serving = asyncio.create_task(serve_channels(server, station, on_ready=ready, **options))
        await ready.wait()
        try:
            await body(server, others, station)
        finally:
            serving.cancel()
            await asyncio.wait([serving])
            for radio in (server, *others):
                await radio.close()

    asyncio.run(asyncio.wait_for(main(), 60.0))


async def all_of(channel: Channel, size: int) -> bytes:
    """So many octets, in however many SDUs they come."""
    found = b""
    while len(found) < size:
        part = await channel.receive(5.0)
        assert part is not None
        found += part
    return found


def test_octets_go_both_ways_in_order_whatever_their_number() -> None:
    async def body(server: Radio, clients: list[Radio], station: Mirrors) -> None:
        channel = await open_channel(clients[0], server.address, SERVICE, choose)
        for size in (1, 511, 512, 513, 5000):
            sent = bytes(number * 7 & 0xFF for number in range(size))
            before = len(station.ends[0].received)
            await channel.send(sent)
            answer = await all_of(channel, size)
            assert station.ends[0].received[before:] == sent
            assert sorted(answer) == sorted(sent)
        assert station.ends[0].choice == b"this"
        await channel.send(b"stop")
        assert await channel.receive(5.0) == b"pots"
        with pytest.raises(LinkError):
            await channel.receive(5.0)
        await channel.close()
        with pytest.raises(LinkError):
            await channel.send(b"x")

    run(body)


def test_several_clients_have_channels_of_their_own_and_one_may_make_another_speak() -> None:
    async def body(server: Radio, clients: list[Radio], station: Mirrors) -> None:
        channels = [await open_channel(one, server.address, SERVICE, choose) for one in clients]
        await channels[0].send(b"abc")
        assert await channels[0].receive(5.0) == b"cba"
        assert await channels[1].receive(5.0) == b"heard abc"
        station.ends[1].pending.append(b"unasked")
        station.wake()
        assert await channels[1].receive(5.0) == b"unasked"
        await channels[0].close()
        await channels[1].send(b"def")
        assert await channels[1].receive(5.0) == b"fed"
        assert "disconnected" in station.ends[0].lost

    run(body, clients=2)


def test_no_more_clients_than_there_is_room_for_are_advertised_to() -> None:
    async def body(server: Radio, clients: list[Radio], station: Mirrors) -> None:
        first = await open_channel(clients[0], server.address, SERVICE, choose)
        with pytest.raises(LinkError, match="nobody answers"):
            await open_channel(clients[1], server.address, SERVICE, choose, timeout_s=0.2)
        await first.close()
        second = await open_channel(clients[1], server.address, SERVICE, choose)
        await second.send(b"ab")
        assert await second.receive(5.0) == b"ba"
        assert len(station.ends) == 2

    run(body, clients=2, most=1)


def test_a_choice_that_is_refused_closes_the_channel() -> None:
    async def body(server: Radio, clients: list[Radio], station: Mirrors) -> None:
        channel = await open_channel(clients[0], server.address, SERVICE, lambda place: choose(place, b"none"))
        with pytest.raises(LinkError):
            await channel.receive(5.0)
        assert station.ends == []

    run(body)


def test_what_is_advertised_is_asked_for_again_when_it_is_due() -> None:
    async def body(server: Radio, clients: list[Radio], station: Mirrors) -> None:
        del server, clients
        await station.asked_thrice.wait()

    run(body, again_s=0.01)


def test_a_server_that_is_not_as_it_should_be() -> None:
    async def body(server: Radio, clients: list[Radio], station: Mirrors) -> None:
        del station
        missing = f"{BASE}9"
        for service, what in (
            (SERVICE._replace(service="FFF3"), "no service FFF3"),
            (SERVICE._replace(choice=missing), f"service FFF2 lacks {missing}"),
            (SERVICE, "no channel at PSM 00C0"),
        ):
            with pytest.raises(LinkError, match=what):
                await open_channel(clients[0], server.address, service, lambda _: (0xC0, b"this"))
        with pytest.raises(PolicyError, match="nothing here"):
            await open_channel(clients[0], server.address, SERVICE, _refuse)
        with pytest.raises(LinkError, match="nobody answers"):
            await open_channel(clients[0], "C0:00:00:00:00:01", SERVICE, choose, timeout_s=0.1)
        channel = await open_channel(clients[0], server.address, SERVICE, choose)
        assert await channel.receive(0.01) is None
        channel.wake()
        assert await channel.receive(5.0) is None

    run(body)


def _refuse(_: bytes) -> tuple[int, bytes]:
    raise PolicyError("nothing here")
