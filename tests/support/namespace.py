"""A network of one's own: processes that see nothing but a loopback of theirs, and end together.

Ray listens on every interface it finds and looks at the machine's table of processes. In a namespace of network and
processes there is nobody to listen to, and no other cluster to be confused with.
"""

from __future__ import annotations

import fcntl
import functools
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from support.house import ROOT
from support.peers import require_peer

_ALONE = ("unshare", "--net", "--pid", "--fork", "--mount-proc", "--kill-child")
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 0x1
"""SIOCGIFFLAGS, SIOCSIFFLAGS and IFF_UP of netdevice(7)."""
_REQUEST = struct.Struct("16sH14x")


@functools.cache
def _can_be_alone() -> bool:
    if not all(map(shutil.which, ("unshare", "setpriv"))):
        return False
    return subprocess.run([*_ALONE, "true"], capture_output=True, check=False).returncode == 0


def require_namespace() -> None:
    """Skip, loudly, where processes cannot have a network of their own."""
    how = "run the tests as root, with util-linux"
    require_peer("a network namespace", _can_be_alone(), how)


def inside(function: str, place: Path, timeout_s: float, **arguments: object) -> str:
    """Run `module:name` in a namespace of its own with a folder and what else is given; its output.

    It, and everything it started, is gone when this returns. Raises AssertionError with its output if it failed.
    """
    require_namespace()
    with _one_at_a_time(), tempfile.TemporaryDirectory(prefix="kw", dir="/tmp") as short:
        Path(short).chmod(0o711)  # a database's user has to reach its own folder in it
        done = _run(
            [
                *("setpriv", "--pdeathsig", "KILL", "--", *_ALONE),
                *(sys.executable, "-m", "support.namespace", function, str(place), json.dumps(arguments)),
            ],
            os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}", "TMPDIR": short},
            timeout_s,
        )
    assert done.returncode == 0, done.stdout[-12_000:]
    return done.stdout


def _run(command: list[str], environment: dict[str, str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run to the end; what is not done in time is killed with all that it started, and its output told."""
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, env=environment, **both) as process:  # type: ignore[call-overload]  # by keywords
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            raise AssertionError(f"not done in {timeout_s:.0f} s: {output[-12_000:]}") from None
    return subprocess.CompletedProcess(command, process.returncode, output)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Clusters are heavy; tests that run beside each other take turns."""
    with (Path(tempfile.gettempdir()) / f"keywright-tests-{os.getuid()}-cluster.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        name, flags = _REQUEST.unpack(fcntl.ioctl(sock, _GET_FLAGS, _REQUEST.pack(b"lo", 0)))
        fcntl.ioctl(sock, _SET_FLAGS, _REQUEST.pack(name, flags | _UP))


def _main() -> None:
    _raise_loopback()
    module, _, name = sys.argv[1].partition(":")
    getattr(import_module(module), name)(Path(sys.argv[2]), **json.loads(sys.argv[3]))


if __name__ == "__main__":
    _main()
