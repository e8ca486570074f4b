"""The vehicle: transactions as dialogues over any link.

    opened = yield from authenticate(vehicle, memory, Plan(), Fresh.draw(random), now)
    ...use the mailboxes, unlock...
    yield from finish(opened, ReaderStatus.UNSECURED)

A failure is told to the device, as far as there is a way, before it is raised.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping
from typing import Final, NamedTuple, TypeAlias, TypeVar, final

import msgspec

from keywright.aliro.exchange import ExchangeAnswer as MailboxAnswer
from keywright.aliro.exchange import MailboxRequest, Read
from keywright.aliro.keys import DerivationKey, Kpersistent, key_agreement
from keywright.aliro.messages import ControlFlow, ReaderStatus
from keywright.ccc import statements, tracking
from keywright.ccc.keys import (
    LEVEL,
    Transaction,
    cryptogram,
    fast_keys,
    persistent_key,
    ranging_key,
    volatile_keys,
)
from keywright.ccc.memory import KnownKey, VehicleMemory
from keywright.ccc.messages import (
    CLASSES,
    DEFAULT_VERSIONS,
    AppletSelected,
    Auth0,
    Auth0Answer,
    Auth1,
    Auth1Answer,
    Exchange,
    ExchangeAnswer,
    Ins,
    versions,
)
from keywright.ccc.profile import APPLET_AID, CCC_PUBLIC, DEVICE_USAGE, VEHICLE_USAGE, Profile
from keywright.ccc.records import Role
from keywright.crypto import p256
from keywright.crypto.compare import equal
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.crypto.signing import Signer
from keywright.errors import AuthenticationError, DecodeError, KeywrightError, LinkError, PolicyError, WireError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import plain
from keywright.iso7816.status import check
from keywright.scp.scp03.keys import SessionKeys
from keywright.scp.scp03.messaging import HostMessaging

Result = TypeVar("Result")
Dialogue: TypeAlias = Generator[Command, Response, Result]

PIECE: Final = 200
"""Bytes of a mailbox that are read or written at once."""
LARGEST_PACKAGE: Final = 4094


class Vehicle(msgspec.Struct, frozen=True):
    """What a vehicle is."""

    identifier: bytes
    """vehicle_identifier, 8 bytes."""
    key: Signer
    """Its own key, which signs AUTH1."""
    makers: statements.Roots
    """Roots of device makers whose devices it takes."""
    brand: int = 0
    tracking: EcPublicKey | None = None
    """The key of the tracking server; with it, a key without a receipt is refused."""
    versions: tuple[int, ...] = DEFAULT_VERSIONS
    private_size: int = 1024
    """Bytes of the private mailbox it asks for; a friend's package must fit."""
    confidential_size: int = 256
    profile: Profile = CCC_PUBLIC


class Plan(msgspec.Struct, frozen=True):
    """How a vehicle goes about one transaction."""

    fast: bool = True
    """Ask for the fast transaction."""
    always_standard: bool = False
    """Go on with AUTH1 even after the fast transaction was good."""
    entitlements: int = statements.Entitlement.UNLOCK
    """What the key must entitle to."""


@final
class Fresh(NamedTuple):
    """What is drawn anew for each transaction."""

    ephemeral: EcPrivateKey
    transaction_identifier: bytes

    @classmethod
    def draw(cls, random: Callable[[int], bytes]) -> Fresh:
        """Draw both."""
        return cls(EcPrivateKey.draw(p256.CURVE, random), random(16))


