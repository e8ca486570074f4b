"""Run a recipe over the units of an order, go on with it after any stop, and check what came of it.

One store holds one lot: the same recipe, order and keystore continue it, others are refused before any device is
touched. Beside the store `lot.db` stand `lot.db.keystore` and its unlock key (only the TEST keystore made for
simulated units), `lot.db.fobs` (the simulated units' own memory) and `lot.db.trace.jsonl` (the exchange of one unit).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Final

import msgspec

from keywright.errors import KeywrightError, LinkError, PolicyError, StoreError, UsageError
from keywright.fob.open import check_link, model_of, open_link
from keywright.fob.pool import FobPool, Plan
from keywright.globalplatform.host import Dialogue, identify
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.layers import complete
from keywright.production.authority import DeviceAuthority
from keywright.production.database import store_path
from keywright.production.engine import Engine, Outcome, whole_recipe
from keywright.production.job import Commit, Job, StepDialogue
from keywright.production.keystore import Keystore, SoftwareKeystore, Unlock, check_same, open_keystore
from keywright.production.order import check_order, read_order
from keywright.production.parameters import Identify, OwnKeys, Personalise
from keywright.production.recipe import Recipe, parse_recipe, read_recipe
from keywright.production.report import Summary, summarise
from keywright.production.stations import LinkStation, Station, exchange_with
from keywright.production.steps.identify import check_product
from keywright.production.tables import FINISHED
from keywright.production.units import Lot, Unit, UnitStore
from keywright.production.verification import verify as verify_unit
from keywright.production.watch import Unwatched, Watcher
from keywright.sansio.dialogue import drive, through

WIDTH: Final = 64
"""Simulated units worked on at once."""
SIM: Final = "sim:"


class Means(msgspec.Struct, kw_only=True):
    """What a run may use besides recipe, order and store.

    `keystore` "" is the TEST keystore beside the store, for simulated units only; `unlock` opens the
    one given. `link` "" is the recipe's.
    `plan` is what a tray of simulated fobs is to be like; its journal is set here. `confirm` is asked before real
    devices are changed, with the lot's name and the link. `swap` has the next device put on the link: it is told the
    serial expected and what is wrong with the device that is there, and answers False to stop.
    """

    keystore: str = ""
    unlock: Unlock | None = None
    link: str = ""
    watcher: Watcher = Unwatched()
    plan: Plan = Plan()
    confirm: Callable[[str, str], bool] | None = None
    swap: Callable[[str, str], bool] | None = None
    station: Station | None = None
    opened_keystore: Keystore | None = None
    clock: Callable[[], float] = time.time
    rng: Callable[[int], bytes] = os.urandom
    width: int = WIDTH
    wait_s: float = 0.0


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
    check_link(link)
    digest = check_order(order).digest
    path = store_path(store)
    if path.exists():
        with UnitStore.open(store, wait_s=means.wait_s) as units:
            lot = units.lot()
            if lot is not None:
                _check_same(lot, read, digest, link, store)
            keystore = _ready(means, read, link, path, lot)
            if lot is None:
                _import(units, read, order, digest, keystore, link, means)
            return _work(units, read, keystore, link, means)
    keystore = _ready(means, read, link, path, None)
    with UnitStore.open(store, create=True, wait_s=means.wait_s) as units:
        _import(units, read, order, digest, keystore, link, means)
        return _work(units, read, keystore, link, means)


def resume(store: str, means: Means) -> Run:
    """Go on with the lot of a store, by the recipe it was begun with."""
    with UnitStore.open(store, wait_s=means.wait_s) as units:
        lot = _lot(units, store)
        recipe = parse_recipe(lot.recipe.encode(), f"{lot.lot} (as stored)")
        link = means.link or lot.link
        keystore = _ready(means, recipe, link, store_path(store), lot)
        return _work(units, recipe, keystore, link, means)


def status(store: str) -> Summary:
    """The lot's figures; may be asked while it runs."""
    with UnitStore.open(store, readonly=True) as units:
        return summarise(units)


def check(recipe: Path, order: Path, means: Means) -> list[Checked]:
    """Identify every unit that can be reached, and change nothing, neither on units nor on disk."""
    read = read_recipe(recipe)
    found: list[Checked] = []
    link = means.link or read.link
    check_link(link)
    with _station(means, link, None, keep=False) as station:
        for row in read_order(order):
            found.append(_identified(station, row.n, row.serial, read))
            if isinstance(station, LinkStation):
                break
    return found


