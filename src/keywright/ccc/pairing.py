"""Owner pairing as the vehicle's dialogue: SPAKE2+ with the password, then a key made on the device.

    paired = yield from pair(vehicle, memory, Fresh.draw(random))
    ...later, in a transaction: yield from provide(opened, tokens)

An attempt is counted, durably, before the vehicle's evidence leaves: with it somebody without the password could try
one. The owner's key is kept in the same commit that ends the password.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, final

from keywright.aliro.exchange import MailboxRequest, Write
from keywright.ccc import statements
from keywright.ccc.keys import LEVEL, PairingKeys
from keywright.ccc.memory import KnownKey, VehicleMemory
from keywright.ccc.messages import (
    CLASSES,
    DEFAULT_VERSIONS,
    NOT_READY,
    SLOT_BYTES,
    FrameworkSelected,
    Ins,
    KeyCreation,
    SpakeAnswer,
    SpakeEvidence,
    SpakeRequest,
    SpakeVerify,
    versions,
)
from keywright.ccc.profile import ABORT_REASON, FRAMEWORK_AID, KEY_CHAIN, KEY_CREATION
from keywright.ccc.records import Role
from keywright.ccc.vehicle import PIECE, Dialogue, Opened, Vehicle, no_version, tell, use_mailbox
from keywright.crypto import p256
from keywright.crypto.compare import equal
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.crypto.spake2plus import Verifier, VerifierData
from keywright.errors import AuthenticationError, DecodeError, KeywrightError, LinkError, PolicyError, WireError
from keywright.iso7816.apdu import Command
from keywright.iso7816.channels import plain
from keywright.iso7816.status import check
from keywright.scp.scp03.messaging import HostMessaging

_NO_REASON: Final = 0x00


@final
class Fresh(NamedTuple):
    """What is drawn anew for each run."""

    y: EcPrivateKey
    slot: bytes
    """The name that the new key gets."""

    @classmethod
    def draw(cls, random: Callable[[int], bytes]) -> Fresh:
        """Draw both."""
        return cls(EcPrivateKey.draw(p256.CURVE, random), random(SLOT_BYTES))


class Paired(NamedTuple):
    """The owner's new key."""

    slot: bytes
    public_key: EcPublicKey


class BadPointError(WireError):
    """The device's X is no point of the curve."""


def pair(
    vehicle: Vehicle, memory: VehicleMemory, fresh: Fresh, *, entitlements: int = statements.Entitlement.ALL
) -> Dialogue[Paired]:
    """SELECT, SPAKE2+ REQUEST and VERIFY, WRITE DATA, GET DATA, OP CONTROL FLOW.

    On return the owner's key is durable and the password used up. Raises PolicyError when no password is on offer, its
    attempts are used up, or the device is not in pairing mode or of a maker not trusted; StatusError, which for VERIFY
    means another password; AuthenticationError, WireError. A run that fails after VERIFY has begun costs an attempt;
    nothing is tried again here.
    """
    try:
        version = yield from _select(vehicle)
        offer = memory.offered()
        request = SpakeRequest(DEFAULT_VERSIONS[0], _listed(vehicle, version), offer.scrypt, vehicle.brand)
        channel = yield from _agree(vehicle, memory, VerifierData.parse(offer.verifier), request, fresh)
        paired = yield from _make_key(vehicle, channel, fresh.slot)
        point = paired.public_key.point
        key = KnownKey(public_key=point, role=Role.OWNER, entitlements=entitlements)
        memory.keep(fresh.slot, key, ends_pairing=True)
    except KeywrightError as error:
        if not isinstance(error, LinkError):
            reason = ABORT_REASON.value if isinstance(error, BadPointError) else _NO_REASON
            yield from tell(_control_flow(vehicle.profile.abort_p1, reason))
        raise
    check((yield _control_flow(vehicle.profile.end_p1, _NO_REASON)), "OP CONTROL FLOW")
    return paired


