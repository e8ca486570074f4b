"""Run a recipe over the units of an order, go on with it after any stop, and check what came of it.

One store holds one lot: the same recipe, order and keystore continue it, others are refused before any device is
touched. Beside the store `lot.db` stand `lot.db.keystore` and its unlock key (only the TEST keystore made for
simulated units), `lot.db.fobs` (the simulated units' own memory) and `lot.db.trace.jsonl` (the exchange of one unit).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Final

import msgspec

from keywright.errors import KeywrightError, LinkError, OrderError, PolicyError, StoreError, UsageError
from keywright.fob.open import check_link, model_of, open_link
from keywright.fob.pool import FobPool, Plan
from keywright.fob.uri import MESH as MESH_LINK
from keywright.fob.uri import parse_uri
from keywright.globalplatform.host import Dialogue, identify
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.layers import complete
from keywright.production.ahead import ahead as preparing_ahead
from keywright.production.audit.checkpoints import Notary, notarised
from keywright.production.audit.key_file import FIRST, open_or_make, signer_of
from keywright.production.audit.log_key import key_changes
from keywright.production.audit.note import NoteKey
from keywright.production.audit.second_host import SecondHost, witness_at
from keywright.production.audit.witness import beside_store
from keywright.production.ble_lot import (
    check_over_ble,
    is_over_ble,
    is_simulated_over_ble,
    met,
    real_station,
    simulated_station,
    tell_address,
)
from keywright.production.control.admission import admit, at_import, brake_of, first_article, recipe_of, settle
from keywright.production.crew import check_workers, crew
from keywright.production.engine import Engine, Outcome, whole_recipe
from keywright.production.handover.unit_record import recording
from keywright.production.job import Commit, Job, StepDialogue, StepRequest
from keywright.production.jobs import job_of
from keywright.production.keystores.keystore import Keystore
from keywright.production.means import SIM, Means
from keywright.production.order import OrderRow, check_order, order_digest, read_order, without_oob
from keywright.production.order_names import BLE_ADDRESS
from keywright.production.parameters import MESH, Identify, MeshProvision
from keywright.production.preparation import Standing, check_names, left, prepare_chunk, standing
from keywright.production.present import claimed, presented, sealed_on
from keywright.production.readiness import (
    check_lot_link,
    check_memory,
    check_radio,
    check_same_lot,
    check_stations,
    lot_in,
    memory_of,
    ready,
    the_keystore,
)
from keywright.production.recipe import Recipe, read_recipe
from keywright.production.reports.report import Summary, summarise
from keywright.production.stations import LinkStation, Station, exchange_with
from keywright.production.steps.identify import check_fresh, check_product
from keywright.production.unit_store.database import closing_lock, database_at, store_path
from keywright.production.unit_store.units import Lot, Unit, UnitStore
from keywright.production.verification import verify as verify_unit
from keywright.sansio.dialogue import drive, through

LATEST: Final = 300
"""Units of which `status` tells the times."""
_LOOK_S: Final = 0.1
"""How often to look whether others have left something to do."""


class Run(msgspec.Struct, frozen=True):
    """What a run came to: the lot's figures, and what this run did."""

    summary: Summary
    outcome: Outcome

    @property
    def exit_code(self) -> int:
        """0 every unit sealed, 7 complete with units set aside, 1 not complete."""
        if self.summary.sealed == self.summary.ordered:
            return 0
        return 1 if self.summary.open else 7


class Checked(msgspec.Struct, frozen=True):
    """What `check` found of one unit: its identity, or what is wrong."""

    n: int
    serial: str
    uid: str
    key_versions: tuple[int, ...]
    problem: str = ""


class Disagreement(msgspec.Struct, frozen=True):
    """A finished unit that does not hold what the store says."""

    n: int
    serial: str
    code: str
    text: str


class Verified(msgspec.Struct, frozen=True):
    """`checked == agree + disagree`; `units` says what disagrees."""

    checked: int
    agree: int
    disagree: int
    test: bool
    units: tuple[Disagreement, ...]


