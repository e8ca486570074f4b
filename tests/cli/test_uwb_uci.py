"""`keywright uwb uci`: a subsystem served by a process of its own, and used from here."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from support.commands import Keywright, environment


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    """Where a subsystem is served that has one anchor, five metres away."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "keywright",
            "uwb",
            "uci",
            "serve",
            "--link",
            "tcp:127.0.0.1:0",
            "--anchor",
            "0200@3,4,0",
            "--json",
        ],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())["ready"]
        process.send_signal(signal.SIGTERM)
        rest = [json.loads(line) for line in process.stdout]
        assert process.wait(30) == 0
        assert {"started": "00000001"} in rest
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_distances_are_told(served: str, keywright: Keywright) -> None:
    ran = keywright("uwb", "uci", "range", "--link", served, "--peer", "0200", "--interval", 20, "--count", 3, "--json")
    assert ran.code == 0
    assert [json.loads(line) for line in ran.out.splitlines()] == [
        {"round": number, "peer": "0200", "status": 0, "metres": 5.0} for number in range(3)
    ]


def test_distances_are_told_in_words(served: str, keywright: Keywright) -> None:
    ran = keywright(
        *("uwb", "uci", "range", "--link", served, "--peer", "02:00", "--peer", "0300", "--interval", 20, "--count", 1)
    )
    assert ran.code == 0
    assert ran.out.splitlines() == ["     0  0200  5.00 m", "     0  0300  ranging rx timeout"]
    assert "session 00000001: ACTIVE" in ran.err


def test_a_subsystem_says_what_it_is(served: str, keywright: Keywright) -> None:
    ran = keywright("uwb", "uci", "info", "--link", served)
    assert ran.code == 0
    assert ran.out.splitlines()[:2] == ["  uci version   2.0.0", "  mac version   1.3.0"]
    document = json.loads(keywright("uwb", "uci", "info", "--link", served, "--json").out)
    assert document["versions"]["phy"] == "1.3.0"
    assert document["capabilities"]["02"] == "03"


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (["range", "--peer", "02"], 2, "2 octets or 8"),
        (["range", "--peer", "xyz"], 2, "2 octets or 8"),
        (["range", "--peer", "0200", "--address", "0011223344556677"], 2, "1 to 8 peers"),
        (["range", *["--peer", "0200"] * 9], 2, "1 to 8 peers"),
        (["range", "--peer", "0200", "--role", "king"], 2, "neither initiator nor responder"),
        (["range", "--peer", "0200", "--link", "sim:element"], 2, "UCI is spoken over TCP"),
        (["serve", "--anchor", "0200"], 2, "HEX@X,Y,Z"),
        (["serve", "--anchor", "0200@1,2"], 2, "HEX@X,Y,Z"),
        (["serve", "--anchor", "0200@1,2,nan"], 2, "HEX@X,Y,Z"),
        (["serve", "--link", "tcp:192.0.2.1:7000"], 5, "loopback only"),
        (["info", "--link", "tcp:127.0.0.1"], 2, "HOST:PORT"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(words: list[str], code: int, what: str, keywright: Keywright) -> None:
    ran = keywright("uwb", "uci", *words)
    assert ran.code == code
    assert what in ran.err
    assert "Traceback" not in ran.err


def test_nobody_there_says_what_to_do(keywright: Keywright) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    ran = keywright("uwb", "uci", "info", "--link", f"tcp:127.0.0.1:{port}")
    assert ran.code == 4
    assert "keywright uwb uci serve" in ran.err


def test_a_subsystem_that_refuses_is_told(served: str, keywright: Keywright) -> None:
    ran = keywright("uwb", "uci", "range", "--link", served, "--peer", "0200", "--channel", 7)
    assert ran.code == 6
    assert "parameters 04 invalid range" in ran.err
