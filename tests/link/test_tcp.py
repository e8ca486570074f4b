"""APDUs over TCP, both ends, over real sockets on loopback."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.errors import LinkError, PolicyError
from keywright.link import TcpLink, TcpServer
from keywright.link.sockets import Framer, frame, is_loopback
from support.echo import Echo, Fixed
from support.serving import running


@pytest.fixture
def device() -> Echo:
    return Echo()


@pytest.fixture
def port(device: Echo) -> Iterator[int]:
    server = TcpServer(device)
    with running(server.serve, server.stop):
        yield server.port
    server.close()


def test_commands_and_answers_of_every_length_pass(port: int) -> None:
    link = TcpLink("127.0.0.1", port)
    for size in (0, 1, 5, 255, 261, 65533):
        command = bytes(size)
        assert link.exchange(command) == command + b"\x90\x00"
    link.close()


def test_a_connection_powers_the_device_up_and_a_reset_is_a_new_one(port: int, device: Echo) -> None:
    link = TcpLink("127.0.0.1", port)
    link.exchange(b"a")
    assert device.resets == 1
    assert link.reset() == link.atr == b""
    link.exchange(b"b")
    assert (device.resets, device.seen) == (2, [b"b"])
    link.close()


def test_the_next_client_waits_for_the_first_to_go(port: int, device: Echo) -> None:
    first = TcpLink("127.0.0.1", port)
    first.exchange(b"a")
    second = TcpLink("127.0.0.1", port)
    answers: list[bytes] = []
    thread = threading.Thread(target=lambda: answers.append(second.exchange(b"b")))
    thread.start()
    assert first.exchange(b"c") == b"c\x90\x00"
    assert (answers, device.resets) == ([], 1)
    first.close()
    thread.join(20)
    assert (answers, device.resets) == ([b"b\x90\x00"], 2)
    second.close()


def test_a_client_that_sends_byte_by_byte_is_answered(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in frame(b"ab") + frame(b"c"):
            client.sendall(bytes([byte]))
        data = b""
        while len(data) < 11:
            data += client.recv(100)
    assert data == frame(b"ab\x90\x00") + frame(b"c\x90\x00")


def test_a_client_that_hangs_up_in_the_middle_of_a_message_harms_nobody(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"\x00\x05ab")
    link = TcpLink("127.0.0.1", port)
    assert link.exchange(b"x") == b"x\x90\x00"
    link.close()


def test_nobody_listening_is_not_delivered() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(LinkError, match=f"127.0.0.1:{port}: cannot connect") as caught:
        TcpLink("127.0.0.1", port)
    assert caught.value.delivered is False
    assert "element serve" in caught.value.hint


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A listener whose connections the test handles itself."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        yield server


def test_a_lost_answer_is_unknown_and_the_link_is_dead_until_reset(silent: socket.socket) -> None:
    link = TcpLink("127.0.0.1", silent.getsockname()[1])
    peer, _ = silent.accept()
    peer.sendall(b"\x00")

    def hang_up() -> None:
        peer.recv(100)
        peer.close()

    thread = threading.Thread(target=hang_up)
    thread.start()
    with pytest.raises(LinkError, match="no answer: the other side closed") as caught:
        link.exchange(b"a")
    thread.join()
    assert caught.value.delivered is None
    with pytest.raises(LinkError, match="not connected") as caught:
        link.exchange(b"a")
    assert caught.value.delivered is False
    link.reset()
    silent.accept()[0].close()
    link.close()


def test_no_answer_in_time_is_unknown(silent: socket.socket) -> None:
    link = TcpLink("127.0.0.1", silent.getsockname()[1], timeout_s=0.02)
    with pytest.raises(LinkError, match="timed out") as caught:
        link.exchange(b"a")
    assert caught.value.delivered is None


def test_an_answer_that_dribbles_is_too_late_although_bytes_keep_coming(silent: socket.socket) -> None:
    link = TcpLink("127.0.0.1", silent.getsockname()[1], timeout_s=0.1)
    peer, _ = silent.accept()
    gone = threading.Event()

    def dribble() -> None:
        peer.sendall(b"\x01\x00")
        while not gone.wait(0.02):
            peer.sendall(b"x")

    thread = threading.Thread(target=dribble)
    thread.start()
    begun = time.monotonic()
    try:
        with pytest.raises(LinkError, match="timed out") as caught:
            link.exchange(b"a")
        assert time.monotonic() - begun < 2
    finally:
        gone.set()
        thread.join()
        peer.close()
    assert caught.value.delivered is None


@pytest.mark.parametrize("host", [".", "a" * 70])
def test_what_is_no_name_of_a_host_is_not_dialled(host: str) -> None:
    with pytest.raises(LinkError, match="not the name of a host") as caught:
        TcpLink(host, 1)
    assert caught.value.delivered is False
    with pytest.raises(LinkError, match="cannot listen"):
        TcpServer(Echo(), host, remote=True)


def test_what_cannot_be_sent_was_not_delivered(silent: socket.socket) -> None:
    link = TcpLink("127.0.0.1", silent.getsockname()[1])
    with pytest.raises(LinkError, match="at most 65535") as caught:
        link.exchange(bytes(65536))
    assert caught.value.delivered is False
    assert link._connection is not None
    link._connection.shutdown(socket.SHUT_WR)
    with pytest.raises(LinkError, match="not sent") as caught:
        link.exchange(b"a")
    assert caught.value.delivered is False
    link.close()


def test_a_server_listens_on_loopback_only_unless_told(device: Echo) -> None:
    for host in ("0.0.0.0", "192.0.2.1", "::", "example.org"):
        with pytest.raises(PolicyError, match="loopback only"):
            TcpServer(device, host)
    server = TcpServer(device, "0.0.0.0", remote=True)
    server.close()


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("localhost", True), ("::1", True), ("128.0.0.1", False), ("", False)],
)
def test_what_is_loopback(host: str, *, local: bool) -> None:
    assert is_loopback(host) is local


def test_a_port_that_is_taken_is_a_link_error(port: int, device: Echo) -> None:
    with pytest.raises(LinkError, match="cannot listen"):
        TcpServer(device, port=port)


def test_a_server_that_was_stopped_before_it_ran_returns_at_once(device: Echo) -> None:
    server = TcpServer(device)
    server.stop()
    server.serve()
    server.close()


@pytest.mark.parametrize(("answer", "sent"), [(bytes(65536), b"\x67\x00"), (b"", b"\x6f\x00")])
def test_an_answer_the_wire_cannot_carry_becomes_a_status_word(answer: bytes, sent: bytes) -> None:
    server = TcpServer(Fixed(answer))
    with running(server.serve, server.stop):
        link = TcpLink("127.0.0.1", server.port)
        assert link.exchange(b"a") == sent
        link.close()
    server.close()


@given(st.lists(st.binary(max_size=300), max_size=6), st.lists(st.integers(1, 50), min_size=1, max_size=8))
def test_the_framer_gives_back_the_messages_however_the_bytes_come(messages: list[bytes], sizes: list[int]) -> None:
    stream = b"".join(map(frame, messages))
    framer, got, at, step = Framer(), list[bytes](), 0, 0
    while at < len(stream):
        size = sizes[step % len(sizes)]
        got += framer.feed(stream[at : at + size])
        at, step = at + size, step + 1
    assert got == messages


def test_a_message_too_long_for_its_length_is_refused() -> None:
    with pytest.raises(ValueError, match="65536 bytes"):
        frame(bytes(65536))
