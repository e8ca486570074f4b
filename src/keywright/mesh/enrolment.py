"""A device becomes a node of a network: provisioner, policy and network database as one endpoint.

The order of writing is what this is for: addresses, device key and NetKey index are in the network's memory before the
provisioning data leave, and the node is in its database when the device said Complete. What was cut in between is there
as `NetworkDatabase.pending`, to be probed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Protocol, TypeAlias, final

import msgspec

from keywright.crypto.ec import EcPublicKey
from keywright.errors import AuthenticationError, KeywrightError, SequenceError, StoreError
from keywright.mesh.bearer import LinkOpened
from keywright.mesh.cbp import Answer, CertificatePolicy, Question, obtain_certificate
from keywright.mesh.certificates import DeviceCertificate, check_time
from keywright.mesh.database.cdb import NodeEntry
from keywright.mesh.messages import ProvisioningData
from keywright.mesh.oob import Method, Value
from keywright.mesh.policy import Policy
from keywright.mesh.provisioner import (
    Authenticated,
    CapabilitiesReceived,
    Ended,
    Provisioned,
    ProvisionerEvent,
    RecordPart,
    RecordsListed,
    ValueShown,
    ValueWanted,
)
from keywright.mesh.record_fetch import answer_in, ask
from keywright.mesh.retrieval import HttpAnswer, HttpGet
from keywright.mesh.session import ProvisionerSession


class Candidate(msgspec.Struct, frozen=True):
    """What is known of a device before it is asked."""

    uuid: bytes
    name: str = ""
    static_oob: bytes = b""
    public_key: EcPublicKey | None = None
    attention_s: int = 5
    oob_information: int | None = None
    """Of its beacon, None if none was seen."""
    uri: bytes = b""
    """URI AD data that it advertises, empty for none."""

    def __repr__(self) -> str:
        return f"<Candidate {self.uuid.hex()}>"


class Enrolled(msgspec.Struct, frozen=True):
    """The device is a node, and in the database."""

    node: NodeEntry
    certificate: DeviceCertificate | None = None
    """What it was accepted by."""


class RetrievalWanted(msgspec.Struct, frozen=True):
    """Its certificates are on a server: do the request, then call `Enrolment.retrieved` or `not_retrieved`."""

    request: HttpGet


class Failed(msgspec.Struct, frozen=True):
    """The device is no node; `may_be_node` if it may have taken the data all the same."""

    error: KeywrightError
    may_be_node: bool


EnrolmentEvent: TypeAlias = ValueShown | ValueWanted | RetrievalWanted | Enrolled | Failed


class Ledger(Protocol):
    """What an enrolment needs of a network's memory; `NetworkDatabase` is one, with these meanings and errors."""

    def promise(
        self,
        uuid: bytes,
        elements: int,
        device_key: bytes,
        net_index: int = 0,
        *,
        certified: tuple[int, int] | None = None,
    ) -> ProvisioningData:
        """The data for a device. Whoever is not durable with it here is before the frames of `outgoing` are sent."""
        ...

    def complete(self, uuid: bytes, *, name: str, timestamp: str, is_secure: bool) -> NodeEntry:
        """The device is a node."""
        ...

    def give_up(self, uuid: bytes) -> None:
        """It took nothing."""
        ...


