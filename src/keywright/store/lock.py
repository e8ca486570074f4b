"""One process at a time: an flock'ed side file that says who holds it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import final

from keywright.errors import StoreError

_POLL_S = 0.01
_READ_ATTEMPTS = 20


@final
class FileLock:
    """An exclusive lock on `path`, a file beside what it protects (which may itself be replaced by rename).

    The kernel lets go of it when the process ends, however it ends. A forked child shares it: fork before locking.
    """

    def __init__(self, path: str, subject: str, wait_s: float = 0.0) -> None:
        """Take the lock, waiting up to wait_s seconds.

        Raises StoreError naming `subject` and the holder's pid, or naming a file of that name that is no lock of ours
        and is left as it is.
        """
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            _check_ours(self._fd, path)
            _take(self._fd, subject, time.monotonic() + wait_s)
        except BaseException:
            os.close(self._fd)
            raise
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """Let go. The side file stays: removing it would let two processes each lock a file of that name."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1


def _check_ours(fd: int, path: str) -> None:
    """A lock file holds a pid or nothing."""
    content = os.pread(fd, 64, 0)
    if content and not content.strip().isdigit():
        raise StoreError(f"{path}: is in the way, and no lock of this program", hint="move it, or use another name")


def _take(fd: int, subject: str, deadline: float) -> None:
    while not _try_lock(fd):
        if time.monotonic() >= deadline:
            raise StoreError(
                f"{subject} is in use by process {_holder(fd)}", hint="wait for that process to finish, or stop it"
            )
        time.sleep(_POLL_S)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(fd: int) -> str:
    """Pid of the holder. It writes its pid just after locking, so an empty or dead one is read again."""
    for _ in range(_READ_ATTEMPTS):
        text = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
        if text.isdecimal() and _alive(int(text)):
            return text
        time.sleep(_POLL_S)
    return "unknown"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
