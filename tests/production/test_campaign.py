"""A lot from the first run to the last check: what continues it, what is refused before any device is touched."""

from __future__ import annotations

import csv
import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from keywright.crypto.certificates import load_certificate
from keywright.errors import KeywrightError, LinkError, OrderError, PolicyError, RecipeError, StoreError, UsageError
from keywright.fob.fobs import Model, simulated_fob
from keywright.production import campaign
from keywright.production.campaign import Run
from keywright.production.keystores.key_states import KeyState
from keywright.production.keystores.software_keystore import SoftwareKeystore
from keywright.production.means import Means
from keywright.production.reports.report_csv import write_csv
from keywright.production.unit_store.units import UnitStore
from keywright.production.watch import Unwatched
from keywright.store import RamMemory
from support.bench import Bench
from support.ledger import FOB, NOW, keystore


class Untouchable(Bench):
    """Nobody may come near these devices."""

    def submit(self, name: str, command: bytes) -> None:
        raise AssertionError(f"{name} was sent {command.hex()}")

    def power_on(self, name: str) -> None:
        raise AssertionError(f"{name} was reset")


class Place:
    """A directory with a recipe, an order of so many units, and the place of a store."""

    def __init__(self, folder: Path, units: int = 3, recipe: str = FOB) -> None:
        self.folder = folder
        self.recipe = folder / "fob.toml"
        self.order = folder / "fob.csv"
        self.store = str(folder / "lot.db")
        self.recipe.write_text(recipe, encoding="utf-8")
        self.write_order(units)

    def write_order(self, units: int) -> None:
        rows = "".join(f"K-{n:06d},fob-one,north\n" for n in range(1, units + 1))
        self.order.write_text(f"serial,model,owner_group\n{rows}", encoding="utf-8")

    def means(self, bench: Bench | None = None, **more: object) -> Means:
        return Means(**{"station": bench or Bench(), "opened_keystore": keystore(), "clock": lambda: NOW} | more)  # type: ignore[arg-type]  # fields of Means

    def run(self, bench: Bench | None = None, **more: object) -> Run:
        return campaign.run(self.recipe, self.order, self.store, self.means(bench, **more))

    def resume(self, bench: Bench | None = None, **more: object) -> Run:
        return campaign.resume(self.store, self.means(bench, **more))

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.iterdir() if not path.name.endswith(".lock")}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# ---- a lot and its continuation -------------------------------------------------------------------------------


def test_a_lot_is_done_and_doing_it_again_touches_nothing(place: Place) -> None:
    done = place.run()
    assert (done.summary.ordered, done.summary.sealed, done.summary.open, done.exit_code) == (3, 3, 0, 0)
    assert done.summary.state == "complete"
    again = place.run(Untouchable())
    assert (again.exit_code, again.outcome.sealed) == (0, 0)
    assert place.resume(Untouchable()).exit_code == 0
    assert campaign.status(place.store).sealed == 3


class StopError(Exception):
    """The run ends here."""


class StopAfter(Unwatched):
    """Ends the run when so many units are finished."""

    def __init__(self, units: int) -> None:
        self._left = units

    def finished(self, unit: int, serial: str, state: str, failure: str) -> None:
        self._left -= 1
        if not self._left:
            raise StopError


@pytest.mark.parametrize("how", ["run", "resume"])
def test_a_stopped_lot_goes_on_where_it_stood(place: Place, how: str) -> None:
    bench = Bench()
    with pytest.raises(StopError):
        place.run(bench, watcher=StopAfter(2))
    before = campaign.status(place.store)
    assert (before.sealed, before.open) == (2, 1)
    done = place.run(bench) if how == "run" else place.resume(bench)
    assert (done.outcome.sealed, done.summary.sealed, done.exit_code) == (1, 3, 0)
    assert campaign.verify(place.store, place.means(bench)).agree == 3


def test_a_lot_with_a_unit_set_aside_is_complete_with_exit_code_7(place: Place) -> None:
    stranger = simulated_fob("K-000002", RamMemory(), Model(factory_key="11" * 16))
    done = place.run(Bench(devices={"K-000002": stranger}))
    assert (done.summary.sealed, done.summary.quarantined, done.summary.open, done.exit_code) == (2, 1, 0, 7)
    assert done.summary.complete
    assert place.run(Untouchable()).exit_code == 7


