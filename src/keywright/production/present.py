"""Which unit is it? A tray has them all at hand; on one link whoever is put on it decides."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from keywright.errors import KeywrightError, LinkError
from keywright.globalplatform.host import identify
from keywright.iso7816.layers import complete
from keywright.production.means import Means
from keywright.production.order_names import named
from keywright.production.stations import Station, exchange_with
from keywright.production.unit_store.tables import FINISHED
from keywright.production.unit_store.units import Unit, UnitStore
from keywright.sansio.dialogue import drive, through


def claimed(units: UnitStore, width: int) -> Iterator[Unit]:
    """Units as the order has them, those that were begun before first, leased `width` at a time; each is at hand when
    it is wanted.
    """
    while found := units.claim(width):
        yield from found


def presented(units: UnitStore, station: Station, means: Means) -> Iterator[Unit]:
    """Units as their devices are put on one link: a device that was identified before is its unit again, another one
    becomes the next unit of the order. `means.swap` has the device changed; without it the first is the only one.

    A device that cannot be identified becomes the next unit too, so that its failure is recorded with a name; a link
    without one is the failure of the unit that was wanted, once nobody puts one on. Raises LinkError when no device
    was a unit that is left.
    """
    unbound = _unbound(units)
    following = next(unbound, None)
    note, lost, some = "", False, False
    wanted: Unit | None = None
    for turn in count():
        wanted = following or next(units.units(("running", "rework")), None)
        if wanted is None or (turn and not _changed(means, wanted.serial, note)):
            break
        uid, note, lost = _identity(station, wanted.serial)
        known = None if uid is None else _known(units, uid)
        if known is not None and known.state in FINISHED:
            note = f"this one is {known.serial}, {known.state}"
        elif known is not None and (following is None or known.n != following.n):
            taken = units.take(known.n)
            if taken is None:
                note = f"another station has {known.serial}"
            else:
                some = True
                yield taken
        elif refused := _refusal(following, uid):
            note = note or refused
        elif following is not None and not lost:
            some = True
            yield following
            following, note = next(unbound, None), ""
    if lost and wanted is not None:
        yield wanted
    elif not some:
        _refuse(note)


def _unbound(units: UnitStore) -> Iterator[Unit]:
    """Units without a device so far, one at a time; those with one wait for it."""
    for unit in claimed(units, 1):
        if unit.device_uid is None:
            yield unit


def sealed_on(units: UnitStore, station: Station, means: Means) -> Iterator[Unit]:
    """Sealed units as their devices are put on one link; ends when every one was there, or nobody changes them.

    Raises LinkError when no device was a sealed unit.
    """
    left = {unit.n: unit.serial for unit in units.units(("sealed",))}
    note, some = "", False
    for turn in count():
        if turn and not (left and _changed(means, next(iter(left.values())), note)):
            break
        uid, note, _ = _identity(station, "verify")
        known = None if uid is None else units.find_device(uid)
        if known is not None and known.n in left:
            some = True
            del left[known.n]
            yield known
        else:
            note = note or "this device is no sealed unit that is left to check"
    if not some:
        _refuse(note)


def _refuse(note: str) -> None:
    if note:
        raise LinkError(note, delivered=False, hint="put a device of the lot on the link")


def _changed(means: Means, serial: str, note: str) -> bool:
    return means.swap is not None and means.swap(serial, note)


def _refusal(following: Unit | None, uid: bytes | None) -> str:
    """Why a device that is nobody's yet cannot become the next unit, or nothing."""
    if following is None:
        return "this device belongs to no unit that is left"
    if uid is not None and named(following.extra).uid not in (None, uid):
        return f"this device ({uid.hex()}) is not the one that the order names"
    return ""


def _known(units: UnitStore, uid: bytes) -> Unit | None:
    """The unit that a device was identified as before, or that was prepared for it by its supplier's list."""
    found = units.find_device(uid)
    lot = units.lot()
    if found is not None or lot is None:
        return found
    n = units.prepared_for(uid, lot.recipe_digest)
    return None if n is None else units.unit(n)


def _identity(station: Station, name: str) -> tuple[bytes | None, str, bool]:
    """Who the device on the link is, what went wrong, and whether nothing was there."""
    try:
        station.power_on(name)
        ((_, answer),) = station.receive()
        if isinstance(answer, LinkError):
            raise answer
        identity = drive(through(identify(), complete), exchange_with(station, name))
    except LinkError as error:
        return None, str(error), True
    except KeywrightError as error:
        return None, str(error), False
    return bytes.fromhex(identity.uid), "", False
