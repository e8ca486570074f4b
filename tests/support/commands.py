"""What the tests of the command line share: how a command is run, and what it left."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

SRC = pathlib.Path(__file__).parents[2] / "src"


class Ran(NamedTuple):
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


Keywright = Callable[..., Ran]
Program = Callable[..., "subprocess.CompletedProcess[str]"]
KeyFile = Callable[..., pathlib.Path]


def environment(**more: str) -> dict[str, str]:
    """The environment of a started program: this one, our sources, 80 columns."""
    return {**os.environ, "PYTHONPATH": str(SRC), "COLUMNS": "80", **more}


@contextmanager
def started(*words: object) -> Iterator[subprocess.Popen[str]]:
    """The program, running; killed at the end of the block if it has not ended by then."""
    process = subprocess.Popen(
        [sys.executable, "-m", "keywright", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
