"""TLS with pre-shared keys over loopback: both our ends, and OpenSSL at either end."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from keywright.errors import LinkError, PolicyError, UsageError
from keywright.link.tls_psk import AES_128_CBC_SHA256, PskConnection, PskServer, TlsError, connect, suite_names
from support.peers import require_peer

require_peer("python-mbedtls", importlib.util.find_spec("mbedtls") is not None, ".ci/install ota")

KEY = bytes(range(16))
IDENTITY = "8001028110890010120123412340123456789012244F10000102030405060708090A0B0C0D0E0F820101830140"
TIMEOUT_S = 20.0


class Serving:
    """A server in a thread that does one thing with each connection and keeps what went wrong."""

    def __init__(self, work: Callable[[PskConnection], None]) -> None:
        self.server = PskServer({IDENTITY: KEY}.get, timeout_s=TIMEOUT_S)
        self.port = self.server.port
        self.errors: list[LinkError] = []
        self.identities: list[str] = []
        self._work = work
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection = self.server.accept()
                if connection is None:
                    return
                with connection:
                    self.identities.append(connection.identity)
                    self._work(connection)
            except LinkError as error:
                self.errors.append(error)

    def stop(self) -> None:
        self.server.stop()
        self._thread.join(TIMEOUT_S)
        self.server.close()


def nothing_comes(connection: PskConnection) -> bool:
    try:
        return not connection.receive()
    except LinkError:
        return True


def echo(connection: PskConnection) -> None:
    while data := connection.receive():
        connection.send(data.upper())


@pytest.fixture
def serving() -> Iterator[Serving]:
    one = Serving(echo)
    yield one
    one.stop()


@pytest.mark.parametrize("size", [1, 511, 512, 513, 5000, 40_000])
def test_bytes_of_any_number_survive(serving: Serving, size: int) -> None:
    with connect("127.0.0.1", serving.port, IDENTITY, KEY, timeout_s=TIMEOUT_S) as connection:
        assert connection.suite == AES_128_CBC_SHA256
        connection.send(b"a" * size)
        found = b""
        while len(found) < size:
            found += connection.receive()
    assert found == b"A" * size
    serving.stop()
    assert serving.errors == []
    assert serving.identities == [IDENTITY]


def test_another_key_and_another_identity_fail_alike(serving: Serving) -> None:
    messages = []
    for identity, key in ((IDENTITY, bytes(16)), ("somebody", KEY)):
        with pytest.raises(LinkError) as error:
            connect("127.0.0.1", serving.port, identity, key, timeout_s=TIMEOUT_S)
        messages.append(str(error.value))
    with connect("127.0.0.1", serving.port, IDENTITY, KEY, timeout_s=TIMEOUT_S) as connection:
        connection.send(b"still there")
        assert connection.receive() == b"STILL THERE"
    serving.stop()
    assert messages[0] == messages[1]
    assert [type(error) for error in serving.errors] == [TlsError, TlsError]
    assert str(serving.errors[0]) == str(serving.errors[1])
    assert serving.identities == [IDENTITY]


def test_a_client_that_speaks_no_tls_is_turned_away(serving: Serving) -> None:
    with socket.create_connection(("127.0.0.1", serving.port), TIMEOUT_S) as plain:
        plain.sendall(b"POST / HTTP/1.1\r\n\r\n")
        assert b"HTTP" not in plain.recv(100)
    serving.stop()
    assert len(serving.errors) == 1


def test_nothing_in_time_is_a_link_error(serving: Serving) -> None:
    with connect("127.0.0.1", serving.port, IDENTITY, KEY, timeout_s=TIMEOUT_S) as connection, pytest.raises(LinkError):
        connection.receive(timeout_s=0.01)


def test_a_bit_flipped_on_the_way_ends_the_connection(serving: Serving) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    armed = threading.Event()

    def back(far: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):  # either side may be gone by then
            while data := far.recv(4096):
                client.sendall(data)
            client.shutdown(socket.SHUT_WR)

    def relay() -> None:
        client, _ = listener.accept()
        with client, socket.create_connection(("127.0.0.1", serving.port)) as far:
            other = threading.Thread(target=back, args=(far, client))
            other.start()
            with contextlib.suppress(OSError):
                while data := client.recv(4096):
                    far.sendall(data[:-1] + bytes((data[-1] ^ 1,)) if armed.is_set() else data)
                far.shutdown(socket.SHUT_WR)
            other.join(TIMEOUT_S)

    thread = threading.Thread(target=relay)
    thread.start()
    with connect("127.0.0.1", listener.getsockname()[1], IDENTITY, KEY, timeout_s=TIMEOUT_S) as connection:
        connection.send(b"before")
        assert connection.receive() == b"BEFORE"
        armed.set()
        connection.send(b"changed")
        assert nothing_comes(connection)
    thread.join(TIMEOUT_S)
    listener.close()
    serving.stop()
    assert [type(error) for error in serving.errors] == [TlsError]


def test_what_the_build_lacks_is_refused_and_nothing_weaker_is_taken() -> None:
    assert suite_names() == ("TLS-PSK-WITH-AES-128-CBC-SHA256",)
    with pytest.raises(PolicyError, match="NULL"):
        suite_names(allow_null=True)
    with pytest.raises(PolicyError, match="loopback"):
        PskServer(lambda _: None, host="0.0.0.0")
    with pytest.raises(LinkError):
        connect("127.0.0.1", 1, IDENTITY, KEY)


def test_without_the_library_a_person_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mbedtls", None)
    with pytest.raises(UsageError) as error:
        suite_names()
    assert "keywright[ota]" in error.value.hint


# ---- OpenSSL as card and as server ------------------------------------------------------------------------------


@pytest.fixture
def openssl() -> str:
    program = shutil.which("openssl")
    require_peer("openssl", program is not None, "apt-get install openssl")
    return program or ""


def test_openssl_calls_our_server(openssl: str) -> None:
    serving = Serving(lambda connection: connection.send(connection.receive().upper()))
    asked = subprocess.run(
        [
            *(
                openssl,
                "s_client",
                "-connect",
                f"127.0.0.1:{serving.port}",
                "-psk",
                KEY.hex(),
                "-psk_identity",
                IDENTITY,
            ),
            *("-tls1_2", "-cipher", "PSK-AES128-CBC-SHA256:@SECLEVEL=0", "-maxfraglen", "512", "-quiet", "-ign_eof"),
        ],
        input=b"hello",
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    serving.stop()
    assert asked.stdout == b"HELLO", asked.stderr
    assert serving.identities == [IDENTITY]


@pytest.mark.parametrize("options", [["-tls1_1"], ["-tls1_3"], ["-cipher", "PSK-AES256-CBC-SHA"]], ids=" ".join)
def test_openssl_gets_no_other_version_and_no_other_suite(serving: Serving, openssl: str, options: list[str]) -> None:
    command = [
        openssl,
        "s_client",
        "-connect",
        f"127.0.0.1:{serving.port}",
        "-psk",
        KEY.hex(),
        "-psk_identity",
        IDENTITY,
    ]
    if "-tls1_1" in options:
        options = [*options, "-cipher", "PSK:@SECLEVEL=0"]
    elif "-cipher" in options:
        options = [*options, "-tls1_2"]
    done = subprocess.run([*command, *options], input=b"", capture_output=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode != 0
    serving.stop()
    assert serving.identities == []
    assert len(serving.errors) == 1


def test_our_client_calls_openssl(openssl: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [
            *(
                openssl,
                "s_server",
                "-accept",
                f"127.0.0.1:{port}",
                "-nocert",
                "-psk",
                KEY.hex(),
                "-psk_identity",
                IDENTITY,
            ),
            *("-tls1_2", "-cipher", "PSK-AES128-CBC-SHA256:@SECLEVEL=0", "-rev"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        assert server.stdout is not None
        while b"ACCEPT" not in server.stdout.readline():
            assert server.poll() is None
        with connect("127.0.0.1", port, IDENTITY, KEY, timeout_s=TIMEOUT_S) as connection:
            connection.send(b"over the air\n")
            assert connection.receive() == b"ria eht revo\n"
    finally:
        server.kill()
        server.communicate()