def run(recipe: Path, order: Path, store: str, means: Means) -> Run:
    """Begin a lot, or go on with it. Raises before any device is touched when something does not fit."""
    read = read_recipe(recipe)
    link = means.link or read.link
    check_lot_link(link)
    check_radio(read, link, means)
    check_engine(store, link, means)
    facts = check_order(order)
    check_over_ble(read, link, facts.columns)
    digest = facts.digest
    database = database_at(store)
    if database.is_begun():
        with UnitStore.open(store, wait_s=means.wait_s) as units:
            done = _begin_or_go_on(units, read, order, digest, link, means)
        return done or _on_cluster(store, link, means)
    with closing_lock(store, means.wait_s):
        keystore = ready(means, read, link, database.beside, None)
    agreed = msgspec.structs.replace(means, opened_keystore=keystore, confirm=lambda _lot, _link: True)
    with UnitStore.open(store, create=True, wait_s=means.wait_s) as units:
        done = _begin_or_go_on(units, read, order, digest, link, agreed)
    return done or _on_cluster(store, link, means)


def _begin_or_go_on(units: UnitStore, recipe: Recipe, order: Path, digest: str, link: str, means: Means) -> Run | None:
    """The run; None when a cluster is to do it, once this process has let go of the store."""
    lot = units.lot()
    if lot is not None:
        check_same_lot(lot, recipe, digest, link, units.name)
    keystore = ready(means, recipe, link, units.path, lot)
    if lot is None:
        prepare_mesh(units, recipe, check_order(order).rows, link, means)
        _import(units, recipe, order, digest, keystore, link, means)
    if means.engine is not None:
        check_memory(units, link, means)
        admit(units, lot_in(units, units.name), means)
        units.begin_run()
        return None
    return _work(units, recipe, keystore, link, means)


def resume(store: str, means: Means) -> Run:
    """Go on with the lot of a store, by the recipe it was begun with."""
    with UnitStore.open(store, wait_s=means.wait_s) as units:
        lot = lot_in(units, store)
        recipe = recipe_of(lot)
        link = means.link or lot.link
        check_lot_link(link)
        check_radio(recipe, link, means)
        check_engine(store, link, means)
        keystore = ready(means, recipe, link, store_path(store), lot)
        if means.engine is None:
            return _work(units, recipe, keystore, link, means)
        check_memory(units, link, means)
        admit(units, lot, means)
        units.begin_run()
    return _on_cluster(store, link, means)


def prepare(
    recipe: Path, order: Path, store: str, means: Means, told: Callable[[int, int], None] = lambda _done, _of: None
) -> Standing:
    """Do for the units of an order what can be done before their devices are there; no device is touched.

    Begins the lot if there is none. May be ended at any time and run again. `told` hears how many units were looked
    at, of how many. Raises UsageError when the order says nothing of its devices from which a step prepares.
    """
    read = read_recipe(recipe)
    link = means.link or read.link
    check_lot_link(link)
    facts = check_order(order)
    check_names(read, facts.columns, str(order))
    check_over_ble(read, link, facts.columns)
    agreed = msgspec.structs.replace(means, confirm=lambda _lot, _link: True)  # asked once devices are to be changed
    if not database_at(store).is_begun():
        with closing_lock(store, means.wait_s):
            agreed.opened_keystore = ready(agreed, read, link, database_at(store).beside, None)
    with UnitStore.open(store, create=True, wait_s=means.wait_s) as units:
        lot = units.lot()
        if lot is not None:
            check_same_lot(lot, read, facts.digest, link, units.name)
        keystore = ready(agreed, read, link, units.path, lot)
        if lot is None:
            prepare_mesh(units, read, facts.rows, link, means)
            _import(units, read, order, facts.digest, keystore, link, means)
        admit(units, lot_in(units, units.name), means)
        notary = notary_of(units, read.name, means.witness)
        with notarised(notary):
            for first, last in left(units, read):
                prepare_chunk(units, read, keystore, first, last, clock=means.clock, rng=means.rng)
                told(last, facts.rows)
        notary.make()
        return standing(units, read)


def prepared(store: str) -> Standing:
    """How far the preparation of a lot is, and whether what was prepared stands as it was written."""
    with UnitStore.open(store, readonly=True) as units:
        return standing(units, recipe_of(lot_in(units, store)))


