"""Prepares units while devices run, a bounded way ahead of them, in the process that drives the devices.

One thread of the process: the devices' own loop waits for devices and for the disk, and a token works on its own. What
it does not get to in time is done on the spot.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, final

from keywright.errors import KeywrightError
from keywright.production.keystores.keystore import Keystore
from keywright.production.preparation import CHUNK, Ready, can_prepare, left, prepare_chunk
from keywright.production.recipe import Recipe
from keywright.production.unit_store.units import UnitStore

LOOK_AHEAD: Final = 4 * CHUNK
"""Units of the order between the last one taken up and the last one prepared."""

logger = logging.getLogger(__name__)


@final
class Ahead:
    """What was prepared for the next units, with their keys where this process derived them."""

    def __init__(self, chunks: Iterator[tuple[int, int]], work: Callable[[int, int], tuple[Ready, ...]]) -> None:
        """`work` prepares a chunk, as `preparation.prepare_chunk` does; `chunks` are those that are left, in order."""
        self._chunks = chunks
        self._work = work
        self._ready: OrderedDict[int, Ready] = OrderedDict()
        self._reached = 0
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="preparation", daemon=True)

    def start(self) -> None:
        """Prepare the first chunk, then go on beside the caller. Errors as the work's."""
        if self._next():
            self._thread.start()

    def take(self, n: int) -> Ready | None:
        """What this process has prepared for a unit that is taken up now."""
        with self._changed:
            self._reached = max(self._reached, n)
            self._changed.notify_all()
            return self._ready.pop(n, None)

    def close(self) -> None:
        """Stop after the chunk in work, and forget what nobody took."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        while self._ready:
            _forget(self._ready.popitem()[1])

    def _next(self) -> bool:
        """Prepare one chunk; False when none is left."""
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        first, last = chunk
        with self._changed:
            self._changed.wait_for(lambda: self._ended or first <= self._reached + LOOK_AHEAD)
            if self._ended:
                return False
        made = self._work(first, last)
        with self._changed:
            self._ready.update((one.prepared.unit, one) for one in made)
            while len(self._ready) > LOOK_AHEAD + CHUNK:  # others took those up
                _forget(self._ready.popitem(last=False)[1])
        return True

    def _run(self) -> None:
        try:
            while self._next():
                pass
        except KeywrightError as error:
            logger.warning("nothing more is prepared ahead of the devices: %s", error)
        except Exception:  # a fault of ours in what is only a help must not hold up the lot
            logger.exception("nothing more is prepared ahead of the devices")


@contextmanager
def ahead(
    units: UnitStore, recipe: Recipe, keystore: Keystore, clock: Callable[[], float], *, prepares: bool = True
) -> Iterator[Ahead]:
    """A lane beside the devices for the time of the block; one that does nothing where the order says too little."""
    chunks = left(units, recipe) if prepares and can_prepare(units, recipe) else iter(())
    lane = Ahead(chunks, lambda first, last: prepare_chunk(units, recipe, keystore, first, last, clock=clock))
    try:
        lane.start()
        yield lane
    finally:
        lane.close()


def _forget(one: Ready) -> None:
    if one.keys is not None:
        one.keys.close()
