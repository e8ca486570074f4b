"""The working folder of a cluster's processes: token, sockets and logs, for as long as the command runs."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from keywright.errors import StoreError
from keywright.store.lock import FileLock

_PREFIX: Final = "kw-"
_LOCK: Final = "lock"


@contextlib.contextmanager
def working_folder() -> Iterator[Path]:
    """A folder that only we may enter, with a short name, for a socket's path ends after 107 bytes; gone at the end.

    Those that a killed command left behind are removed first.
    """
    _sweep()
    place = Path(tempfile.mkdtemp(prefix=_PREFIX))
    lock = FileLock(str(place / _LOCK), str(place))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        lock.release()


def _sweep() -> None:
    """The kernel let go of the lock of one that was killed."""
    for lock in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_LOCK}"):
        with contextlib.suppress(OSError, StoreError):
            if lock.parent.lstat().st_uid == os.getuid() and not lock.parent.is_symlink():
                held = FileLock(str(lock), str(lock.parent))
                shutil.rmtree(lock.parent, ignore_errors=True)
                held.release()
