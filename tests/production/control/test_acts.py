"""What persons decide: release, rework, remakes, scrapping, another recipe; each with its approval where it counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from keywright.errors import PolicyError, UsageError
from keywright.production import campaign
from keywright.production.control import acts
from keywright.production.control.admission import AskFor, admit, at_import, settle
from keywright.production.handover.disposal import disposable, dispose
from keywright.production.means import Means
from keywright.production.order import OrderRow
from keywright.production.people.approvals import ApprovalError, Operation, approve, signed
from keywright.production.people.consent import AskedError, Consent, given_or_asked
from keywright.production.recipe import parse_recipe
from keywright.production.reports.report import reading, summarise
from keywright.production.unit_store import approval_rows
from keywright.production.unit_store.closing_rows import Closed
from keywright.production.unit_store.control_rows import LotMoved, Setback, lot_events, remakes
from keywright.production.unit_store.rows import Lot, UnitChange
from keywright.production.unit_store.tables import State
from keywright.production.unit_store.transitions import TransitionError, lot_sources
from keywright.production.unit_store.units import ConflictError, UnitStore
from support.bench import Bench
from support.ledger import FOB, NOW, keystore
from support.people import NOW as NOW_MS
from support.people import counting, directory, key

CREW = directory()
RECIPE = parse_recipe(FOB.encode())
MEANS = Means(clock=lambda: NOW)


def lot(*, test: bool = True, link: str = "sim:fob") -> Lot:
    return Lot(
        lot=RECIPE.name,
        recipe=FOB,
        recipe_digest=RECIPE.digest,
        order_file="o",
        order_digest="d",
        keystore_id="k",
        test=test,
        link=link,
        created_at=NOW,
    )


@pytest.fixture(params=["trying out", "production"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[UnitStore]:
    of = lot() if request.param == "trying out" else lot(test=False, link="pcsc:X")
    with UnitStore.open(str(tmp_path / "lot.db"), create=True) as made:
        made.import_order(of, [OrderRow(n, f"K-{n}", "m", "o", {}) for n in range(1, 6)])
        yield made


def people(approver: str = "sue") -> AskFor:
    """Somebody asks, another one signs at once."""

    def ask(store: UnitStore, operation: Operation) -> Consent:
        rng = counting(sum(map(ord, operation.action + operation.object + str(operation.facts))))
        with pytest.raises(AskedError):
            given_or_asked(store, operation, CREW, key("sam"), at_ms=NOW_MS, rng=rng)
        with reading(store) as connection:
            (found,) = approval_rows.unused_for(connection, operation)
        done = approve(found, key(approver), CREW, at_ms=NOW_MS)
        store.commit([signed(done, done.approved[0])])
        return given_or_asked(store, operation, CREW, None, at_ms=NOW_MS)

    return ask


def go(store: UnitStore, serial: str, *states: State) -> None:
    unit = store.find(serial)
    assert unit is not None
    for state in states:
        store.commit([UnitChange(unit.n, {"state": state, "failure_code": "x", "failure_text": "y"})])


def state_of(store: UnitStore, serial: str) -> str:
    unit = store.find(serial)
    assert unit is not None
    return unit.state


def is_production(store: UnitStore) -> bool:
    return not lot_of(store).test


def lot_of(store: UnitStore) -> Lot:
    found = store.lot()
    assert found is not None
    return found


# ---- unpin ----------------------------------------------------------------------------------------------------


def on_station(store: UnitStore, name: str) -> None:
    """Unit 1 was begun on the reader of a station that is gone."""
    with UnitStore.open(store.url, station=name) as station:
        assert [unit.n for unit in station.claim(1, pin=True)] == [1]
        station.commit([UnitChange(1, {"state": "running"})])


def test_a_unit_whose_station_is_gone_is_let_go_and_the_next_one_recovers_it(tmp_path: Path) -> None:
    url = str(tmp_path / "lot.db")
    with UnitStore.open(url, create=True) as made:
        made.import_order(lot(test=False, link="pcsc:X"), [OrderRow(1, "K-1", "m", "o", {})])
    with UnitStore.open(url, station="desk") as store:
        on_station(store, "north")
        with UnitStore.open(url, station="south") as other:
            assert other.claim(1) == []
            with pytest.raises(UsageError, match="a reason is missing"):
                acts.unpin(store, "K-1", " ", people(), at=NOW)
            with pytest.raises(PolicyError, match="two persons"):
                acts.unpin(store, "K-1", "the reader broke", None, at=NOW)
            assert acts.unpin(store, "K-1", "the reader broke", people(), at=NOW) == "north"
            (found,) = other.claim(1, pin=True)
            assert (found.recover, found.pinned) == (True, "south")
            with pytest.raises(TransitionError, match="south works on K-1"):
                acts.unpin(store, "K-1", "again", people(), at=NOW)
        (told,) = [event for event in store.events(1) if event.step == "unpin"]
        assert (told.facts["station"], told.facts["reason"], told.facts["person"]) == (
            "north",
            "the reader broke",
            "sam",
        )
        assert told.facts["approval"]
        assert acts.unpin(store, "K-1", "south is gone, too", people(), at=NOW) == "south"
        with pytest.raises(TransitionError, match="stands on no station"):
            acts.unpin(store, "K-1", "again", people(), at=NOW)


def test_a_simulated_unit_is_in_the_memory_of_its_station_and_a_finished_one_needs_none(tmp_path: Path) -> None:
    url = str(tmp_path / "lot.db")
    with UnitStore.open(url, create=True) as made:
        made.import_order(lot(), [OrderRow(1, "K-1", "m", "o", {})])
    with UnitStore.open(url, station="desk") as store:
        on_station(store, "north")
        with pytest.raises(PolicyError, match="in the memory of north"):
            acts.unpin(store, "K-1", "why not", None, at=NOW)
        go(store, "K-1", "sealed")
        with pytest.raises(TransitionError, match="is sealed"):
            acts.unpin(store, "K-1", "why not", None, at=NOW)


# ---- release --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("move", "text"), [("stop", "3 units"), ("wait", "the first article")])
def test_a_lot_that_stands_is_released_and_the_store_says_by_whom(store: UnitStore, move: str, text: str) -> None:
    go(store, "K-1", "sealed")
    store.commit([LotMoved(event=move, at=NOW, cause="c", text=text)])  # type: ignore[arg-type]  # a move, as text
    assert acts.release(store, "looked at it", people(), at=NOW) == text
    assert lot_of(store).state == "open"
    with reading(store) as connection:
        last = list(lot_events(connection))[-1]
        used = approval_rows.is_used(connection, last.approval)
    assert last.text == "looked at it"
    assert (last.person, bool(last.approval), used) == (
        ("sam", True, True) if is_production(store) else ("", False, False)
    )


def test_a_first_article_is_accepted_only_with_a_good_unit_and_a_failed_one_may_be_worked_on_first(
    tmp_path: Path,
) -> None:
    with UnitStore.open(str(tmp_path / "lot.db"), create=True) as made:
        made.import_order(
            msgspec.structs.replace(lot(), allowed=1), [OrderRow(n, f"K-{n}", "m", "o", {}) for n in range(1, 4)]
        )
        go(made, "K-1", "quarantined")
        assert "units 1 to 1) is to be accepted" in settle(made, lot_of(made), MEANS)
        with pytest.raises(PolicyError, match="no unit of the first article is sealed"):
            acts.release(made, "r", None, at=NOW)
        acts.rework(made, "K-1", "the reader was dirty", None, at=NOW)
        assert [unit.serial for unit in made.claim(9)] == ["K-1"], "and no fresh one"
        go(made, "K-1", "rejected")
        assert "is to be accepted" in settle(made, lot_of(made), MEANS)
        acts.remake(made, "K-1", "K-1b", "spoiled", None, at=NOW)
        assert [unit.serial for unit in made.claim(9)] == ["K-2"], "the next of the order stands in"
        go(made, "K-2", "sealed")
        assert "units 1 to 2) is to be accepted" in settle(made, lot_of(made), MEANS)
        acts.release(made, "looked at it", None, at=NOW)
        assert [unit.serial for unit in made.claim(9)] == ["K-3", "K-1b"]


def test_a_lot_whose_recipe_waits_is_not_opened_by_a_remake(tmp_path: Path) -> None:
    with UnitStore.open(str(tmp_path / "lot.db"), create=True) as made:
        of = lot(test=False, link="pcsc:X")
        beside = at_import(RECIPE, test=of.test, link=of.link, at=NOW)
        made.import_order(of, [OrderRow(1, "K-1", "m", "o", {})], beside)
        made.commit([UnitChange(1, {"state": "returned"})])
        made.commit([UnitChange(1, {"state": "scrapped"})])
        acts.remake(made, "K-1", "K-1b", "r", people(), at=NOW)
        assert lot_of(made).state == "waiting"


def test_a_killed_process_leaves_no_way_round_the_breaker(store: UnitStore) -> None:
    """Failures are durable before the lot is stopped for them: whoever begins a run looks at them first."""
    for n in (1, 2, 3):
        store.commit(
            [Setback(unit=n, kind="k", code="c", text="t", severity="unit", ended=True, at=NOW)],
        )
    if not is_production(store):
        admit(store, lot_of(store), MEANS)
        return
    with pytest.raises(PolicyError, match="3 units in a row failed alike"):
        admit(store, lot_of(store), MEANS)
    assert (lot_of(store).state, store.claim(1)) == ("stopped", [])
    acts.release(store, "another batch of chips", people(), at=NOW)
    admit(store, lot_of(store), MEANS)
    assert store.claim(1)


def test_nothing_is_released_twice_or_without_a_reason(store: UnitStore) -> None:
    with pytest.raises(TransitionError, match="nothing to release"):
        acts.release(store, "r", people(), at=NOW)
    store.commit([LotMoved(event="stop", at=NOW)])
    with pytest.raises(UsageError, match="a reason is missing"):
        acts.release(store, "  ", people(), at=NOW)
    assert lot_of(store).state == "stopped"


def test_a_production_lot_stays_where_it_is_without_two_persons(tmp_path: Path) -> None:
    with UnitStore.open(str(tmp_path / "lot.db"), create=True) as made:
        made.import_order(lot(test=False, link="pcsc:X"), [OrderRow(1, "K-1", "m", "o", {})])
        made.commit([LotMoved(event="stop", at=NOW)])
        with pytest.raises(PolicyError, match="two persons have to allow it"):
            acts.release(made, "r", None, at=NOW)
        with pytest.raises(PolicyError, match="sam"):
            acts.release(made, "r", people("sam"), at=NOW)
        assert lot_of(made).state == "stopped"


# ---- quarantine and rework ------------------------------------------------------------------------------------


def test_a_quarantined_unit_is_worked_on_again_with_its_history(store: UnitStore) -> None:
    go(store, "K-2", "quarantined")
    acts.rework(store, "K-2", "the reader was dirty", people(), at=NOW)
    assert state_of(store, "K-2") == "rework"
    assert store.claim(1)[0].serial == "K-2", "before fresh ones"
    (event,) = store.events(2)
    assert (event.step, event.phase, event.attempt) == ("rework", "note", 1)
    assert event.facts["failure"] == "x"
    go(store, "K-2", "quarantined")
    acts.rework(store, "K-2", "again", people(), at=NOW)
    assert [one.attempt for one in store.events(2)] == [1, 2]


@pytest.mark.parametrize("state", ["planned", "running", "sealed", "rejected", "scrapped"])
def test_no_other_unit_is_worked_on_again(store: UnitStore, state: State) -> None:
    ways: dict[str, tuple[State, ...]] = {"planned": (), "scrapped": ("sealed", "scrapped")}
    go(store, "K-1", *ways.get(state, (state,)))
    with pytest.raises(TransitionError, match=f"K-1 is {state}: only a quarantined unit"):
        acts.rework(store, "K-1", "r", people(), at=NOW)
    with pytest.raises(UsageError, match="no unit 'K-9'"):
        acts.rework(store, "K-9", "r", people(), at=NOW)


def test_a_complete_lot_is_open_again_for_rework(store: UnitStore) -> None:
    for n in range(1, 6):
        go(store, f"K-{n}", "quarantined" if n == 1 else "sealed")
    store.commit([LotMoved(event="finish", at=NOW)])
    acts.rework(store, "K-1", "r", people(), at=NOW)
    assert lot_of(store).state == "open"


# ---- remakes --------------------------------------------------------------------------------------------------


def test_a_unit_is_made_anew_once_under_another_serial_and_the_old_record_is_never_used_again(store: UnitStore) -> None:
    go(store, "K-1", "rejected")
    made = acts.remake(store, "K-1", "K-1b", "broken", people(), at=NOW)
    assert (made.n, made.serial, made.model, made.state, made.device_uid) == (6, "K-1b", "m", "planned", None)
    with pytest.raises(ConflictError):
        acts.remake(store, "K-1", "K-1c", "broken", people(), at=NOW)
    assert store.find("K-1c") is None, "nothing of it is left"
    with pytest.raises((TransitionError, ConflictError)):
        go(store, "K-1", "running")
    with reading(store) as connection:
        (row,) = remakes(connection)
    assert (row.unit, row.instead_of, row.reason) == (6, 1, "broken")
    summary = summarise(store)
    assert (summary.ordered, summary.remade, summary.open) == (5, 1, 5)


def test_a_unit_made_anew_is_another_device_than_the_one_the_order_names(tmp_path: Path) -> None:
    extra = {"colour": "red", "kdd": "00112233445566778899", "uid": "01", "public_key": ""}
    with UnitStore.open(str(tmp_path / "named.db"), create=True) as store:
        store.import_order(lot(), [OrderRow(1, "K-1", "m", "o", extra)])
        go(store, "K-1", "rejected")
        assert acts.remake(store, "K-1", "K-1b", "broken", people(), at=NOW).extra == {"colour": "red"}


def test_nothing_is_made_anew_whose_record_may_still_be_used(store: UnitStore) -> None:
    for n, state in enumerate(("sealed", "quarantined", "running"), 1):
        go(store, f"K-{n}", state)  # type: ignore[arg-type]  # a state, as text
        with pytest.raises(TransitionError, match=f"unit {n} is {state}: only what is scrapped or rejected"):
            acts.remake(store, f"K-{n}", f"N-{n}", "r", people(), at=NOW)
    go(store, "K-4", "rejected")
    with pytest.raises(ConflictError):
        acts.remake(store, "K-4", "K-5", "the serial is taken", people(), at=NOW)
    assert summarise(store).remade == 0


def test_nothing_is_made_anew_in_a_closed_lot(store: UnitStore) -> None:
    for n in range(1, 6):
        go(store, f"K-{n}", "rejected")
    store.commit([Closed("{}", "", NOW)])
    with pytest.raises(TransitionError, match="the lot is closed"):
        acts.remake(store, "K-1", "K-1b", "r", people(), at=NOW)
    assert (summarise(store).remade, lot_of(store).state) == (0, "closed")


@pytest.mark.parametrize("serial", ["", " K-9", "../K-9", "=K-9", "K\t9", "\udcff", "K" * 65])
def test_a_new_serial_is_as_sound_as_an_ordered_one(store: UnitStore, serial: str) -> None:
    go(store, "K-1", "rejected")
    with pytest.raises(UsageError, match="the serial "):
        acts.remake(store, "K-1", serial, "r", people(), at=NOW)
    assert summarise(store).remade == 0


def test_a_unit_made_anew_gets_keys_and_a_certificate_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "fob.toml").write_text(FOB, encoding="utf-8")
    (tmp_path / "fob.csv").write_text("serial,model,owner_group\nK-1,fob-one,north\n", encoding="utf-8")
    url = str(tmp_path / "lot.db")

    def run(bench: Bench) -> int:
        means = Means(station=bench, opened_keystore=keystore(), clock=lambda: NOW)
        return campaign.run(tmp_path / "fob.toml", tmp_path / "fob.csv", url, means).summary.sealed

    assert run(Bench()) == 1
    with UnitStore.open(url) as opened:
        dispose(opened, "destroy", disposable(opened, "destroy", ["K-1"]), "dropped", Consent(), at=NOW)
        acts.remake(opened, "K-1", "K-1b", "dropped", None, at=NOW)
    assert run(Bench()) == 1
    with UnitStore.open(url, readonly=True) as opened:
        old, new = (opened.find(serial) for serial in ("K-1", "K-1b"))
        assert old is not None
        assert new is not None
        assert (old.state, new.state) == ("scrapped", "sealed")
        first, second = opened.certificates()
        assert first.spki_sha256 != second.spki_sha256
        contexts = {
            event.facts["context"]
            for event in opened.events()
            if event.step == "own_keys.put" and event.phase == "intent"
        }
        assert len(contexts) == 2


# ---- recipes --------------------------------------------------------------------------------------------------


def test_a_lot_of_which_nothing_was_begun_may_get_another_recipe(store: UnitStore) -> None:
    other = parse_recipe(f"{FOB}\n[control]\nfirst_article = 4\n".encode())
    acts.change_recipe(store, other, "shorter", people(), at=NOW)
    assert (lot_of(store).recipe_digest, lot_of(store).recipe) == (other.digest, other.text)
    assert lot_of(store).allowed == 4
    go(store, "K-1", "running")
    with pytest.raises(PolicyError, match="1 units of lot 'fob' were begun by its recipe; it is pinned to it"):
        acts.change_recipe(store, RECIPE, "back", people(), at=NOW)
    renamed = parse_recipe(FOB.replace('name = "fob"', 'name = "fab"').encode())
    with pytest.raises(PolicyError, match="the recipe is for 'fab'"):
        acts.change_recipe(store, renamed, "r", people(), at=NOW)
    assert lot_of(store).recipe_digest == other.digest


def test_a_recipe_that_produces_is_never_put_in_the_place_of_another_without_two_persons(store: UnitStore) -> None:
    producing = parse_recipe(f'environment = "production"\n{FOB}'.encode())
    with pytest.raises(PolicyError, match="produce by this recipe: two persons have to allow it"):
        acts.change_recipe(store, producing, "r", None, at=NOW)
    assert lot_of(store).recipe_digest == RECIPE.digest
    acts.change_recipe(store, producing, "r", people(), at=NOW)
    assert (lot_of(store).recipe_digest, lot_of(store).allowed) == (producing.digest, 1)


def test_a_unit_in_hand_pins_the_recipe_and_no_station_goes_on_by_the_old_one(store_url: str) -> None:
    other = parse_recipe(f"{FOB}\n[control]\nfirst_article = 4\n".encode())
    with UnitStore.open(store_url, create=True) as made:
        made.import_order(lot(), [OrderRow(n, f"K-{n}", "m", "o", {}) for n in (1, 2)])
        with UnitStore.open(store_url, station="one") as station:
            station.recipe = RECIPE.digest
            assert station.claim(1)
            with pytest.raises(TransitionError, match="unit 1 is in work"):
                acts.change_recipe(made, other, "r", None, at=NOW)
        assert lot_of(made).recipe_digest == RECIPE.digest
        with UnitStore.open(store_url, station="one") as station:
            station.recipe = RECIPE.digest
            acts.change_recipe(made, other, "r", None, at=NOW)
            assert (station.claim(1), station.take(2), station.is_work_left()) == ([], None, False)
            station.recipe = other.digest
            assert station.claim(1)


def test_a_production_lot_begins_only_by_the_very_recipe_that_two_persons_allowed(tmp_path: Path) -> None:
    asked: list[Operation] = []

    def not_yet(_store: UnitStore, operation: Operation) -> Consent:
        asked.append(operation)
        raise ApprovalError("not yet")

    means = Means(ask_for=not_yet, clock=lambda: NOW)
    with UnitStore.open(str(tmp_path / "lot.db"), create=True) as made:
        of = lot(test=False, link="pcsc:X")
        beside = at_import(RECIPE, test=of.test, link=of.link, at=NOW)
        made.import_order(of, [OrderRow(1, "K-1", "m", "o", {})], beside)
        assert (lot_of(made).state, made.claim(1)) == ("waiting", [])
        with pytest.raises(ApprovalError):
            admit(made, lot_of(made), means)
        with pytest.raises(TransitionError, match="is to be approved by two persons"):
            acts.release(made, "r", people(), at=NOW)
        means.ask_for = None
        with pytest.raises(PolicyError, match="produce by this recipe: two persons have to allow it"):
            admit(made, lot_of(made), means)
        means.ask_for = people()
        admit(made, lot_of(made), means)
        assert lot_of(made).state == "open"
        with reading(made) as connection:
            last = list(lot_events(connection))[-1]
            assert approval_rows.is_used(connection, last.approval)
        assert made.claim(1)
    (wanted,) = asked
    assert (wanted.action, wanted.object) == ("recipe.approve", RECIPE.digest)
    assert wanted.facts == {"lot": "fob", "order": "d", "keystore": "k", "link": "pcsc:X"}


def test_only_a_lot_that_produces_waits_for_its_recipe() -> None:
    named = msgspec.structs.replace(RECIPE, environment="production")
    assert at_import(RECIPE, test=True, link="pcsc:X", at=NOW) == []
    assert at_import(RECIPE, test=False, link="sim:fob", at=NOW) == []
    assert at_import(named, test=False, link="sim:fob", at=NOW) != []


def test_a_closed_lot_is_closed() -> None:
    assert "closed" not in {state for move in ("reopen", "release", "accept", "recipe") for state in lot_sources(move)}