def test_a_link_that_fails_three_times_leaves_the_unit_open_and_the_exit_code_is_1(place: Place) -> None:
    def gone(name: str, _number: int, _command: bytes, answer: bytes) -> bytes | LinkError:
        return LinkError("no answer", None) if name == "K-000002" else answer

    bench = Bench(tamper=gone)
    done = place.run(bench)
    assert (done.summary.sealed, done.summary.open, done.exit_code) == (2, 1, 1)
    assert done.summary.state == "open"
    assert done.outcome.left_open == 1


def test_a_unit_whose_link_failed_at_once_may_fail_again_and_is_sealed_at_last(place: Place) -> None:
    """Its notes are history, though nothing was ever begun on it."""

    def gone(name: str, _number: int, _command: bytes, answer: bytes) -> bytes | LinkError:
        return LinkError("no answer", None) if name == "K-000001" else answer

    for _ in range(2):
        done = place.run(Bench(tamper=gone))
        assert (done.summary.open, done.summary.quarantined) == (1, 0)
    assert place.run(Bench()).exit_code == 0
    with UnitStore.open(place.store, readonly=True) as store:
        assert sum(event.step == "link" for event in store.events(1)) == 6
        unit = store.unit(1)
    assert unit is not None
    assert (unit.state, unit.failure_code) == ("sealed", "")


def test_a_lot_that_was_stopped_says_so_and_goes_on_when_run_again(tmp_path: Path) -> None:
    place = Place(tmp_path, 5)
    strangers = {
        f"K-{n:06d}": simulated_fob(f"K-{n:06d}", RamMemory(), Model(factory_key="11" * 16)) for n in (1, 2, 3)
    }
    done = place.run(Bench(devices=strangers))
    assert done.outcome.stopped
    assert (done.summary.state, done.exit_code, done.summary.open) == ("stopped", 1, 2)
    again = place.run(Bench(devices=strangers))
    assert (again.summary.sealed, again.summary.quarantined, again.exit_code) == (2, 3, 7)


def test_one_device_for_two_units_sets_only_the_second_aside(place: Place) -> None:
    twin = simulated_fob("K-000001", RamMemory())
    done = place.run(Bench(devices={"K-000002": twin}))
    assert (done.summary.sealed, done.summary.quarantined) == (2, 1)
    with UnitStore.open(place.store, readonly=True) as store:
        unit = store.unit(2)
        events = [(event.step, event.phase) for event in store.events(2)]
    assert unit is not None
    assert (unit.failure_code, unit.device_uid) == ("conflict", None)
    assert events[-1][1] == "failed"
    assert twin.attempts == 0


def test_units_with_the_longest_serials_go_through_the_whole_line(place: Place) -> None:
    """Serials reach frames, a journal, certificates and rows; each of these counts in its own way."""
    serials = ["\U00020000" * 16, "A" * 64, "é" * 32]
    rows = "".join(f"{serial},fob-one,north\n" for serial in serials)
    place.order.write_text(f"serial,model,owner_group\n{rows}", encoding="utf-8")
    assert place.run(station=None).exit_code == 0
    assert campaign.verify(place.store, place.means(station=None)).agree == 3
    with UnitStore.open(place.store, readonly=True) as store:
        assert [load_certificate(one.der).subject for one in store.certificates()] == serials


# ---- evidence -------------------------------------------------------------------------------------------------


class StopAt(Unwatched):
    """Ends the run at the first such moment."""

    def __init__(self, *moment: str) -> None:
        self._moment = moment

    def moment(self, phase: str, unit: int, step: str) -> None:
        if (phase, step) == self._moment:
            raise StopError


