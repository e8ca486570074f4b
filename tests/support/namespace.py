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
_LOOPBACK = 'ip link set lo up && exec "$@"'


@functools.cache
def _can_be_alone() -> bool:
    if not all(map(shutil.which, ("unshare", "ip", "setpriv"))):
        return False
    tried = subprocess.run([*_ALONE, "sh", "-c", _LOOPBACK, "sh", "true"], capture_output=True, check=False)
    return tried.returncode == 0


def require_namespace() -> None:
    """Skip, loudly, where processes cannot have a network of their own."""
    how = "run the tests as root, with util-linux and iproute2"
    require_peer("a network namespace", _can_be_alone(), how)


def inside(function: str, place: Path, timeout_s: float, **arguments: object) -> str:
    """Run `module:name` in a namespace of its own with a folder and what else is given; its output.

    It, and everything it started, is gone when this returns. Raises AssertionError with its output if it failed.
    """
    require_namespace()
    with _one_at_a_time(), tempfile.TemporaryDirectory(prefix="kw", dir="/tmp") as short:
        Path(short).chmod(0o711)  # a database's user has to reach its own folder in it
        done = subprocess.run(
            [
                *("setpriv", "--pdeathsig", "KILL", "--", *_ALONE, "sh", "-c", _LOOPBACK, "sh"),
                *(sys.executable, "-m", "support.namespace", function, str(place), json.dumps(arguments)),
            ],
            env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}", "TMPDIR": short},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-12_000:]
    return done.stdout


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Clusters are heavy; tests that run beside each other take turns."""
    with (Path(tempfile.gettempdir()) / f"keywright-tests-{os.getuid()}-cluster.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _main() -> None:
    module, _, name = sys.argv[1].partition(":")
    getattr(import_module(module), name)(Path(sys.argv[2]), **json.loads(sys.argv[3]))


if __name__ == "__main__":
    _main()
