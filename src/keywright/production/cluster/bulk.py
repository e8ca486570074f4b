"""The bulk lane of a lot on a cluster: chunks of units prepared by tasks, beside the stations.

A task is stateless: it derives, issues and writes one chunk, which the store takes once. So Ray may repeat it as often
as a worker dies, which it may not do with a station. What no task has prepared, the stations do on the spot.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, final

import msgspec

from keywright.errors import KeywrightError
from keywright.production.cluster.plan import Report, StationPlan
from keywright.production.control.admission import recipe_of
from keywright.production.keystores.keystore import Keystore
from keywright.production.means import Means
from keywright.production.preparation import can_prepare, left, prepare_chunk
from keywright.production.readiness import lot_in, the_keystore
from keywright.production.recipe import Recipe
from keywright.production.unit_store.database import store_path
from keywright.production.unit_store.units import UnitStore

AT_ONCE: Final = 2
"""Tasks that are waited for at a time: they take processors from the stations."""
_TRIES: Final = 3
"""So often a chunk is given out again after trouble, before it is left to the stations."""
_CPUS: Final = 0.5

logger = logging.getLogger(__name__)


class _Open(msgspec.Struct):
    units: UnitStore
    keystore: Keystore
    recipe: Recipe


class _Process:
    """What a worker's process keeps open between tasks of one lot: connections, nothing that counts."""

    plan = b""
    at: _Open | None = None
    stack = contextlib.ExitStack()

    def opened(self, plan: bytes) -> _Open:
        """Store and keystore of the plan's lot."""
        if self.at is None or plan != self.plan:
            self.close()
            with contextlib.ExitStack() as stack:
                self.at, self.plan = _opened(msgspec.json.decode(plan, type=StationPlan), stack), plan
                self.stack = stack.pop_all()
        return self.at

    def close(self) -> None:
        """Let go of everything."""
        self.at = None
        self.stack.close()


_process: Final = _Process()


def prepare_task(plan: bytes, first: int, last: int) -> bytes:
    """Prepare units `first` to `last` of the lot of a `StationPlan` (JSON); a `Report` as JSON, whatever happens."""
    try:
        at = _process.opened(plan)
        prepare_chunk(at.units, at.recipe, at.keystore, first, last)
    except KeywrightError as error:
        _process.close()
        return msgspec.json.encode(Report(trouble=str(error), hint=error.hint, code=error.code))
    return msgspec.json.encode(Report())


def _opened(plan: StationPlan, stack: contextlib.ExitStack) -> _Open:
    """No unit is ever leased by the name under which this process is known to the store."""
    name = f"preparation {os.getpid()}.{secrets.token_hex(4)}"
    units = stack.enter_context(UnitStore.open(plan.store, station=name))
    lot = lot_in(units, plan.store)
    unlock = Path(plan.unlock) if plan.unlock else None
    means = Means(keystore=plan.keystore, unlock=unlock, link=plan.link)
    keystore = the_keystore(means, plan.link, store_path(plan.store), lot)
    stack.callback(keystore.close)
    return _Open(units, keystore, recipe_of(lot))


@final
class BulkLane:
    """The tasks of one driver. It holds no state that counts: another driver begins with what no chunk covers."""

    def __init__(
        self,
        ray: Any,
        plan: StationPlan,
        chunks: Iterator[tuple[int, int]],
        task: Callable[[bytes, int, int], bytes] = prepare_task,
    ) -> None:
        """`plan`: any station's, for where its lot and keys are. `chunks`: what is left, first and last unit."""
        self._ray = ray
        self._plan = msgspec.json.encode(plan)
        self._chunks = chunks
        self._task = ray.remote(task).options(max_retries=-1, num_cpus=_CPUS)
        self._waiting: list[tuple[Any, tuple[int, int]]] = []
        self._again: list[tuple[int, int]] = []
        self._tries: dict[tuple[int, int], int] = {}

    def calls(self) -> list[Any]:
        """References that are waited for, among them new ones if there is something to begin."""
        while len(self._waiting) < AT_ONCE:
            chunk = self._again.pop() if self._again else next(self._chunks, None)
            if chunk is None:
                break
            self._waiting.append((self._task.remote(self._plan, *chunk), chunk))
        return [call for call, _ in self._waiting]

    def take(self, call: Any) -> bool:
        """Take the result of one of `calls`, or its failure. False for a reference of others."""
        found = next((one for one in self._waiting if one[0] is call or one[0] == call), None)
        if found is None:
            return False
        self._waiting.remove(found)
        try:
            trouble = msgspec.json.decode(self._ray.get(call), type=Report).trouble
        except self._ray.exceptions.RayError as error:
            trouble = type(error).__name__
        if trouble:
            self._failed(found[1], trouble)
        return True

    def _failed(self, chunk: tuple[int, int], trouble: str) -> None:
        tries = self._tries[chunk] = self._tries.get(chunk, 0) + 1
        logger.warning("preparation of units %d to %d: %s", *chunk, trouble)
        if tries < _TRIES:
            self._again.append(chunk)


def bulk_lane(ray: Any, plan: StationPlan, units: UnitStore, recipe: Recipe) -> BulkLane | None:
    """The lane of a lot; None where the order says too little of its devices."""
    return BulkLane(ray, plan, left(units, recipe)) if can_prepare(units, recipe) else None
