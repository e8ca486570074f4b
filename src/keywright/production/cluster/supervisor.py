"""Keeps processes running: the head of a cluster, the driver of a lot.

Whatever kills them, they are started again, at once the first time and with growing pauses when they do not last.
It holds nothing that would be missed: killed itself, everything it keeps ends with it, and the next one begins anew.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self, final

import msgspec

from keywright.production.cluster.library import ClusterError
from keywright.production.cluster.processes import kill_session

_POLL_S: Final = 0.05
_LASTED_S: Final = 10.0
"""A process that ran for so long is started again without a pause."""
_TRIES: Final = 12
"""A process that ends so often in a row by itself, each time soon, will do so for ever."""
KILLED: Final = 128
PASSING: Final = 75
"""EX_TEMPFAIL, the exit code of a process that met something passing: start me again."""
_PAUSES_S: Final = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)


class Kept(msgspec.Struct, frozen=True):
    """A command to keep running. `told` is written to its standard input; `final` are exit codes that end it for good.

    `log` takes its output, appended; None lets it speak where the supervisor does. `follows` names another one: when
    that ends, this one is ended too and starts into what takes its place.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = {}
    told: bytes = b""
    final: frozenset[int] = frozenset()
    log: Path | None = None
    follows: str = ""


@final
class _Child:
    """One kept process as it runs now."""

    def __init__(self, kept: Kept) -> None:
        self.kept = kept
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self.due = 0.0
        self.failures = 0
        self.faults = 0
        self.starts = 0

    def start(self, now: float) -> None:
        kept = self.kept
        output = None if kept.log is None else kept.log.open("ab")
        try:
            self.process = subprocess.Popen(  # noqa: S603 - our own module, and a command put together by us
                [sys.executable, "-m", "keywright.production.cluster.bound", str(os.getpid()), *kept.command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=os.environ | kept.environment,
                start_new_session=True,
            )
        finally:
            if output is not None:
                output.close()
        self.started = now
        self.starts += 1
        if self.process.stdin is None:
            raise AssertionError("a pipe was asked for")
        try:
            self.process.stdin.write(kept.told)
            self.process.stdin.close()
        except OSError:
            pass  # it ended before it listened, and is started again

    def ended(self, now: float) -> int | None:
        """Its exit code if it has ended, after everything of its session was swept away; else None."""
        if self.process is None:
            return None
        code = self.process.poll()
        if code is None:
            return None
        kill_session(self.process.pid)
        self.process = None
        soon = now - self.started < _LASTED_S
        self.failures = self.failures + 1 if soon else 0
        self.faults = self.faults + 1 if soon and code < KILLED and code != PASSING else 0
        self.due = now + _PAUSES_S[min(self.failures, len(_PAUSES_S) - 1)]
        return code

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait()
            kill_session(self.process.pid)
            self.process = None


def last_words(log: Path | None, code: int) -> str:
    """The end of what a process said before it ended with that code."""
    text = "" if log is None else log.read_text(encoding="utf-8", errors="replace")
    return " | ".join(line.strip() for line in text.splitlines()[-3:] if line.strip()) or f"it ends with {code}"


@final
class Supervisor:
    """Keeps commands running until one of them ends for good. Use it as a context: leaving it ends them all."""

    def __init__(
        self,
        kept: Sequence[Kept],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        told: Callable[[str, int], None] = lambda _name, _code: None,
    ) -> None:
        """`told` hears of every end of a kept process: its name and exit code."""
        self._children = [_Child(one) for one in kept]
        self._clock = clock
        self._sleep = sleep
        self._told = told

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for child in reversed(self._children):
            child.stop()

    def step(self) -> tuple[str, int] | None:
        """Start what is due; the name and exit code of a process that has ended for good, else None.

        Raises ClusterError for one that ends again and again without being killed.
        """
        now = self._clock()
        for child in self._children:
            code = child.ended(now)
            if code is not None:
                self._told(child.kept.name, code)
                if code in child.kept.final:
                    return child.kept.name, code
                if child.faults >= _TRIES:
                    raise ClusterError(f"the {child.kept.name} does not last: {last_words(child.kept.log, code)}")
                self._end_followers(child.kept.name)
            if child.process is None and now >= child.due:
                child.start(now)
        return None

    def _end_followers(self, name: str) -> None:
        for child in self._children:
            if child.kept.follows == name:
                child.stop()
                child.due = 0.0

    def run(self, meanwhile: Callable[[], None] = lambda: None) -> tuple[str, int]:
        """Keep everything running until one ends for good: its name and exit code. `meanwhile` is called often."""
        while (end := self.step()) is None:
            meanwhile()
            self._sleep(_POLL_S)
        return end

    def starts(self, name: str) -> int:
        """How often a kept process was started."""
        return next(child.starts for child in self._children if child.kept.name == name)