def verify(store: str, means: Means) -> Verified:
    """A fresh session to every finished unit with the keys the keystore derives. Changes nothing in the store."""
    with UnitStore.open(store, readonly=True) as units:
        lot = _lot(units, store)
        recipe = parse_recipe(lot.recipe.encode(), f"{lot.lot} (as stored)")
        if recipe.step("own_keys") is None:
            raise UsageError(f"the recipe of lot {lot.lot!r} gives units no keys of their own: nothing can be verified")
        link = means.link or lot.link
        keystore = _keystore(means, link, store_path(store), lot)
        wrong: list[Disagreement] = []
        checked = 0
        with _station(means, link, store_path(store), keep=True) as station:
            one_by_one = isinstance(station, LinkStation)
            for unit in _sealed_on(units, station, means) if one_by_one else units.units(("sealed",)):
                checked += 1
                try:
                    means.watcher.started(unit.n, unit.serial)
                    job = _job(units, unit, recipe, keystore, means)
                    drive(through(_reading(verify_unit(job)), complete), _watched(means, job, station))
                except KeywrightError as error:
                    wrong.append(Disagreement(unit.n, unit.serial, error.code, str(error)))
    return Verified(checked, checked - len(wrong), len(wrong), lot.test, tuple(wrong))


# ---- checks before anything is touched


def _lot(units: UnitStore, store: str) -> Lot:
    lot = units.lot()
    if lot is None:
        raise StoreError(f"{store}: no lot was begun here", hint="begin one: keywright campaign run RECIPE --order …")
    return lot


def _check_same(lot: Lot, recipe: Recipe, order_digest: str, link: str, store: str) -> None:
    for what, same in (("recipe", lot.recipe_digest == recipe.digest), ("order", lot.order_digest == order_digest)):
        if not same:
            raise PolicyError(
                f"{store} holds lot {lot.lot!r}, begun with another {what}; it is not mixed with this one",
                hint=f"use the {what} it was begun with (or campaign resume), or another --store",
            )
    if lot.link != link:
        raise PolicyError(
            f"this lot was begun on {lot.link}, not on {link}", hint="use the same --link, or another --store"
        )


def _ready(means: Means, recipe: Recipe, link: str, path: Path, lot: Lot | None) -> Keystore:
    """The keystore, once everything that can be known beforehand has been found to fit."""
    keystore = _keystore(means, link, path, lot)
    _check_keystore(recipe, keystore, means.clock())
    _check_consent(means, recipe, link)
    return keystore


def _keystore(means: Means, link: str, path: Path, lot: Lot | None) -> Keystore:
    keystore = means.opened_keystore or _open_or_make(means, link, path, lot)
    if lot is not None:
        check_same(keystore, lot.keystore_id)
    return keystore


def _open_or_make(means: Means, link: str, path: Path, lot: Lot | None) -> Keystore:
    if means.keystore:
        return open_keystore(means.keystore, means.unlock)
    beside = path.with_name(f"{path.name}.keystore")
    if not link.startswith(SIM):
        raise UsageError("real devices need a keystore of your own", hint="make one: keywright keystore new FILE")
    if beside.exists():
        return open_keystore(str(beside))
    if lot is not None:
        raise StoreError(
            f"the keystore of this lot, {beside}, is missing; its units' keys cannot be derived without it",
            hint="restore it with its unlock key, or give another place with --keystore",
        )
    return SoftwareKeystore.create(beside, now=datetime.fromtimestamp(means.clock(), UTC))


def _check_keystore(recipe: Recipe, keystore: Keystore, now: float) -> None:
    """Every key the recipe names must be there, and fit its use, before the first unit is touched."""
    held = {(facts.purpose, facts.name) for facts in keystore.show()}
    for spec in recipe.steps:
        for field, purpose in (("master", "master"), ("keys", "factory"), ("ca", "ca")):
            name = getattr(spec.parameters, field, None)
            if name is not None and (purpose, name) not in held:
                known = ", ".join(sorted(n for kind, n in held if kind == purpose)) or "none"
                raise StoreError(
                    f"step {spec.name} (line {spec.line}) needs {field} {name!r}, which the keystore does not hold",
                    hint=f"it holds: {known}",
                )
        match spec.parameters:
            case OwnKeys(master=master, scheme=scheme, key_bytes=size):
                keystore.derive_key_set(master, scheme, bytes(10), size)
            case Personalise(ca=ca, validity_days=days):
                DeviceAuthority(keystore, ca).check_validity(now, days)
            case _:
                pass


def _check_consent(means: Means, recipe: Recipe, link: str) -> None:
    if not link.startswith(SIM) and (means.confirm is None or not means.confirm(recipe.name, link)):
        raise PolicyError(
            f"lot {recipe.name!r} would replace keys on real devices ({link}); nothing was done",
            hint="confirm with --yes, or type the lot's name when asked",
        )


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
    )
    units.import_order(lot, read_order(order))


# ---- work


