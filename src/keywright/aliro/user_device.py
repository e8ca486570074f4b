"""The user device: a responder over a table, in an applet on an element or in a simulated device (Aliro 1.0 chapter 8).

Every error ends the transaction: keys are erased and its status word is the answer. A reader that is not known is
answered as one that is: the same form, the same sequence of primitive calls, until its signature is found wrong, and
then with the same status word as a known reader whose signature is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeGuard, TypeVar, final

import msgspec

from keywright.aliro import certificates, envelope
from keywright.aliro.credential import (
    PersistentRecord,
    Records,
    find_credential,
    keep_persistent,
    read_persistent,
)
from keywright.aliro.documents.document import Document
from keywright.aliro.exchange import LONGEST_NOTICE, Exchange, ExchangeAnswer, MailboxRequest, MailboxStatus
from keywright.aliro.keys import (
    CURVE,
    Direction,
    Kpersistent,
    Mode,
    Transaction,
    fast_keys,
    key_agreement,
    persistent_key,
    seal_cryptogram,
    step_up_keys,
    volatile_keys,
    x_of,
)
from keywright.aliro.mailbox import Mailbox
from keywright.aliro.messages import (
    CLASSES,
    EXPEDITED_AID,
    POLICIES,
    STEP_UP_AID,
    VENDOR_BYTES,
    Auth0,
    Auth0Answer,
    Auth1,
    Auth1Answer,
    ControlFlow,
    ExtendedLength,
    FastStatus,
    Ins,
    Policy,
    Proprietary,
    Signaling,
    Signed,
    Usage,
    selected,
)
from keywright.aliro.profile import DEFAULT, V1_0, Interface, Profile
from keywright.aliro.session import Session, State, Survivors
from keywright.codec.ber import item
from keywright.crypto.aes import AesKey
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.crypto.signing import Signer
from keywright.errors import AuthenticationError, DecodeError, SequenceError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW

T = TypeVar("T")

NOT_ALLOWED: Final = 0x6900
"""What every command but EXCHANGE is answered while an atomic session of the mailbox is open."""
_NO_TIME: Final = bytes(20)
_ANSWERS: Final = frozenset((Ins.AUTH0, Ins.LOAD_CERT, Ins.AUTH1, Ins.EXCHANGE, Ins.ENVELOPE))
"""Commands that have Le."""

TABLE: Final[dict[State, tuple[int, ...]]] = {
    State.IDLE: (),
    State.SELECTED: (Ins.AUTH0, Ins.CONTROL_FLOW),
    # EXCHANGE after AUTH0 is the fast phase: AUTH0 has opened the channel.
    State.AUTH0: (Ins.LOAD_CERT, Ins.AUTH1, Ins.EXCHANGE, Ins.CONTROL_FLOW),
    State.LOADED: (Ins.AUTH1, Ins.CONTROL_FLOW),
    State.OPEN: (Ins.EXCHANGE, Ins.ENVELOPE, Ins.CONTROL_FLOW),
    State.ATOMIC: (Ins.EXCHANGE,),
    State.STEP_UP_SELECTED: (Ins.ENVELOPE, Ins.CONTROL_FLOW),
    State.STEP_UP: (Ins.ENVELOPE, Ins.EXCHANGE, Ins.CONTROL_FLOW),
    State.ENDED: (),
}
"""What is answered where. Any other command is refused with 6985, in an atomic session with 6900."""


class Settings(msgspec.Struct, frozen=True):
    """What a user device says of itself, and how it decides."""

    versions: tuple[int, ...] = (V1_0,)
    """The highest first."""
    extended: tuple[int, int] | None = None
    """Longest command and answer APDU, bytes, if extended length is announced."""
    vendor: bytes | None = None
    """Value of B3 in the answer to SELECT."""
    auth0_vendor: bytes | None = None
    """Value of B2 in the answer to AUTH0."""
    interface: Interface = Interface.NFC
    profile: Profile = DEFAULT

    def proprietary(self) -> bytes:
        """The complete TLV A5."""
        limits = None if self.extended is None else ExtendedLength(tuple(size.to_bytes(2) for size in self.extended))
        versions = b"".join(version.to_bytes(2) for version in self.versions)
        return item(Proprietary.TAG, Proprietary(0, versions, limits, self.vendor).build())


@final
class UserDevice:
    """Handles the commands of one transaction after the other. It keeps nothing itself: `Session` and `Records` do."""

    def __init__(
        self,
        settings: Settings,
        signer: Callable[[bytes], Signer],
        random: Callable[[int], bytes],
        *,
        user_is_authenticated: Callable[[], bool] = lambda: False,
    ) -> None:
        """signer: the private key of a `CredentialRecord.key`. random: so many bytes, unpredictable.

        user_is_authenticated: whether the holder has just shown to be there (button, finger, code).
        """
        self.settings = settings
        self._proprietary = settings.proprietary()
        self._signer = signer
        self._random = random
        self._user_is_authenticated = user_is_authenticated

    # ---- SELECT ---------------------------------------------------------------------------------------------

    def select(self, aid: bytes, session: Session) -> bytes:
        """SELECT of one of the two AIDs; the answer's data. Refuses with 6A82 for another AID."""
        if aid == STEP_UP_AID:
            step_up, number, survivors = session.step_up, session.number, session.survivors
            ursk_ready = session.ursk_ready
            session.begin()
            if step_up is not None:
                session.step_up, session.number, session.survivors = step_up, number, survivors
                session.ursk_ready = ursk_ready
                session.state = State.STEP_UP_SELECTED
            return selected(aid)
        if aid != EXPEDITED_AID:
            session.erase()
            raise Refusal(SW.NOT_FOUND)
        session.begin()
        session.proprietary = self._proprietary
        session.state = State.SELECTED
        return selected(aid, self._proprietary[2:])

    def process(
        self, command: Command, session: Session, records: Records, signer: Callable[[bytes], Signer] | None = None
    ) -> Response:
        """Handle one command, whole and in the clear as ISO 7816 carries it; any command gets an answer.

        What it writes to `records` is meant to be kept only when the status word is 9000; if it cannot be kept, erase
        the session. signer: for this command, in place of that of the device.
        """
        try:
            return Response(self._run(command, session, records, signer or self._signer))
        except Refusal as refused:
            sw = refused.sw
        except DecodeError:
            sw = SW.INCORRECT_DATA
        except AuthenticationError:
            sw = SW.SECURITY_STATUS_NOT_SATISFIED
        except SequenceError:
            sw = SW.CONDITIONS_NOT_SATISFIED
        session.erase()
        return Response(b"", sw)

    def _check(self, command: Command, session: Session) -> None:
        ins = command.ins
        if ins not in CLASSES or ins == Ins.SELECT:
            raise Refusal(SW.INS_NOT_SUPPORTED)
        if command.cla != CLASSES[ins]:
            raise Refusal(SW.CLA_NOT_SUPPORTED)
        if command.p1 or command.p2:
            raise Refusal(SW.INCORRECT_P1P2)
        if command.le is None and ins in _ANSWERS and self.settings.profile.demands_le:
            raise Refusal(SW.WRONG_LENGTH)
        if ins not in TABLE[session.state]:
            raise Refusal(NOT_ALLOWED if session.state is State.ATOMIC else SW.CONDITIONS_NOT_SATISFIED)

    def _run(self, command: Command, session: Session, records: Records, signer: Callable[[bytes], Signer]) -> bytes:
        self._check(command, session)
        match command.ins:
            case Ins.AUTH0:
                return self._auth0(command.data, session, records)
            case Ins.LOAD_CERT:
                return self._load_cert(command.data, session)
            case Ins.AUTH1:
                return self._auth1(command.data, session, records, signer)
            case Ins.EXCHANGE:
                return self._exchange(command.data, session, records)
            case Ins.ENVELOPE:
                return self._envelope(command.data, session, records)
            case _:
                return self._control_flow(command.data, session)

    # ---- AUTH0 ----------------------------------------------------------------------------------------------

    def _auth0(self, data: bytes, session: Session, records: Records) -> bytes:
        command = Auth0.parse(data)
        if command.version not in self.settings.versions or command.policy not in POLICIES:
            raise Refusal(SW.INCORRECT_DATA)
        if command.vendor is not None and len(command.vendor) > VENDOR_BYTES:
            raise Refusal(SW.INCORRECT_DATA)
        if command.policy == Policy.FORCE_USER_AUTHENTICATION and not self._user_is_authenticated():
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        EcPublicKey.from_point(CURVE, command.ephemeral)
        session.command = command
        session.ephemeral = ephemeral = EcPrivateKey.draw(CURVE, self._random)
        session.answer = Auth0Answer(ephemeral.public.point, vendor=self.settings.auth0_vendor)
        found = find_credential(records, command.reader_identifier[:16])
        if found is not None:
            session.number, session.credential, session.group_key = found
            session.signaling = self._signaling(session, records)
        if command.parameters & Auth0.FAST:
            cryptogram = self._cryptogram(session, records)
            session.answer = msgspec.structs.replace(session.answer, cryptogram=cryptogram)
        session.state = State.AUTH0
        return session.answer.build()

    def _cryptogram(self, session: Session, records: Records) -> bytes:
        """Of the Kpersistent for this reader; of a random one, in the same steps, when there is none."""
        command, credential = _there(session.command), session.credential
        kpersistent, group_key_x = Kpersistent(self._random(32)), x_of(command.ephemeral)
        credential_x = x_of(_there(session.answer).ephemeral)
        record = read_persistent(records, command.reader_identifier)
        if credential is not None and record is not None and record.credential == bytes((_there(session.number),)):
            kpersistent, group_key_x = Kpersistent(record.key), record.group_key_x
            credential_x = x_of(credential.public_key)
        keys = fast_keys(kpersistent, self._transaction(session, group_key_x), credential_x)
        self._open_channel(session, keys.reader, keys.device)
        session.survivors = Survivors(keys.ble, keys.ursk)
        signed = (None, None) if credential is None else (credential.credential_signed, credential.revocation_signed)
        status = FastStatus(session.signaling, signed[0] or _NO_TIME, signed[1] or _NO_TIME)
        return seal_cryptogram(keys.cryptogram, status)

    # ---- LOAD CERT and AUTH1 --------------------------------------------------------------------------------

    def _load_cert(self, data: bytes, session: Session) -> bytes:
        # Whether it is good shows at AUTH1: an answer here would tell who knows the reader group.
        certificates.parse(data)
        session.certificate = data
        session.state = State.LOADED
        return b""

    def _auth1(self, data: bytes, session: Session, records: Records, signer: Callable[[bytes], Signer]) -> bytes:
        request = Auth1.parse(data)
        if request.certificate is not None and session.certificate is not None:
            raise Refusal(SW.INCORRECT_DATA)
        command, answer, ephemeral = _there(session.command), _there(session.answer), _there(session.ephemeral)
        certificate = request.certificate or session.certificate
        group_key = EcPublicKey.from_point(CURVE, session.group_key or answer.ephemeral)
        reader_key = group_key
        if certificate is not None:
            reader_key = certificates.reader_key(certificate, group_key) or ephemeral.public
        reader_key.verify(request.signature, _signed(session, Usage.READER).build())
        if session.credential is None:
            raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED)
        credential, number = session.credential, _there(session.number)
        if find_credential(records, command.reader_identifier[:16]) != (number, credential, session.group_key):
            # Written anew over another channel since AUTH0: its kept keys were forgotten, and none may follow.
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        kdh = key_agreement(
            ephemeral.agree(EcPublicKey.from_point(CURVE, command.ephemeral)), command.transaction_identifier
        )
        salt_key = group_key if self.settings.profile.salt_has_issuer_key else reader_key
        transaction = self._transaction(session, x_of(salt_key.point))
        keys = volatile_keys(kdh, transaction)
        public_key = EcPublicKey.from_point(CURVE, credential.public_key)
        kpersistent = persistent_key(kdh, transaction, public_key)
        record = PersistentRecord(bytes((number,)), kpersistent.reveal(), transaction.group_key_x)
        keep_persistent(records, command.reader_identifier, record)
        self._open_channel(session, keys.reader, keys.device)
        session.step_up, session.survivors = keys.step_up, Survivors(keys.ble, keys.ursk)
        session.state = State.OPEN
        signature = signer(credential.key).sign(_signed(session, Usage.DEVICE).build())
        return _there(session.to_reader).seal(self._answer(request, signature, session, records).build())

    def _answer(self, request: Auth1, signature: bytes, session: Session, records: Records) -> Auth1Answer:
        credential, number = _there(session.credential), _there(session.number)
        wants_key = bool(request.parameters & Auth1.PUBLIC_KEY)
        given = None
        if credential.given_mailbox is not None:
            offset, size = int.from_bytes(credential.given_mailbox[:2]), int.from_bytes(credential.given_mailbox[2:])
            given = (records.read(f"mailbox/{number}") or b"")[offset : offset + size]
        return Auth1Answer(
            key_slot=None if wants_key else certificates.key_slot(credential.public_key),
            public_key=credential.public_key if wants_key else None,
            signature=signature,
            mailbox=given,
            signaling=session.signaling.to_bytes(2)[-self.settings.profile.signaling_bytes :],
            credential_signed=credential.credential_signed,
            revocation_signed=credential.revocation_signed,
        )

    # ---- EXCHANGE -------------------------------------------------------------------------------------------

    def _exchange(self, data: bytes, session: Session, records: Records) -> bytes:
        if session.from_reader is None:
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        if session.state is State.AUTH0 and not data:
            # Nothing would prove that this reader has the keys of the fast phase.
            raise Refusal(SW.INCORRECT_DATA)
        request = Exchange.parse(session.from_reader.open(data))
        if request.notice is not None and len(request.notice) > LONGEST_NOTICE:
            raise Refusal(SW.INCORRECT_DATA)
        if request.update_document is not None:
            raise Refusal(SW.FUNCTION_NOT_SUPPORTED)
        session.state = session.channel
        answer = ExchangeAnswer() if request.mailbox is None else self._mailbox(request.mailbox, session, records)
        session.ursk_ready = session.ursk_ready or request.ursk_ready
        sealed = _there(session.to_reader).seal(answer.build())
        if request.status is not None:
            session.end(request.status)
        elif session.mailbox is not None and session.mailbox.is_atomic:
            session.state = State.ATOMIC
        return sealed

    def _mailbox(self, data: bytes, session: Session, records: Records) -> ExchangeAnswer:
        try:
            request = MailboxRequest.parse(data)
        except DecodeError:
            session.mailbox = None
            return ExchangeAnswer(status=MailboxStatus.MALFORMED)
        name = f"mailbox/{session.number}"
        content = records.read(name) or b""
        if session.mailbox is None or not session.mailbox.is_atomic:
            session.mailbox = Mailbox(content)
        before = session.mailbox.kept
        if before != content:  # written over another channel while the atomic session was open
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        answer = session.mailbox.run(request)
        if session.mailbox.kept != before:
            records.write(name, session.mailbox.kept)
        return answer

    # ---- step-up and the end --------------------------------------------------------------------------------

    def _envelope(self, data: bytes, session: Session, records: Records) -> bytes:
        if session.state is not State.STEP_UP:
            self._begin_step_up(session)
        sealed = envelope.unwrap(data)
        request = _there(session.from_reader).open(sealed)
        number = _there(session.number)
        documents = [records.read(f"{kind}/{number}") for kind in ("access", "revocation")]
        answer = envelope.answer_request(request, [document for document in documents if _is_readable(document)])
        return envelope.wrap(_there(session.to_reader).seal(answer), bare=self.settings.profile.raw_step_up)

    def _begin_step_up(self, session: Session) -> None:
        if session.step_up is None or (session.state is State.OPEN and session.signaling & Signaling.SELECT_STEP_UP):
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        reader, device = step_up_keys(session.step_up)
        # Used up: a second beginning would count from 1 again, under the same keys.
        session.step_up = None
        session.from_reader = Direction(reader, Mode.TO_DEVICE)
        session.to_reader = Direction(device, Mode.TO_READER)
        session.mailbox = None
        session.state = session.channel = State.STEP_UP

    def _control_flow(self, data: bytes, session: Session) -> bytes:
        ControlFlow.parse(data)
        session.end(None)
        return b""

    # ---- what several use -----------------------------------------------------------------------------------

    def _transaction(self, session: Session, group_key_x: bytes) -> Transaction:
        return Transaction(
            group_key_x,
            self.settings.interface,
            session.proprietary,
            _there(session.command),
            _there(session.answer),
            self.settings.profile,
        )

    def _open_channel(self, session: Session, reader: AesKey, device: AesKey) -> None:
        profile = self.settings.profile
        last, seals_empty = profile.expedited_limit, profile.seals_empty
        session.from_reader = Direction(reader, Mode.TO_DEVICE, last=last, seals_empty=seals_empty)
        session.to_reader = Direction(device, Mode.TO_READER, last=last, seals_empty=seals_empty)

    def _signaling(self, session: Session, records: Records) -> int:
        number, bits = session.number, _there(session.credential).signaling
        if records.read(f"access/{number}") is not None:
            bits |= Signaling.ACCESS_DOCUMENT
        if records.read(f"revocation/{number}") is not None:
            bits |= Signaling.REVOCATION_DOCUMENT
        mailbox = records.read(f"mailbox/{number}")
        if mailbox:
            bits |= Signaling.MAILBOX_READ | Signaling.MAILBOX_WRITE
            bits |= Signaling.MAILBOX_NOT_EMPTY if any(mailbox) else 0
        return bits


def _signed(session: Session, usage: bytes) -> Signed:
    command, answer = _there(session.command), _there(session.answer)
    return Signed(
        command.reader_identifier,
        x_of(answer.ephemeral),
        x_of(command.ephemeral),
        command.transaction_identifier,
        usage,
    )


def _is_readable(document: bytes | None) -> TypeGuard[bytes]:
    """Whether it can be shown; one that is damaged is not, so that the other one still is."""
    try:
        return document is not None and bool(Document.parse(document))
    except DecodeError:
        return False


def _there(value: T | None) -> T:
    """What the state says is there."""
    if value is None:
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    return value
