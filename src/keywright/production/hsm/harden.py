"""What a process that holds a PIN does first: no core dump, nobody looks in, no interrupt from a terminal."""

from __future__ import annotations

import ctypes
import resource
import signal
import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4


def harden() -> None:
    """Forbid core dumps and debuggers of the same user (Linux); Ctrl-C is for the line, which ends this process."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
