"""The reader: the access protocol as dialogues over any link (Aliro 1.0 chapter 8).

    opened = yield from authenticate(reader, Plan(), Fresh.draw(random), keys)
    ...decide, ask for documents, use the mailbox...
    yield from finish(opened, ReaderStatus.UNSECURED)

A failure is told to the device, as far as there is a way, before it is raised. The commands are plain ones: what
carries them (`iso7816.layers.transmit`, the Bluetooth messages of `aliro.ble`) divides and collects.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from typing import Final, NamedTuple, TypeAlias, TypeVar, final

import msgspec

from keywright.aliro import envelope
from keywright.aliro.cache import Kept, PersistentKeys
from keywright.aliro.exchange import Exchange, ExchangeAnswer, MailboxRequest
from keywright.aliro.keys import (
    CURVE,
    DerivationKey,
    Direction,
    Mode,
    Transaction,
    fast_keys,
    key_agreement,
    persistent_key,
    step_up_keys,
    volatile_keys,
    x_of,
)
from keywright.aliro.messages import (
    CLASSES,
    EXPEDITED_AID,
    STEP_UP_AID,
    Auth0,
    Auth0Answer,
    Auth1,
    Auth1Answer,
    ControlFlow,
    Ins,
    Policy,
    Proprietary,
    ReaderStatus,
    Signaling,
    Signed,
    Usage,
    parse_selected,
)
from keywright.aliro.profile import DEFAULT, V1_0, Interface, Profile
from keywright.crypto.aes import AesKey
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.crypto.signing import Signer
from keywright.errors import (
    AuthenticationError,
    DecodeError,
    KeywrightError,
    LinkError,
    PolicyError,
    StatusError,
    WireError,
)
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.status import check

Result = TypeVar("Result")
Dialogue: TypeAlias = Generator[Command, Response, Result]


class Reader(msgspec.Struct, frozen=True):
    """What a reader is."""

    key: Signer
    """Its own key, which signs AUTH1."""
    identifier: bytes
    """reader_group_identifier || reader_group_sub_identifier, 16 bytes each."""
    certificate: bytes = b""
    """Compressed; with it, devices know the issuer's key instead of the reader's own."""
    issuer: EcPublicKey | None = None
    """The Reader System Issuer's key, which goes with the certificate."""
    versions: tuple[int, ...] = (V1_0,)
    interface: Interface = Interface.NFC
    vendor: bytes | None = None
    """Value of B1 in AUTH0."""
    profile: Profile = DEFAULT

    def __post_init__(self) -> None:
        if self.certificate and self.issuer is None:
            raise ValueError("a reader with a certificate needs its issuer's public key too")

    def group_key_x(self) -> bytes:
        """With what the salts begin."""
        if self.issuer is not None and self.profile.salt_has_issuer_key:
            return x_of(self.issuer.point)
        return x_of(self.key.public.point)


class Plan(msgspec.Struct, frozen=True):
    """How a reader goes about one transaction."""

    fast: bool = True
    """Ask for the fast phase."""
    always_standard: bool = False
    """Go on with AUTH1 even after the fast phase was good."""
    policy: int = Policy.USER_DEVICE_SETTING
    key_slot: bool = False
    """Ask for the key slot instead of the public key; `find_slot` must then know it."""
    certificate_in_auth1: bool = False
    """Send the certificate in AUTH1 instead of in LOAD CERT."""


@final
class Fresh(NamedTuple):
    """What is drawn anew for each transaction."""

    ephemeral: EcPrivateKey
    transaction_identifier: bytes

    @classmethod
    def draw(cls, random: Callable[[int], bytes]) -> Fresh:
        """Draw both."""
        return cls(EcPrivateKey.draw(CURVE, random), random(16))