def status(store: str) -> Summary:
    """The lot's figures; may be asked while it runs."""
    with UnitStore.open(store, readonly=True) as units:
        return summarise(units, latest=LATEST)


def check(recipe: Path, order: Path, means: Means, store: str = "") -> list[Checked]:
    """Identify every unit that can be reached, and change nothing, neither on units nor on disk.

    With `store`, simulated units are those of its lot as they are now; a unit that is done is then no longer fresh.
    """
    read = read_recipe(recipe)
    found: list[Checked] = []
    link = means.link or read.link
    check_lot_link(link)
    with _station(means, read, link, store_path(store) if store else None, keep=False) as station:
        for row in read_order(order):
            tell_address(station, row.serial, row.extra.get(BLE_ADDRESS, ""))
            found.append(_identified(station, row.n, row.serial, read))
            station.power_off(row.serial)
            if isinstance(station, LinkStation):
                break
    return found


def verify(store: str, means: Means) -> Verified:
    """A fresh session to every finished unit with the keys the keystore derives. Changes nothing in the store."""
    with UnitStore.open(store, readonly=True) as units:
        lot = lot_in(units, store)
        recipe = recipe_of(lot)
        if recipe.step("own_keys") is None:
            raise UsageError(f"the recipe of lot {lot.lot!r} gives units no keys of their own: nothing can be verified")
        link = means.link or lot.link
        check_lot_link(link)
        keystore = the_keystore(means, link, store_path(store), lot)
        check_memory(units, link, means)
        wrong: list[Disagreement] = []
        checked = 0
        for unit, station in _to_verify(units, recipe, link, store_path(store), means):
            checked += 1
            try:
                means.watcher.started(unit.n, unit.serial)
                job = job_of(units, unit, recipe, keystore, means)
                drive(through(_reading(verify_unit(job)), complete), _watched(means, job, station))
            except (LinkError, StoreError):
                raise  # says nothing of the unit
            except KeywrightError as error:
                wrong.append(Disagreement(unit.n, unit.serial, error.code, str(error)))
    return Verified(checked, checked - len(wrong), len(wrong), lot.test, tuple(wrong))


def _to_verify(
    units: UnitStore, recipe: Recipe, link: str, store: Path, means: Means
) -> Iterator[tuple[Unit, Station]]:
    """Every sealed unit with where it stands."""
    for name in sorted(units.standing()) if link.startswith(SIM) else [""]:
        with _station(means, recipe, link, store, keep=True, name=name) as station:
            if isinstance(station, LinkStation):
                yield from ((unit, station) for unit in sealed_on(units, station, means))
                continue
            for unit in met(station, units.units(("sealed",))):
                if unit.pinned == name:
                    yield unit, station
                    station.power_off(unit.serial)


def _import(
    units: UnitStore, recipe: Recipe, order: Path, digest: str, keystore: Keystore, link: str, means: Means
) -> None:
    lot = Lot(
        lot=recipe.name,
        recipe=recipe.text,
        recipe_digest=recipe.digest,
        order_file=order.name,
        order_digest=digest,
        keystore_id=keystore.keystore_id,
        test=keystore.test,
        link=link,
        created_at=means.clock(),
        allowed=first_article(recipe, test=keystore.test, link=link),
    )
    signer = open_or_make(units.path, recipe.name)
    beside = [
        *key_changes(NoteKey(signer.name, signer.public), FIRST),
        *at_import(recipe, test=keystore.test, link=link, at=means.clock()),
    ]
    units.import_order(lot, _as_kept(_unchanged(order, digest), units, recipe, means), beside)


def _as_kept(rows: Iterator[OrderRow], units: UnitStore, recipe: Recipe, means: Means) -> Iterator[OrderRow]:
    """The rows of an order as they may stand in the store: with secrets sealed, or left out."""
    if recipe.step(MESH) is None:
        return map(without_oob, rows)
    from keywright.production import mesh_lot  # noqa: PLC0415 - few lots have radios

    return mesh_lot.sealed_order(rows, mesh_lot.lot_network(units.path, recipe.name), means.rng)


