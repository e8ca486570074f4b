"""What a process that holds a part does first: no core dump, no debugger of the same user, no page of it on a disk."""

from __future__ import annotations

import ctypes
import resource
import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4
_MCL_CURRENT_FUTURE: Final = 1 | 2


def keep_memory_private() -> bool:
    """Do it as far as the system lets (Linux); True if the memory is locked, too. Root can still read it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    # Without room for all of the process (ulimit -l) a lock of the future would end it at its next page.
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft != resource.RLIM_INFINITY:
        return False
    return bool(library.mlockall(_MCL_CURRENT_FUTURE) == 0)