def _select(vehicle: Vehicle) -> Dialogue[int]:
    data = check((yield Command(0x00, Ins.SELECT, 0x04, 0x00, FRAMEWORK_AID.value, 0)), "SELECT of the framework")
    try:
        answer = FrameworkSelected.parse(data)
        spoken, offered = versions(answer.spake2plus), versions(answer.applet)
    except DecodeError as error:
        raise WireError(f"SELECT: {error}") from error
    if DEFAULT_VERSIONS[0] not in spoken:
        raise no_version(spoken, DEFAULT_VERSIONS)
    if answer.status == FrameworkSelected.NOT_PAIRING:
        raise PolicyError(
            f"the device is not in pairing mode ({NOT_READY:04X})", hint="enter the password at the device first"
        )
    if answer.status != FrameworkSelected.PASSWORD_ENTERED:
        raise WireError(f"SELECT: the device's pairing status is {answer.status:02X}, which is none")
    for version in offered:
        if version in vehicle.versions:
            return version
    raise no_version(offered, vehicle.versions)


def _agree(
    vehicle: Vehicle, memory: VehicleMemory, data: VerifierData, request: SpakeRequest, fresh: Fresh
) -> Dialogue[HostMessaging]:
    answer = check((yield _command(Ins.SPAKE2_REQUEST, request.build())), "SPAKE2+ REQUEST")
    verifier = Verifier(data, fresh.y)
    try:
        agreed = verifier.finish(SpakeAnswer.parse(answer).x)
    except DecodeError as error:
        raise BadPointError(f"SPAKE2+ REQUEST: {error}") from error
    keys = PairingKeys(agreed, request, vehicle.profile)
    left = memory.count_attempt()
    verify = SpakeVerify(verifier.share, keys.vehicle_evidence)
    answer = check((yield _command(Ins.SPAKE2_VERIFY, verify.build())), f"SPAKE2+ VERIFY ({left} attempts left)")
    try:
        evidence = SpakeEvidence.parse(answer).evidence
    except DecodeError as error:
        raise WireError(f"SPAKE2+ VERIFY: {error}") from error
    if not equal(keys.device_evidence, evidence):
        raise AuthenticationError(f"the device's evidence is not accepted; {left} attempts left")
    return HostMessaging(keys.channel, vehicle.profile.mac_length, LEVEL, 0)


def _make_key(vehicle: Vehicle, channel: HostMessaging, slot: bytes) -> Dialogue[Paired]:
    creation = KeyCreation(
        vehicle.identifier,
        vehicle.key.public.point,
        slot,
        vehicle.brand,
        vehicle.private_size,
        vehicle.confidential_size,
    )
    answer = yield from channel.secure(_protected(Ins.WRITE_DATA, KEY_CREATION.value, creation.build()))
    check(answer, "WRITE DATA of the key creation")
    answer = yield from channel.secure(_protected(Ins.GET_DATA, KEY_CHAIN.value, b""))
    chain = check(answer, "GET DATA of the key's chain")
    try:
        public_key = statements.verify_chain(chain, vehicle.makers, vehicle.identifier, slot)
    except DecodeError as error:
        raise WireError(f"GET DATA: {error}") from error
    return Paired(slot, public_key)


def provide(opened: Opened, confidential: bytes, *, offset: int = 0) -> Dialogue[None]:
    """The second session of owner pairing: fill the confidential mailbox, immobilizer tokens for one, all or nothing.

    Raises WireError when the device does not take it, and as `vehicle.exchange`.
    """
    for at in range(0, len(confidential), PIECE):
        write = Write(offset + at, confidential[at : at + PIECE])
        request = MailboxRequest((write,), continues=at + PIECE < len(confidential))
        answer = yield from use_mailbox(opened, "confidential", request)
        if answer.status:
            raise WireError(f"the device does not take {len(confidential)} bytes into its confidential mailbox")


def _listed(vehicle: Vehicle, first: int) -> bytes:
    """All versions of the vehicle, the one to be used first."""
    others = [version for version in vehicle.versions if version != first]
    return b"".join(version.to_bytes(2) for version in (first, *others))


def _command(ins: int, data: bytes) -> Command:
    return Command(CLASSES[ins], ins, 0, 0, data, 0)


def _protected(ins: int, p1p2: int, data: bytes) -> Command:
    return Command(plain(CLASSES[ins]), ins, p1p2 >> 8, p1p2 & 0xFF, data, 0)


def _control_flow(p1: int, reason: int) -> Command:
    return Command(CLASSES[Ins.CONTROL_FLOW], Ins.CONTROL_FLOW, p1, reason)
