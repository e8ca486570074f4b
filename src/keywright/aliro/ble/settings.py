"""What a reader is told about its sessions over Bluetooth, and what it tells its owner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

import msgspec

from keywright.aliro.ble.approach import Approach
from keywright.aliro.ble.ends import Limits
from keywright.aliro.ble.messages import Reporting, State
from keywright.aliro.cache import PersistentKeys
from keywright.aliro.messages import Policy
from keywright.aliro.profile import Interface
from keywright.aliro.reader import Dialogue, Opened, Plan, Reader
from keywright.crypto.ec import EcPublicKey
from keywright.uwb.setup.terms import Capabilities, Wishes

RKE_PLAN: Final = Plan(fast=False, policy=Policy.USER_DEVICE_SETTING_SECURE_ACTION)
"""Remote keyless entry takes the standard phase (as public implementations have it)."""


class ReaderSettings(msgspec.Struct, frozen=True):
    """How a reader goes about sessions over Bluetooth."""

    reader: Reader
    """Its `interface` is `Interface.BLE`."""
    plan: Plan = Plan()
    rke_plan: Plan | None = RKE_PLAN
    """None: no remote keyless entry."""
    limits: Limits = Limits()
    reporting: int = Reporting.TO_ALL
    status_with_ursk: bool = True
    """EXCHANGE says 97 with the state beside 98; False: 98 alone, as an implementation bench-tested with phones."""
    takes_extended: bool = True
    """Send extended APDUs to devices that announce them."""
    most_sessions: int = 4
    """Further devices are told that the reader is busy."""
    capabilities: Capabilities = Capabilities()
    wishes: Wishes = Wishes()
    approach: Approach = Approach()

    def __post_init__(self) -> None:
        if self.reader.interface is not Interface.BLE:
            raise ValueError("the salts of a session over Bluetooth name it: Reader(..., interface=Interface.BLE)")


class Authenticated(msgspec.Struct, frozen=True):
    """The access protocol is completed, and `Door.decide` has said yes."""

    opened: Opened
    is_rke: bool


class Refused(msgspec.Struct, frozen=True):
    """`Door.decide` has said no; the device was told this `ReaderStatus`."""

    status: int


class RkeRequested(msgspec.Struct, frozen=True):
    """The holder asks for this `RkeAction`; answer with `Door.set_state`."""

    action: int


@final
class Shared:
    """What the sessions of one reader share: kept keys, and the state of the bolt."""

    def __init__(
        self,
        settings: ReaderSettings,
        random: Callable[[int], bytes],
        decide: Callable[[Opened], Dialogue[int]],
        *,
        keys: PersistentKeys | None = None,
        find_slot: Callable[[bytes], EcPublicKey | None] = lambda _: None,
        state: int = State.SECURED,
    ) -> None:
        """As `Door`."""
        self.settings = settings
        self.random = random
        self.decide = decide
        self.keys = PersistentKeys() if keys is None else keys
        self.find_slot = find_slot
        self.state = state
