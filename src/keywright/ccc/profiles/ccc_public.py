"""The documented profile CCC-public as a scheme."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from keywright.aliro.credential import Records
from keywright.aliro.messages import ReaderStatus
from keywright.ccc import pairing, records, vehicle
from keywright.ccc.device import DigitalKey
from keywright.ccc.keys import PairingPassword
from keywright.ccc.memory import VehicleMemory, prepare
from keywright.ccc.profile import NAME, TABLE
from keywright.ccc.scheme import Element
from keywright.ccc.vehicle import Dialogue, Plan, Vehicle
from keywright.store.memory import Memory

_PLAN: Final = Plan()


@final
class CccPublic:
    """A `Scheme`: owner pairing, and the fast transaction or, where it misses, the standard one."""

    name = NAME
    table = TABLE

    def __init__(self, own: Vehicle, plan: Plan = _PLAN) -> None:
        self._vehicle = own
        self._plan = plan

    def applet(self, element: Element, random: Callable[[int], bytes]) -> DigitalKey:
        """The device's end."""
        return DigitalKey(element.signer, element.create, random, profile=self._vehicle.profile)

    def enter(self, device: Records, password: PairingPassword) -> None:
        """The user has entered a password at the device."""
        records.enter_password(device, password, self._vehicle.profile)

    def offer(self, memory: Memory, password: PairingPassword, random: Callable[[int], bytes]) -> None:
        """Give the vehicle a new password."""
        self._memory(memory).offer(prepare(password, random, self._vehicle.profile))

    def pair(self, memory: Memory, random: Callable[[int], bytes]) -> Dialogue[bytes]:
        """Owner pairing (`pairing.pair`)."""
        paired = yield from pairing.pair(self._vehicle, self._memory(memory), pairing.Fresh.draw(random))
        return paired.slot

    def unlock(self, memory: Memory, random: Callable[[int], bytes], now: int | None) -> Dialogue[bytes]:
        """A transaction that ends with "unsecured" (`vehicle.authenticate`, `vehicle.finish`)."""
        fresh = vehicle.Fresh.draw(random)
        opened = yield from vehicle.authenticate(self._vehicle, self._memory(memory), self._plan, fresh, now)
        yield from vehicle.finish(opened, ReaderStatus.UNSECURED)
        return opened.slot

    def revoke(self, memory: Memory, slot: bytes) -> None:
        """Refuse a key for good, and with an owner's those it shared."""
        self._memory(memory).revoke(slot)

    def _memory(self, memory: Memory) -> VehicleMemory:
        return VehicleMemory(memory, self._vehicle.profile)