def _work(units: UnitStore, recipe: Recipe, keystore: Keystore, link: str, means: Means) -> Run:
    with _station(means, link, units.path, keep=True) as station:
        source = _presented(units, station, means) if isinstance(station, LinkStation) else _claimed(units, means)
        jobs = (_job(units, unit, recipe, keystore, means) for unit in source)
        engine = Engine(units, station, jobs, watcher=means.watcher, work=whole_recipe)
        try:
            outcome = engine.run()
        finally:
            engine.close()
    summary = summarise(units)
    if not summary.open:
        outcome.stopped = ""  # the failures that would have stopped it were its last units
    units.set_lot_state("stopped" if outcome.stopped else "open" if summary.open else "complete")
    return Run(summarise(units), outcome)


def _claimed(units: UnitStore, means: Means) -> Iterator[Unit]:
    """Units as the order has them, those that were begun before first; each is at hand when it is wanted."""
    while claimed := units.claim(means.width):
        yield from claimed


def _presented(units: UnitStore, station: Station, means: Means) -> Iterator[Unit]:
    """Units as their devices are put on one link: a device that was identified before is its unit again, another one
    becomes the next unit of the order. `means.swap` has the device changed, also one that does not answer; without it
    the first one is the only one.
    """
    unbound = (unit for unit in _claimed(units, means) if unit.device_uid is None)
    following = next(unbound, None)
    note = ""
    for turn in count():
        wanted = following or next(units.units(("running",)), None)
        if wanted is None or (turn and not (means.swap is not None and means.swap(wanted.serial, note))):
            return
        try:
            known = units.find_device(_uid(station, wanted.serial))
        except KeywrightError as error:
            if means.swap is None:
                raise
            note = str(error)
            continue
        note = "" if known is None or known.state not in FINISHED else f"this one is {known.serial}, {known.state}"
        if known is not None and not note:
            yield known
        elif known is None and following is not None:
            yield following
            following = next(unbound, None)
        elif known is None:
            note = "this device belongs to no unit that is left"


def _sealed_on(units: UnitStore, station: Station, means: Means) -> Iterator[Unit]:
    """Sealed units as their devices are put on one link; ends when every one was there, or nobody changes them."""
    left = {unit.n: unit.serial for unit in units.units(("sealed",))}
    note = ""
    for turn in count():
        if not left or (turn and not (means.swap is not None and means.swap(next(iter(left.values())), note))):
            return
        try:
            known = units.find_device(_uid(station, "verify"))
        except KeywrightError as error:
            if means.swap is None:
                raise
            note = str(error)
            continue
        note = "" if known is not None and known.n in left else "this device is no sealed unit that is left to check"
        if known is not None and not note:
            del left[known.n]
            yield known


def _uid(station: Station, name: str) -> bytes:
    """What the device on the link is told by. Raises LinkError, WireError."""
    station.power_on(name)
    ((_, answer),) = station.receive()
    if isinstance(answer, LinkError):
        raise answer
    return bytes.fromhex(drive(through(identify(), complete), exchange_with(station, name)).uid)


def _job(units: UnitStore, unit: Unit, recipe: Recipe, keystore: Keystore, means: Means) -> Job:
    fresh = unit.state == "planned" and not unit.failure_code  # one whose link failed at once has a history too
    return Job(
        unit,
        recipe,
        keystore,
        clock=means.clock,
        rng=means.rng,
        history=() if fresh else tuple(units.events(unit.n)),
        certificate=None if fresh else units.certificate(unit.n),
    )


@contextmanager
def _station(means: Means, link: str, store: Path | None, *, keep: bool) -> Iterator[Station]:
    if means.station is not None:
        yield means.station
        return
    station: Station
    if link.startswith(SIM):
        station = FobPool.start(_plan(means, link, store, keep=keep))
    else:
        station = LinkStation(open_link(link))
    try:
        yield station
    finally:
        station.close()


def _plan(means: Means, link: str, store: Path | None, *, keep: bool) -> Plan:
    uri = check_link(link)
    journal = uri.parameters.get("memory") or (f"{store}.fobs" if store is not None else "")
    return msgspec.structs.replace(means.plan, journal=journal, keep=keep, usual=model_of(uri))


def _identified(station: Station, n: int, serial: str, recipe: Recipe) -> Checked:
    try:
        identity = drive(through(identify(), complete), exchange_with(station, serial))
        for spec in recipe.steps:
            if isinstance(spec.parameters, Identify):
                check_product(spec.parameters, identity)
    except KeywrightError as error:
        return Checked(n, serial, "", (), str(error))
    return Checked(n, serial, identity.uid, () if identity.keys is None else identity.keys.versions)


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


def _without_commits(request: Command | Commit) -> StepDialogue[Response]:
    if type(request) is Commit:
        return Response(b"")
    return (yield request)
