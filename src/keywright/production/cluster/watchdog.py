"""Ends something when nobody has said for a while that it is wanted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, final

_POLL_S: Final = 1.0


@final
class Watchdog:
    """Calls `end`, once and in a thread of its own, when `alive` was not called for `limit_s`."""

    def __init__(
        self,
        limit_s: float,
        end: Callable[[], object],
        *,
        clock: Callable[[], float] = time.monotonic,
        poll_s: float = _POLL_S,
    ) -> None:
        """It watches from now on."""
        self._limit_s = limit_s
        self._end = end
        self._clock = clock
        self._poll_s = poll_s
        self._last = clock()
        self._busy = 0
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def alive(self) -> None:
        """Say so."""
        self._last = self._clock()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Say so for as long as the block lasts."""
        self._busy += 1
        try:
            yield
        finally:
            self._last = self._clock()
            self._busy -= 1

    def _watch(self) -> None:
        while self._busy or self._clock() - self._last < self._limit_s:
            time.sleep(self._poll_s)
        self._end()
