"""Ray itself: imported late, told everything it would else guess from files and variables that happen to be there."""

from __future__ import annotations

import importlib
import importlib.util
import os
from pathlib import Path
from typing import Any, Final

from keywright.errors import KeywrightError, UsageError
from keywright.production.cluster.address import Cluster

AUTH_MODE: Final = "RAY_AUTH_MODE"
TOKEN_PATH: Final = "RAY_AUTH_TOKEN_PATH"  # noqa: S105 - the name of a variable with the name of a file
_QUIET: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Workers that nobody asked for would take the processors from those that were.
    "RAY_prestart_worker_first_driver": "0",
    "RAY_enable_worker_prestart": "0",
}


class ClusterError(KeywrightError):
    """The cluster cannot carry the lot: not there, not reachable, or without the station's reader."""

    code = "cluster"
    hint = "the lot is whole in its store; run the same command again once the cluster is there"


class ClusterLostError(ClusterError):
    """The cluster was there and is not any more. The driver ends; its supervisor starts it again."""

    code = "cluster-lost"


def check_installed() -> None:
    """Raise UsageError where the library is not there. It is not imported: it reads its settings when it is."""
    if importlib.util.find_spec("ray") is None:
        raise UsageError(
            "a lot on a Ray cluster needs the library ray, which is not installed",
            hint="install keywright[cluster], or use --engine local",
        )


def ray() -> Any:
    """The library, in a process whose environment was made by `environment`. Raises UsageError without it."""
    check_installed()
    return importlib.import_module("ray")


def environment(cluster: Cluster, token: Path | None = None) -> dict[str, str]:
    """What every process of a cluster, and every one that talks to it, has to be told about the token.

    Ray turns the token on when a file of that name happens to exist, and one that has none then waits for 20 s and
    fails without a word. Raises UsageError where anybody on the network could run code: another machine, no token.
    """
    if token is not None:
        return {AUTH_MODE: "token", TOKEN_PATH: str(token.absolute())} | _QUIET
    named = os.environ.get("RAY_AUTH_TOKEN_PATH", "")
    if named or os.environ.get("RAY_AUTH_MODE") == "token":
        if not named or not Path(named).is_file():
            raise UsageError(f"{TOKEN_PATH} names no file", hint="put the cluster's token into a file (mode 0600)")
        return {AUTH_MODE: "token", TOKEN_PATH: str(Path(named).absolute())} | _QUIET
    if not cluster.is_loopback:
        raise UsageError(
            f"{cluster}: a cluster without a token runs code for anybody who reaches it",
            hint=f"start it with keywright cluster head --token FILE, and name the same file in {TOKEN_PATH}",
        )
    return {AUTH_MODE: "disabled"} | _QUIET
