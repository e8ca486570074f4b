"""A program on a terminal of its own: what a person sees, and what they type."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from typing import Self

from support.commands import environment

_PATIENCE_S = 60.0


class Terminal:
    """The program under a pseudo terminal. `seen`: everything that stood on it, echo included."""

    def __init__(self, *words: object, **more: str) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "keywright", *map(str, words)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment(TERM="xterm", **more),
            start_new_session=True,
        )
        os.close(theirs)
        self.seen = ""
        self._read = 0

    def wait_for(self, text: str) -> str:
        """What came up to and with `text`, after what was waited for before."""
        end = time.monotonic() + _PATIENCE_S
        while text not in self.seen[self._read :]:
            if not self._more(end):
                raise AssertionError(f"{text!r} did not come: {self.seen[self._read :]!r}")
        at = self.seen.index(text, self._read) + len(text)
        part, self._read = self.seen[self._read : at], at
        return part

    def type(self, line: str) -> None:
        """Type a line."""
        os.write(self._ours, line.encode() + b"\n")

    def end(self) -> int:
        """Wait for the program to end; its exit code."""
        end = time.monotonic() + _PATIENCE_S
        while self._more(end):
            pass
        return self.process.wait(timeout=_PATIENCE_S)

    def _more(self, end: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], max(0.0, end - time.monotonic()))
        try:
            data = os.read(self._ours, 4096) if ready else b""
        except OSError:  # the program has closed its side
            return False
        self.seen += data.decode(errors="replace")
        return bool(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)