@final
class Opened:
    """An authenticated device, as the reader sees it, and the channel to it."""

    __slots__ = (
        "ble",
        "credential",
        "credential_signed",
        "is_fast",
        "kept",
        "mailbox",
        "reader",
        "revocation_signed",
        "signaling",
        "step_up",
        "to_device",
        "to_reader",
        "transaction",
        "ursk",
    )

    def __init__(self, reader: Reader, transaction: Transaction, credential: EcPublicKey, *, is_fast: bool) -> None:
        self.reader = reader
        self.transaction = transaction
        self.credential = credential
        """The credential's public key; that the device has the private one is proven."""
        self.is_fast = is_fast
        self.signaling = 0
        """Bits of `Signaling`."""
        self.credential_signed = b""
        self.revocation_signed = b""
        self.mailbox: bytes | None = None
        """What the device gave of its mailbox unasked."""
        self.kept: Kept | None = None
        """What to keep for the fast phase; after the fast phase, what was kept."""
        self.step_up: DerivationKey | None = None
        self.ble: DerivationKey | None = None
        self.ursk: DerivationKey | None = None
        self.to_device: Direction | None = None
        self.to_reader: Direction | None = None

    def open_channel(self, reader: AesKey, device: AesKey) -> None:
        """Begin the expedited channel."""
        profile = self.transaction.profile
        last, seals_empty = profile.expedited_limit, profile.seals_empty
        self.to_device = Direction(reader, Mode.TO_DEVICE, last=last, seals_empty=seals_empty)
        self.to_reader = Direction(device, Mode.TO_READER, last=last, seals_empty=seals_empty)