@pytest.mark.parametrize("stopped_at", [None, ("after send", "personalise"), ("before commit", "lock_down")])
def test_a_sealed_unit_has_its_evidence_in_the_store_and_in_its_row(
    place: Place, stopped_at: tuple[str, str] | None
) -> None:
    """Also when the run that seals it is not the one that did the steps."""
    devices = {f"K-{n:06d}": simulated_fob(f"K-{n:06d}", RamMemory()) for n in (1, 2, 3)}
    if stopped_at is not None:
        with pytest.raises(StopError):
            place.run(Bench(devices=devices), watcher=StopAt(*stopped_at))
    assert place.run(Bench(devices=devices)).exit_code == 0
    with UnitStore.open(place.store, readonly=True) as store:
        units = list(store.units())
        certificates = {one.unit: one for one in store.certificates()}
        write_csv(store, place.folder / "units.csv")
    with (place.folder / "units.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(units) == 3
    for unit, row in zip(units, rows, strict=True):
        evidence = unit.evidence
        assert list(evidence) == ["identify", "authenticate", "own_keys", "personalise", "lock_down"]
        assert evidence["identify"]["uid"] == (unit.device_uid or b"").hex()
        assert (evidence["own_keys"]["kvn"], evidence["own_keys"]["key_versions"]) == (0x30, [0x30])
        assert evidence["personalise"]["certificate"] == hashlib.sha256(certificates[unit.n].der).hexdigest()
        assert json.loads(row["evidence"]) == evidence
        assert row["certificate_serial"] == certificates[unit.n].serial_number


def test_a_unit_set_aside_has_no_evidence_of_being_sealed(place: Place) -> None:
    stranger = simulated_fob("K-000002", RamMemory(), Model(factory_key="11" * 16))
    place.run(Bench(devices={"K-000002": stranger}))
    with UnitStore.open(place.store, readonly=True) as store:
        unit = store.unit(2)
    assert unit is not None
    assert unit.evidence == {}


# ---- refused before any device is touched ---------------------------------------------------------------------


def begun(place: Place) -> Bench:
    bench = Bench()
    with pytest.raises(StopError):
        place.run(bench, watcher=StopAfter(1))
    return bench


def refused(kind: type[KeywrightError], do: Callable[[], object], text: str) -> KeywrightError:
    with pytest.raises(kind, match=text) as caught:
        do()
    assert caught.value.hint or isinstance(caught.value, RecipeError)
    return caught.value


def test_another_recipe_is_refused(place: Place) -> None:
    begun(place)
    place.recipe.write_text(FOB + "\n", encoding="utf-8")
    before = place.files()["lot.db"]
    refused(PolicyError, lambda: place.run(Untouchable()), "begun with another recipe")
    assert place.files()["lot.db"] == before


def test_another_order_is_refused(place: Place) -> None:
    begun(place)
    place.write_order(4)
    refused(PolicyError, lambda: place.run(Untouchable()), "begun with another order")


def test_another_keystore_is_refused_by_every_command(place: Place, tmp_path: Path) -> None:
    from datetime import UTC, datetime

    bench = begun(place)
    other = SoftwareKeystore.create(tmp_path / "other", now=datetime.fromtimestamp(NOW, UTC))
    for command in (place.run, place.resume):
        refused(PolicyError, lambda do=command: do(Untouchable(), opened_keystore=other), "not the one this lot")  # type: ignore[misc]  # bound now
    means = place.means(Untouchable(), opened_keystore=other)
    refused(PolicyError, lambda: campaign.verify(place.store, means), "not the one this lot")
    assert place.run(bench).exit_code == 0


def test_another_link_is_refused(place: Place) -> None:
    begun(place)
    refused(PolicyError, lambda: place.run(Untouchable(), link="sim:element"), "begun on sim:fob, not on sim:element")


@pytest.mark.parametrize("lost", [".keystore", ".keystore.unlock"])
def test_a_lost_keystore_stops_run_resume_and_verify(place: Place, lost: str) -> None:
    place.run(opened_keystore=None)
    (place.folder / f"lot.db{lost}").unlink()
    means = place.means(Untouchable(), opened_keystore=None)
    for do in (
        lambda: campaign.run(place.recipe, place.order, place.store, means),
        lambda: campaign.resume(place.store, means),
        lambda: campaign.verify(place.store, means),
    ):
        refused(StoreError, do, "missing|no keystore|unlock|cannot be read")


def test_a_test_keystore_is_made_and_whole_before_the_first_unit_is_touched(place: Place) -> None:
    class Looking(Bench):
        def power_on(self, name: str) -> None:
            for suffix in (".keystore", ".keystore.unlock"):
                path = place.folder / f"lot.db{suffix}"
                assert path.stat().st_mode & 0o777 == 0o600
            super().power_on(name)

    done = place.run(Looking(), opened_keystore=None)
    assert done.exit_code == 0
    assert done.summary.test


def test_real_devices_need_a_keystore_and_consent(place: Place) -> None:
    link = "tcp:127.0.0.1:1"
    refused(UsageError, lambda: place.run(Untouchable(), link=link, opened_keystore=None), "keystore of your own")
    refused(PolicyError, lambda: place.run(Untouchable(), link=link), "nothing was done")
    asked: list[tuple[str, str]] = []

    def no(name: str, where: str) -> bool:
        asked.append((name, where))
        return False

    refused(PolicyError, lambda: place.run(Untouchable(), link=link, confirm=no), "nothing was done")
    assert asked == [("fob", link)]
    assert not Path(place.store).exists()


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('keys = "gp-test"', 'keys = "none"', "authenticate .* needs keys 'none'"),
        ('master = "issuer"', 'master = "lost"', "own_keys .* needs master 'lost'"),
        ('ca = "device-ca"', 'ca = "other-ca"', "personalise .* needs ca 'other-ca'"),
    ],
)
def test_a_key_that_the_keystore_has_not_is_missed_before_the_first_unit(
    place: Place, old: str, new: str, text: str
) -> None:
    place.recipe.write_text(FOB.replace(old, new), encoding="utf-8")
    refused(StoreError, lambda: place.run(Untouchable()), text)


