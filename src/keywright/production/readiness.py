"""Is everything there, and does it fit, before the first unit is touched?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from keywright.crypto.diversification import OF_ANY_LENGTH, card_context
from keywright.crypto.templates import KDD_BYTES
from keywright.errors import PolicyError, StoreError, UsageError
from keywright.fob.open import check_link
from keywright.fob.uri import BLE, Uri
from keywright.fob.uri import MESH as MESH_LINK
from keywright.production.authority import DeviceAuthority
from keywright.production.ble_lot import is_simulated_over_ble
from keywright.production.control.admission import is_production
from keywright.production.handover.unit_record import identity_of
from keywright.production.keystores.key_paths import SessionKeys
from keywright.production.keystores.keystore import Diversified, Keystore, check_same
from keywright.production.keystores.keystore_uri import open_keystore
from keywright.production.keystores.software_keystore import SoftwareKeystore
from keywright.production.means import SIM, Means
from keywright.production.parameters import MESH, Authenticate, Identify, OwnKeys, Personalise
from keywright.production.recipe import Recipe
from keywright.production.unit_store.units import Lot, UnitStore
from keywright.scp.scp03.messages import I


def lot_in(units: UnitStore, store: str) -> Lot:
    """The lot of a store. Raises StoreError when none was begun."""
    lot = units.lot()
    if lot is None:
        raise StoreError(f"{store}: no lot was begun here", hint="begin one: keywright campaign run RECIPE --order …")
    return lot


def check_lot_link(link: str) -> None:
    """Raise UsageError for a link that cannot be asked, that is one simulated element with a memory of its own, or that
    asks for blocks: the simulated units of a lot are reached by whole APDUs.
    """
    uri = check_link(link)
    if "transport" in uri.parameters and (uri.rest != "fob" or uri.parameters["transport"] != BLE):
        raise UsageError(
            f"{link}: a lot of simulated units is reached by whole APDUs",
            hint="leave transport out, or use sim:fob?transport=ble",
        )
    for name in ("count", "uuid", "oob") if str(uri) == MESH_LINK else ():
        if name in uri.parameters:
            raise UsageError(f"{link}: the order says which devices there are", hint=f"leave {name} out")
    if uri.is_simulated and uri.rest not in ("fob", "mesh") and "memory" in uri.parameters:
        raise UsageError(
            f"{link}: a lot has many units, this is one element",
            hint="serve it (keywright element serve --memory FILE --link tcp:HOST:PORT) and give that as --link",
        )


def check_radio(recipe: Recipe, link: str, means: Means) -> None:
    """Raise UsageError for a recipe and a link of which one has a radio or a chip that the other knows nothing of."""
    uri = check_link(link)
    is_mesh = str(uri) == MESH_LINK
    if means.engine is not None and is_simulated_over_ble(uri):
        raise UsageError(f"{link}: a cluster does not work over Bluetooth in this version", hint="use --workers")
    if is_mesh != (recipe.device == "mesh"):
        raise UsageError(
            f"{recipe.name!r} is for a {recipe.device}, and {link} "
            + ("has mesh devices without a chip" if is_mesh else "is no sim:mesh"),
            hint="give the link of the recipe's device with --link",
        )
    if recipe.step(MESH) is None:
        return
    if not link.startswith((SIM, f"{BLE}:")):
        raise UsageError(f"{link}: this version has no radio beside such a link", hint="use sim:fob, sim:mesh or ble:")
    if means.engine is not None:
        raise UsageError("a cluster does not provision mesh devices in this version", hint="use --workers")


def memory_of(uri: Uri, store: Path | None, station: str = "") -> str:
    """The file with the memory of the simulated units: named by the link, or beside the store; empty for neither.

    Units that stand on a station of that name have a file of their own.
    """
    file = uri.parameters.get("memory") or (f"{store}.fobs" if store is not None else "")
    return f"{file}.{station}" if file and station else file


def check_memory(units: UnitStore, link: str, means: Means) -> None:
    """Raise StoreError if units were begun and the memory of the simulated ones is gone: new ones are not invented."""
    uri = check_link(link)
    if not uri.is_simulated or means.station is not None:
        return
    for station, begun in units.standing().items():
        journal = memory_of(uri, units.path, station)
        if not Path(journal).exists():
            raise StoreError(
                f"{journal}: the memory of the simulated units is missing; {begun} of them were begun",
                hint="restore it; to begin anew, use another --store",
            )


def check_stations(units: UnitStore) -> None:
    """Raise PolicyError if units that were begun, and are not finished, stand on stations of a cluster."""
    stations = units.stations_pinned()
    if stations:
        raise PolicyError(
            f"units of this lot stand on stations ({', '.join(sorted(stations))}) and only those can go on with them",
            hint="go on with the engine it was begun with: --engine ray://…",
        )


def check_same_lot(lot: Lot, recipe: Recipe, order_digest: str, link: str, store: str) -> None:
    """Raise PolicyError unless the store's lot was begun with this recipe, order and link."""
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