class DeviceError(WireError):
    """The device did something that a reader must end the transaction for; `status` is what it is told."""

    code = "aliro-device"

    def __init__(self, message: str, status: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


# ---- SELECT to AUTH1 ------------------------------------------------------------------------------------------


def authenticate(
    reader: Reader,
    plan: Plan,
    fresh: Fresh,
    keys: PersistentKeys,
    find_slot: Callable[[bytes], EcPublicKey | None] = lambda _: None,
    is_enough: Callable[[Opened], bool] = lambda _: True,
) -> Dialogue[Opened]:
    """SELECT, AUTH0 and, unless the fast phase is enough, LOAD CERT and AUTH1.

    keys: what was kept of earlier transactions; looked up, not changed but for the order of use. Whether to keep the
    result's `kept` is the caller's decision. find_slot: the credential with a key slot. is_enough: whether what the
    fast phase proved is enough for the caller; not asked when documents have become newer.

    Raises StatusError, AuthenticationError, WireError, PolicyError when there
    is no common version, after CONTROL FLOW or EXCHANGE has told the device.
    """
    proprietary, version = yield from _select(reader)
    try:
        transaction = yield from _auth0(reader, plan, fresh, proprietary, version)
        fast = _find(reader, keys, transaction)
        if fast is not None and not (plan.always_standard or _is_outdated(fast)) and is_enough(fast):
            return fast
        if reader.certificate and not plan.certificate_in_auth1:
            check((yield _command(Ins.LOAD_CERT, reader.certificate)), "LOAD CERT")
        return (yield from _auth1(reader, plan, fresh, transaction, find_slot))
    except DeviceError:
        raise
    except KeywrightError as error:
        if not isinstance(error, LinkError):
            yield from _tell(Command(0x80, Ins.CONTROL_FLOW, 0, 0, _GIVES_UP))
        raise


def _select(reader: Reader) -> Dialogue[tuple[bytes, int]]:
    answer = check((yield Command(0x00, Ins.SELECT, 0x04, 0x00, EXPEDITED_AID, 0)), "SELECT of Aliro, expedited")
    try:
        found, proprietary = parse_selected(answer)
        offered = () if found.proprietary is None else Proprietary.parse(found.proprietary).version_numbers()
    except DecodeError as error:
        raise WireError(f"SELECT: {error}") from error
    for version in offered:
        if version in reader.versions:
            return proprietary, version
    yield from _tell(_command(Ins.CONTROL_FLOW, ControlFlow(ControlFlow.FAILURE, ControlFlow.NO_VERSION).build()))
    raise PolicyError(
        f"no common protocol version: the device has {_listed(offered)}, the reader {_listed(reader.versions)}",
        hint="give the reader one of the device's versions, or update the device",
    )


def _auth0(reader: Reader, plan: Plan, fresh: Fresh, proprietary: bytes, version: int) -> Dialogue[Transaction]:
    command = Auth0(
        Auth0.FAST if plan.fast else 0,
        plan.policy,
        version,
        fresh.ephemeral.public.point,
        fresh.transaction_identifier,
        reader.identifier,
        reader.vendor,
    )
    data = check((yield _command(Ins.AUTH0, command.build())), "AUTH0")
    try:
        answer = Auth0Answer.parse(data)
        EcPublicKey.from_point(CURVE, answer.ephemeral)
    except DecodeError as error:
        raise WireError(f"AUTH0: {error}") from error
    if (answer.cryptogram is not None) != plan.fast:
        what = "no cryptogram, though one was asked for" if plan.fast else "a cryptogram nobody asked for"
        raise WireError(f"AUTH0: the device answered {what}", hint="the device does not follow Aliro 1.0 8.3.3.2")
    return Transaction(reader.group_key_x(), reader.interface, proprietary, command, answer, reader.profile)


def _find(reader: Reader, keys: PersistentKeys, transaction: Transaction) -> Opened | None:
    cryptogram = transaction.answer.cryptogram
    if cryptogram is None:
        return None
    try:
        found = keys.find(transaction, cryptogram)
    except DecodeError as error:
        raise WireError(f"AUTH0: the cryptogram opens, and its content is wrong: {error}") from error
    if found is None:
        return None
    kept, status = found
    derived = fast_keys(kept.key, transaction, x_of(kept.credential.point))
    opened = Opened(reader, transaction, kept.credential, is_fast=True)
    opened.signaling = status.signaling
    opened.credential_signed = status.credential_signed.strip(b"\0")
    opened.revocation_signed = status.revocation_signed.strip(b"\0")
    opened.kept, opened.ble, opened.ursk = kept, derived.ble, derived.ursk
    opened.open_channel(derived.reader, derived.device)
    return opened


def _is_outdated(opened: Opened) -> bool:
    """Whether the device has newer documents than when its key was kept; timestamps compare as text."""
    kept = opened.kept
    return kept is not None and (
        opened.credential_signed > kept.credential_signed or opened.revocation_signed > kept.revocation_signed
    )


def _auth1(
    reader: Reader,
    plan: Plan,
    fresh: Fresh,
    transaction: Transaction,
    find_slot: Callable[[bytes], EcPublicKey | None],
) -> Dialogue[Opened]:
    request = Auth1(
        parameters=0 if plan.key_slot else Auth1.PUBLIC_KEY,
        certificate=(reader.certificate or None) if plan.certificate_in_auth1 else None,
        signature=reader.key.sign(_signed(transaction, Usage.READER)),
    )
    response = yield _command(Ins.AUTH1, request.build())
    data = check(response, "AUTH1")
    device = EcPublicKey.from_point(CURVE, transaction.answer.ephemeral)
    kdh = key_agreement(fresh.ephemeral.agree(device), fresh.transaction_identifier)
    derived = volatile_keys(kdh, transaction)
    # Whose it is, the answer says; it is opened with a key that no credential goes into.
    opened = Opened(reader, transaction, reader.key.public, is_fast=False)
    opened.open_channel(derived.reader, derived.device)
    opened.step_up, opened.ble, opened.ursk = derived.step_up, derived.ble, derived.ursk
    plain = _there(opened.to_reader).open(data)
    try:
        _take_answer(opened, plan, plain, find_slot)
    except DeviceError as failure:
        yield from _tell_status(opened, failure.status)
        raise
    persistent = persistent_key(kdh, transaction, opened.credential)
    opened.kept = Kept(opened.credential, persistent, opened.credential_signed, opened.revocation_signed)
    return opened


def _take_answer(opened: Opened, plan: Plan, plain: bytes, find_slot: Callable[[bytes], EcPublicKey | None]) -> None:
    try:
        answer = Auth1Answer.parse(plain)
    except DecodeError as error:
        raise DeviceError(f"AUTH1: {error}", ReaderStatus.WRONG_FORMAT) from error
    if answer.signature is None:
        raise DeviceError("AUTH1: the answer has no signature (tag 9E)", ReaderStatus.NO_SIGNATURE)
    opened.credential = _credential(answer, plan, find_slot)
    try:
        opened.credential.verify(answer.signature, _signed(opened.transaction, Usage.DEVICE))
    except AuthenticationError as error:
        raise DeviceError("AUTH1: the signature of the device is wrong", ReaderStatus.WRONG_SIGNATURE) from error
    opened.signaling = int.from_bytes(answer.signaling)
    opened.credential_signed = answer.credential_signed or b""
    opened.revocation_signed = answer.revocation_signed or b""
    opened.mailbox = answer.mailbox


def _credential(answer: Auth1Answer, plan: Plan, find_slot: Callable[[bytes], EcPublicKey | None]) -> EcPublicKey:
    if not plan.key_slot:
        if answer.public_key is None:
            raise DeviceError("AUTH1: the answer has no public key (tag 5A)", ReaderStatus.NO_PUBLIC_KEY)
        try:
            return EcPublicKey.from_point(CURVE, answer.public_key)
        except DecodeError as error:
            raise DeviceError(f"AUTH1: {error}", ReaderStatus.WRONG_CONTENT) from error
    if answer.key_slot is None:
        raise DeviceError("AUTH1: the answer has no key slot (tag 4E)", ReaderStatus.NO_KEY_SLOT)
    found = find_slot(answer.key_slot)
    if found is None:
        raise DeviceError(
            f"AUTH1: no credential with key slot {answer.key_slot.hex().upper()} is known here",
            ReaderStatus.PUBLIC_KEY_NOT_FOUND,
            hint="enrol the credential, or ask for the public key instead of the key slot",
        )
    return found


# ---- on the open channel --------------------------------------------------------------------------------------


def exchange(opened: Opened, request: Exchange) -> Dialogue[ExchangeAnswer]:
    """One EXCHANGE. Raises StatusError, AuthenticationError, WireError."""
    sealed = _there(opened.to_device).seal(request.build())
    data = check((yield _command(Ins.EXCHANGE, sealed)), "EXCHANGE")
    try:
        return ExchangeAnswer.parse(_there(opened.to_reader).open(data))
    except DecodeError as error:
        raise WireError(f"EXCHANGE: {error}") from error


def use_mailbox(opened: Opened, request: MailboxRequest) -> Dialogue[ExchangeAnswer]:
    """One request to the mailbox; its answer's `status` says how it went. Raises as `exchange`."""
    return (yield from exchange(opened, Exchange(mailbox=request.build())))


def finish(opened: Opened, status: int, *, ursk_ready: bool = False) -> Dialogue[None]:
    """Tell the device how it ends: a value of `ReaderStatus`. Raises as `exchange`."""
    yield from exchange(opened, Exchange(status=status, ursk_ready=ursk_ready))


def request_documents(opened: Opened, request: bytes) -> Dialogue[bytes]:
    """The step-up phase: a DeviceRequest, answered by a DeviceResponse; later requests go on in the same channel.

    Selects the step-up AID first if the device says so. From here on the channel is the step-up's. Raises StatusError,
    AuthenticationError, WireError, and PolicyError after the fast phase, which has no key for it.
    """
    if opened.step_up is None and opened.is_fast:
        raise PolicyError("documents need AUTH1 first", hint="authenticate with Plan(always_standard=True)")
    if opened.step_up is not None:
        if opened.signaling & Signaling.SELECT_STEP_UP:
            check((yield Command(0x00, Ins.SELECT, 0x04, 0x00, STEP_UP_AID, 0)), "SELECT of Aliro, step-up")
        reader, device = step_up_keys(opened.step_up)
        opened.to_device, opened.to_reader = Direction(reader, Mode.TO_DEVICE), Direction(device, Mode.TO_READER)
        opened.step_up = None
    sealed = envelope.wrap(_there(opened.to_device).seal(request))
    response = yield _command(Ins.ENVELOPE, sealed)
    try:
        data = check(response, "ENVELOPE")
        return _there(opened.to_reader).open(envelope.unwrap(data))
    except StatusError:
        yield from _tell_status(opened, ReaderStatus.STATUS_WORD)
        raise
    except DecodeError as error:
        yield from _tell_status(opened, ReaderStatus.WRONG_FORMAT)
        raise WireError(f"ENVELOPE: {error}") from error
    except AuthenticationError:
        yield from _tell_status(opened, ReaderStatus.WRONG_CONTENT)
        raise


# ---- helpers --------------------------------------------------------------------------------------------------

_GIVES_UP: Final = ControlFlow(ControlFlow.FAILURE, ControlFlow.NO_INFORMATION).build()


def _command(ins: int, data: bytes) -> Command:
    return Command(CLASSES[ins], ins, 0, 0, data, None if ins == Ins.CONTROL_FLOW else 0)


def _tell(command: Command) -> Dialogue[None]:
    """Say that the transaction is over; whether it is heard does not matter."""
    with contextlib.suppress(LinkError):
        yield command


def _tell_status(opened: Opened, status: int) -> Dialogue[None]:
    sealed = _there(opened.to_device).seal(Exchange(status=status).build())
    yield from _tell(_command(Ins.EXCHANGE, sealed))


def _signed(transaction: Transaction, usage: bytes) -> bytes:
    command, answer = transaction.command, transaction.answer
    return Signed(
        command.reader_identifier,
        x_of(answer.ephemeral),
        x_of(command.ephemeral),
        command.transaction_identifier,
        usage,
    ).build()


def _there(direction: Direction | None) -> Direction:
    if direction is None:
        raise WireError("there is no channel to the device", hint="authenticate first")
    return direction


def _listed(versions: tuple[int, ...]) -> str:
    return ", ".join(f"{version >> 8}.{version & 0xFF}" for version in versions) or "none"
