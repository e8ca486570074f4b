"""Key files of persons on the command line, and where their passphrases come from."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from keywright.cli.person import ask_passphrase, is_attended
from keywright.cli.text import note
from keywright.errors import PolicyError
from keywright.production.people.person_key import PersonKey, check_passphrase, name_of, open_key
from keywright.production.private_file import read_private

People: TypeAlias = Annotated[Path, typer.Option("--people", metavar="FILE", help="The directory of people.")]
By: TypeAlias = Annotated[
    list[Path], typer.Option("--by", metavar="KEY", help="The key file of who signs; give it again for a second one.")
]
PassphraseFile: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(
        "--passphrase-file", metavar="FILE", help="A file of mode 0600 with the passphrase, one for each key file."
    ),
]


def now_ms() -> int:
    """Milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000


def opened(paths: list[Path], files: list[Path] | None) -> list[PersonKey]:
    """The keys in these files, each opened with its own passphrase: from a file, or typed by its owner.

    Raises PolicyError if nobody is there to type, and what `open_key` raises.
    """
    files = files or []
    return [_opened(path, files[n] if n < len(files) else None) for n, path in enumerate(paths)]


def new_passphrase(name: str, file: Path | None) -> bytes:
    """A passphrase for a new key file. Raises PolicyError if it is short, or nobody is there to type it."""
    passphrase = _from(file) if file is not None else _asked(f"New passphrase for {name}", twice=True)
    check_passphrase(passphrase)
    return passphrase


def _opened(path: Path, file: Path | None) -> PersonKey:
    name = name_of(path)

    def passphrase() -> bytes:
        return _from(file) if file is not None else _asked(f"Passphrase of {name}", twice=False)

    key = open_key(path, passphrase, at_ms=now_ms())
    note(f"signing as {name}")
    return key


def _from(file: Path) -> bytes:
    return read_private(file, "passphrase", 4096).rstrip(b"\r\n")


def _asked(question: str, *, twice: bool) -> bytes:
    if not is_attended():
        raise PolicyError("nobody is there to type the passphrase", hint="sign at a terminal, or --passphrase-file")
    return ask_passphrase(question, twice=twice)
