"""The bulk lane of a cluster: which chunks are tasks, how many at a time, and what trouble does to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from keywright.production.cluster import bulk
from keywright.production.cluster.bulk import AT_ONCE, BulkLane, bulk_lane, prepare_task
from keywright.production.cluster.plan import Report, StationPlan
from keywright.production.keystores.software_keystore import SoftwareKeystore
from keywright.production.order import OrderRow
from keywright.production.preparation import standing
from keywright.production.unit_store.units import UnitStore
from support.ledger import FOB, recipe
from support.lots import lot


class RayError(Exception):
    pass


class FakeRay:
    """As much of the library as the lane uses: a task is done when its result is asked for."""

    exceptions = SimpleNamespace(RayError=RayError)

    def __init__(self, fails: Callable[[int, int], bool] = lambda _first, _times: False) -> None:
        self.options: dict[str, Any] = {}
        self.done: list[tuple[int, int]] = []
        self._fails = fails

    def remote(self, task: Callable[..., bytes]) -> Any:
        def options(**given: Any) -> Any:
            self.options = given
            return SimpleNamespace(remote=lambda *words: SimpleNamespace(task=task, words=words))

        return SimpleNamespace(options=options)

    def get(self, call: Any) -> bytes:
        _, first, last = call.words
        self.done.append((first, last))
        if self._fails(first, self.done.count((first, last))):
            raise RayError
        found: bytes = call.task(*call.words)
        return found


PLAN = StationPlan(name="1", store="s", link="sim:fob", keystore="k")


def fine(_plan: bytes, _first: int, _last: int) -> bytes:
    return msgspec.json.encode(Report())


def drained(lane: BulkLane) -> int:
    """Take everything there is to take; the most calls that were waited for at a time."""
    most = 0
    while calls := lane.calls():
        most = max(most, len(calls))
        assert lane.take(calls[-1])
    return most


def test_every_chunk_is_a_task_and_few_at_a_time() -> None:
    ray = FakeRay()
    chunks = [(1, 4), (5, 8), (9, 12), (13, 13)]
    lane = BulkLane(ray, PLAN, iter(chunks), fine)
    assert drained(lane) == AT_ONCE
    assert sorted(ray.done) == chunks
    assert ray.options["max_retries"] == -1, "a task may be begun again: it is pure, and the store takes a chunk once"


def test_a_reference_of_others_is_not_taken() -> None:
    lane = BulkLane(FakeRay(), PLAN, iter([(1, 4)]), fine)
    lane.calls()
    assert not lane.take("station 1")
    assert drained(lane) == 1


def test_a_chunk_in_trouble_is_given_out_again_and_then_left_to_the_stations(caplog: pytest.LogCaptureFixture) -> None:
    ray = FakeRay(lambda first, times: first == 1 or (first == 5 and times < 2))
    assert drained(BulkLane(ray, PLAN, iter([(1, 4), (5, 8)]), fine)) == AT_ONCE
    assert (ray.done.count((1, 4)), ray.done.count((5, 8))) == (3, 2)
    assert "preparation of units 1 to 4: RayError" in caplog.text


@pytest.fixture
def _process() -> Iterator[None]:
    yield
    bulk._process.close()


@pytest.mark.usefixtures("_process")
def test_a_task_prepares_its_chunk_once_whoever_begins_it_again(tmp_path: Path) -> None:
    url = str(tmp_path / "lot.db")
    made = SoftwareKeystore.create(tmp_path / "lot.db.keystore", now=datetime.now(UTC))
    rows = (OrderRow(n, f"K-{n:06d}", "m", "north", {"kdd": f"{n:020x}"}) for n in range(1, 31))
    with UnitStore.open(url, create=True) as units:
        units.import_order(lot(recipe=FOB, recipe_digest=recipe().digest, keystore_id=made.keystore_id), rows)
    plan = StationPlan(name="1", store=url, link="sim:fob", keystore="")
    with UnitStore.open(url, readonly=True) as units:
        lane = bulk_lane(FakeRay(), plan, units, recipe())
        assert lane is not None
        assert drained(lane) == 1
        found = standing(units, recipe())
        assert (found.looked_at, found.prepared, found.chunks) == (30, 30, 1)
    for _ in range(2):
        assert msgspec.json.decode(prepare_task(msgspec.json.encode(plan), 1, 30), type=Report).trouble == ""
    with UnitStore.open(url, readonly=True) as units:
        assert standing(units, recipe()) == found


@pytest.mark.usefixtures("_process")
def test_trouble_of_a_task_is_told_and_not_raised(tmp_path: Path) -> None:
    plan = StationPlan(name="1", store=str(tmp_path / "none.db"), link="sim:fob", keystore="")
    report = msgspec.json.decode(prepare_task(msgspec.json.encode(plan), 1, 30), type=Report)
    assert "none.db" in report.trouble
