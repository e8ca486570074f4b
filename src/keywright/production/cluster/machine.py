"""One machine of a cluster that others join, the head or one more with its readers, kept running until told to stop."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Callable
from pathlib import Path

from keywright.errors import UsageError
from keywright.production.cluster import head
from keywright.production.cluster.address import Cluster
from keywright.production.cluster.folder import working_folder
from keywright.production.cluster.supervisor import KILLED, Kept, Supervisor, last_words
from keywright.production.stopping import stoppable

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def serve_head(cluster: Cluster, token: Path, links: tuple[str, ...], told: Callable[[str], None]) -> None:
    """Keep the head of a cluster until Ctrl-C or SIGTERM; `told` hears of every end and why. Raises UsageError."""
    check_token(token)
    _keep(lambda place: head.open_head(place, cluster, token, links), told)


def serve_node(cluster: Cluster, token: Path, links: tuple[str, ...], told: Callable[[str], None]) -> None:
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


def _keep(make: Callable[[Path], Kept], told: Callable[[str], None]) -> None:
    with contextlib.suppress(KeyboardInterrupt), stoppable(), working_folder() as place:
        kept = make(place)

        def ended(name: str, code: int) -> None:
            head.forget(place)
            why = "was killed" if code >= KILLED else f"ended: {last_words(kept.log, code)}"
            told(f"the {name} {why}; it is started again")

        with Supervisor([kept], told=ended) as supervisor:
            supervisor.run()
