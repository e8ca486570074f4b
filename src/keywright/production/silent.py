"""A terminal that does not show what is typed."""

from __future__ import annotations

import termios
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silent(terminal: int) -> Iterator[None]:
    """The terminal behind this file descriptor is silent until the end of the block, then as it was.

    What was typed before is neither shown again nor thrown away. Raises termios.error if it is no terminal.
    """
    before = termios.tcgetattr(terminal)
    quiet = [*before]
    quiet[3] &= ~termios.ECHO
    try:
        termios.tcsetattr(terminal, termios.TCSADRAIN, quiet)
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
