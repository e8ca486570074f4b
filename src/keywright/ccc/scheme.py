"""What every scheme of digital keys offers: the documented profile, and those of makers, one module each.

A scheme is both ends: the applet on the device, and the vehicle's dialogues. What keeps attempts of pairing and what
simulates a device is the same for all (`memory.VehicleMemory`, `simulated.SimulatedDigitalKey`). `ccc.profiles` has the
profile CCC-public in this form, and a worked example of a maker's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from keywright.aliro.credential import Records
from keywright.ccc.keys import PairingPassword
from keywright.ccc.profile import Constant
from keywright.ccc.simulated import Applet
from keywright.ccc.vehicle import Dialogue
from keywright.crypto.ec import EcPublicKey
from keywright.crypto.signing import Signer
from keywright.store.memory import Memory


class Element(Protocol):
    """Where the private keys of a device are."""

    def signer(self, name: bytes, /) -> Signer:
        """The private key of a name."""
        ...

    def create(self) -> tuple[bytes, EcPublicKey]:
        """A new key pair: its name and public key."""
        ...


class Scheme(Protocol):
    """One scheme, with the vehicle it is set up for. `random`: so many bytes, unpredictable."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def table(self) -> tuple[Constant[object], ...]:
        """Its constants, each with its provenance."""
        ...

    def applet(self, element: Element, random: Callable[[int], bytes], /) -> Applet[Any]:
        """The device's end."""
        ...

    def enter(self, records: Records, password: PairingPassword, /) -> None:
        """The user has entered a password at the device."""
        ...

    def offer(self, memory: Memory, password: PairingPassword, random: Callable[[int], bytes], /) -> None:
        """Give the vehicle a new password. Raises PolicyError when it has an owner."""
        ...

    def pair(self, memory: Memory, random: Callable[[int], bytes], /) -> Dialogue[bytes]:
        """Make a key on the device; its slot. An attempt is counted before a password could be tried.

        Raises PolicyError when none is on offer or the attempts are used up, StatusError for another password,
        AuthenticationError, WireError.
        """
        ...

    def unlock(self, memory: Memory, random: Callable[[int], bytes], now: int | None, /) -> Dialogue[bytes]:
        """A whole transaction; the slot of the key that opened. now: seconds since 1970, None without a clock.

        Raises PolicyError, StatusError, AuthenticationError, WireError: nothing was opened.
        """
        ...

    def revoke(self, memory: Memory, slot: bytes, /) -> None:
        """Refuse a key for good."""
        ...
