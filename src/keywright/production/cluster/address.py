"""What `--engine` names: this process, or a Ray cluster that carries the lot."""

from __future__ import annotations

import ipaddress
from typing import Final, final

import msgspec

from keywright.errors import UsageError

LOCAL: Final = "local"
_SCHEME: Final = "ray://"
_FORMS: Final = "give local, ray://local (a cluster of its own on this machine) or ray://HOST:PORT (of its head)"


@final
class Cluster(msgspec.Struct, frozen=True):
    """A Ray cluster: the address of its head's GCS, or none for one that the lot starts for itself."""

    host: str = ""
    port: int = 0

    @property
    def is_own(self) -> bool:
        """Whether the lot starts, keeps and ends the cluster itself."""
        return not self.host

    @property
    def gcs(self) -> str:
        """HOST:PORT as `ray.init` takes it: never `ray://`, which is another protocol with a server of its own."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether the head is on this machine's loopback, where no other machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host in ("", "localhost")

    def __str__(self) -> str:
        return f"{_SCHEME}{LOCAL if self.is_own else self.gcs}"


def parse_engine(text: str) -> Cluster | None:
    """The cluster that `--engine` names; None for `local`. Raises UsageError for anything else."""
    if text in ("", LOCAL):
        return None
    if not text.startswith(_SCHEME):
        raise UsageError(f"--engine {text}: no such engine", hint=_FORMS)
    rest = text.removeprefix(_SCHEME)
    return Cluster() if rest == LOCAL else parse_head(rest, f"--engine {text}", _FORMS)


def parse_head(address: str, named: str = "", hint: str = "give HOST:PORT, for example 10.0.0.1:6379") -> Cluster:
    """The cluster with its head at HOST:PORT. Raises UsageError, which calls it `named`, for anything else."""
    host, colon, port = address.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    plain = bare != host or all(sign.isalnum() or sign in ".-_" for sign in host)
    if not (colon and bare and plain and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise UsageError(f"{named or address}: not the address of a cluster's head", hint=hint)
    return Cluster(bare, int(port))
