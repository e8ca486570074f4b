"""Where the token's PIN comes from: a file of mode 0600, or the terminal. Only the client process asks."""

from __future__ import annotations

import os
import termios
from pathlib import Path
from typing import BinaryIO, Final

from keywright.errors import PolicyError, StoreError
from keywright.production.private_file import read_private
from keywright.production.silent import silent

VARIABLE: Final = "KEYWRIGHT_PIN_FILE"
_LONGEST: Final = 256
TERMINAL: Final = Path("/dev/tty")


def read_pin(file: str) -> str:
    """The PIN: from `file`, else from the file that KEYWRIGHT_PIN_FILE names, else typed at the terminal.

    Raises StoreError for a file that is missing or empty, PolicyError if others may read it or nobody can be asked.
    """
    path = file or os.environ.get(VARIABLE, "")
    if not path:
        return _typed()
    try:
        pin = read_private(Path(path), "PIN file", _LONGEST).decode().strip("\r\n")
    except UnicodeDecodeError:
        raise StoreError(f"{path}: the PIN file is not text", hint="write the PIN into it, in one line") from None
    if not pin:
        raise StoreError(f"{path}: the PIN file is empty", hint="write the PIN into it, in one line")
    return pin


def _typed() -> str:
    """Raises PolicyError if nobody is there. Nothing of it is shown, also of what is typed before the question."""
    try:
        with TERMINAL.open("r+b", buffering=0) as terminal:
            with silent(terminal.fileno()):
                terminal.write(b"PIN of the token: ")
                pin = _line(terminal)
            terminal.write(b"\n")
    except (OSError, termios.error):
        pin = ""
    if not pin:
        raise PolicyError(
            "nobody is there to type the token's PIN",
            hint=f"give a file of mode 0600 that holds it: --unlock FILE, or {VARIABLE}",
        )
    return pin


def _line(terminal: BinaryIO) -> str:
    """One line as the terminal gives it; empty at its end."""
    return terminal.readline(_LONGEST).decode("utf-8", "replace").strip("\r\n")
