"""From what `--keystore` says to an open keystore."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from keywright.errors import UsageError
from keywright.production.keystore import Unlock
from keywright.production.software_keystore import SoftwareKeystore


def keystore_path(uri: str) -> Path:
    """The file that `--keystore` names: a path or `software:PATH`. Raises UsageError for anything else."""
    path = uri.removeprefix("software:")
    if not path or "://" in path or path.startswith("pkcs11:"):
        raise UsageError(f"--keystore {uri}: not a keystore", hint="give a path or software:PATH")
    return Path(path)


def open_keystore(
    uri: str, unlock: Unlock | None = None, *, clock: Callable[[], float] = time.time
) -> SoftwareKeystore:
    """Open the keystore that `--keystore` names; without `unlock`, with the file `PATH.unlock` beside it.

    `clock` tells what is over: seconds since 1970.
    """
    return SoftwareKeystore.open(keystore_path(uri), unlock, clock=clock)
