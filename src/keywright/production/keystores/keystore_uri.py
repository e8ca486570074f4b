"""From what `--keystore` says to an open keystore."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from keywright.errors import UsageError
from keywright.production.keystores.keystore import Keystore, Unlock
from keywright.production.keystores.software_keystore import SoftwareKeystore

PKCS11: Final = "pkcs11:"


def is_token(uri: str) -> bool:
    """Whether `--keystore` names a token, not a file."""
    return uri.startswith(PKCS11)


def keystore_path(uri: str) -> Path:
    """The file that `--keystore` names: a path or `software:PATH`. Raises UsageError for anything else."""
    path = uri.removeprefix("software:")
    if not path or "://" in path or is_token(path):
        raise UsageError(
            f"--keystore {uri}: not a keystore in a file", hint="give a path or software:PATH; a token is pkcs11:LABEL"
        )
    return Path(path)


def open_keystore(
    uri: str,
    unlock: Unlock | None = None,
    *,
    clock: Callable[[], float] = time.time,
    noticed: Callable[[str], object] | None = None,
) -> Keystore:
    """Open the keystore that `--keystore` names.

    `unlock`: for a file, its unlock key, by default in `PATH.unlock` beside it; for a token the file with its PIN, by
    default the one that KEYWRIGHT_PIN_FILE names, else it is asked for at the terminal. `clock` tells what is over:
    seconds since 1970. `noticed` is told when the process that asks a token was started again, by any thread.
    """
    if is_token(uri):
        from keywright.production.hsm.keystore import Pkcs11Keystore  # noqa: PLC0415 - not for a file
        from keywright.production.hsm.uri import TokenUri  # noqa: PLC0415 - not for a file

        return Pkcs11Keystore.open(TokenUri.parse(uri), unlock, clock=clock, noticed=noticed)
    return SoftwareKeystore.open(keystore_path(uri), unlock, clock=clock)
