"""Simulated fobs on virtual Bluetooth controllers: the chip behind the APDU service, the mesh radio beside it.

The air is of the fobs' process; hosts join it at a local socket, and need no other way to a fob.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import NamedTuple, final

from keywright.fob.fobs import ble_address
from keywright.fob.mesh_device import NAMESPACE, design_of, make_unit, system_chance
from keywright.fob.mesh_model import MeshModel
from keywright.iso7816.gatt import GattCard
from keywright.link.ble import Ble, Serving, Shared
from keywright.mesh.pb_gatt.unit import GattUnit
from keywright.sansio.responder import Device
from keywright.store.memory import Memory


class _OnAir(NamedTuple):
    ble: Ble
    serving: Serving


@final
class FobsOnAir:
    """Each fob that is powered has a controller and two services, until it is taken off."""

    def __init__(self, path: str) -> None:
        """path: the local socket at which hosts join, `hci=unix:PATH`. Raises UsageError, LinkError as `Shared`."""
        self._shared = Shared(path)
        self._fobs: dict[str, _OnAir] = {}

    def put_on(self, name: str, chip: Device, memory: Callable[[str], Memory], model: MeshModel) -> None:
        """Switch a fob's radio on. chip: used by the thread of the radios from now on, until the fob is taken off."""
        kept = memory(f"{NAMESPACE}{name}")
        unit = make_unit(design_of(name, model), kept, time.monotonic(), system_chance)
        ble = Ble(address=ble_address(name))
        self._fobs[name] = _OnAir(ble, ble.serve(GattUnit(unit), GattCard(chip)))

    def take_off(self, name: str) -> None:
        """The fob loses its power; one that is not on is no trouble."""
        fob = self._fobs.pop(name, None)
        if fob is not None:
            fob.serving.stop()
            # What ended a fob's service before, a planned power cut above all, ended that fob alone.
            with contextlib.suppress(BaseException):
                fob.serving.wait(0.0)
            fob.ble.close()

    def close(self) -> None:
        """Switch all off, and let nobody on any more."""
        for name in tuple(self._fobs):
            self.take_off(name)
        self._shared.close()
