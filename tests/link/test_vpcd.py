"""The card's side of vpcd, played against a driver made of plain sockets, in both directions of dialling."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.errors import LinkError, PolicyError
from keywright.link import VpcdServer, vpcd
from keywright.link import sockets as sockets_module
from keywright.link.vpcd import EmptySlot, Slot
from support.echo import Echo, Fixed
from support.serving import running

OFF, ON, RESET, ATR = b"\x00", b"\x01", b"\x02", b"\x04"


class Driver:
    """What libifdvpcd does: length and payload in two sends, and a blocking read for the answer."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        connection.settimeout(20)

    def tell(self, payload: bytes) -> None:
        self.connection.sendall(len(payload).to_bytes(2, "big"))
        self.connection.sendall(payload)

    def ask(self, payload: bytes) -> bytes:
        self.tell(payload)
        size = int.from_bytes(self._exactly(2), "big")
        return self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.connection.recv(size - len(data))
            assert more, "the card hung up"
            data += more
        return data


@pytest.fixture
def device() -> Echo:
    return Echo()


@pytest.fixture
def dialled(device: Echo) -> Iterator[Driver]:
    """A driver that listens, and the card that dialled it."""
    server = VpcdServer(device)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        with running(lambda: server.connect("127.0.0.1", listener.getsockname()[1]), server.stop):
            connection, _ = listener.accept()
            with connection:
                yield Driver(connection)
    server.close()


@pytest.fixture
def dialling(device: Echo) -> Iterator[tuple[Driver, Driver]]:
    """A driver that dials both its slots, and the card that listens."""
    server = VpcdServer(device)
    ports: list[int] = []
    ready = threading.Event()

    def on_ready(*both: int) -> None:
        ports.extend(both)
        ready.set()

    with running(lambda: server.serve(port=0, on_ready=on_ready), server.stop):
        assert ready.wait(20)
        with (
            socket.create_connection(("127.0.0.1", ports[0])) as first,
            socket.create_connection(("127.0.0.1", ports[1])) as second,
        ):
            yield Driver(first), Driver(second)
    server.close()


def insertion_use_reset_and_removal(driver: Driver, device: Echo) -> None:
    """The order of messages seen from the real driver (scp.md 10.3)."""
    assert [driver.ask(ATR), driver.ask(ATR)] == [device.atr] * 2
    driver.tell(ON)
    assert driver.ask(ATR) == device.atr
    assert driver.ask(b"\x00\xa4\x04\x00") == b"\x00\xa4\x04\x00\x90\x00"
    resets = device.resets
    assert device.seen
    driver.tell(RESET)
    assert driver.ask(ATR) == device.atr
    assert (device.resets, device.seen) == (resets + 1, [])
    driver.ask(b"\x00\xa4\x04\x00")
    driver.tell(OFF)
    assert driver.ask(ATR) == device.atr
    assert device.seen == []
    driver.tell(ON)
    assert driver.ask(b"\x00\xb0\x00\x00") == b"\x00\xb0\x00\x00\x90\x00"


def test_a_card_that_dials_speaks_as_the_driver_expects(dialled: Driver, device: Echo) -> None:
    insertion_use_reset_and_removal(dialled, device)


def test_a_card_that_listens_speaks_as_the_driver_expects(dialling: tuple[Driver, Driver], device: Echo) -> None:
    insertion_use_reset_and_removal(dialling[0], device)


def test_the_second_slot_holds_no_usable_card_and_never_hangs_up(dialling: tuple[Driver, Driver], device: Echo) -> None:
    first, second = dialling
    for _ in range(3):
        assert second.ask(ATR) == b"\x00"
        second.tell(ON)
        second.tell(OFF)
        second.tell(RESET)
        assert second.ask(b"\x00\xa4") == b"\x6f\x00"
        assert first.ask(b"\x00\xa4") == b"\x00\xa4\x90\x00"
    assert device.resets == 1


def test_two_cards_sit_in_the_two_slots(device: Echo) -> None:
    other = Fixed(b"\x69\x85")
    server = VpcdServer(device, other)
    ports: list[int] = []
    ready = threading.Event()

    def on_ready(*both: int) -> None:
        ports.extend(both)
        ready.set()

    with running(lambda: server.serve(port=0, on_ready=on_ready), server.stop):
        assert ready.wait(20)
        with (
            socket.create_connection(("127.0.0.1", ports[0])) as first,
            socket.create_connection(("127.0.0.1", ports[1])) as second,
        ):
            for _ in range(5):
                assert Driver(second).ask(b"\x00\xa4") == b"\x69\x85"
                assert Driver(first).ask(b"\x00\xa4") == b"\x00\xa4\x90\x00"
            Driver(second).tell(RESET)
            assert Driver(second).ask(ATR) == other.atr
            assert len(device.seen) == 5
    server.close()


