"""Bluetooth over bumble: pipes between virtual controllers, controllers behind sockets, and what fails."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import Iterator, Sequence

import pytest

from keywright.errors import LinkError, UsageError
from keywright.link.ble import Advertisement, Ble, Radio, VirtualAir, serve
from keywright.link.sockets import listen
from support.peers import require_peer

require_peer("bumble", importlib.util.find_spec("bumble") is not None, "pip install keywright[ble]")

PIPE = ("1827", "2ADB", "2ADC")
BASE = "6f8b1b70-5f0b-4c0e-9d4e-00000000000"
OWN = (f"{BASE}1", f"{BASE}2", f"{BASE}3")


class Mirror:
    """A peripheral that greets, and gives values back reversed; `stop` makes it disconnect."""

    def __init__(self, pipe: tuple[str, str, str] = PIPE) -> None:
        self.pipe = pipe
        self.advertising: Sequence[bytes] = (bytes.fromhex("03032718"),)
        self.is_closed = False
        self.mtu = 0
        self.lost: list[str] = []
        self._values: list[bytes] = []
        self._events: list[str] = []

    def connected(self, mtu: int, now: float) -> None:
        del now
        self.mtu = mtu
        self._values = [b"hello"]
        self._events.append("connected")

    def disconnected(self, why: str, now: float) -> None:
        del now
        self.is_closed = False
        self.lost.append(why)
        self._events.append("disconnected")

    def receive(self, data: bytes, now: float) -> None:
        del now
        self.is_closed = data == b"stop"
        self._values.append(data[::-1])

    def outgoing(self, now: float) -> Sequence[bytes]:
        del now
        values, self._values = self._values, []
        return values

    def deadline(self) -> None:
        return None

    def events(self) -> Sequence[str]:
        events, self._events = self._events, []
        return events


@pytest.fixture(scope="module")
def two() -> Iterator[tuple[Ble, Ble]]:
    with Ble() as server, Ble() as client:
        yield server, client


@pytest.mark.parametrize(("asked", "allowed", "mtu"), [(23, 247, 23), (69, 247, 69), (247, 100, 100)])
def test_values_both_ways_at_the_mtu_that_both_take(two: tuple[Ble, Ble], asked: int, allowed: int, mtu: int) -> None:
    server, client = two
    mirror, told = Mirror(), []
    serving = server.serve(mirror, mtu=allowed, on_event=lambda _, event: told.append(event))
    heard = client.scan(5.0, lambda one: one.address == server.address)
    assert Advertisement(server.address, bytes.fromhex("02010603032718"), -50, is_connectable=True) in heard
    connection = client.connect(server.address, PIPE, mtu=asked)
    assert connection.mtu == mirror.mtu == mtu
    assert connection.receive(5.0) == b"hello"
    for value in (b"abc", bytes(range(mtu - 3))):
        connection.send(value)
        assert connection.receive(5.0) == value[::-1]
    assert connection.receive(0.01) is None
    with pytest.raises(ValueError, match=f"at an ATT_MTU of {mtu}"):
        connection.send(bytes(mtu - 2))
    connection.close()
    with pytest.raises(LinkError, match="closed"):
        connection.send(b"x")
    serving.stop()
    assert told == ["connected", "disconnected"]


def test_the_server_disconnects_and_takes_the_next(two: tuple[Ble, Ble]) -> None:
    server, client = two
    mirror = Mirror()
    serving = server.serve(mirror)
    for _ in range(2):
        connection = client.connect(server.address, PIPE)
        assert connection.receive(5.0) == b"hello"
        connection.send(b"stop")
        assert connection.receive(5.0) == b"pots"
        with pytest.raises(LinkError, match="disconnected"):
            connection.receive(5.0)
        connection.close()
    assert not serving.wait(0.0)
    serving.stop()
    assert serving.wait(0.0)
    assert len(mirror.lost) == 2


def test_two_pipes_of_one_server_are_apart_and_change_between_connections(two: tuple[Ble, Ble]) -> None:
    server, client = two
    mirrors = [Mirror(), Mirror(OWN)]
    serving = server.serve(*mirrors)
    connection = client.connect(server.address, OWN)
    assert connection.receive(5.0) == b"hello"
    assert (mirrors[0].mtu, mirrors[1].mtu) == (0, 247)
    mirrors[0].pipe = ("1828", "2ADD", "2ADE")
    connection.close()
    with pytest.raises(LinkError, match="no service 1827"):
        client.connect(server.address, PIPE)
    with pytest.raises(LinkError, match="service 1828 lacks 2ADB"):
        client.connect(server.address, ("1828", "2ADB", "2ADE"))
    serving.stop()


def test_a_server_that_goes_away_takes_the_connection_with_it(two: tuple[Ble, Ble]) -> None:
    server, client = two
    serving = server.serve(Mirror())
    connection = client.connect(server.address, PIPE)
    serving.stop()
    assert connection.receive(5.0) == b"hello"
    with pytest.raises(LinkError, match="disconnected"):
        connection.receive(5.0)


def test_nobody_there(two: tuple[Ble, Ble]) -> None:
    _, client = two
    assert not client.scan(0.05)
    for _ in range(2):
        with pytest.raises(LinkError, match=r"nobody answers|cannot connect") as caught:
            client.connect("C0:00:00:00:00:01", PIPE, timeout_s=0.1)
        assert caught.value.delivered is False


@pytest.mark.parametrize("hci", ["tcp-client:127.0.0.1:1", "nonsense:1", "usb", "tcp-client:nowhere"])
def test_a_controller_that_is_not_there(hci: str) -> None:
    with pytest.raises((LinkError, UsageError)) as caught:
        Ble(hci)
    assert str(caught.value).startswith(f"ble:?hci={hci}: ")
    assert caught.value.hint


def test_the_extra_is_named_when_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bumble", None)
    with pytest.raises(UsageError) as caught:
        Ble()
    assert caught.value.hint == "install keywright[ble]"


def test_a_controller_behind_a_socket() -> None:
    """HCI by URI: two hosts on controllers of bumble, each at the other end of a TCP connection."""

    async def run() -> None:
        from bumble.controller import Controller
        from bumble.link import LocalLink
        from bumble.transport.tcp_server import open_tcp_server_transport_with_socket

        link, radios, transports = LocalLink(), [], []
        for number in range(2):
            socket = listen("127.0.0.1", 0)
            port = socket.getsockname()[1]
            transport = await open_tcp_server_transport_with_socket(socket)
            transports.append(transport)
            Controller(f"C{number}", host_source=transport.source, host_sink=transport.sink, link=link)
            radios.append(await Radio.open(f"tcp-client:127.0.0.1:{port}"))
        serving = asyncio.create_task(serve(radios[0], [Mirror()]))
        connection = await radios[1].connect(radios[0].address, PIPE)
        assert await connection.receive(5.0) == b"hello"
        await connection.send(b"over HCI")
        assert await connection.receive(5.0) == b"ICH revo"
        serving.cancel()
        await asyncio.wait([serving])
        for radio in radios:
            await radio.close()
        for transport in transports:
            transport.server.close()
            await transport.close()

    asyncio.run(asyncio.wait_for(run(), 60.0))


def test_airs_are_apart() -> None:
    async def run() -> None:
        airs = VirtualAir(), VirtualAir()
        radios = [await Radio.open(air=air) for air in airs]
        serving = asyncio.create_task(serve(radios[0], [Mirror()]))
        await asyncio.sleep(0)
        with pytest.raises(LinkError, match="nobody answers"):
            await radios[1].connect(radios[0].address, PIPE, timeout_s=0.2)
        serving.cancel()
        await asyncio.wait([serving])
        for radio in radios:
            await radio.close()
            await radio.close()

    asyncio.run(asyncio.wait_for(run(), 60.0))
