"""The head of a cluster, or one more machine of it, as a command that a supervisor keeps."""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from keywright.errors import UsageError
from keywright.production.cluster.address import Cluster
from keywright.production.cluster.library import check_installed, environment
from keywright.production.cluster.supervisor import Kept

LOOPBACK: Final = "127.0.0.1"
READER: Final = "reader:"
"""Custom resources whose name begins so are readers; the rest is the link to it."""
TOKEN_CHARACTERS: Final = 64
_OBJECT_BYTES: Final = 100_000_000
"""Ray's shared memory. A lot's arguments and results are a few bytes each; the library refuses less than 75 MB."""
_SESSIONS: Final = "r"
"""Ray lets everybody into its own folder, so that it stands inside one that only we may enter."""
_CURRENT: Final = "ray_current_cluster"
_MOST_SOCKET_PATH: Final = 28
"""Ray puts sockets some 70 bytes below the folder, and a socket's path ends at 107."""
PORTS: Final = 100
"""A machine of a cluster listens on so many ports in a row, the first of which is the head's."""
_MOST_PORT: Final = 65_535
_NAMED_PORTS: Final = (
    "node-manager-port",
    "object-manager-port",
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "runtime-env-agent-port",
    "metrics-export-port",
)


def readers(links: tuple[str, ...]) -> Mapping[str, float]:
    """The resources of a machine with these readers: as many of a kind as there are, so that one station holds one."""
    return {f"{READER}{link}": float(number) for link, number in Counter(links).items()}


def new_token(path: Path) -> Path:
    """Make a token for one cluster in a new file that only we may read. Raises UsageError if it cannot be made."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"{path}: cannot be made: {error.strerror}", hint="give another path") from error
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(TOKEN_CHARACTERS // 2))
    return path


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.create_server((LOOPBACK, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def own_head(place: Path, cluster: Cluster, token: Path, links: tuple[str, ...] = ()) -> Kept:
    """The head of a cluster of this machine alone, which listens on loopback only."""
    alone = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    return _kept("head", place, environment(cluster, token) | alone, _head(cluster, place, links))


def open_head(place: Path, cluster: Cluster, token: Path, links: tuple[str, ...]) -> Kept:
    """The head of a cluster that other machines join. Ray listens on every interface: the token is what keeps it."""
    return _kept("head", place, environment(cluster, token), (*_head(cluster, place, links), *_ports(cluster.port)))


def node(place: Path, cluster: Cluster, token: Path, links: tuple[str, ...]) -> Kept:
    """One more machine, with its readers."""
    where = (f"--address={cluster.gcs}", *_folder(place), *_ports(cluster.port))
    command = (*_RAY, "--block", *where, *_resources(links), *_SMALL)
    return _kept("node", place, environment(cluster, token), command)


def forget(place: Path) -> None:
    """What ran with this folder has ended.

    Ray would start no head at an address that it finds written down there, as long as any machine whose processes it
    can see still looks for it.
    """
    (place / _SESSIONS / _CURRENT).unlink(missing_ok=True)


def _head(cluster: Cluster, place: Path, links: tuple[str, ...] = ()) -> tuple[str, ...]:
    where = (f"--node-ip-address={cluster.host}", f"--port={cluster.port}", *_folder(place))
    return (*_RAY, "--head", "--block", *where, "--include-dashboard=false", *_resources(links), *_SMALL)


def _folder(place: Path) -> tuple[str, ...]:
    if len(str(place)) > _MOST_SOCKET_PATH:
        raise UsageError(
            f"{place}: the path is too long for Ray's sockets", hint="set TMPDIR to a folder with a shorter name"
        )
    return (f"--temp-dir={place / _SESSIONS}",)


def _ports(first: int) -> tuple[str, ...]:
    """Every port that Ray listens on, behind the head's, so that a firewall can name them."""
    last = first + PORTS - 1
    if last > _MOST_PORT:
        raise UsageError(
            f"port {first}: a machine of a cluster needs {PORTS} ports in a row",
            hint=f"give a port up to {_MOST_PORT - PORTS + 1}",
        )
    named = tuple(f"--{name}={port}" for port, name in enumerate(_NAMED_PORTS, first + 1))
    return (*named, f"--min-worker-port={first + len(_NAMED_PORTS) + 1}", f"--max-worker-port={last}")


_RAY: Final = (sys.executable, "-m", "ray.scripts.scripts", "start")
_SMALL: Final = (f"--object-store-memory={_OBJECT_BYTES}", "--disable-usage-stats", "--include-log-monitor=false")


def _resources(links: tuple[str, ...]) -> tuple[str, ...]:
    return (f"--resources={json.dumps(readers(links))}",) if links else ()


def _kept(name: str, place: Path, told: Mapping[str, str], command: tuple[str, ...]) -> Kept:
    check_installed()
    return Kept(name, command, told, log=place / f"{name}.log")
