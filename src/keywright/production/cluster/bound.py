"""Runs a command in a session of its own that ends as a whole: `python -m keywright.production.cluster.bound PARENT …`.

When the command ends, whatever it started and left behind is killed; when the parent ends, so is everything here.
Ray's head is many processes that do not all follow the one that started them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from keywright.production.cluster.processes import end_with_parent, kill_session


def main() -> int:
    """The leader of a session. The exit code is the command's; 128 and the number of the signal for a killed one."""
    parent, *command = sys.argv[1:]

    def end(number: int, _frame: object) -> None:
        kill_session(os.getpid())
        os._exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end)
    if not end_with_parent(int(parent), signal.SIGTERM):
        return 128 + signal.SIGTERM
    try:
        code = subprocess.Popen(command).wait()  # noqa: S603 - what our own supervisor was told to keep
    finally:
        kill_session(os.getpid())
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
