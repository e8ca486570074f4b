"""What opens a keystore: a file with its unlock key, or a passphrase typed by a person."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from keywright.cli.person import ask_passphrase, is_attended
from keywright.errors import PolicyError, UsageError
from keywright.production.keystores.keystore import Unlock

UnlockFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--unlock", metavar="FILE", help="The file with its unlock key (default: PATH.unlock), or PIN."),
]
Passphrase: TypeAlias = Annotated[
    bool, typer.Option("--passphrase", help="Ask for a passphrase in place of an unlock file.")
]


def unlock_with(file: Path | None, *, passphrase: bool, twice: bool = False) -> Unlock | None:
    """What `--unlock` and `--passphrase` say; None is the file beside the keystore. `twice`: ask for it again.

    Raises UsageError for both at once; the passphrase is asked for when the keystore is opened.
    """
    if not passphrase:
        return file
    if file is not None:
        raise UsageError("--unlock and --passphrase exclude each other", hint="give one of them")
    return lambda: _asked(twice=twice)


def _asked(*, twice: bool) -> bytes:
    if not is_attended():
        raise PolicyError("nobody is there to type the passphrase", hint="use an unlock file: --unlock FILE")
    return ask_passphrase("Passphrase", twice=twice)
