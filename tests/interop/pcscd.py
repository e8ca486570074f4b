"""A real PC/SC daemon of the tests' own, with the virtual reader vpcd in it, and cards for that reader.

The daemon has its reader configuration and its socket in a directory of the test run: it meets no other daemon, and
nothing stays behind. For that it gets a mount namespace in which that directory is /run/pcscd. The driver either dials
a card that listens on loopback, or, for cards that come and go, listens in a network namespace of its own, since it
would do so on all interfaces. Where namespaces are forbidden root can still have the first kind at the usual place.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from interop.yubico import TEST_KVN
from keywright.cli.main import main
from keywright.globalplatform import host
from keywright.iso7816.layers import transmit
from keywright.link import PcscLink, VpcdServer
from keywright.sansio import Device
from keywright.sansio.dialogue import drive
from keywright.scp.scp03 import HostChannel, KeySet, open_channel
from support.cards import ISD
from support.commands import environment
from support.peers import require_peer
from support.serving import running

READER: Final = "Virtual PCD 00 00"
LINK: Final = f"pcsc:{READER}"
EMPTY_READER: Final = "Virtual PCD 00 01"
LISTENING_PORT: Final = 35963
"""Where a driver listens, in a network of its own."""

PATIENCE_S: Final = 20.0

Insert = Callable[[Device], "Daemon"]
"""Puts a device of this process into the reader."""
Serve = Callable[..., "Card"]
"""Puts `keywright element serve` into the reader."""

_SYSTEM_PATH: Final = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
_USUAL_SOCKET: Final = Path("/run/pcscd/pcscd.comm")
_DRIVERS: Final = (Path("/usr/lib/pcsc/drivers/serial"), Path("/usr/local/lib/pcsc/drivers/serial"))
_SETTLE_S: Final = 0.01

_INSIDE: Final = """
import fcntl, os, socket, struct, subprocess, sys
run, daemon, *words = sys.argv[1:]
if {network}:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:  # loopback up: SIOCSIFFLAGS, IFF_UP and IFF_RUNNING
        fcntl.ioctl(s, 0x8914, struct.pack("16sH22x", b"lo", 0x41))
here = os.open(run, os.O_PATH)
subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True)
os.mkdir("/run/pcscd")
subprocess.run(["mount", "--bind", f"/proc/self/fd/{{here}}", "/run/pcscd"], check=True, pass_fds=(here,))
os.execv(daemon, [daemon, *words])
"""
"""What runs in the namespaces before the daemon takes its place, under the same process number."""


def eventually(what: str, is_so: Callable[[], Any]) -> Any:
    """Wait until something is so, and return it. For what no event announces."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if found := is_so():
            return found
        threading.Event().wait(_SETTLE_S)
    raise AssertionError(f"not in {PATIENCE_S:.0f} s: {what}")


def program(name: str) -> str:
    """Path of an installed program, empty if there is none."""
    return shutil.which(name, path=_SYSTEM_PATH) or ""


def driver() -> Path | None:
    """The driver of the virtual reader."""
    return next((place / "libifdvpcd.so" for place in _DRIVERS if (place / "libifdvpcd.so").exists()), None)


def require_reader() -> None:
    """Go on if there is a daemon and a virtual reader."""
    there = bool(program("pcscd")) and driver() is not None
    require_peer("pcscd with the virtual reader vpcd", there, "apt-get install pcscd vsmartcard-vpcd")


def require_pyscard() -> None:
    """Go on if this Python can speak PC/SC."""
    require_peer("pyscard", importlib.util.find_spec("smartcard") is not None, ".ci/install pcsc")


def require_opensc() -> None:
    """Go on if opensc-tool is there."""
    require_peer("opensc-tool", bool(program("opensc-tool")), "apt-get install opensc")


@functools.cache
def _namespaces(*kinds: str) -> tuple[str, ...]:
    """The command that gives a process namespaces of its own; empty where that is forbidden."""
    asked = [program("unshare"), *(() if os.geteuid() == 0 else ("--user", "--map-root-user")), *kinds]
    if not asked[0] or subprocess.run([*asked, "true"], capture_output=True, check=False).returncode:
        return ()
    return tuple(asked)


