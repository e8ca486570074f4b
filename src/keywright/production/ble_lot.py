"""Lots whose units are reached by Bluetooth alone: chip and mesh radio over GATT, from one controller, many at a time.

`sim:fob?transport=ble` are simulated fobs, whose process is an air of virtual controllers; `ble:?hci=CONTROLLER` are
real ones, each at the address that the order says. A recipe without a mesh step takes one fob after the other at
`ble:`, like any device on a link.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from keywright.errors import UsageError
from keywright.fob.fobs import ble_address
from keywright.fob.pool import FobPool, Plan
from keywright.fob.uri import BLE, Uri, parse_uri
from keywright.production.order_names import BLE_ADDRESS
from keywright.production.parameters import MESH
from keywright.production.recipe import Recipe
from keywright.production.unit_store.units import Unit

if TYPE_CHECKING:
    from keywright.fob.ble_station import BleStation


def is_simulated_over_ble(uri: Uri) -> bool:
    """Whether simulated units are reached by Bluetooth."""
    return uri.is_simulated and uri.parameters.get("transport") == BLE


def is_over_ble(recipe: Recipe, link: str) -> bool:
    """Whether the units of a lot are."""
    uri = parse_uri(link)
    return is_simulated_over_ble(uri) or (uri.scheme == BLE and recipe.step(MESH) is not None)


def check_over_ble(recipe: Recipe, link: str, columns: tuple[str, ...] | None) -> None:
    """Raise UsageError for a lot that cannot be worked on over Bluetooth. columns: of the order, None if not known."""
    if not is_over_ble(recipe, link):
        return
    uri = parse_uri(link)
    if uri.scheme == BLE and uri.rest:
        raise UsageError(f"{link}: a lot has many fobs, this is one", hint="leave the address out: ble:")
    if uri.scheme == BLE and columns is not None and BLE_ADDRESS not in columns:
        raise UsageError(
            f"{link}: the order does not say where its units are",
            hint=f"add the column {BLE_ADDRESS}, for example C0:11:22:33:44:55",
        )


@contextmanager
def simulated_station(plan: Plan) -> Iterator[BleStation]:
    """Simulated fobs and a host on their air. Raises LinkError, UsageError without the extra `ble`."""
    with air_folder() as air:
        pool = FobPool.start(msgspec.structs.replace(plan, ble=air))
        try:
            pool.wait_until_listening()
            station = host_of(air, pool)
        except BaseException:
            pool.close()
            raise
        try:
            yield station
        finally:
            station.close()


@contextmanager
def air_folder() -> Iterator[str]:
    """Where the socket of an air may stand: in a folder that only its user may enter."""
    with tempfile.TemporaryDirectory(prefix="keywright-") as folder:  # mode 0700
        yield str(Path(folder) / "air")


def host_of(air: str, hand: FobPool) -> BleStation:
    """A host on the air of simulated fobs."""
    from keywright.fob.ble_station import BleStation  # noqa: PLC0415 - loads only where Bluetooth is meant

    return BleStation(f"unix:{air}", ble_address, hand=hand)


def real_station(link: str) -> BleStation:
    """A host on a controller, that learns by `met` where units are. Raises LinkError, UsageError."""
    from keywright.fob.ble_station import BleStation  # noqa: PLC0415 - loads only where Bluetooth is meant
    from keywright.fob.open import mtu_of  # noqa: PLC0415 - as above

    uri = parse_uri(link)
    return BleStation(uri.parameters.get("hci", ""), mtu=mtu_of(uri))


def met(station: object, units: Iterator[Unit]) -> Iterator[Unit]:
    """Units as they come; a station that has to know where they are is told."""
    for unit in units:
        tell_address(station, unit.serial, unit.extra.get(BLE_ADDRESS, ""))
        yield unit


def tell_address(station: object, serial: str, address: str) -> None:
    """Tell a station where a unit is, if it has to know."""
    learn = getattr(station, "learn", None)
    if learn is not None and address:
        learn(serial, address)
