"""What a vehicle keeps, over a memory whose commits are durable and whole.

    pairing         OfferRecord: what it was given of a password, and how often it was tried
    key/SLOT        KnownKey: an owner's or a friend's
    revoked/SLOT    a slot that is never taken again

A key is kept before the vehicle acts on it, an attempt counted before anything that could be tried leaves the vehicle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, final

import msgspec

from keywright.ccc import keys
from keywright.ccc.keys import PairingPassword
from keywright.ccc.messages import POINT_BYTES, SLOT_BYTES, ScryptParameters
from keywright.ccc.profile import CCC_PUBLIC, Profile
from keywright.ccc.records import Role
from keywright.codec.record import raw
from keywright.codec.tlv import Template, tag
from keywright.errors import DecodeError, PolicyError
from keywright.store.memory import Memory


class OfferRecord(Template, frozen=True):
    """Owner pairing on offer. Secret: with it a password can be guessed. The tags are ours, here and below."""

    verifier: Annotated[bytes, tag(0x80), raw(97)]
    """`VerifierData.reveal()`."""
    scrypt: Annotated[ScryptParameters, tag(0xA1)]
    used: Annotated[int, tag(0x82, size=1)] = 0
    """Attempts so far."""

    def __repr__(self) -> str:
        return f"<OfferRecord, {self.used} attempts so far>"


class KnownKey(Template, frozen=True, kw_only=True):
    """A key that the vehicle knows; secret because of Kpersistent."""

    public_key: Annotated[bytes, tag(0x80), raw(POINT_BYTES)]
    role: Annotated[int, tag(0x81, size=1)]
    """A value of `records.Role`."""
    entitlements: Annotated[int, tag(0x82, size=2)]
    not_before: Annotated[int | None, tag(0x83, size=4)] = None
    not_after: Annotated[int | None, tag(0x84, size=4)] = None
    granted_by: Annotated[bytes | None, tag(0x85), raw(SLOT_BYTES)] = None
    """Slot of the owner who shared it."""
    persistent: Annotated[bytes | None, tag(0x86), raw(32)] = None
    """Kpersistent."""
    counter: Annotated[int, tag(0x87, size=4)] = 0
    """The highest the device has shown."""
    receipt: Annotated[bytes | None, tag(0x88)] = None
    """Of key tracking."""

    def __repr__(self) -> str:
        return f"<KnownKey {self.public_key[1:5].hex()}, role {self.role}, entitlements {self.entitlements:04X}>"


def prepare(password: PairingPassword, random: Callable[[int], bytes], profile: Profile = CCC_PUBLIC) -> OfferRecord:
    """What the vehicle's maker computes of a new password and gives to the vehicle."""
    scrypt = profile.scrypt
    parameters = ScryptParameters(random(16), scrypt.n, scrypt.r, scrypt.p)
    return OfferRecord(keys.verifier_data(password, parameters, profile).reveal(), parameters)


@final
class VehicleMemory:
    """The records of one vehicle. Everything raises StoreError when the memory does, with nothing changed."""

    def __init__(self, memory: Memory, profile: Profile = CCC_PUBLIC) -> None:
        self._memory = memory
        self._attempts = profile.attempts

    # ---- owner pairing --------------------------------------------------------------------------------------

    def offer(self, offer: OfferRecord) -> None:
        """Take a new password: its attempts begin at none. Raises PolicyError when there is an owner."""
        if any(key.role == Role.OWNER for _, key in self.all_keys()):
            raise PolicyError("the vehicle has an owner", hint="revoke the owner's key first")
        self._memory.commit({"pairing": msgspec.structs.replace(offer, used=0).build()})

    def offered(self) -> OfferRecord:
        """The password on offer. Raises PolicyError when there is none, or it is used up."""
        found = self._memory.load("pairing")
        if found is None:
            raise PolicyError("no owner pairing is on offer", hint="give the vehicle a password")
        offer = OfferRecord.parse(found)
        if offer.used >= self._attempts:
            raise PolicyError(f"the password was tried {offer.used} times", hint="give the vehicle a new password")
        return offer

    def count_attempt(self) -> int:
        """Count one, durably; how many are left after it. Raises PolicyError as `offered`."""
        offer = self.offered()
        self._memory.commit({"pairing": msgspec.structs.replace(offer, used=offer.used + 1).build()})
        return self._attempts - offer.used - 1

    # ---- keys -----------------------------------------------------------------------------------------------

    def all_keys(self) -> Iterator[tuple[bytes, KnownKey]]:
        """All keys with their slots. Raises DecodeError when one cannot be read."""
        for name in self._memory.names():
            if name.startswith("key/"):
                found = self._memory.load(name)
                if found is not None:
                    yield bytes.fromhex(name[4:]), KnownKey.parse(found)

    def find(self, slot: bytes) -> KnownKey | None:
        """The key of a slot."""
        found = self._memory.load(f"key/{slot.hex()}")
        return None if found is None else KnownKey.parse(found)

    def owner(self) -> tuple[bytes, KnownKey] | None:
        """The owner's key with its slot."""
        return next(((slot, key) for slot, key in self.all_keys() if key.role == Role.OWNER), None)

    def keep(self, slot: bytes, key: KnownKey, *, ends_pairing: bool = False) -> None:
        """Keep a key, new or changed; with it, if so, the password is no longer good.

        Raises PolicyError for a slot that was revoked.
        """
        if self._memory.load(f"revoked/{slot.hex()}") is not None:
            raise PolicyError("the key was revoked", hint="make a new key: pair or share again")
        changes: dict[str, bytes | None] = {f"key/{slot.hex()}": key.build()}
        if ends_pairing:
            changes["pairing"] = None
        self._memory.commit(changes)

    def is_revoked(self, slot: bytes) -> bool:
        """Whether a slot is never taken again."""
        return self._memory.load(f"revoked/{slot.hex()}") is not None

    def revoke(self, slot: bytes) -> tuple[bytes, ...]:
        """Forget a key for good, and with an owner's key those that it shared; the slots that went. None: unknown.

        Their Kpersistent goes in the same commit, so the fast transaction knows them no more either. A slot that is not
        known is revoked too: a friend's package may still come.
        """
        gone = [slot, *(other for other, key in self.all_keys() if key.granted_by == slot)]
        if len(slot) != SLOT_BYTES:
            raise DecodeError(f"a key slot is {SLOT_BYTES} bytes")
        changes: dict[str, bytes | None] = {}
        for one in gone:
            changes[f"key/{one.hex()}"] = None
            changes[f"revoked/{one.hex()}"] = b"\1"
        self._memory.commit(changes)
        return tuple(gone)