class Daemon:
    """A running pcscd."""

    def __init__(self, place: Path, device_name: str, *, network: bool) -> None:
        """Start it. place: where its configuration, socket and log are. Goes on when its readers are there."""
        self._own_network = network
        prefix = _namespaces("--mount", "--net") if network else _namespaces("--mount")
        self._lock = None if prefix else _lock()
        if not prefix and (network or not _may_use_the_usual_place()):
            self._unlock()
            require_peer(
                "a pcscd of the tests' own",
                available=False,
                how_to_get="be root or allow user namespaces, and stop the system's own pcscd",
            )
        _configure(place, device_name)
        words = [program("pcscd"), "--foreground", "--debug", "--config", str(place / "conf")]
        if prefix:
            words = [*prefix, sys.executable, "-c", _INSIDE.format(network=network), str(place / "run"), *words]
        self.log = place / "pcscd.log"
        self._socket = socket_of(place)
        with self.log.open("w") as log:
            self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            eventually("pcscd takes clients", lambda: self._takes_clients() or not self.runs)
            assert self.runs, self.log.read_text()
        except BaseException:
            self.end(signal.SIGKILL)
            raise

    def end(self, number: int = signal.SIGTERM) -> int:
        """End it, by its own process number; its exit code."""
        self._process.send_signal(number)
        try:
            code = self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        finally:
            self._unlock()
        self._socket.unlink(missing_ok=True)
        return code

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _takes_clients(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(self._socket)) == 0

    @property
    def runs(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def beside(self) -> list[str]:
        """The command that runs another one in the daemon's network."""
        assert self._own_network
        user = () if os.geteuid() == 0 else ("--user", "--preserve-credentials")
        return [program("nsenter"), "--target", str(self._process.pid), "--net", *user]


def socket_of(place: Path) -> Path:
    """Where a daemon whose place this is has its socket: what PCSCLITE_CSOCK_NAME must say."""
    return place / "run" / "pcscd.comm" if _namespaces("--mount") else _USUAL_SOCKET


def _configure(place: Path, device_name: str) -> None:
    for name in ("conf", "run"):
        (place / name).mkdir(exist_ok=True)
    (place / "conf" / "vpcd").write_text(
        f'FRIENDLYNAME "Virtual PCD"\nDEVICENAME {device_name}\nLIBPATH {driver()}\nCHANNELID 0x8C7B\n'
    )


def _may_use_the_usual_place() -> bool:
    return os.geteuid() == 0 and not _USUAL_SOCKET.exists()


def _lock() -> int:
    """Held while a daemon is at the usual place, against other workers of the same test run."""
    descriptor = os.open(driver() or "", os.O_RDONLY | os.O_CLOEXEC)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


@contextlib.contextmanager
def daemon(place: Path, device_name: str, *, network: bool = False) -> Iterator[Daemon]:
    """A daemon that is ended at the end of the block."""
    started = Daemon(place, device_name, network=network)
    try:
        yield started
    finally:
        code = started.end() if started.runs else 0
    assert code == 0, started.log.read_text()[-2000:]


@contextlib.contextmanager
def in_reader(device: Device, place: Path, second: Device | None = None) -> Iterator[Daemon]:
    """A device of this process as the card in the first slot, the driver having dialled it; another in the second.

    The daemon ends first, for a connection that is closed makes this driver abort it.
    """
    server = VpcdServer(device, second)
    ready = threading.Event()
    ports: list[int] = []

    def on_ready(*both: int) -> None:
        ports.extend(both)
        ready.set()

    with running(lambda: server.serve(port=0, on_ready=on_ready), server.stop):
        assert ready.wait(PATIENCE_S)
        with daemon(place, f"127.0.0.1:0x{ports[0]:X}") as started:
            yield started
    server.close()


class Card:
    """A program that is the card in a reader; to end it is to take the card out."""

    def __init__(self, words: list[str]) -> None:
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError(self._process.communicate(timeout=PATIENCE_S)[1])
        self.ready: dict[str, Any] = json.loads(line)

    def take_out(self) -> None:
        """End it, if it has not ended by itself."""
        if self._process.poll() is None:
            self._process.terminate()
        self._process.communicate(timeout=PATIENCE_S)

    @property
    def gone(self) -> bool:
        """Whether it ended by itself."""
        return self._process.poll() is not None


def served(*words: object, beside: Daemon | None = None) -> Card:
    """`keywright element serve`, ready; in the network of a daemon whose driver listens, if one is given."""
    prefix = beside.beside() if beside else []
    return Card([*prefix, sys.executable, "-m", "keywright", "element", "serve", "--json", *map(str, words)])


def is_there() -> bool:
    """Whether a card is in the first slot."""
    return bool(_state() & 0x20)


def _state() -> int:
    """SCARD_STATE_… bits of the first slot."""
    from smartcard import scard  # pyright: ignore[reportMissingImports] - an optional extra

    code, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
    assert code == scard.SCARD_S_SUCCESS
    try:
        code, readers = scard.SCardGetStatusChange(context, 0, [(READER, scard.SCARD_STATE_UNAWARE)])
        assert code == scard.SCARD_S_SUCCESS, hex(code & 0xFFFFFFFF)
        return int(readers[0][1])
    finally:
        scard.SCardReleaseContext(context)


@contextlib.contextmanager
def connected(protocol: int) -> Iterator[Callable[[bytes], bytes]]:
    """The card in the first reader, through pyscard as it is. protocol: 1 for T=0, 2 for T=1."""
    system: Any = importlib.import_module("smartcard.System")
    connection = system.readers()[0].createConnection()
    connection.connect(protocol)

    def exchange(command: bytes) -> bytes:
        data, sw1, sw2 = connection.transmit(list(command))
        return bytes((*data, sw1, sw2))

    try:
        yield exchange
    finally:
        connection.disconnect()
        connection.release()


def versions(link: PcscLink) -> tuple[int, ...]:
    """Key versions that the card lists, after a SELECT, for whoever had the card before may have left a session."""
    information = drive(host.identify(), transmit(link)).keys
    assert information is not None
    return information.versions


def session(link: PcscLink, keys: KeySet | None = None, kvn: int = TEST_KVN) -> HostChannel:
    """A session of our host; with the test keys if none are given."""
    return drive(open_channel(keys or KeySet.gp_test(), os.urandom(8), kvn=kvn, aid=ISD), transmit(link))


def read_in(channel: HostChannel, link: PcscLink, tag: int) -> bytes | None:
    """Value of an object, read through a session."""
    return drive(host.secured(channel, host.get_value(tag)), transmit(link))


class Keywright:
    """Our program, called in this process; without a terminal, and with no input."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: object, code: int = 0) -> str:
        """What it prints; it must end with this code."""
        self._capsys.readouterr()
        ended = main([str(word) for word in words])
        out, err = self._capsys.readouterr()
        assert ended == code, err
        return err if code else out

    def json(self, *words: object) -> Any:
        """What it prints with --json."""
        return json.loads(self(*words, "--json"))