@final
class Enrolment:
    """Endpoint: one device on one link. Ends with `Enrolled` or `Failed`."""

    def __init__(
        self,
        session: ProvisionerSession,
        database: Ledger,
        candidate: Candidate,
        *,
        policy: Policy,
        timestamp: str,
        net_index: int = 0,
        certificates: CertificatePolicy | None = None,
    ) -> None:
        """timestamp: RFC 3339, for the database; with certificates, as 2026-01-02T03:04:05Z, when they must be valid.

        Raises ValueError for a timestamp in another form where certificates are wanted.
        """
        if certificates is not None:
            check_time(timestamp)
        self.certificate: DeviceCertificate | None = None
        """The certificate of the device, once it is accepted."""
        self._session = session
        self._database = database
        self._candidate = candidate
        self._policy = policy
        self._timestamp = timestamp
        self._net_index = net_index
        self._certificates = certificates
        self._dialogue: Generator[Question, Answer, DeviceCertificate | None] | None = None
        self._is_retrieving = False
        self._is_promised = False
        self._is_secure = False
        self._events: list[EnrolmentEvent] = []

    def enter(self, value: Value, now: float) -> None:
        """The value that the device shows. Raises SequenceError unless asked, ValueError for its form."""
        self._session.provisioner.enter(value, now)

    def retrieved(self, answer: HttpAnswer, now: float) -> None:
        """What came of the request of `RetrievalWanted`. Raises SequenceError unless asked for."""
        self._end_retrieval()
        self._guarded(partial(self._certify, answer, now), now)

    def not_retrieved(self, error: KeywrightError, now: float) -> None:
        """The request of `RetrievalWanted` could not be done. Raises SequenceError unless asked for."""
        self._end_retrieval()
        self._give_up(error, now)

    def receive(self, data: bytes, now: float) -> None:
        """Take one frame of the bearer."""
        self._session.receive(data, now)
        self._turn(now)

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Frames of the bearer to send now."""
        self._turn(now)
        frames = list(self._session.outgoing(now))
        self._turn(now)
        # What the link told only then, as that it is open from the start on GATT, made more to send.
        frames += self._session.outgoing(now)
        self._turn(now)
        return frames

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        return self._session.deadline()

    @property
    def is_over(self) -> bool:
        """Whether it has ended and the link has nothing more to send."""
        return self._session.is_over

    def events(self) -> Sequence[EnrolmentEvent]:
        """What has happened."""
        events, self._events = self._events, []
        return events

    def _turn(self, now: float) -> None:
        for event in self._session.events():
            self._guarded(partial(self._react, event, now), now)

    def _guarded(self, step: Callable[[], None], now: float) -> None:
        """Do a step; what it refuses, of the device or because a memory takes nothing, is the end."""
        try:
            step()
        except KeywrightError as error:
            self._give_up(error, now)

    def _give_up(self, error: KeywrightError, now: float) -> None:
        self._session.give_up(now)
        self._fail(error, may_be_node=self._is_promised)

    def _react(self, event: ProvisionerEvent | LinkOpened, now: float) -> None:
        provisioner = self._session.provisioner
        match event:
            case LinkOpened():
                self._begin(now)
            case RecordsListed() | RecordPart():
                self._certify(answer_in(event), now)
            case CapabilitiesReceived():
                static_oob, key = self._candidate.static_oob, self._device_key()
                policy = self._policy
                if self._certificates is not None and self.certificate is not None:
                    policy = self._certificates.with_certificate(policy)
                choice = policy.choose(event.capabilities, static_oob=static_oob, has_oob_key=key is not None)
                self._is_secure = choice.uses_oob_key or choice.authentication.method != Method.NONE
                provisioner.start(choice, now, static_oob=static_oob, device_key=key)
            case ValueShown() | ValueWanted():
                self._events.append(event)
            case Authenticated():
                data = self._database.promise(
                    self._candidate.uuid,
                    event.elements,
                    event.device_key.reveal(),
                    self._net_index,
                    certified=self.certificate.certified if self.certificate is not None else None,
                )
                self._is_promised = True
                provisioner.provide(data, now)
            case Provisioned():
                node = self._database.complete(
                    self._candidate.uuid,
                    name=self._candidate.name,
                    timestamp=self._timestamp,
                    is_secure=self._is_secure,
                )
                self._events.append(Enrolled(node, self.certificate))
            case Ended():
                # A device that refuses has not taken the data; one that falls silent may have.
                self._fail(event.error, may_be_node=self._is_promised and not event.error_code)
            case _:
                pass

    # ---- certificates -----------------------------------------------------------------------------------------

    def _begin(self, now: float) -> None:
        known = self._candidate
        if self._certificates is None:
            self._session.provisioner.invite(known.attention_s, now)
            return
        self._dialogue = obtain_certificate(
            self._certificates,
            known.uuid,
            at=self._timestamp,
            oob_information=known.oob_information,
            uri=known.uri,
        )
        self._certify(None, now)

    def _certify(self, answer: Answer | None, now: float) -> None:
        """Go on with the dialogue about the certificate; its end is the invitation."""
        if self._dialogue is None:
            return
        provisioner = self._session.provisioner
        try:
            question = next(self._dialogue) if answer is None else self._dialogue.send(answer)
        except StopIteration as stop:
            self.certificate = stop.value
            self._device_key()
            provisioner.invite(self._candidate.attention_s, now)
            return
        if isinstance(question, HttpGet):
            self._is_retrieving = True
            self._events.append(RetrievalWanted(question))
        else:
            ask(provisioner, question, now)

    def _device_key(self) -> EcPublicKey | None:
        """The public key that is known out of band. Raises AuthenticationError if two ways know different ones."""
        known, certified = self._candidate.public_key, self.certificate and self.certificate.public_key
        if known is not None and certified is not None and known != certified:
            raise AuthenticationError("the device's certificate is for another key than the one that was given for it")
        return certified or known

    def _end_retrieval(self) -> None:
        if not self._is_retrieving:
            raise SequenceError("no certificate is waited for")
        self._is_retrieving = False

    # ---- endings ----------------------------------------------------------------------------------------------

    def _fail(self, error: KeywrightError, *, may_be_node: bool) -> None:
        self._is_retrieving = False
        # Without a promise of this session nothing is given up: one of a session before may be all that is known of a
        # device that took its data, is a node since, and answers no Link Open any more.
        if self._is_promised and not may_be_node:
            # A memory that does not take this keeps the addresses reserved, which harms nobody.
            with contextlib.suppress(StoreError):
                self._database.give_up(self._candidate.uuid)
        self._events.append(Failed(error, may_be_node))
