"""Bluetooth over bumble: pipes between virtual controllers, controllers behind sockets, and what fails."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from socket import create_connection

import pytest

from keywright.errors import KeywrightError, LinkError, PolicyError, UsageError
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


def test_processes_share_an_air_and_a_host_that_goes_away_takes_its_connections_with_it() -> None:
    """The first at an address is the air, the others join it by HCI; both ends of a connection learn of its end."""
    with Ble("air:127.0.0.1:0") as first:
        at = first.name.removeprefix("ble:?hci=")
        with Ble(at) as second:
            assert second.name.startswith("ble:?hci=tcp-client:127.0.0.1:")
            mirror = Mirror()
            serving = second.serve(mirror)
            connection = first.connect(second.address, PIPE)
            assert connection.receive(5.0) == b"hello"
            connection.send(b"shared")
            assert connection.receive(5.0) == b"derahs"
        with pytest.raises(LinkError, match="disconnected"):
            connection.receive(5.0)
        serving = first.serve(mirror)
        with Ble(at) as third:
            assert third.connect(first.address, PIPE).receive(5.0) == b"hello"
            lost = len(mirror.lost)
        with Ble(at) as fourth:  # so the server heard that the third is gone
            connection = fourth.connect(first.address, PIPE)
            assert connection.receive(5.0) == b"hello"
            assert len(mirror.lost) > lost
            first.close()  # and with it the air
            with pytest.raises(LinkError):
                connection.receive(5.0)
            with pytest.raises(LinkError):
                fourth.connect(first.address, PIPE, timeout_s=0.1)
    serving.stop()


def test_whoever_sends_no_hci_harms_nobody_else() -> None:
    with Ble("air:127.0.0.1:0") as ble:
        port = int(ble.name.rpartition(":")[2])
        serving = ble.serve(Mirror())
        for octets in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 64, b"\x01\x0d\x20\x01\x00", bytes(range(256))):
            with create_connection(("127.0.0.1", port), timeout=5.0) as stranger:
                stranger.sendall(octets)
        with Ble(f"air:127.0.0.1:{port}") as other:
            assert other.connect(ble.address, PIPE).receive(5.0) == b"hello"
        serving.stop()


@pytest.mark.parametrize(
    ("at", "error", "why"),
    [
        ("air:", UsageError, "needs HOST:PORT"),
        ("air:127.0.0.1:x", UsageError, "needs HOST:PORT"),
        ("air:127.0.0.1:65536", UsageError, "needs HOST:PORT"),
        ("air:192.0.2.1:6400", PolicyError, "for this machine alone"),
    ],
)
def test_an_air_keeps_to_this_machine(at: str, error: type[KeywrightError], why: str) -> None:
    with pytest.raises(error, match=why):
        Ble(at)


def test_an_attempt_to_connect_that_is_given_up_leaves_nothing_behind() -> None:
    """Over HCI the controller itself has to forget it: the next attempt would be refused."""
    with Ble("air:127.0.0.1:0") as first, Ble(first.name.removeprefix("ble:?hci=")) as second:
        for _ in range(2):
            with pytest.raises(LinkError, match="nobody answers"):
                second.connect("C0:00:00:00:00:01", PIPE, timeout_s=0.1)
        serving = first.serve(Mirror())
        assert second.connect(first.address, PIPE).receive(5.0) == b"hello"
        serving.stop()


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