def test_a_bad_recipe_or_order_leaves_no_store(place: Place) -> None:
    place.recipe.write_text(FOB.replace("kvn = 0x30", 'kvn = "30"'), encoding="utf-8")
    refused(RecipeError, lambda: place.run(Untouchable()), "fob.toml:")
    place.recipe.write_text(FOB, encoding="utf-8")
    place.order.write_text("serial,model,owner_group\nA,m,g\nA,m,g\n", encoding="utf-8")
    refused(OrderError, lambda: place.run(Untouchable()), "fob.csv")
    assert not Path(place.store).exists()


def test_a_store_without_a_lot_cannot_be_resumed_or_checked(place: Place) -> None:
    refused(StoreError, lambda: place.resume(Untouchable()), "no store")
    UnitStore.open(place.store, create=True).close()
    refused(StoreError, lambda: place.resume(Untouchable()), "no lot was begun")
    refused(StoreError, lambda: campaign.verify(place.store, place.means(Untouchable())), "no lot was begun")


def hold(store: str, ready: object, end: object) -> None:
    """Another process that works on the store."""
    with UnitStore.open(store):
        ready.set()  # type: ignore[attr-defined]  # events of multiprocessing
        end.wait(60)  # type: ignore[attr-defined]  # as above


def test_a_second_process_on_the_store_is_refused_and_named(place: Place) -> None:
    begun(place)
    context = multiprocessing.get_context("spawn")
    ready, end = context.Event(), context.Event()
    other = context.Process(target=hold, args=(place.store, ready, end))
    other.start()
    try:
        assert ready.wait(60)
        for do in (lambda: place.run(Untouchable()), lambda: place.resume(Untouchable())):
            error = refused(StoreError, do, str(other.pid))
            assert str(os.getpid()) not in str(error)
        assert campaign.status(place.store).sealed == 1, "looking is allowed"
    finally:
        end.set()
        other.join(60)
    assert other.exitcode == 0


# ---- check and verify -----------------------------------------------------------------------------------------


def test_check_identifies_every_unit_and_changes_nothing(place: Place) -> None:
    bench = Bench()
    before = place.files()
    found = campaign.check(place.recipe, place.order, place.means(bench))
    assert [(one.serial, one.problem, one.key_versions) for one in found] == [
        (f"K-{n:06d}", "", (0xFF,)) for n in (1, 2, 3)
    ]
    assert len({one.uid for one in found}) == 3
    assert place.files() == before
    assert {command[1] for commands in bench.sent.values() for command in commands} == {0xA4, 0xCA}


def test_check_says_what_is_wrong_with_a_unit_and_looks_at_the_others(place: Place) -> None:
    def gone(name: str, _number: int, _command: bytes, answer: bytes) -> bytes | LinkError:
        return LinkError("no answer", None) if name == "K-000002" else answer

    found = campaign.check(place.recipe, place.order, place.means(Bench(tamper=gone)))
    assert [one.problem for one in found] == ["", "no answer", ""]


def test_verify_opens_a_fresh_session_to_every_unit_and_changes_nothing(place: Place) -> None:
    bench = Bench()
    place.run(bench)
    before = place.files()["lot.db"]
    found = campaign.verify(place.store, place.means(bench))
    assert (found.checked, found.agree, found.disagree, found.test) == (3, 3, 0, True)
    assert place.files()["lot.db"] == before


