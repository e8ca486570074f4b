"""A device becomes a node of a network: provisioner, policy and network database as one endpoint.

The order of writing is what this is for: addresses, device key and NetKey index are in the network's memory before the
provisioning data leave, and the node is in its database when the device said Complete. What was cut in between is there
as `NetworkDatabase.pending`, to be probed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TypeAlias, final

import msgspec

from keywright.crypto.ec import EcPublicKey
from keywright.errors import KeywrightError, StoreError
from keywright.mesh.bearer import LinkOpened
from keywright.mesh.database.cdb import NodeEntry
from keywright.mesh.database.network import NetworkDatabase
from keywright.mesh.oob import Method, Value
from keywright.mesh.policy import Policy
from keywright.mesh.provisioner import (
    Authenticated,
    CapabilitiesReceived,
    Ended,
    Provisioned,
    ProvisionerEvent,
    ValueShown,
    ValueWanted,
)
from keywright.mesh.session import ProvisionerSession


class Candidate(msgspec.Struct, frozen=True):
    """What is known of a device before it is asked."""

    uuid: bytes
    name: str = ""
    static_oob: bytes = b""
    public_key: EcPublicKey | None = None
    attention_s: int = 5

    def __repr__(self) -> str:
        return f"<Candidate {self.uuid.hex()}>"


class Enrolled(msgspec.Struct, frozen=True):
    """The device is a node, and in the database."""

    node: NodeEntry


class Failed(msgspec.Struct, frozen=True):
    """The device is no node; `may_be_node` if it may have taken the data all the same."""

    error: KeywrightError
    may_be_node: bool


EnrolmentEvent: TypeAlias = ValueShown | ValueWanted | Enrolled | Failed


@final
class Enrolment:
    """Endpoint: one device on one link. Ends with `Enrolled` or `Failed`."""

    def __init__(
        self,
        session: ProvisionerSession,
        database: NetworkDatabase,
        candidate: Candidate,
        *,
        policy: Policy,
        timestamp: str,
        net_index: int = 0,
    ) -> None:
        """timestamp: RFC 3339, for the database."""
        self._session = session
        self._database = database
        self._candidate = candidate
        self._policy = policy
        self._timestamp = timestamp
        self._net_index = net_index
        self._is_promised = False
        self._is_secure = False
        self._events: list[EnrolmentEvent] = []

    def enter(self, value: Value, now: float) -> None:
        """The value that the device shows. Raises SequenceError unless asked, ValueError for its form."""
        self._session.provisioner.enter(value, now)

    def receive(self, data: bytes, now: float) -> None:
        """Take one frame of the bearer."""
        self._session.receive(data, now)
        self._turn(now)

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Frames of the bearer to send now."""
        self._turn(now)
        frames = self._session.outgoing(now)
        self._turn(now)
        return frames

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        return self._session.deadline()

    def events(self) -> Sequence[EnrolmentEvent]:
        """What has happened."""
        events, self._events = self._events, []
        return events

    def _turn(self, now: float) -> None:
        for event in self._session.events():
            try:
                self._react(event, now)
            except KeywrightError as error:
                # Our own refusal: of what the device offers, or of a memory that takes nothing.
                self._session.give_up(now)
                self._fail(error, may_be_node=self._is_promised)

    def _react(self, event: ProvisionerEvent | LinkOpened, now: float) -> None:
        provisioner = self._session.provisioner
        match event:
            case LinkOpened():
                provisioner.invite(self._candidate.attention_s, now)
            case CapabilitiesReceived():
                known = self._candidate
                choice = self._policy.choose(
                    event.capabilities, static_oob=known.static_oob, has_oob_key=known.public_key is not None
                )
                self._is_secure = choice.uses_oob_key or choice.authentication.method != Method.NONE
                provisioner.start(choice, now, static_oob=known.static_oob, device_key=known.public_key)
            case ValueShown() | ValueWanted():
                self._events.append(event)
            case Authenticated():
                data = self._database.promise(
                    self._candidate.uuid, event.elements, event.device_key.reveal(), self._net_index
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
                self._events.append(Enrolled(node))
            case Ended():
                # A device that refuses has not taken the data; one that falls silent may have.
                self._fail(event.error, may_be_node=self._is_promised and not event.error_code)
            case _:
                pass

    def _fail(self, error: KeywrightError, *, may_be_node: bool) -> None:
        if not may_be_node:
            # A memory that does not take this keeps the addresses reserved, which harms nobody.
            with contextlib.suppress(StoreError):
                self._database.give_up(self._candidate.uuid)
        self._events.append(Failed(error, may_be_node))