def prepare_mesh(units: UnitStore, recipe: Recipe, rows: int, link: str, means: Means) -> None:
    """Have addresses reserved for a lot that provisions mesh devices. Raises as `mesh_lot.prepare_network`."""
    spec = recipe.step(MESH)
    if spec is None or not isinstance(spec.parameters, MeshProvision):
        return
    from keywright.production.mesh_lot import prepare_network  # noqa: PLC0415 - few lots have radios

    prepare_network(
        units.path,
        recipe.name,
        rows=rows,
        elements=spec.parameters.elements,
        net_index=spec.parameters.net_index,
        is_simulated=link.startswith(SIM),
        rng=means.rng,
        now=means.clock(),
    )


def _unchanged(order: Path, digest: str) -> Iterator[OrderRow]:
    """The rows of the order that was checked. Raises OrderError, and nothing is imported, if it was edited since."""
    yield from read_order(order)
    if order_digest(order) != digest:
        raise OrderError(f"{order}: was changed while it was read", hint="run it again")


# ---- work


def _work(units: UnitStore, recipe: Recipe, keystore: Keystore, link: str, means: Means) -> Run:
    means = msgspec.structs.replace(means, link=link)
    check_memory(units, link, means)
    lot = lot_in(units, units.name)
    admit(units, lot, means)
    check_stations(units)
    notary = _notary(units, recipe, means)
    if means.workers > 1:
        plan = _plan(means, link, units.path, keep=True, name="")
        with crew(units, link, plan, means) as workers, notarised(notary):
            outcome = workers.run()
    else:
        with _station(means, recipe, link, units.path, keep=True) as station, units.keep_alive(), notarised(notary):
            outcome = take_all(units, station, recipe, keystore, means)
    outcome.stopped = settle(units, lot, means)
    notary.make()
    return Run(summarise(units), outcome)


def check_engine(store: str, link: str, means: Means) -> None:
    """Raise before anything is begun if those who are to carry the lot cannot."""
    if means.engine is None:
        check_workers(means.workers, link, means)
    else:
        _cluster().check(means.engine, store, means)


def _cluster() -> ModuleType:
    """The cluster's part of the house, which most lots never need."""
    return import_module("keywright.production.cluster.carry")


def _on_cluster(store: str, link: str, means: Means) -> Run:
    with UnitStore.open(store, station="campaign") as units:
        lot = lot_in(units, store)
        notary = _notary(units, recipe_of(lot), means)
        before = units.counts()
        with notarised(notary):
            stopped: str = _cluster().run(store, link, means)
        now = units.counts()
        failed = sum(now[state] - before[state] for state in ("quarantined", "rejected"))
        outcome = Outcome(sealed=now["sealed"] - before["sealed"], failed=failed)
        outcome.stopped = settle(units, lot, means) or stopped
        notary.make()
        return Run(summarise(units), outcome)


def take_all(units: UnitStore, station: Station, recipe: Recipe, keystore: Keystore, means: Means) -> Outcome:
    """Take up units until none is left that could be worked on here.

    A tray has every unit at hand, so that those are waited for that others have in hand: theirs may end without them.
    """
    outcome = take_through(units, station, recipe, keystore, means)
    while not (isinstance(station, LinkStation) or outcome.stopped) and units.is_work_left():
        time.sleep(_LOOK_S)
        outcome.add(take_through(units, station, recipe, keystore, means, proven=outcome.sealed))
    return outcome


def take_through(
    units: UnitStore,
    station: Station,
    recipe: Recipe,
    keystore: Keystore,
    means: Means,
    source: Iterator[Unit] | None = None,
    *,
    proven: int = 0,
) -> Outcome:
    """Work on `source`, or on whatever this station can claim, until there is nothing or the lot has to stop.

    `proven`: so many units went through on this station before.
    """
    units.recipe = recipe.digest
    if source is None:
        is_one = isinstance(station, LinkStation)
        source = presented(units, station, means) if is_one else met(station, claimed(units, means.width))
    work = recording(whole_recipe, units, keystore)
    brake = brake_of(units, lot_in(units, units.name), means)
    with preparing_ahead(units, recipe, keystore, means.clock, prepares=means.prepares) as ready:
        jobs = (job_of(units, unit, recipe, keystore, means, ready.take(unit.n)) for unit in source)
        engine = Engine(units, station, jobs, watcher=means.watcher, work=work, brake=brake, proven=proven)
        try:
            return engine.run()
        finally:
            engine.close()


