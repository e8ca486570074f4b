"""Sharing a key: the owner's device invites, the friend's makes a key, the owner's grants, the friend's installs.

    owner                       friend                          tracking server      vehicle
    invite ──── Invitation ───> accept
    grant  <────── Chain ────── (key made on the element)
           ──── grant ────────> registration ─────────────────> receipt
                                install (private mailbox) ──────────────────────────> first transaction

What relays these bytes is not part of it. The friend trusts the invitation as far as it trusts who brought it: it says
which vehicle's key will be believed. The formats are ours.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from keywright.aliro.credential import Records
from keywright.ccc import records as kept
from keywright.ccc import statements
from keywright.ccc.device import LARGEST_MAILBOX, DigitalKey
from keywright.ccc.messages import POINT_BYTES, SLOT_BYTES, VEHICLE_BYTES, KeyCreation
from keywright.ccc.records import KeyRecord, Role
from keywright.ccc.tracking import Registration
from keywright.codec.record import raw
from keywright.codec.tlv import Template, tag
from keywright.crypto import p256
from keywright.crypto.signing import Signer
from keywright.errors import AuthenticationError, PolicyError
from keywright.iso7816.refusal import Refusal


class Invitation(Template, frozen=True, kw_only=True):
    """What the owner's device tells the friend's, and decides by when the chain comes back."""

    strict = True
    vehicle: Annotated[bytes, tag(0x80), raw(VEHICLE_BYTES)]
    vehicle_key: Annotated[bytes, tag(0x81), raw(POINT_BYTES)]
    slot: Annotated[bytes, tag(0x82), raw(SLOT_BYTES)]
    entitlements: Annotated[int, tag(0x83, size=2)]
    """Bits of `statements.Entitlement`."""
    not_before: Annotated[int | None, tag(0x84, size=4)] = None
    """Seconds since 1970."""
    not_after: Annotated[int | None, tag(0x85, size=4)] = None
    private_size: Annotated[int, tag(0x86, size=2)] = 1024
    confidential_size: Annotated[int, tag(0x87, size=2)] = 256


class Time(NamedTuple):
    """When a shared key is good, seconds since 1970; None: no limit."""

    not_before: int | None = None
    not_after: int | None = None


def invite(
    records: Records,
    vehicle: bytes,
    slot: bytes,
    entitlements: int,
    time: Time = Time(),  # noqa: B008 - a value
) -> bytes:
    """Begin at the owner's device; slot: drawn anew, 8 bytes. Raises PolicyError when it is no owner of the vehicle."""
    _, owner = _owner(records, vehicle)
    return Invitation(
        vehicle=vehicle,
        vehicle_key=owner.vehicle_key,
        slot=slot,
        entitlements=entitlements,
        not_before=time.not_before,
        not_after=time.not_after,
    ).build()


def accept(device: DigitalKey, records: Records, invitation: bytes) -> bytes:
    """Make the key at the friend's device; its `statements.Chain`. To be kept by the caller, as one.

    Raises DecodeError, and PolicyError when the device has a key for this vehicle, or no room.
    """
    invited = Invitation.parse(invitation)
    p256.check(invited.vehicle_key)
    if kept.find_key(records, invited.vehicle) is not None:
        raise PolicyError("the device has a key for this vehicle", hint="delete that key first")
    sizes = invited.private_size, invited.confidential_size
    if max(sizes) > LARGEST_MAILBOX:
        raise PolicyError(f"the invitation asks for mailboxes of more than {LARGEST_MAILBOX} bytes")
    creation = KeyCreation(invited.vehicle, invited.vehicle_key, invited.slot, 0, *sizes)
    try:
        _, key = device.make_key(records, creation, Role.FRIEND)
    except Refusal as refused:
        raise PolicyError(f"the device makes no key ({refused.sw:04X})", hint="delete a key it has") from refused
    return key.chain


def grant(records: Records, signer: Signer, makers: statements.Roots, invitation: bytes, chain: bytes) -> bytes:
    """Sign at the owner's device, for the key that the chain proves to be on an element; signer: the owner's key.

    invitation: as it was sent, not as it came back. Raises PolicyError, AuthenticationError, DecodeError.
    """
    invited = Invitation.parse(invitation)
    _, owner = _owner(records, invited.vehicle)
    if signer.public.point != owner.public_key:
        raise AuthenticationError("another key than the owner's signs")
    subject = statements.verify_chain(chain, makers, invited.vehicle, invited.slot)
    return statements.sign(
        signer,
        statements.Statement(
            kind=statements.Kind.GRANT,
            issuer=statements.key_identifier(signer.public),
            subject=subject.point,
            vehicle=invited.vehicle,
            slot=invited.slot,
            entitlements=invited.entitlements,
            not_before=invited.not_before,
            not_after=invited.not_after,
        ),
    )


def registration(records: Records, vehicle: bytes) -> bytes:
    """What the tracking server is told of this device's key, an owner's or a friend's. Raises PolicyError."""
    _, key = _key(records, vehicle)
    return Registration(key.vehicle, key.slot, key.role, key.chain).build()


def install(records: Records, vehicle: bytes, signed_grant: bytes = b"", receipt: bytes = b"") -> None:
    """Put into the private mailbox what the vehicle is to read: a friend's grant, and the receipt of key tracking.

    Raises PolicyError when there is no key for this vehicle, or the mailbox is too small.
    """
    number, key = _key(records, vehicle)
    package = statements.Package(signed_grant, key.chain, receipt).build()
    content = len(package).to_bytes(2) + package
    mailbox = records.read(f"private/{number}") or b""
    if len(content) > len(mailbox):
        raise PolicyError(f"the private mailbox has {len(mailbox)} bytes, and {len(content)} are needed")
    records.write(f"private/{number}", content + mailbox[len(content) :])


def _key(records: Records, vehicle: bytes) -> tuple[int, KeyRecord]:
    found = kept.find_key(records, vehicle)
    if found is None:
        raise PolicyError("the device has no key for this vehicle", hint="pair it, or have a key shared")
    return found


def _owner(records: Records, vehicle: bytes) -> tuple[int, KeyRecord]:
    number, key = _key(records, vehicle)
    if key.role != Role.OWNER:
        raise PolicyError("only the owner shares a key")
    return number, key