class DeviceError(WireError):
    """The device did something that a vehicle must end the transaction for; `status` is what it is told."""

    def __init__(self, message: str, status: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


@final
class Opened:
    """A device, as the vehicle sees it, and the channel to it."""

    __slots__ = ("channel", "is_fast", "key", "slot", "transaction", "ursk", "vehicle")

    def __init__(self, vehicle: Vehicle, transaction: Transaction, keys: SessionKeys, *, is_fast: bool) -> None:
        self.vehicle = vehicle
        self.transaction = transaction
        self.channel = HostMessaging(keys, vehicle.profile.mac_length, LEVEL, 0)
        self.is_fast = is_fast
        self.slot = b""
        self.key: KnownKey | None = None
        """The key that the device has proven to have."""
        self.ursk: DerivationKey | None = None


# ---- SELECT to AUTH1 ------------------------------------------------------------------------------------------


def authenticate(
    vehicle: Vehicle, memory: VehicleMemory, plan: Plan, fresh: Fresh, now: int | None = None
) -> Dialogue[Opened]:
    """SELECT, AUTH0 and, unless the fast transaction is enough, AUTH1; a friend's first one reads its package too.

    now: seconds since 1970; None: there is no clock, and keys limited in time are refused. What is learnt of the key is
    durable on return. Raises StatusError, AuthenticationError, WireError, and PolicyError for a key that is not known,
    revoked, out of its time, not entitled or not tracked.
    """
    version = yield from _select(vehicle)
    proof = None
    try:
        transaction = yield from _auth0(vehicle, plan, fresh, version)
        opened = _find(vehicle, memory, transaction)
        if opened is None or plan.always_standard:
            opened, proof = yield from _auth1(vehicle, fresh, transaction)
    except KeywrightError as error:
        if not isinstance(error, LinkError):
            yield from tell(_command(Ins.CONTROL_FLOW, _GIVES_UP))
        raise
    try:
        if proof is not None:
            opened.key = yield from _prove(opened, proof, memory)
        check_key(vehicle, memory, plan, opened, now)
    except LinkError:
        raise
    except KeywrightError as error:
        yield from _tell_status(opened, _status_of(error))
        raise
    if proof is not None and opened.key is not None:
        memory.keep(opened.slot, opened.key)
    return opened


def _select(vehicle: Vehicle) -> Dialogue[int]:
    data = check((yield Command(0x00, Ins.SELECT, 0x04, 0x00, APPLET_AID.value, 0)), "SELECT of the applet")
    try:
        offered = versions(AppletSelected.parse(data).versions)
    except DecodeError as error:
        raise WireError(f"SELECT: {error}") from error
    for version in offered:
        if version in vehicle.versions:
            return version
    nothing = ControlFlow(ControlFlow.FAILURE, ControlFlow.NO_VERSION).build()
    yield from tell(_command(Ins.CONTROL_FLOW, nothing))
    raise no_version(offered, vehicle.versions)


def _auth0(vehicle: Vehicle, plan: Plan, fresh: Fresh, version: int) -> Dialogue[Transaction]:
    command = Auth0(version, fresh.ephemeral.public.point, fresh.transaction_identifier, vehicle.identifier)
    flag = vehicle.profile.fast if plan.fast else 0
    data = check((yield Command(CLASSES[Ins.AUTH0], Ins.AUTH0, flag, 0, command.build(), 0)), "AUTH0")
    try:
        answer = Auth0Answer.parse(data)
        p256.check(answer.ephemeral)
    except DecodeError as error:
        raise WireError(f"AUTH0: {error}") from error
    if (answer.cryptogram is not None) != plan.fast:
        what = "no cryptogram, though one was asked for" if plan.fast else "a cryptogram nobody asked for"
        raise WireError(f"AUTH0: the device answered {what}")
    return Transaction(flag, command, answer, vehicle.profile)


def _find(vehicle: Vehicle, memory: VehicleMemory, transaction: Transaction) -> Opened | None:
    shown = transaction.answer.cryptogram
    if shown is None:
        return None
    for slot, key in memory.all_keys():
        if key.persistent is None:
            continue
        kpersistent = Kpersistent(key.persistent)
        if equal(cryptogram(kpersistent, transaction), shown):
            opened = Opened(vehicle, transaction, fast_keys(kpersistent, transaction), is_fast=True)
            opened.slot, opened.key, opened.ursk = slot, key, ranging_key(kpersistent, transaction)
            return opened
    return None


@final
class _Proof(NamedTuple):
    """What AUTH1 brought; whose it is and whether the signature is right, is still to be found out."""

    answer: Auth1Answer
    kpersistent: Kpersistent


def _auth1(vehicle: Vehicle, fresh: Fresh, transaction: Transaction) -> Dialogue[tuple[Opened, _Proof]]:
    request = Auth1(vehicle.key.sign(transaction.signed(VEHICLE_USAGE.value)))
    response = yield _command(Ins.AUTH1, request.build())
    check(response, "AUTH1")
    shared = fresh.ephemeral.agree(p256.check(transaction.answer.ephemeral))
    kdh = key_agreement(shared, fresh.transaction_identifier)
    opened = Opened(vehicle, transaction, volatile_keys(kdh, transaction), is_fast=False)
    opened.channel.expect()
    plain_answer = opened.channel.unwrap(response)
    opened.ursk = ranging_key(kdh, transaction)
    try:
        answer = Auth1Answer.parse(plain_answer.data)
    except DecodeError as error:
        raise WireError(f"AUTH1: {error}") from error
    opened.slot = answer.slot
    return opened, _Proof(answer, persistent_key(kdh, transaction))


def _prove(opened: Opened, proof: _Proof, memory: VehicleMemory) -> Dialogue[KnownKey]:
    """Find out whose key it is and verify that the device has it; the key as it is to be kept."""
    known = memory.find(opened.slot)
    if memory.is_revoked(opened.slot):
        raise PolicyError("the key was revoked", hint="make a new key: pair or share again")
    if known is None:
        known = yield from _read_friend(opened, memory)
    try:
        signed = opened.transaction.signed(DEVICE_USAGE.value)
        p256.check(known.public_key).verify(proof.answer.signature, signed)
    except AuthenticationError as error:
        raise DeviceError("AUTH1: the signature of the device is wrong", ReaderStatus.WRONG_SIGNATURE) from error
    if known.receipt is None and opened.vehicle.tracking is not None:
        package = yield from _read_package(opened)
        known = msgspec.structs.replace(known, receipt=None if package is None else package.receipt or None)
    counter = int.from_bytes(proof.answer.counter or b"")
    if (known.counter or counter) and counter <= known.counter:
        raise DeviceError(
            f"AUTH1: the device counts {counter}, and was at {known.counter} before",
            ReaderStatus.WRONG_CONTENT,
            hint="two devices have this key, or one was set back; revoke it",
        )
    return msgspec.structs.replace(known, persistent=proof.kpersistent.reveal(), counter=counter)


def _read_package(opened: Opened) -> Dialogue[statements.Package | None]:
    """What the device has put into its private mailbox for the vehicle; None for nothing."""
    size = int.from_bytes((yield from read_mailbox(opened, "private", 0, 2)))
    if not 0 < size <= LARGEST_PACKAGE:
        return None
    return statements.Package.parse((yield from read_mailbox(opened, "private", 2, size)))


def _read_friend(opened: Opened, memory: VehicleMemory) -> Dialogue[KnownKey]:
    """The key of a device whose slot is not known, by the owner's grant and the maker's chain in its package."""
    vehicle, owner = opened.vehicle, memory.owner()
    package = None if owner is None else (yield from _read_package(opened))
    if owner is None or package is None:
        raise DeviceError(
            f"no key in slot {opened.slot.hex().upper()} is known here",
            ReaderStatus.PUBLIC_KEY_NOT_FOUND,
            hint="pair the device, or have the owner share a key with it",
        )
    slot, key = owner
    owner_key = p256.check(key.public_key)
    grant = statements.verify_grant(package, owner_key, vehicle.makers, vehicle.identifier, opened.slot)
    wanted = grant.entitlements or 0
    if wanted & ~key.entitlements:
        raise PolicyError("the grant gives more than its owner has")
    return KnownKey(
        public_key=grant.subject,
        role=Role.FRIEND,
        entitlements=wanted,
        not_before=grant.not_before,
        not_after=grant.not_after,
        granted_by=slot,
        receipt=package.receipt or None,
    )


def check_key(vehicle: Vehicle, memory: VehicleMemory, plan: Plan, opened: Opened, now: int | None) -> None:
    """Whether the key may do what is planned, now. Raises PolicyError, DecodeError, AuthenticationError."""
    key = opened.key
    if key is None or memory.is_revoked(opened.slot):
        raise PolicyError("the key was revoked", hint="make a new key: pair or share again")
    statements.check_time(key.not_before, key.not_after, now)
    if plan.entitlements & ~key.entitlements:
        raise PolicyError(f"the key does not entitle to this: it has {key.entitlements:04X}")
    if vehicle.tracking is not None:
        if key.receipt is None:
            raise PolicyError("the key is not tracked", hint="register it with the key tracking server first")
        tracking.verify_receipt(key.receipt, vehicle.tracking, vehicle.identifier, opened.slot, key.public_key)


# ---- on the open channel --------------------------------------------------------------------------------------


def exchange(opened: Opened, request: Exchange) -> Dialogue[ExchangeAnswer]:
    """One EXCHANGE. Raises StatusError, AuthenticationError, WireError, SequenceError once the channel has ended."""
    command = Command(plain(CLASSES[Ins.EXCHANGE]), Ins.EXCHANGE, 0, 0, request.build(), 0)
    answer = yield from opened.channel.secure(command)
    try:
        return ExchangeAnswer.parse(check(answer, "EXCHANGE"))
    except DecodeError as error:
        raise WireError(f"EXCHANGE: {error}") from error


def use_mailbox(opened: Opened, kind: str, request: MailboxRequest) -> Dialogue[MailboxAnswer]:
    """One request to the "private" or the "confidential" mailbox; its answer's `status` says how it went."""
    built = request.build()
    is_private = kind == "private"
    answer = yield from exchange(opened, Exchange(built if is_private else None, None if is_private else built))
    data = answer.private if is_private else answer.confidential
    if data is None:
        raise WireError(f"EXCHANGE: the {kind} mailbox did not answer")
    try:
        return MailboxAnswer.parse(data)
    except DecodeError as error:
        raise WireError(f"EXCHANGE: {error}") from error


def read_mailbox(opened: Opened, kind: str, offset: int, size: int) -> Dialogue[bytes]:
    """A range of a mailbox, in pieces. Raises WireError when the device does not have all of it."""
    parts: list[bytes] = []
    for at in range(offset, offset + size, PIECE):
        piece = Read(at, min(PIECE, offset + size - at))
        answer = yield from use_mailbox(opened, kind, MailboxRequest((piece,)))
        if answer.status or [len(part) for part in answer.reads] != [piece.size]:
            raise WireError(f"EXCHANGE: the {kind} mailbox did not give bytes {at} to {at + piece.size}")
        parts += answer.reads
    return b"".join(parts)


def finish(opened: Opened, status: int, *, ursk_ready: bool = False) -> Dialogue[None]:
    """Tell the device how it ends: a value of `aliro.messages.ReaderStatus`. Raises as `exchange`."""
    yield from exchange(opened, Exchange(status=status, ursk_ready=ursk_ready))


# ---- helpers --------------------------------------------------------------------------------------------------

_GIVES_UP: Final = ControlFlow(ControlFlow.FAILURE, ControlFlow.NO_INFORMATION).build()


def tell(command: Command) -> Dialogue[None]:
    """Say that it is over; whether it is heard does not matter."""
    with contextlib.suppress(LinkError):
        yield command


def no_version(offered: tuple[int, ...], own: tuple[int, ...]) -> PolicyError:
    """The error that names the versions of both sides."""
    device, vehicle = (", ".join(f"{one >> 8}.{one & 0xFF}" for one in some) for some in (offered, own))
    return PolicyError(f"no common protocol version: the device has {device}, the vehicle {vehicle}")


def _tell_status(opened: Opened, status: int) -> Dialogue[None]:
    if not opened.channel.is_open:
        yield from tell(_command(Ins.CONTROL_FLOW, _GIVES_UP))
        return
    last = Command(plain(CLASSES[Ins.EXCHANGE]), Ins.EXCHANGE, 0, 0, Exchange(status=status).build(), 0)
    yield from tell(opened.channel.wrap(last))


def _status_of(error: KeywrightError) -> int:
    if isinstance(error, DeviceError):
        return error.status
    statuses: Mapping[type[KeywrightError], int] = {
        PolicyError: ReaderStatus.ACCESS_RIGHTS,
        AuthenticationError: ReaderStatus.PUBLIC_KEY_NOT_TRUSTED,
        DecodeError: ReaderStatus.WRONG_FORMAT,
    }
    return statuses.get(type(error), ReaderStatus.WRONG_CONTENT)


def _command(ins: int, data: bytes) -> Command:
    return Command(CLASSES[ins], ins, 0, 0, data, None if ins == Ins.CONTROL_FLOW else 0)
