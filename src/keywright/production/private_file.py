"""Files that hold secrets, and others that are written as they are: whole and durably, secrets with mode 0600."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from keywright.errors import PolicyError, StoreError, UsageError
from keywright.production.unit_store.sqlite import sync_folder

MODE: Final = 0o600
READABLE: Final = 0o644
"""For files without secrets."""
_OTHERS: Final = 0o077


def read_private(path: Path, what: str, limit_bytes: int) -> bytes:
    """The file's bytes. Raises StoreError if it is missing or too long, PolicyError if others may read or write it."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            _check_owner(path, what, os.fstat(file.fileno()))
            data = file.read(limit_bytes + 1)
    except FileNotFoundError as error:
        raise StoreError(f"{path}: there is no {what}", hint=f"give the path of the {what}") from error
    except OSError as error:
        raise StoreError(f"{path}: the {what} cannot be read: {error.strerror}") from error
    if len(data) > limit_bytes:
        raise StoreError(f"{path}: too long for the {what}", hint=f"give the path of the {what}")
    return data


def open_plain(path: Path, what: str) -> BinaryIO:
    """Open a file that somebody named, for reading. Raises UsageError for what is no plain file, or cannot be read."""
    hint = f"give the path of the {what}"
    try:
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 - the caller closes it
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file
        file.close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{path}: cannot be read: {reason}", hint=hint) from error
    raise UsageError(f"{path}: not a plain file", hint=hint)


def read_plain(path: Path, what: str, limit_bytes: int) -> bytes:
    """The bytes of a file that somebody named. Raises UsageError as `open_plain`, and if it is too long."""
    with open_plain(path, what) as file:
        try:
            data = file.read(limit_bytes + 1)
        except OSError as error:
            raise UsageError(
                f"{path}: cannot be read: {error.strerror}", hint=f"give the path of the {what}"
            ) from error
    if len(data) > limit_bytes:
        raise UsageError(f"{path}: too long for the {what}", hint=f"give the path of the {what}")
    return data


def write_private(path: Path, what: str, data: bytes) -> None:
    """Make the file: after a crash it is whole or not there; when this returns it is on the disk.

    Raises StoreError if it exists or cannot be written.
    """
    write_new(path, what, data, MODE)


def write_new(path: Path, what: str, data: bytes, mode: int) -> None:
    """As `write_private`, for a file that others may read as `mode` says."""
    # A link, unlike a rename, fails if somebody else made the file meanwhile.
    _write(path, what, data, mode, os.link)


def replace_file(path: Path, what: str, data: bytes, mode: int = MODE) -> None:
    """Put a file in the place of the one that may be there: after a crash the old or the new one is there, whole.

    Raises StoreError if it cannot be written.
    """
    _write(path, what, data, mode, os.replace)


def _write(path: Path, what: str, data: bytes, mode: int, put: Callable[[Path, Path], None]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            put(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
        sync_folder(path.parent)
    except FileExistsError as error:
        raise already_there(path, what) from error
    except OSError as error:
        raise StoreError(f"{path}: the {what} cannot be written: {error.strerror}", hint="give another path") from error


def already_there(path: Path, what: str) -> StoreError:
    """The refusal to overwrite."""
    return StoreError(
        f"{path}: already there; a {what} is never overwritten", hint="give another path, or use this one"
    )


def _without_waiting(path: str, flags: int) -> int:
    """Opening a named pipe would wait for its writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def _check_owner(path: Path, what: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise StoreError(f"{path}: the {what} is not a plain file", hint=f"give the path of the {what}")
    if status.st_uid not in (os.geteuid(), 0):
        raise PolicyError(f"{path}: the {what} belongs to another user", hint="use a keystore of your own")
    if status.st_mode & _OTHERS:
        mode = stat.S_IMODE(status.st_mode)
        raise PolicyError(
            f"{path}: the {what} may be read or written by others (mode {mode:04o})",
            hint=f"if nobody else has read it: chmod 600 {path}",
        )
