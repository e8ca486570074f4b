"""Files that are there whole or not at all, and that take the place of nothing but an older one of their kind."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from keywright.errors import UsageError

_HINT: Final = "give another path"


@contextmanager
def replacing(target: str | os.PathLike[str], *, opening: str, store: Path | None = None) -> Iterator[IO[str]]:
    """A text file (UTF-8, line ends as written) that takes the place of `target` when the block ends well.

    When it does not, `target` stays as it was. A file that is there already is replaced only if it is empty or begins
    with `opening`, and none whose path begins with that of `store`, if one is given: those are the store and what
    belongs to it. The mode is what the umask says. Raises UsageError if the file may not be replaced or cannot be
    written.
    """
    path = Path(target)
    name = path.parent / f".{path.name[:48]}.{secrets.token_hex(8)}"
    try:
        if store is not None:
            _check_store(path, store)
        _check_present(path, opening.encode())
        try:
            with name.open("x", encoding="utf-8", newline="") as file:
                yield file
            name.replace(path)
        finally:
            with suppress(OSError):
                name.unlink()
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}", hint=_HINT) from error


def _check_store(path: Path, store: Path) -> None:
    """Raises UsageError for the store and its side files, whatever name leads to them, without opening them.

    Not opened, because closing any descriptor of a database drops the locks that SQLite holds on it (POSIX).
    """
    place = str(path.parent.resolve() / path.name)
    is_beside = place.startswith((str(store.resolve()), str(store.parent.resolve() / store.name)))
    if is_beside or (path.exists() and store.exists() and path.samefile(store)):
        raise UsageError(f"{path}: belongs to the store {store}, not written", hint=_HINT)


def _check_present(path: Path, opening: bytes) -> None:
    """Raises UsageError if there is something that is neither empty nor begins with `opening`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        what = "is a symbolic link" if path.is_symlink() else f"cannot be replaced: {error.strerror}"
        raise UsageError(f"{path}: {what}", hint=_HINT) from error
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        if not is_file or os.read(descriptor, len(opening)) not in (b"", opening):
            raise UsageError(f"{path}: there already, and no earlier report", hint=_HINT)
    finally:
        os.close(descriptor)