def notary_of(
    units: UnitStore, lot: str, witness: Path | None, second: SecondHost | None = None, *, is_needed: bool = False
) -> Notary:
    """Who signs the log of a lot, with the key beside its store. Raises as `key_file.signer_of`."""
    signer = signer_of(units, units.path, lot)
    return Notary(units, signer, witness or beside_store(units.path), second=second, is_needed=is_needed)


def _notary(units: UnitStore, recipe: Recipe, means: Means) -> Notary:
    """Who signs the log while a lot is worked on. Where the recipe needs a second host, it has to be there now."""
    second = witness_at(means.witness_url, means.witness_key) if means.witness_url else None
    is_needed = recipe.control.need_witness
    if is_needed and second is None:
        raise PolicyError(
            f"the recipe {recipe.name!r} needs a witness on another host",
            hint="name it: --witness http://HOST:PORT --witness-key FILE",
        )
    notary = notary_of(units, recipe.name, means.witness, second, is_needed=is_needed)
    if is_needed:
        notary.make()
    return notary


@contextmanager
def _station(
    means: Means, recipe: Recipe, link: str, store: Path | None, *, keep: bool, name: str = ""
) -> Iterator[Station]:
    if means.station is not None:
        yield means.station
        return
    station: Station
    if is_simulated_over_ble(parse_uri(link)):
        with simulated_station(_plan(means, link, store, keep=keep, name=name)) as fobs:
            yield fobs
        return
    if link.startswith(SIM):
        station = FobPool.start(_plan(means, link, store, keep=keep, name=name))
    elif is_over_ble(recipe, link):
        station = real_station(link)
    else:
        station = LinkStation(open_link(link))
    try:
        yield station
    finally:
        station.close()


def _plan(means: Means, link: str, store: Path | None, *, keep: bool, name: str) -> Plan:
    uri = check_link(link)
    journal = memory_of(uri, store, name)
    plan = msgspec.structs.replace(means.plan, journal=journal, keep=keep)
    if str(uri) == MESH_LINK:
        from keywright.fob.mesh_radio import mesh_model  # noqa: PLC0415 - few lots have radios

        return msgspec.structs.replace(plan, has_chip=False, mesh=mesh_model(uri))
    return msgspec.structs.replace(plan, usual=model_of(uri, plan.usual))


def _identified(station: Station, n: int, serial: str, recipe: Recipe) -> Checked:
    uid = ""
    versions: tuple[int, ...] = ()
    try:
        identity = drive(through(identify(), complete), exchange_with(station, serial))
        uid, versions = identity.uid, () if identity.keys is None else identity.keys.versions
        for spec in recipe.steps:
            if isinstance(spec.parameters, Identify):
                check_product(spec.parameters, identity)
                if spec.parameters.fresh:
                    check_fresh(recipe, identity)
    except KeywrightError as error:
        return Checked(n, serial, uid, versions, str(error))
    return Checked(n, serial, uid, versions)


def _watched(means: Means, job: Job, station: Station) -> Callable[[Command], Response]:
    """Exchanges with the job's unit alone, told to the watcher."""
    exchange = exchange_with(station, job.unit.serial)

    def watched(command: Command) -> Response:
        response = exchange(command)
        means.watcher.exchanged(job.unit.n, command, job.plain or command, response, response)
        return response

    return watched


def _reading(dialogue: StepDialogue[object]) -> Dialogue[object]:
    """A dialogue that may not change the store: what it would commit is left out."""
    return (yield from through(dialogue, _without_commits))  # type: ignore[misc]  # the layer leaves only commands


def _without_commits(request: StepRequest) -> StepDialogue[Response]:
    if type(request) is Commit:
        return Response(b"")
    return (yield request)
