"""A stream without TLS: loopback only, and every break is a LinkError."""

from __future__ import annotations

from contextlib import closing

import pytest

from keywright.errors import LinkError, PolicyError
from keywright.link.plain import PlainConnection, PlainServer, connect


def test_bytes_go_both_ways_and_an_end_is_seen() -> None:
    with closing(PlainServer(timeout_s=10)) as server, closing(connect("127.0.0.1", server.port, timeout_s=10)) as one:
        other = server.accept()
        assert other is not None
        one.send(b"ask")
        assert other.receive() == b"ask"
        other.send(b"answer")
        assert one.receive() == b"answer"
        other.close()
        other.close()
        assert one.receive() == b""
        with pytest.raises(LinkError, match="not sent"):
            other.send(b"more")


def assert_silent(one: PlainConnection) -> None:
    with pytest.raises(LinkError, match="nothing came"):
        one.receive(0.01)


def test_silence_is_a_link_error() -> None:
    with closing(PlainServer()) as server, closing(connect("127.0.0.1", server.port)) as one:
        assert_silent(one)


def test_only_loopback_is_served_and_called() -> None:
    with pytest.raises(PolicyError):
        PlainServer("192.0.2.1")
    with pytest.raises(PolicyError, match="without TLS"):
        connect("192.0.2.1", 1)


def test_a_stopped_server_accepts_nobody() -> None:
    with closing(PlainServer()) as server:
        server.stop()
        assert server.accept() is None