def ready(means: Means, recipe: Recipe, link: str, path: Path, lot: Lot | None) -> Keystore:
    """The keystore, once everything that can be known beforehand has been found to fit."""
    keystore = the_keystore(means, link, path, lot)
    check_environment(recipe, keystore)
    _check_keystore(recipe, keystore, means.clock(), is_new=lot is None)
    _check_identity(recipe, keystore, link, means.watcher.noticed)
    _check_consent(means, recipe, link)
    return keystore


def the_keystore(means: Means, link: str, path: Path, lot: Lot | None) -> Keystore:
    """The keystore of a lot, or the one a new lot is to have. Raises PolicyError for one of another lot."""
    keystore = means.opened_keystore or _open_or_make(means, link, path, lot)
    if lot is not None:
        check_same(keystore, lot.keystore_id)
    return keystore


def _open_or_make(means: Means, link: str, path: Path, lot: Lot | None) -> Keystore:
    if means.keystore:
        return open_keystore(means.keystore, means.unlock, clock=means.clock, noticed=means.watcher.noticed)
    beside = path.with_name(f"{path.name}.keystore")
    if not link.startswith(SIM):
        raise UsageError("real devices need a keystore of your own", hint="make one: keywright keystore new FILE")
    if beside.exists():
        return open_keystore(str(beside), clock=means.clock)
    if lot is not None:
        raise StoreError(
            f"the keystore of this lot, {beside}, is missing; its units' keys cannot be derived without it",
            hint="restore it with its unlock key, or give another place with --keystore",
        )
    return SoftwareKeystore.create(beside, now=datetime.fromtimestamp(means.clock(), UTC), clock=means.clock)


def check_environment(recipe: Recipe, keystore: Keystore) -> None:
    """Raise PolicyError for a production recipe with TEST keys, or in a token that does not do what it must."""
    if recipe.environment == "production" and keystore.test:
        raise PolicyError(
            f"{recipe.name!r} is a production recipe, and the keystore {keystore.keystore_id} is marked TEST",
            hint='give a production keystore with --keystore, or try out with environment = "test"',
        )
    if recipe.environment == "production":
        keystore.check_production()


def _check_keystore(recipe: Recipe, keystore: Keystore, now: float, *, is_new: bool) -> None:
    """Every key the recipe names must be there, and fit its use, before the first unit is touched.

    A lot is begun only with keys that may make something new; one that goes on meets them unit by unit.
    """
    held = {(facts.purpose, facts.name) for facts in keystore.show()}
    for spec in recipe.steps:
        for field, purpose in (("master", "master"), ("keys", "factory"), ("ca", "ca"), ("issuer", "issuer")):
            name = getattr(spec.parameters, field, None)
            if name and (purpose, name) not in held:
                known = ", ".join(sorted(n for kind, n in held if kind == purpose)) or "none"
                raise StoreError(
                    f"step {spec.name} (line {spec.line}) needs {field} {name!r}, which the keystore does not hold",
                    hint=f"it holds: {known}",
                )
            if name and is_new:
                check = keystore.registry.check_uses if purpose == "factory" else keystore.registry.check_originates
                check(name, now)
        match spec.parameters:
            case OwnKeys(master=master, scheme=scheme, key_bytes=size, kvn=kvn):
                # A context like the units' own: a token takes short ones by schemes of which it refuses long ones.
                context = bytes(KDD_BYTES)
                if scheme in OF_ANY_LENGTH:
                    context = card_context(context + b"\x01", recipe.name.encode(), kvn)
                _check_derivation(recipe, keystore, Diversified(master, scheme, context, size))
            case Personalise(ca=ca, validity_days=days):
                DeviceAuthority(keystore, ca).check_validity(now, days)
            case _:
                pass


def _check_derivation(recipe: Recipe, keystore: Keystore, ref: Diversified) -> None:
    """The keys can be made; and channels opened as the recipe allows, with every "i" that it expects."""
    allowed: SessionKeys = "inside"
    expected: tuple[int, ...] = ()
    for spec in recipe.steps:
        match spec.parameters:
            case Authenticate(session_keys=chosen):
                allowed = chosen
            case Identify(i=known):
                expected = known
            case _:
                pass
    keys = keystore.card_keys(ref, session_keys=allowed)
    try:
        for i in expected:
            keys.path(16 if i & I.S16 else 8)
    finally:
        keys.close()


def _check_identity(recipe: Recipe, keystore: Keystore, link: str, noticed: Callable[[str], object]) -> None:
    """There is one key to sign the units' records with. Raises PolicyError where a lot that produces has none."""
    if identity_of(keystore, recipe.identity):
        return
    without = f"the keystore {keystore.keystore_id} has no identity key: its units get no signed records"
    if is_production(recipe, test=keystore.test, link=link):
        raise PolicyError(without, hint="give a keystore with an identity key: keywright keystore new makes one")
    noticed(f"{without}, no manifest, nothing to send")


def _check_consent(means: Means, recipe: Recipe, link: str) -> None:
    if not link.startswith(SIM) and (means.confirm is None or not means.confirm(recipe.name, link)):
        raise PolicyError(
            f"lot {recipe.name!r} would replace keys on real devices ({link}); nothing was done",
            hint="confirm with --yes, or type the lot's name when asked",
        )
