"""One machine of a cluster that others join, the head or one more with its readers, kept running until told to stop."""

from __future__ import annotations

import shutil
import signal
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from keywright.errors import UsageError
from keywright.production.cluster import head
from keywright.production.cluster.address import Cluster
from keywright.production.cluster.supervisor import Kept, Supervisor

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class _ToldToStopError(Exception):
    """Somebody sent SIGTERM or SIGHUP."""


def serve_head(cluster: Cluster, token: Path, links: tuple[str, ...], told: Callable[[str, int], None]) -> None:
    """Keep the head of a cluster until Ctrl-C or SIGTERM; `told` hears of every end. Raises UsageError."""
    check_token(token)
    _keep(lambda place: head.open_head(place, cluster, token, links), told)


def serve_node(cluster: Cluster, token: Path, links: tuple[str, ...], told: Callable[[str, int], None]) -> None:
    """Keep this machine in the cluster of that head until Ctrl-C or SIGTERM. Raises UsageError."""
    check_token(token)
    _keep(lambda place: head.node(place, cluster, token, links), told)


def check_token(path: Path) -> None:
    """Raise UsageError unless the file holds a token and nobody else may read it: who has it runs code as we."""
    try:
        mode, content = path.stat().st_mode, path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: no token can be read", hint="make one: keywright cluster token FILE") from error
    if mode & _OTHERS:
        raise UsageError(f"{path}: others may read it", hint=f"chmod 600 {path}")
    if len(content) < head.TOKEN_CHARACTERS:
        raise UsageError(f"{path}: too short for a token", hint="make one: keywright cluster token FILE")


def _keep(make: Callable[[Path], Kept], told: Callable[[str, int], None]) -> None:
    place = Path(tempfile.mkdtemp(prefix="kw-"))
    try:
        with _stoppable(), Supervisor([make(place)], told=told) as supervisor:
            supervisor.run()
    except (_ToldToStopError, KeyboardInterrupt):
        pass
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block in order."""

    def stop(_number: int, _frame: object) -> None:
        raise _ToldToStopError

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