def test_verify_names_every_unit_that_disagrees_and_why(tmp_path: Path) -> None:
    place, bench = Place(tmp_path, 6), Bench()
    place.run(bench)
    other_keys = simulated_fob("K-000002", RamMemory())
    memory = bench.memories["K-000003"]
    memory.commit({next(name for name in memory.names() if name.endswith("/DF01")): b"south"})
    memory = bench.memories["K-000004"]
    memory.commit({"life": b"\x07"})
    fresh_key = simulated_fob("K-000005", bench.memories["K-000005"])
    foreign = bench.memories["K-000006"]
    swap = next(name for name in foreign.names() if name.endswith("/key"))
    bench.memories["K-000005"].commit({swap: foreign.load(swap)})
    devices = {serial: simulated_fob(serial, memory) for serial, memory in bench.memories.items()}
    devices |= {"K-000002": other_keys, "K-000005": fresh_key}
    found = campaign.verify(place.store, place.means(Bench(devices=devices)))
    assert (found.checked, found.agree, found.disagree) == (6, 2, 4)
    assert {one.serial: one.code for one in found.units} == {
        "K-000002": "status",
        "K-000003": "mismatch",
        "K-000004": "mismatch",
        "K-000005": "mismatch",
    }
    texts = {one.serial: one.text for one in found.units}
    assert "DF01 differs" in texts["K-000003"]
    assert "INITIALIZED" in texts["K-000004"]
    assert "private key" in texts["K-000005"]


# ---- keys that may not be used --------------------------------------------------------------------------------


def test_a_production_recipe_takes_no_test_keystore_and_touches_nothing(tmp_path: Path) -> None:
    place = Place(tmp_path, recipe=FOB.replace('device = "fob"', 'device = "fob"\nenvironment = "production"', 1))
    for opened in (keystore(), None):
        refused(PolicyError, lambda opened=opened: place.run(Untouchable(), opened_keystore=opened), "is marked TEST")  # type: ignore[misc]  # bound now


def own_keystore(folder: Path, clock: Callable[[], float] = lambda: NOW) -> SoftwareKeystore:
    from datetime import UTC, datetime

    return SoftwareKeystore.create(folder / "own", now=datetime.fromtimestamp(NOW, UTC), clock=clock)


@pytest.mark.parametrize("name", ["issuer", "device-ca"])
def test_no_lot_is_begun_with_a_key_that_makes_nothing_new(place: Place, tmp_path: Path, name: str) -> None:
    held = own_keystore(tmp_path)
    held.change_state(name, KeyState.SUSPENDED, reason="a rumour")
    refused(PolicyError, lambda: place.run(Untouchable(), opened_keystore=held), f"'{name}' is suspended")
    held.change_state(name, KeyState.ACTIVE, reason="only a rumour")
    assert place.run(opened_keystore=held).exit_code == 0


def test_no_lot_is_begun_with_an_expired_master_and_a_finished_one_is_still_verified(
    place: Place, tmp_path: Path
) -> None:
    now = [NOW]
    held = own_keystore(tmp_path, lambda: now[0])
    bench = Bench()
    assert place.run(bench, opened_keystore=held).exit_code == 0
    now[0] += 2 * 365 * 86_400
    means = place.means(bench, opened_keystore=held, clock=lambda: now[0])
    verified = campaign.verify(place.store, means)
    assert (verified.agree, verified.disagree) == (3, 0)
    (tmp_path / "other").mkdir()
    other = Place(tmp_path / "other")
    refused(
        PolicyError,
        lambda: other.run(Untouchable(), opened_keystore=held, clock=lambda: now[0]),
        "has made nothing new since 2028-11-22",
    )


def test_a_key_that_is_compromised_in_the_middle_of_a_lot_goes_into_no_further_unit(
    place: Place, tmp_path: Path
) -> None:
    held = own_keystore(tmp_path)
    manager = SoftwareKeystore.open(tmp_path / "own", clock=lambda: NOW)
    bench = Bench()
    with pytest.raises(StopError):
        place.run(bench, opened_keystore=held, watcher=StopAfter(1))
    manager.change_state("issuer", KeyState.COMPROMISED, reason="found in a log")
    done = place.resume(bench, opened_keystore=held)
    assert done.exit_code != 0
    assert done.summary.sealed == 1
    put = [name for name, commands in bench.sent.items() if any(command[1] == 0xD8 for command in commands)]
    assert put == ["K-000001"]


# ---- how the keys were kept -----------------------------------------------------------------------------------


def test_where_the_keys_were_is_recorded_with_every_unit(place: Place) -> None:
    place.run()
    with UnitStore.open(place.store, readonly=True) as store:
        for unit in store.units(("sealed",)):
            assert unit.evidence["authenticate"]["path"] == unit.evidence["own_keys"]["path"] == "memory"
