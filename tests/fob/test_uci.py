"""UCI over real connections: our host and our devices, several at once, and what breaks between them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from keywright.errors import LinkError, PolicyError, StatusError, WireError
from keywright.fob.uci import UciConnection, UciServer, connected
from keywright.link.streams import StreamServer
from keywright.uwb.uci.codes import DeviceState, SessionState
from keywright.uwb.uci.device import UciDevice
from keywright.uwb.uci.host import begin, end, identify, ranging_parameters
from keywright.uwb.uci.messages import (
    DeviceInfoCmd,
    DeviceResetCmd,
    DeviceStatusNtf,
    SessionInfoNtf,
    SessionStatusNtf,
    build_message,
)
from keywright.uwb.uci.scene import Scene
from keywright.uwb.uci.subsystem import Ranged, Started

PHONE, DOOR = b"\x01\x00", b"\x02\x00"
HOST = "127.0.0.1"


@contextmanager
def serving(*, anchors: tuple[bytes, ...] = (DOOR,)) -> Iterator[tuple[UciServer, list[object]]]:
    """A server in a thread, and the events that it told."""
    server = UciServer(HOST, 0, places={DOOR: (3.0, 4.0, 0.0)}, anchors=anchors)
    told: list[object] = []
    stop = threading.Event()
    thread = threading.Thread(target=lambda: told.extend(server.run(stop.is_set)))
    thread.start()
    try:
        yield server, told
    finally:
        stop.set()
        thread.join()
        server.close()


def distances(connection: UciConnection, count: int) -> list[int]:
    """The next distances that a subsystem tells."""
    found: list[int] = []
    while len(found) < count:
        notice = connection.notification(5.0)
        assert notice is not None
        if isinstance(notice, SessionInfoNtf):
            found += [one.distance_cm for one in notice.measurements()]
    return found


def test_a_host_ranges_with_a_served_device() -> None:
    with serving() as (server, told), connected(HOST, server.port) as connection:
        assert connection.run(identify()).uci_version == 2
        connection.run(begin(7, ranging_parameters(PHONE, [DOOR], initiator=True, interval_ms=20)))
        assert distances(connection, 3) == [500, 500, 500]
        connection.run(end(7))
        with pytest.raises(StatusError, match="session not exist"):
            connection.run(end(7))
    assert [type(event) for event in told[:2]] == [Started, Ranged]


def test_two_hosts_range_with_each_other() -> None:
    with serving(anchors=()) as (server, _), connected(HOST, server.port) as one, connected(HOST, server.port) as other:
        other.run(begin(7, ranging_parameters(DOOR, [PHONE], initiator=False, interval_ms=20)))
        one.run(begin(7, ranging_parameters(PHONE, [DOOR], initiator=True, interval_ms=20)))
        assert distances(one, 2) == [500, 500]
        # It began before the other, and told until then that nobody was there.
        while (found := distances(other, 1)) == [0xFFFF]:
            continue
        assert found == [500]


def test_notifications_wait_while_a_command_is_answered() -> None:
    with serving() as (server, _), connected(HOST, server.port) as connection:
        connection.exchange(DeviceResetCmd())
        connection.run(begin(7, ranging_parameters(PHONE, [DOOR], initiator=True, interval_ms=10_000)))
        notices = [connection.notification(0.5) for _ in range(6)]
        assert notices == [
            DeviceStatusNtf(DeviceState.READY),
            DeviceStatusNtf(DeviceState.READY),
            SessionStatusNtf(7, SessionState.INIT, 0),
            SessionStatusNtf(7, SessionState.IDLE, 0),
            SessionStatusNtf(7, SessionState.ACTIVE, 0),
            DeviceStatusNtf(DeviceState.ACTIVE),
        ]
        assert connection.notification(0.01) is None


def test_a_host_that_goes_leaves_its_sessions() -> None:
    with serving() as (server, _):
        with connected(HOST, server.port) as connection:
            connection.run(begin(7, ranging_parameters(PHONE, [DOOR], initiator=True, interval_ms=20)))
        with connected(HOST, server.port) as connection:
            connection.run(begin(7, ranging_parameters(PHONE, [DOOR], initiator=True, interval_ms=20)))
            assert distances(connection, 1) == [500]


def test_a_further_host_is_turned_away_and_may_come_later() -> None:
    server = StreamServer(HOST, 0, lambda: UciDevice(Scene(lambda: 0.5)), most=1)
    stop = threading.Event()
    thread = threading.Thread(target=lambda: list(server.run(stop.is_set)))
    thread.start()
    try:
        with connected(HOST, server.port) as first:
            first.exchange(DeviceInfoCmd())
            with connected(HOST, server.port) as second, pytest.raises(LinkError):
                second.exchange(DeviceInfoCmd())
            first.exchange(DeviceInfoCmd())
    finally:
        stop.set()
        thread.join()
        server.close()


def test_a_host_that_reads_nothing_holds_up_nobody() -> None:
    class Talker:
        """Tells a megabyte at once, and again whenever it is asked."""

        def __init__(self) -> None:
            self.is_closed = False

        def receive(self, data: bytes, now: float) -> None:
            pass

        def outgoing(self, now: float) -> list[bytes]:
            return [bytes(1 << 20)]

        def deadline(self) -> float | None:
            return None

        def events(self) -> list[object]:
            return []

        def closed(self) -> None:
            self.is_closed = True

    talkers: list[Talker] = []

    def make() -> Talker:
        talkers.append(Talker())
        return talkers[-1]

    server = StreamServer(HOST, 0, make)
    stop = threading.Event()
    thread = threading.Thread(
        target=lambda: list(server.run(lambda: stop.is_set() or any(one.is_closed for one in talkers)))
    )
    thread.start()
    with socket.create_connection((HOST, server.port)):
        thread.join(20)
    stop.set()
    thread.join()
    server.close()
    assert [one.is_closed for one in talkers] == [True]


@contextmanager
def saying(octets: bytes) -> Iterator[int]:
    """A server that says this to whoever connects, and goes."""
    listener = socket.create_server((HOST, 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(100)
            connection.sendall(octets)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        thread.join()
        listener.close()


@pytest.mark.parametrize("octets", [b"", build_message(DeviceStatusNtf(1)), b"\x40\x02\x00\xff"])
def test_a_device_that_goes_without_an_answer_is_a_link_error(octets: bytes) -> None:
    with saying(octets) as port, connected(HOST, port) as connection, pytest.raises(LinkError, match="closed"):
        connection.exchange(DeviceInfoCmd())


def test_a_device_that_says_nothing_is_a_link_error() -> None:
    with socket.create_server((HOST, 0)) as listener:
        connection = UciConnection(HOST, listener.getsockname()[1], timeout_s=0.05)
        with pytest.raises(LinkError, match="no response"):
            connection.exchange(DeviceInfoCmd())
        connection.close()
        connection.close()


def test_segments_that_do_not_fit_are_a_wire_error() -> None:
    octets = bytes.fromhex("510300ff") + bytes(255) + build_message(DeviceStatusNtf(1))
    with saying(octets) as port, connected(HOST, port) as connection, pytest.raises(WireError, match="inside"):
        connection.exchange(DeviceInfoCmd())


def test_simulated_devices_are_served_on_loopback_only() -> None:
    with pytest.raises(PolicyError, match="loopback"):
        UciServer("192.0.2.1", 0, places={})


def test_nobody_there_is_a_link_error_with_what_to_do() -> None:
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(LinkError) as caught:
        UciConnection(HOST, port)
    assert "keywright uwb uci serve" in caught.value.hint
