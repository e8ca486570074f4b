"""Which process is it, and is it still there? That is known of processes of the same machine, never of others."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


def this_host() -> str:
    """The machine since it was started, as far as process numbers mean the same: a container is a host of its own."""
    try:
        return f"{socket.gethostname()}/{_BOOT.read_text('ascii').strip()}/{os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115 - a name, no path
    except OSError:
        return socket.gethostname()


def this_process() -> str:
    """Number of this process and when it began, because numbers come back."""
    return f"{os.getpid()}:{_began(os.getpid())}"


def is_gone(host: str, process: str) -> bool:
    """Whether that process is known to have ended; False for what cannot be known from here."""
    if host != this_host():
        return False
    number, _, began = process.partition(":")
    return not number.isdecimal() or _began(int(number)) != began


def _began(pid: int) -> str:
    """Clock ticks since the machine was started; empty when there is no such process, or only its remains."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except FileNotFoundError:
        return "" if Path("/proc/self").exists() or not _answers(pid) else "unknown"
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
