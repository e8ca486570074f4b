"""The device: a responder over a table, in an applet on an element or in a simulated device.

Every error ends the session: keys are erased, its status word is the answer, SELECT begins anew. A vehicle that is not
known is answered as one that is, in the same form by the same calls of primitives, until its signature is found wrong.

An attempt of owner pairing is counted by SPAKE2+ REQUEST, whose answer is not given before the count is durable: what
VERIFY finds changes nothing about it, and neither does a loss of power.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar, final

import msgspec

from keywright.aliro.credential import Records
from keywright.aliro.exchange import ExchangeAnswer as MailboxAnswer
from keywright.aliro.exchange import MailboxRequest, MailboxStatus
from keywright.aliro.keys import Kpersistent, key_agreement
from keywright.aliro.mailbox import Mailbox
from keywright.aliro.messages import ControlFlow
from keywright.ccc import records as kept
from keywright.ccc import statements
from keywright.ccc.keys import (
    LEVEL,
    PairingKeys,
    PairingPassword,
    Transaction,
    cryptogram,
    fast_keys,
    persistent_key,
    ranging_key,
    scalars,
    volatile_keys,
)
from keywright.ccc.messages import (
    CLASSES,
    DEFAULT_VERSIONS,
    NOT_READY,
    WRONG_P1P2,
    AppletSelected,
    Auth0,
    Auth0Answer,
    Auth1,
    Auth1Answer,
    Exchange,
    ExchangeAnswer,
    FrameworkSelected,
    Ins,
    KeyCreation,
    ScryptParameters,
    SpakeAnswer,
    SpakeEvidence,
    SpakeRequest,
    SpakeVerify,
    versions,
)
from keywright.ccc.profile import (
    APPLET_AID,
    CCC_PUBLIC,
    DEVICE_USAGE,
    FRAMEWORK_AID,
    KEY_CHAIN,
    KEY_CREATION,
    VEHICLE_USAGE,
    Profile,
)
from keywright.ccc.session import Session, State
from keywright.crypto import p256
from keywright.crypto.compare import equal
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.crypto.signing import Signer
from keywright.crypto.spake2plus import Prover
from keywright.errors import AuthenticationError, DecodeError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW
from keywright.scp.scp03.keys import SessionKeys
from keywright.scp.scp03.messaging import CardMessaging

T = TypeVar("T")

LARGEST_MAILBOX: Final = 4096
"""Bytes; what a vehicle may ask for."""
_BY_NAME: Final = (0x04, 0x00)
_LAST_COUNT: Final = 0xFFFFFFFF

TABLE: Final[dict[State, tuple[int, ...]]] = {
    State.IDLE: (Ins.SELECT,),
    State.FRAMEWORK: (Ins.SELECT, Ins.SPAKE2_REQUEST, Ins.CONTROL_FLOW),
    State.REQUESTED: (Ins.SELECT, Ins.SPAKE2_VERIFY, Ins.CONTROL_FLOW),
    State.PAIRING: (Ins.SELECT, Ins.WRITE_DATA, Ins.CONTROL_FLOW),
    State.CREATED: (Ins.SELECT, Ins.GET_DATA, Ins.CONTROL_FLOW),
    State.SELECTED: (Ins.SELECT, Ins.AUTH0, Ins.CONTROL_FLOW),
    # EXCHANGE after AUTH0 is the fast transaction: AUTH0 has opened the channel.
    State.AUTH0: (Ins.SELECT, Ins.AUTH1, Ins.EXCHANGE, Ins.CONTROL_FLOW),
    State.OPEN: (Ins.SELECT, Ins.EXCHANGE, Ins.CONTROL_FLOW),
    State.ATOMIC: (Ins.SELECT, Ins.EXCHANGE),
    State.ENDED: (Ins.SELECT,),
}
"""What is answered where. Any other command is refused with 6985."""

_OF_FRAMEWORK: Final = (State.FRAMEWORK, State.REQUESTED, State.PAIRING, State.CREATED)


@final
class DigitalKey:
    """Handles the commands of one session after the other. It keeps nothing itself: `Session` and `Records` do."""

    def __init__(
        self,
        signer: Callable[[bytes], Signer],
        create: Callable[[], tuple[bytes, EcPublicKey]],
        random: Callable[[int], bytes],
        *,
        applet_versions: tuple[int, ...] = DEFAULT_VERSIONS,
        profile: Profile = CCC_PUBLIC,
    ) -> None:
        """signer: the private key of a name. create: a new key pair; its name and public key. random: so many bytes.

        applet_versions: the highest first.
        """
        self.profile = profile
        self._signer = signer
        self._create = create
        self._random = random
        self._versions = applet_versions

    def begin(self) -> Session:
        """A session in which nothing was selected."""
        return Session()

    def process(self, command: Command, session: Session, records: Records) -> Response:
        """Handle one command, whole as ISO 7816 carries it; any command gets an answer.

        What it writes to `records` is meant to be kept only when the status word is 9000, and before it is answered.
        """
        try:
            return self._run(command, session, records)
        except Refusal as refused:
            sw = refused.sw
        except DecodeError:
            sw = SW.INCORRECT_DATA
        except AuthenticationError:
            sw = SW.SECURITY_STATUS_NOT_SATISFIED
        session.fail()
        return Response(b"", sw)

    def _run(self, command: Command, session: Session, records: Records) -> Response:
        ins = command.ins
        if ins not in CLASSES:
            raise Refusal(SW.INS_NOT_SUPPORTED)
        if command.cla != CLASSES[ins]:
            raise Refusal(SW.CLA_NOT_SUPPORTED)
        if ins not in TABLE[session.state]:
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        if ins in (Ins.WRITE_DATA, Ins.GET_DATA, Ins.EXCHANGE):
            channel = _there(session.channel)
            plain = channel.unwrap(command)
            return channel.wrap(Response(self._protected(plain, session, records)))
        return Response(self._plain(command, session, records))

    def _plain(self, command: Command, session: Session, records: Records) -> bytes:
        ins = command.ins
        if ins == Ins.SELECT:
            return self._select(command, session, records)
        if ins == Ins.AUTH0:
            return self._auth0(command, session, records)
        if ins == Ins.CONTROL_FLOW and session.state in _OF_FRAMEWORK:
            return self._op_control_flow(command, session, records)
        if command.p1 or command.p2:
            raise Refusal(WRONG_P1P2)
        handler = {Ins.SPAKE2_REQUEST: self._request, Ins.SPAKE2_VERIFY: self._verify, Ins.AUTH1: self._auth1}
        return handler.get(ins, self._control_flow)(command.data, session, records)

    def _control_flow(self, data: bytes, session: Session, records: Records) -> bytes:
        del records
        ControlFlow.parse(data)
        session.erase()
        session.state = State.ENDED
        return b""

    def _protected(self, command: Command, session: Session, records: Records) -> bytes:
        p1p2 = command.p1 << 8 | command.p2
        expected = {Ins.WRITE_DATA: KEY_CREATION.value, Ins.GET_DATA: KEY_CHAIN.value}.get(command.ins, 0)
        if p1p2 != expected:
            raise Refusal(WRONG_P1P2)
        match command.ins:
            case Ins.WRITE_DATA:
                return self._create_key(command.data, session, records)
            case Ins.GET_DATA:
                if command.data:
                    raise Refusal(SW.INCORRECT_DATA)
                return _there(session.key).chain
        return self._exchange(command.data, session, records)

    # ---- SELECT ---------------------------------------------------------------------------------------------

    def _select(self, command: Command, session: Session, records: Records) -> bytes:
        aid = command.data
        if (command.p1, command.p2) != _BY_NAME:
            raise Refusal(WRONG_P1P2)
        if aid not in (FRAMEWORK_AID.value, APPLET_AID.value):
            raise Refusal(SW.NOT_FOUND)
        session.begin()
        listed = b"".join(version.to_bytes(2) for version in self._versions)
        if aid == APPLET_AID.value:
            session.state = State.SELECTED
            return AppletSelected(listed).build()
        is_ready = kept.read_pairing(records) is not None
        status = FrameworkSelected.PASSWORD_ENTERED if is_ready else FrameworkSelected.NOT_PAIRING
        session.state = State.FRAMEWORK
        return FrameworkSelected(DEFAULT_VERSIONS[0].to_bytes(2), listed, status).build()

    # ---- owner pairing --------------------------------------------------------------------------------------

    def _request(self, data: bytes, session: Session, records: Records) -> bytes:
        request = SpakeRequest.parse(data)
        pairing = kept.read_pairing(records)
        if pairing is None:
            raise Refusal(NOT_READY)
        if request.version not in DEFAULT_VERSIONS or versions(request.applet)[0] not in self._versions:
            raise Refusal(SW.INCORRECT_DATA)
        self._check_cost(request.scrypt)
        records.write("pairing", msgspec.structs.replace(pairing, left=pairing.left - 1).build())
        password = PairingPassword(pairing.password.decode())
        try:
            w0, w1 = scalars(password, request.scrypt, self.profile)
        except ValueError:
            raise Refusal(SW.REFERENCED_DATA_NOT_FOUND) from None
        session.request = request
        session.prover = Prover(w0, w1, EcPrivateKey.draw(p256.CURVE, self._random))
        session.state = State.REQUESTED
        return SpakeAnswer(session.prover.share).build()

    def _check_cost(self, asked: ScryptParameters) -> None:
        least, most = self.profile.least_scrypt, self.profile.most_scrypt
        if not (
            least.n <= asked.cost <= most.n
            and least.r <= asked.block_size <= most.r
            and least.p <= asked.parallelization <= most.p
        ):
            raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)

    def _verify(self, data: bytes, session: Session, records: Records) -> bytes:
        del records  # the attempt was counted by `_request`
        command = SpakeVerify.parse(data)
        try:
            agreed = _there(session.prover).finish(command.y)
        except DecodeError:
            raise Refusal(SW.REFERENCED_DATA_NOT_FOUND) from None
        session.prover = None
        keys = PairingKeys(agreed, _there(session.request), self.profile)
        if not equal(keys.vehicle_evidence, command.evidence):
            raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED)
        session.channel = self._channel(keys.channel)
        session.state = State.PAIRING
        return SpakeEvidence(keys.device_evidence).build()

    def _create_key(self, data: bytes, session: Session, records: Records) -> bytes:
        creation = KeyCreation.parse(data)
        p256.check(creation.vehicle_key)
        too_large = max(creation.private_size, creation.confidential_size) > LARGEST_MAILBOX
        if creation.brand != _there(session.request).brand or too_large:
            raise Refusal(SW.INCORRECT_DATA)
        session.number, session.key = self.make_key(records, creation, kept.Role.OWNER)
        session.state = State.CREATED
        return b""

    def make_key(self, records: Records, creation: KeyCreation, role: int) -> tuple[int, kept.KeyRecord]:
        """Make a key for a vehicle, in place of the one there may be; its number and record.

        Refuses with 6A84 when there is no room, with 6985 when the element has no instance key.
        """
        number = kept.number_for(records, creation.vehicle)
        if number is None:
            raise Refusal(SW.NOT_ENOUGH_MEMORY)
        instance = kept.InstanceRecord.parse(_there(records.read("instance")))
        name, public = self._create()
        signer = self._signer(instance.key)
        endpoint = statements.Statement(
            kind=statements.Kind.ENDPOINT,
            issuer=statements.key_identifier(signer.public),
            subject=public.point,
            vehicle=creation.vehicle,
            slot=creation.slot,
        )
        key = kept.KeyRecord(
            key=name,
            public_key=public.point,
            vehicle=creation.vehicle,
            vehicle_key=creation.vehicle_key,
            slot=creation.slot,
            role=role,
            chain=statements.Chain(instance.statement, statements.sign(signer, endpoint)).build(),
        )
        kept.keep_key(records, number, key, creation.private_size, creation.confidential_size)
        return number, key

    def _op_control_flow(self, command: Command, session: Session, records: Records) -> bytes:
        if command.data:
            raise Refusal(SW.INCORRECT_DATA)
        is_end = (command.p1, command.p2) == (self.profile.end_p1, 0) and session.state is State.CREATED
        if is_end:
            kept.cancel_pairing(records)
        elif command.p1 != self.profile.abort_p1:
            raise Refusal(WRONG_P1P2)
        session.erase()
        session.state = State.ENDED
        return b""

    # ---- AUTH0 and AUTH1 ------------------------------------------------------------------------------------

    def _auth0(self, header: Command, session: Session, records: Records) -> bytes:
        if header.p2 or header.p1 not in (0, self.profile.fast):
            raise Refusal(WRONG_P1P2)
        command = Auth0.parse(header.data)
        if command.version not in self._versions:
            raise Refusal(SW.INCORRECT_DATA)
        p256.check(command.ephemeral)
        session.ephemeral = ephemeral = EcPrivateKey.draw(p256.CURVE, self._random)
        found = kept.find_key(records, command.vehicle)
        if found is not None:
            session.number, session.key = found
        answer = Auth0Answer(ephemeral.public.point)
        session.transaction = Transaction(header.p1, command, answer, self.profile)
        session.state = State.AUTH0
        if header.p1:
            answer = msgspec.structs.replace(answer, cryptogram=self._fast(session, records))
        return answer.build()

    def _fast(self, session: Session, records: Records) -> bytes:
        """The cryptogram of the Kpersistent for this vehicle; of a random one, in the same steps, if there is none."""
        known = None if session.number is None else records.read(f"persistent/{session.number}")
        kpersistent = Kpersistent(self._random(32) if known is None else known)
        transaction = _there(session.transaction)
        session.channel = self._channel(fast_keys(kpersistent, transaction))
        session.ursk = ranging_key(kpersistent, transaction)
        return cryptogram(kpersistent, transaction)

    def _auth1(self, data: bytes, session: Session, records: Records) -> bytes:
        request = Auth1.parse(data)
        transaction, ephemeral, key = _there(session.transaction), _there(session.ephemeral), session.key
        vehicle_key = p256.check(ephemeral.public.point if key is None else key.vehicle_key)
        vehicle_key.verify(request.signature, transaction.signed(VEHICLE_USAGE.value))
        if key is None or session.number is None:
            raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED)
        shared = ephemeral.agree(p256.check(transaction.command.ephemeral))
        kdh = key_agreement(shared, transaction.command.transaction_identifier)
        number, counter = session.number, min(key.counter + 1, _LAST_COUNT)
        session.key = key = msgspec.structs.replace(key, counter=counter)
        records.write(f"key/{number}", key.build())
        records.write(f"persistent/{number}", persistent_key(kdh, transaction).reveal())
        session.channel = channel = self._channel(volatile_keys(kdh, transaction))
        session.ursk = ranging_key(kdh, transaction)
        session.ephemeral = None
        session.state = State.OPEN
        answer = Auth1Answer(
            key.slot,
            self._signer(key.key).sign(transaction.signed(DEVICE_USAGE.value)),
            counter.to_bytes(4) if self.profile.counts else None,
        )
        return channel.wrap(Response(answer.build())).data

    # ---- EXCHANGE -------------------------------------------------------------------------------------------

    def _exchange(self, data: bytes, session: Session, records: Records) -> bytes:
        request = Exchange.parse(data)
        answer = ExchangeAnswer(
            self._mailbox("private", request.private, session, records),
            self._mailbox("confidential", request.confidential, session, records),
        ).build()
        session.ursk_ready = session.ursk_ready or request.ursk_ready
        if request.status is not None:
            session.erase()
            session.status = request.status
            session.state = State.ENDED
        else:
            session.state = State.ATOMIC if session.is_atomic else State.OPEN
        return answer

    def _mailbox(self, kind: str, data: bytes | None, session: Session, records: Records) -> bytes | None:
        if data is None:
            return None
        name = f"{kind}/{session.number}"
        try:
            request = MailboxRequest.parse(data)
        except DecodeError:
            session.mailboxes.pop(name, None)
            return MailboxAnswer(status=MailboxStatus.MALFORMED).build()
        if name not in session.mailboxes:
            session.mailboxes[name] = Mailbox(records.read(name) or b"")
        mailbox = session.mailboxes[name]
        before = mailbox.kept
        answer = mailbox.run(request)
        if mailbox.kept != before:
            records.write(name, mailbox.kept)
        return answer.build()

    def _channel(self, keys: SessionKeys) -> CardMessaging:
        return CardMessaging(keys, self.profile.mac_length, LEVEL, (LEVEL,))


def _there(value: T | None) -> T:
    """What the state says is there."""
    if value is None:
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    return value
