"""The bulk lane: what is prepared before devices are there is what they get, once, whatever is killed in between."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import pytest
import sqlalchemy as sa

from keywright.errors import StoreError, UsageError
from keywright.production import campaign
from keywright.production.ahead import LOOK_AHEAD, Ahead
from keywright.production.audit.export import export
from keywright.production.audit.verify import verify
from keywright.production.means import Means
from keywright.production.order import OrderRow
from keywright.production.order_names import named
from keywright.production.parameters import STEPS
from keywright.production.preparation import CHUNK, Ready, gaps, left, prepare, prepare_chunk, standing
from keywright.production.recipe import Recipe
from keywright.production.steps.declared import DECLARED
from keywright.production.steps.table import preparation
from keywright.production.unit_store.prepared_rows import PreparedChunk, PreparedRange, PreparedUnit
from keywright.production.unit_store.prepared_tables import prepared
from keywright.production.unit_store.rows import Event, Unit, UnitChange
from keywright.production.unit_store.units import UnitStore
from keywright.production.unit_store.writers import write
from keywright.production.watch import Unwatched
from support.house import ROOT
from support.ledger import FOB, NOW, keystore, own_key_set, recipe, unit
from support.lots import lot
from support.named_orders import by_kdd, by_key, serials

COUNT = 5


def of(serial: str, n: int = 1, **extra: str) -> Unit:
    return msgspec.structs.replace(unit(n, serial), extra=extra)


def with_scheme(scheme: str) -> Recipe:
    return recipe(FOB.replace('scheme = "sp800-108"', f'scheme = "{scheme}"'))


class Place:
    """A lot whose order names the devices of a tray that came with key pairs, or only their KDD."""

    def __init__(self, folder: Path, count: int = COUNT, *, keyed: bool = True) -> None:
        self.folder = folder
        self.store = str(folder / "lot.db")
        self.recipe = ROOT / "examples/fob.toml"
        self.order = folder / "order.csv"
        names = serials(count)
        text = by_key(names, folder / "lot.db.fobs") if keyed else by_kdd(names)
        self.order.write_text(text, encoding="utf-8")

    def prepare(self) -> Any:
        return campaign.prepare(self.recipe, self.order, self.store, Means())

    def run(self, **means: Any) -> campaign.Run:
        return campaign.run(self.recipe, self.order, self.store, Means(**means))

    def prepared(self) -> dict[int, PreparedUnit]:
        with UnitStore.open(self.store, readonly=True) as units:
            found = units.lot()
            assert found is not None
            each = (units.prepared(n, found.recipe_digest) for n in range(1, found.units + 1))
            return {one.unit: one for one in each if one is not None}

    def check_as_prepared(self, before: dict[int, PreparedUnit]) -> None:
        """Every unit opens with the keys of the record, and these and its certificate are what was prepared."""
        verified = campaign.verify(self.store, Means())
        assert (verified.agree, verified.disagree) == (len(before), 0)
        assert self.prepared() == before
        with UnitStore.open(self.store, readonly=True) as units:
            assert len(list(units.certificates())) == len(before)
            for one in units.units():
                settled = {event.step: event.facts for event in units.events(one.n) if event.phase != "intent"}
                assert settled["own_keys"]["kcvs"] == before[one.n].steps["own_keys"]["kcvs"]
                assert settled["personalise"] == before[one.n].steps["personalise"]
        out = self.folder / "lot.audit"
        out.unlink(missing_ok=True)
        with UnitStore.open(self.store, readonly=True) as units:
            export(units, out)
        assert verify(out).whole


# ---- what a step prepares --------------------------------------------------------------------------------------


def test_the_steps_that_declare_it_prepare_and_no_other() -> None:
    assert {name for name, step in DECLARED.items() if step.prepares_from} == {"own_keys", "personalise"}
    assert all((preparation(name) is not None) == bool(DECLARED[name].prepares_from) for name in STEPS)


@pytest.mark.parametrize("scheme", ["kdf3", "sp800-108", "ecb"])
def test_check_values_are_those_of_the_keys_that_the_unit_will_derive(scheme: str) -> None:
    of_recipe = with_scheme(scheme)
    many = [of(f"K-{n:06d}", n, kdd=f"{n:020x}") for n in range(1, 41)]
    found = prepare(of_recipe, many, keystore(), at=NOW, rng=os.urandom)
    alone = [prepare(of_recipe, [one], keystore(), at=NOW, rng=os.urandom)[0] for one in many]
    assert [one.prepared for one in found] == [one.prepared for one in alone], "a batch is one after another"
    for one, ready in zip(many, found, strict=True):
        facts = ready.prepared.steps["own_keys"]
        assert facts["kcvs"] == own_key_set(scheme, bytes.fromhex(str(facts["context"]))).kcvs.hex()
        assert ready.keys is not None
        assert ready.keys.kcvs.hex() == facts["kcvs"]
        assert ready.prepared.kdd == named(one.extra).kdd


def test_units_of_which_the_order_says_too_little_are_left_out() -> None:
    units = [of("A", 1, kdd=""), of("B", 2), of("C", 3, kdd="00112233445566778899"), of("D", 4, uid="0102")]
    assert [one.prepared.unit for one in prepare(recipe(), units, keystore(), at=NOW, rng=os.urandom)] == [3]


def test_a_kdd_that_does_not_do_is_left_for_the_line_to_refuse() -> None:
    zeros = of("A", kdd=bytes(10).hex())
    assert prepare(with_scheme("kdf3"), [zeros], keystore(), at=NOW, rng=os.urandom) == ()


# ---- chunks ----------------------------------------------------------------------------------------------------


def chunk(first: int, last: int) -> PreparedRange:
    return PreparedRange(first, last, 0, "", 0.0)


@pytest.mark.parametrize(
    ("done", "expected"),
    [
        ([], [(1, 4), (5, 8), (9, 10)]),
        ([chunk(1, 4)], [(5, 8), (9, 10)]),
        ([chunk(5, 8)], [(1, 4), (9, 10)]),
        ([chunk(1, 3), chunk(7, 10)], [(4, 6)]),
        ([chunk(1, 10)], []),
        ([chunk(1, 6), chunk(3, 5)], [(7, 10)]),
    ],
)
def test_what_is_left_is_what_no_chunk_covers(done: list[PreparedRange], expected: list[tuple[int, int]]) -> None:
    assert list(gaps(done, 10, 4)) == expected


@pytest.fixture(params=["sqlite", "postgresql"])
def units(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[UnitStore]:
    url = str(tmp_path / "lot.db") if request.param == "sqlite" else str(request.getfixturevalue("postgresql_url"))
    with UnitStore.open(url, create=True) as store:
        rows = (OrderRow(n, f"K-{n:06d}", "m", "north", {"kdd": f"{n:020x}"}) for n in range(1, 31))
        store.import_order(lot(recipe_digest=recipe().digest, recipe=FOB), rows)
        yield store


def prepare_in(units: UnitStore, first: int, last: int) -> tuple[Ready, ...]:
    return prepare_chunk(units, recipe(), keystore(), first, last, clock=lambda: NOW)


def test_a_chunk_is_prepared_once_and_found_again(units: UnitStore) -> None:
    made = prepare_in(units, 1, 10)
    assert [one.prepared.unit for one in made] == list(range(1, 11))
    assert units.prepared(7, recipe().digest) == made[6].prepared
    assert units.prepared(7, "another recipe") is None
    assert prepare_in(units, 1, 10) == ()
    assert list(left(units, recipe(), 10)) == [(11, 20), (21, 30)]
    found = standing(units, recipe())
    assert (found.units, found.named, found.looked_at, found.prepared, found.damaged) == (30, 30, 10, 10, ())


def test_of_two_that_prepare_the_same_chunk_the_first_counts(units: UnitStore) -> None:
    made: list[tuple[Ready, ...]] = []

    class Slow:
        """The keystore of one who is overtaken."""

        def __getattr__(self, name: str) -> Any:
            if name == "card_keys_of" and not made:
                made.append(prepare_in(units, 1, 10))
            return getattr(keystore(), name)

    slow: Any = Slow()
    assert prepare_chunk(units, recipe(), slow, 1, 10, clock=lambda: NOW + 1) == ()
    assert len(made[0]) == 10
    assert standing(units, recipe()).chunks == 1


def test_what_somebody_has_taken_up_is_left_to_them(units: UnitStore) -> None:
    assert [one.n for one in units.claim(2)] == [1, 2]
    units.commit([UnitChange(2, {"state": "running"}), Event(unit=2, step="identify", phase="done", at=NOW)])
    assert [one.prepared.unit for one in prepare_in(units, 1, 5)] == [3, 4, 5]
    assert units.prepared(1, recipe().digest) is None


def test_a_chunk_that_was_changed_is_found(tmp_path: Path) -> None:
    with UnitStore.open(str(tmp_path / "lot.db"), create=True) as units:
        rows = (OrderRow(n, f"K-{n:06d}", "m", "north", {"kdd": f"{n:020x}"}) for n in range(1, 31))
        units.import_order(lot(recipe_digest=recipe().digest), rows)
        prepare_in(units, 1, 10)
        prepare_in(units, 11, 20)
        engine = units.database.engine(write=True)
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP TRIGGER prepared_no_update")
            connection.execute(prepared.update().where(prepared.c.unit == 12).values(steps="{}"))
        engine.dispose()
        assert standing(units, recipe()).damaged == (11,)


# ---- before devices, and with them -----------------------------------------------------------------------------


def test_a_prepared_lot_gets_the_keys_and_certificates_that_were_prepared(tmp_path: Path) -> None:
    place = Place(tmp_path)
    found = place.prepare()
    assert (found.named, found.prepared, found.damaged) == (COUNT, COUNT, ())
    before = place.prepared()
    assert all(one.certificate is not None for one in before.values())
    assert place.run().exit_code == 0
    place.check_as_prepared(before)
    with UnitStore.open(place.store, readonly=True) as units:
        made = [event for event in units.events() if event.step == "personalise.generate"]
        assert {event.phase for event in made} == {"done"}, "no key pair was made"


def test_a_lot_is_prepared_ahead_of_its_devices(tmp_path: Path) -> None:
    place = Place(tmp_path)
    assert place.run().exit_code == 0
    before = place.prepared()
    assert len(before) == COUNT
    place.check_as_prepared(before)


def test_nothing_is_prepared_for_an_order_that_names_no_device(tmp_path: Path) -> None:
    order = tmp_path / "order.csv"
    order.write_text("serial,model,owner_group,uid\nA,m,g,0102\n", encoding="utf-8")
    with pytest.raises(UsageError, match="nothing can be prepared") as caught:
        campaign.prepare(ROOT / "examples/fob.toml", order, str(tmp_path / "lot.db"), Means())
    assert "own_keys from kdd; personalise from public_key" in caught.value.hint
    assert list(tmp_path.iterdir()) == [order]


def test_another_device_than_the_order_names_is_refused_before_any_key_is_sent(tmp_path: Path) -> None:
    place = Place(tmp_path, 3, keyed=False)
    text = place.order.read_text(encoding="utf-8").splitlines()
    text[2] = text[2][:-20] + "00112233445566778899"
    place.order.write_text("\n".join(text), encoding="utf-8")
    place.prepare()
    done = place.run()
    assert (done.summary.sealed, done.summary.rejected) == (2, 1)
    with UnitStore.open(place.store, readonly=True) as units:
        (refused,) = units.units(("rejected",))
        assert refused.serial == "K-000002"
        assert "not those that the order names" in refused.failure_text
        assert {event.step for event in units.events(refused.n)} == {"identify", "authenticate"}
        assert not list(units.open_intents())


def test_another_identity_than_the_order_names_is_refused(tmp_path: Path) -> None:
    place = Place(tmp_path, 2)
    text = place.order.read_text(encoding="utf-8").replace(",4b574631", ",4b574632", 1)
    place.order.write_text(text, encoding="utf-8")
    done = place.run()
    assert (done.summary.sealed, done.summary.rejected) == (1, 1)


def test_prepared_values_that_are_not_the_keystores_stop_the_unit_before_put_key(tmp_path: Path) -> None:
    place = Place(tmp_path, 3, keyed=False)
    place.prepare()
    with UnitStore.open(place.store, create=True) as units:
        engine = units.database.engine(write=True)
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP TRIGGER prepared_no_update")
            steps = connection.execute(sa.select(prepared.c.steps).where(prepared.c.unit == 2)).scalar_one()
            values = msgspec.json.decode(steps)
            values["own_keys"]["kcvs"] = "00" * 9
            wrong = msgspec.json.encode(values).decode()
            connection.execute(prepared.update().where(prepared.c.unit == 2).values(steps=wrong))
        engine.dispose()
    done = place.run()
    assert (done.summary.sealed, done.summary.quarantined) == (2, 1)
    with UnitStore.open(place.store, readonly=True) as units:
        (stopped,) = units.units(("quarantined",))
        assert "kcvs" in stopped.failure_text
        assert not [event for event in units.events(stopped.n) if event.step == "own_keys.put"]


# ---- killed ----------------------------------------------------------------------------------------------------


def die(*_: object, **__: object) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still here")


def in_a_child(work: Callable[[], object]) -> int:
    """The signal that ended the child, 0 for none."""
    pid = os.fork()
    if not pid:
        try:
            work()
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def dying(at: int, when: str) -> None:
    """Have this process kill itself at the n-th chunk: before its transaction, inside it, or once it is durable."""
    counted = itertools.count(1)
    add = UnitStore.add_prepared

    def written(transaction: Any, changes: Any) -> None:
        write(transaction, changes)
        if any(isinstance(change, PreparedChunk) for change in changes) and next(counted) == at:
            die()

    def added(self: UnitStore, chunk: PreparedChunk) -> tuple[int, ...]:
        number = next(counted)
        if when == "before" and number == at:
            die()
        found = add(self, chunk)
        if when == "after" and number == at:
            die()
        return found

    patch = pytest.MonkeyPatch()  # of a process that ends by it
    if when == "inside":
        patch.setattr("keywright.production.unit_store.units.write", written)
    else:
        patch.setattr(UnitStore, "add_prepared", added)


@pytest.mark.parametrize(("when", "there"), [("before", 1), ("inside", 1), ("after", 2)])
def test_a_killed_preparation_goes_on_and_prepares_no_unit_twice(tmp_path: Path, when: str, there: int) -> None:
    place = Place(tmp_path, 2 * CHUNK + 40, keyed=False)

    def killed() -> None:
        dying(2, when)
        place.prepare()

    assert in_a_child(killed) == -signal.SIGKILL
    early = place.prepared()
    assert len(early) == there * CHUNK, "a chunk is there whole or not at all"
    found = place.prepare()
    assert (found.prepared, found.chunks, found.damaged) == (2 * CHUNK + 40, 3, ())
    assert {n: one for n, one in place.prepared().items() if n in early} == early


class Killer(Unwatched):
    """Kills this process at the n-th moment of the run."""

    def __init__(self, at: int) -> None:
        self._left = at

    def moment(self, phase: str, unit: int, step: str) -> None:
        del phase, unit, step
        self._left -= 1
        if not self._left:
            die()


def test_kills_between_preparation_and_device_change_no_key(tmp_path: Path) -> None:
    """Prepared, then killed at several moments of the run: every unit has what was prepared for it."""
    place = Place(tmp_path)
    place.prepare()
    before = place.prepared()
    for killer in map(Killer, (1, 25, 57)):
        assert in_a_child(partial(place.run, watcher=killer)) == -signal.SIGKILL
    assert place.run(wait_s=20.0).exit_code == 0
    place.check_as_prepared(before)


@pytest.mark.parametrize("when", ["inside", "after"])
def test_a_run_that_prepares_ahead_is_killed_while_it_does(tmp_path: Path, when: str) -> None:
    place = Place(tmp_path)

    def killed() -> None:
        dying(1, when)
        place.run()

    assert in_a_child(killed) == -signal.SIGKILL
    early = place.prepared()
    assert len(early) == (COUNT if when == "after" else 0)
    assert place.run(wait_s=20.0).exit_code == 0
    before = place.prepared()
    assert {n: one for n, one in before.items() if n in early} == early
    place.check_as_prepared(before)


# ---- ahead of the devices --------------------------------------------------------------------------------------


def made_up(first: int, last: int) -> tuple[Ready, ...]:
    return tuple(Ready(PreparedUnit(unit=n), None) for n in range(first, last + 1))


def test_the_lane_keeps_a_bounded_way_ahead() -> None:
    total = 4 * LOOK_AHEAD
    seen: list[int] = []
    waits = threading.Event()

    def work(first: int, last: int) -> tuple[Ready, ...]:
        seen.append(first)
        if first + CHUNK > LOOK_AHEAD:
            waits.set()
        return made_up(first, last)

    lane = Ahead(gaps([], total, CHUNK), work)
    lane.start()
    assert seen[0] == 1, "the first chunk is there when the first unit is taken up"
    assert lane.take(1) is not None
    assert waits.wait(10)
    lane.close()
    assert max(seen) <= LOOK_AHEAD + 1
    assert lane.take(2) is None, "nothing is kept once it is closed"


def test_trouble_of_the_lane_is_told_and_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    failed = threading.Event()

    def work(first: int, last: int) -> tuple[Ready, ...]:
        if first > 1:
            failed.set()
            raise StoreError("the keystore is away")
        return made_up(first, last)

    lane = Ahead(gaps([], 2 * CHUNK, CHUNK), work)
    lane.start()
    assert failed.wait(10)
    lane.close()
    assert "the keystore is away" in caplog.text