def test_two_cards_dial_the_two_ports_of_a_driver(device: Echo) -> None:
    server = VpcdServer(device, Fixed(b"\x69\x85"))
    listeners = vpcd._listen_twice("127.0.0.1", 0)
    with (
        listeners[0],
        listeners[1],
        running(lambda: server.connect("127.0.0.1", listeners[0].getsockname()[1]), server.stop),
    ):
        first, second = (Driver(listener.accept()[0]) for listener in listeners)
        assert (first.ask(b"\x00\xa4"), second.ask(b"\x00\xa4")) == (b"\x00\xa4\x90\x00", b"\x69\x85")
        first.connection.close()
        second.connection.close()
    server.close()


def test_polls_between_commands_do_not_disturb(dialled: Driver, device: Echo) -> None:
    for number in range(20):
        assert dialled.ask(bytes([0, number])) == bytes([0, number, 0x90, 0])
        assert dialled.ask(ATR) == device.atr
    assert len(device.seen) == 20


def test_unknown_controls_and_empty_messages_get_no_answer(dialled: Driver, device: Echo) -> None:
    dialled.ask(ATR)
    resets = device.resets
    for payload in (b"\x03", b"\x05", b"\xff", b""):
        dialled.tell(payload)
    assert dialled.ask(ATR) == device.atr
    assert device.resets == resets


def test_the_longest_command_passes(dialled: Driver) -> None:
    command = bytes(65533)
    assert dialled.ask(command) == command + b"\x90\x00"


def test_quickack_is_set_again_after_every_receive(dialled: Driver) -> None:
    if sockets_module._QUICKACK is None:
        return  # not this system: the option is Linux's
    acknowledged: list[int] = []

    class Watched:
        """A connection that notes what options are set on it."""

        def __init__(self, data: bytes) -> None:
            self.data = data

        def settimeout(self, _seconds: float) -> None:
            pass

        def recv(self, _size: int) -> bytes:
            return self.data

        def setsockopt(self, _level: int, option: int, _value: int) -> None:
            acknowledged.append(option)

        def sendall(self, _data: bytes) -> None:
            pass

        def close(self) -> None:
            pass

    station = sockets_module.Station(Slot(Echo()))
    station.attach(Watched(b"\x00\x01\x04"))  # type: ignore[arg-type] # a connection in all that is used
    for _ in range(3):
        assert station.pump()
    assert acknowledged == [sockets_module._QUICKACK] * 3


@pytest.mark.parametrize(("answer", "sent"), [(b"", b"\x6f\x00"), (bytes(65536), b"\x67\x00"), (b"\x55", b"\x55")])
def test_an_answer_the_driver_cannot_take_becomes_a_status_word(answer: bytes, sent: bytes) -> None:
    assert Slot(Fixed(answer)).receive(b"\x00\xa4") == sent


@given(st.lists(st.binary(max_size=6), max_size=10))
def test_any_messages_are_answered_if_and_only_if_they_are_commands_or_ask_for_the_atr(messages: list[bytes]) -> None:
    for slot in (Slot(Echo()), EmptySlot()):
        for message in messages:
            answer = slot.receive(message)
            assert (answer is not None) == (len(message) > 1 or message == ATR)
            assert answer != b""


def test_connect_returns_when_the_driver_hangs_up(device: Echo) -> None:
    server = VpcdServer(device)
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, running(lambda: server.connect("127.0.0.1", listener.getsockname()[1]), lambda: None):
        listener.accept()[0].close()
    server.close()


def test_stop_removes_the_card(device: Echo) -> None:
    server = VpcdServer(device)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with running(lambda: server.connect("127.0.0.1", listener.getsockname()[1]), server.stop):
            connection, _ = listener.accept()
            assert Driver(connection).ask(ATR) == device.atr
        connection.settimeout(20)
        assert connection.recv(1) == b""
        connection.close()
    server.close()


def test_without_a_driver_dialling_says_so(device: Echo) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    server = VpcdServer(device)
    with pytest.raises(LinkError, match="cannot connect") as caught:
        server.connect("127.0.0.1", port)
    assert (caught.value.delivered, "pcscd" in caught.value.hint) == (False, True)
    server.close()


def test_it_listens_on_loopback_only(device: Echo) -> None:
    server = VpcdServer(device)
    with pytest.raises(PolicyError):
        server.serve("0.0.0.0")
    server.close()


def test_a_second_port_that_is_taken_frees_the_first(device: Echo) -> None:
    server = VpcdServer(device)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1] - 1
        with pytest.raises(LinkError, match=f":{port + 1}: cannot listen"):
            server.serve(port=port)
        socket.create_server(("127.0.0.1", port)).close()
    server.close()
