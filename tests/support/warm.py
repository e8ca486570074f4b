"""A parent that its forked children find warm: what they would compile and import is there already.

Nothing of the product is left out for it. Engines of one kind of database share their dialect and so the statements
compiled for it; the HSM client is forked, not started, and has then the same descriptors as one that was.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import pytest
import sqlalchemy as sa

from keywright.production.hsm import process, watchdog


def share_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all engines of one kind that are made from now on share what was compiled."""
    create, first = sa.create_engine, dict[str, sa.Engine]()

    def create_engine(url: sa.URL, **options: Any) -> sa.Engine:
        engine = create(url, **options)
        shared = first.setdefault(engine.dialect.name, engine)
        engine.dialect = engine.pool._dialect = shared.dialect
        engine._compiled_cache = shared._compiled_cache
        return engine

    monkeypatch.setattr(sa, "create_engine", create_engine)


class Forked:
    """A forked HSM client, as much of a `subprocess.Popen` as its watchdog uses."""

    def __init__(self, command: Sequence[str], pass_fds: Sequence[int]) -> None:
        arguments = command[command.index(process.__name__) + 1 :]
        self.returncode: int | None = None
        self.pid = os.fork()
        if not self.pid:
            try:
                sys.settrace(None)
                _close_all_but(pass_fds)
                sys.argv = ["process", *arguments]
                process.main()
            finally:
                os._exit(1)

    def poll(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._waited(os.WNOHANG)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; a client whose sockets are closed ends at once, so a limit is not needed."""
        del timeout
        code = self._waited(0)
        assert code is not None
        return code

    def kill(self) -> None:
        """As it says."""
        os.kill(self.pid, signal.SIGKILL)

    def _waited(self, options: int) -> int | None:
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, options)
            except ChildProcessError:  # another thread has waited for it
                pid, status = self.pid, 0
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def fork_hsm_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the first HSM client of a keystore be forked; one that takes the place of a killed one is started."""
    # An extra that may be missing where no cell with a token runs; imported before the fork, not after each.
    for name in ("client", "pin"):
        import_module(f"keywright.production.hsm.{name}")

    class Subprocess:
        DEVNULL = subprocess.DEVNULL
        TimeoutExpired = subprocess.TimeoutExpired

        @staticmethod
        def Popen(command: list[str], *, pass_fds: list[int], **options: Any) -> Any:  # noqa: N802 - as it is called
            if threading.current_thread() is threading.main_thread():
                return Forked(command, pass_fds)
            return subprocess.Popen(command, pass_fds=pass_fds, **options)

    monkeypatch.setattr(watchdog, "subprocess", Subprocess)


def _close_all_but(kept: Sequence[int]) -> None:
    low = 3
    for descriptor in sorted(kept):
        os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, 65_536)
