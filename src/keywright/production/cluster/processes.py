"""Processes that end together: a session of their own, and whoever is left in it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_SESSION: Final = 3
"""Where the session stands in /proc/PID/stat after the closing parenthesis of the name (proc_pid_stat(5), field 6)."""


def end_with_parent(parent: int, number: int) -> bool:
    """Have this process sent the signal when its parent ends. False if `parent` is already not its parent any more."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    return os.getppid() == parent


def session_members(session: int) -> list[int]:
    """Processes of a session, whatever process groups they made for themselves."""
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                fields = (place / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
                if int(fields[_SESSION]) == session and fields[0] not in "ZX":
                    found.append(int(place.name))
    return found


def kill_session(session: int) -> None:
    """Kill everybody in a session but this process, also those that are born while it is done."""
    while others := [pid for pid in session_members(session) if pid != os.getpid()]:
        for pid in others:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
