"""What a device keeps, as records of bytes (`aliro.credential.Records`), in an applet's memory or a simulated one.

    pairing         PairingRecord, from the moment the user enters a password until a key was made or it is used up
    instance        InstanceRecord, from the production line
    key/N           KeyRecord
    private/N, confidential/N   its mailboxes
    persistent/N    its Kpersistent, 32 bytes

Where a private key is, is not said here: `KeyRecord.key` is a name that whoever holds keys understands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

from keywright.aliro.credential import Records
from keywright.ccc.keys import PairingPassword
from keywright.ccc.messages import POINT_BYTES, SLOT_BYTES, VEHICLE_BYTES
from keywright.ccc.profile import CCC_PUBLIC, Profile
from keywright.codec.record import raw
from keywright.codec.tlv import Template, tag

KEYS: Final = 8
"""Keys a device has room for."""


class Role:
    """Whose key it is."""

    OWNER: Final = 1
    FRIEND: Final = 2


class PairingRecord(Template, frozen=True):
    """A password that was entered. Secret; the tags are ours, here and below."""

    password: Annotated[bytes, tag(0x80)]
    left: Annotated[int, tag(0x81, size=1)]
    """Runs of SPAKE2+ that may still begin."""

    def __repr__(self) -> str:
        return f"<PairingRecord, {self.left} attempts left>"


class InstanceRecord(Template, frozen=True):
    """The key of this element, and what its maker says about it."""

    key: Annotated[bytes, tag(0x80)]
    """Name of the private key."""
    public_key: Annotated[bytes, tag(0x81), raw(POINT_BYTES)]
    statement: Annotated[bytes, tag(0x82)]
    """Signed statement of kind INSTANCE."""


class KeyRecord(Template, frozen=True, kw_only=True):
    """A key for one vehicle."""

    key: Annotated[bytes, tag(0x80)]
    """Name of the private key."""
    public_key: Annotated[bytes, tag(0x81), raw(POINT_BYTES)]
    vehicle: Annotated[bytes, tag(0x82), raw(VEHICLE_BYTES)]
    vehicle_key: Annotated[bytes, tag(0x83), raw(POINT_BYTES)]
    slot: Annotated[bytes, tag(0x84), raw(SLOT_BYTES)]
    role: Annotated[int, tag(0x85, size=1)]
    chain: Annotated[bytes, tag(0x86)]
    """`statements.Chain`."""
    counter: Annotated[int, tag(0x87, size=4)] = 0
    """Standard transactions so far."""


def enter_password(records: Records, password: PairingPassword, profile: Profile = CCC_PUBLIC) -> None:
    """The user has entered a password: the device is ready for pairing, with all attempts."""
    records.write("pairing", PairingRecord(password.reveal(), profile.attempts).build())


def cancel_pairing(records: Records) -> None:
    """The user has changed their mind."""
    records.write("pairing", None)


def read_pairing(records: Records) -> PairingRecord | None:
    """The password that was entered, if it is still good for an attempt."""
    found = records.read("pairing")
    record = None if found is None else PairingRecord.parse(found)
    return record if record is not None and record.left else None


def keys(records: Records) -> Iterator[tuple[int, KeyRecord]]:
    """The keys there are, with their numbers. Raises DecodeError when one cannot be read."""
    for number in range(KEYS):
        found = records.read(f"key/{number}")
        if found is not None:
            yield number, KeyRecord.parse(found)


def find_key(records: Records, vehicle: bytes) -> tuple[int, KeyRecord] | None:
    """The key for a vehicle and its number; None when there is none."""
    return next(((number, key) for number, key in keys(records) if key.vehicle == vehicle), None)


def number_for(records: Records, vehicle: bytes) -> int | None:
    """The number of this vehicle's key, else a free one; None when there is no room."""
    found = find_key(records, vehicle)
    if found is not None:
        return found[0]
    return next((number for number in range(KEYS) if records.read(f"key/{number}") is None), None)


def keep_key(records: Records, number: int, key: KeyRecord, private_size: int, confidential_size: int) -> None:
    """Keep a new key with empty mailboxes, in place of what had its number."""
    records.write(f"key/{number}", key.build())
    records.write(f"private/{number}", bytes(private_size))
    records.write(f"confidential/{number}", bytes(confidential_size))
    records.write(f"persistent/{number}", None)


def delete_key(records: Records, number: int) -> None:
    """Delete a key and all that belongs to it."""
    for kind in ("key", "private", "confidential", "persistent"):
        records.write(f"{kind}/{number}", None)
