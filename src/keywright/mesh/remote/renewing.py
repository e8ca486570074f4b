"""A node gets another device key, address or composition and stays in the network: the owner's side (MshPRT 3.11.8).

As in an enrolment, what the node may have is in the network's memory before the provisioning data leave. What was cut
is found by `Renewal` records: the node is asked under the new key first, then under the old one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias, final

import msgspec

from keywright.errors import KeywrightError, LinkError, UsageError
from keywright.mesh.bearer import LinkOpened
from keywright.mesh.database.cdb import NodeEntry, uuid_bytes
from keywright.mesh.database.network import NetworkDatabase
from keywright.mesh.enrolment import Candidate, Failed
from keywright.mesh.messages import ProvisioningData
from keywright.mesh.models.configuration_client import Dialogue, Patience, Target, read_composition
from keywright.mesh.network.keyring import Keyring
from keywright.mesh.network.keys import AppKey
from keywright.mesh.network.stack import Stack
from keywright.mesh.oob import Value
from keywright.mesh.policy import Policy
from keywright.mesh.provisioner import (
    Authenticated,
    CapabilitiesReceived,
    Ended,
    Provisioned,
    Provisioner,
    ProvisionerEvent,
    ValueShown,
    ValueWanted,
)
from keywright.mesh.remote.client import RemoteLink, RemoteTiming
from keywright.mesh.remote.messages import Procedure
from keywright.mesh.session import ProvisionerSession

_RENEWAL: Final = "renewal/"


class Renewal(msgspec.Struct, frozen=True):
    """What a node was, or may have been, given."""

    uuid: bytes
    procedure: int
    device_key: bytes
    address: int
    elements: int

    def __repr__(self) -> str:
        return f"<Renewal of {self.uuid.hex()}, procedure {self.procedure}>"


class Renewed(msgspec.Struct, frozen=True):
    """The node said Complete."""

    node: NodeEntry


RenewalEvent: TypeAlias = ValueShown | ValueWanted | Renewed | Failed


def renewal_under_way(database: NetworkDatabase, uuid: bytes) -> Renewal | None:
    """What a node may have been given without having said Complete, None if nothing."""
    kept = database.memory.load(_RENEWAL + uuid.hex())
    return msgspec.msgpack.decode(kept, type=Renewal) if kept else None


def complete_renewal(database: NetworkDatabase, renewal: Renewal, timestamp: str) -> NodeEntry:
    """The node is what it was to become. Raises StoreError."""
    fields: dict[str, object] = {"deviceKey": renewal.device_key.hex().upper()}
    done = {_RENEWAL + renewal.uuid.hex(): None}
    if renewal.procedure != Procedure.DEVICE_KEY:
        entry = next(one for one in database.document["nodes"] if uuid_bytes(one["UUID"]) == renewal.uuid)
        known = {element["index"]: element for element in entry.get("elements", [])}
        # What it is made of has to be read again; models that are still there keep what they use.
        elements = [
            known.get(index, {"index": index, "location": "0000", "models": []}) for index in range(renewal.elements)
        ]
        fields = {**fields, "elements": elements, "configComplete": False}
    if renewal.procedure == Procedure.ADDRESS:
        database.move(renewal.uuid, fields, done, timestamp)
    else:
        nodes = [
            {**node, **fields} if uuid_bytes(node["UUID"]) == renewal.uuid else node
            for node in database.document["nodes"]
        ]
        database.write({"nodes": nodes, "timestamp": timestamp}, done)
    found = database.node(renewal.uuid)
    assert found is not None  # it was written a moment ago
    return found


def find_out(
    database: NetworkDatabase, stack: Stack, uuid: bytes, timestamp: str, patience: Patience
) -> Dialogue[bool]:
    """After a cut: whether the node is what it was to become. Asks under the new key, then under the old one.

    A node takes a new key, address or composition when its link is over. So one that answers under the old key may be
    about to, and what it may have been given is kept, unless it would hear the old key in any case. The dialogue sets
    the stack's keys. Raises UsageError if nothing was under way, LinkError if the node is silent.
    """
    renewal, node = renewal_under_way(database, uuid), database.node(uuid)
    if renewal is None or node is None or node.device_key is None:
        raise UsageError("no renewal of such a node is under way")
    old = AppKey(bytes.fromhex(node.device_key), is_device_key=True)
    new = AppKey(renewal.device_key, is_device_key=True)
    net_index = node.net_keys[0].index if node.net_keys else 0
    ring: Keyring = stack.keyring
    for address, key, is_new in ((renewal.address, new, True), (node.address, old, False)):
        ring.device_keys[address] = key
        try:
            yield from read_composition(Target(address, net_index, patience))
        except LinkError:
            ring.device_keys[node.address] = old
            continue
        if is_new:
            complete_renewal(database, renewal, timestamp)
        elif renewal.procedure == Procedure.DEVICE_KEY:
            database.memory.commit({_RENEWAL + uuid.hex(): None})
        return is_new
    raise LinkError(f"the node at {node.unicast_address} answers under neither key", hint="is it on, and in reach?")


@final
class Renewing:
    """Endpoint: one node and one procedure; frames are network PDUs. Ends with `Renewed` or `Failed`.

    In between, what a person has to carry is told as in an enrolment.
    """

    def __init__(
        self,
        stack: Stack,
        provisioner: Provisioner,
        database: NetworkDatabase,
        candidate: Candidate,
        procedure: int,
        now: float,
        *,
        policy: Policy,
        timestamp: str,
        timing: RemoteTiming | None = None,
        allow_weak: bool = False,
    ) -> None:
        """candidate: the node. procedure: as `messages.Procedure`. Raises UsageError for no node.

        Without `allow_weak`, an OOB public key and an OOB method are needed, as for a device.
        """
        node = database.node(candidate.uuid)
        if node is None:
            raise UsageError("no such node in this network", hint="enrol the device first")
        self._net_index = node.net_keys[0].index if node.net_keys else 0
        link = RemoteLink(stack, node.address, bytes((procedure,)), now, net_index=self._net_index, timing=timing)
        self._node = node
        self._session = ProvisionerSession(provisioner, link)
        self._database = database
        self._candidate = candidate
        self._procedure = procedure
        self._policy = policy if allow_weak else policy.for_remote()
        self._timestamp = timestamp
        self._renewal: Renewal | None = None
        self._events: list[RenewalEvent] = []

    def enter(self, value: Value, now: float) -> None:
        """The value that the node shows. Raises SequenceError unless asked, ValueError for its form."""
        self._session.provisioner.enter(value, now)

    def receive(self, data: bytes, now: float) -> None:
        """Take one network PDU."""
        self._session.receive(data, now)
        self._turn(now)

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Network PDUs to send now."""
        self._turn(now)
        frames = self._session.outgoing(now)
        self._turn(now)
        return frames

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        return self._session.deadline()

    @property
    def is_over(self) -> bool:
        """Whether it has ended and the link has nothing more to send."""
        return self._session.is_over

    def events(self) -> Sequence[RenewalEvent]:
        """What has happened."""
        events, self._events = self._events, []
        return events

    def _turn(self, now: float) -> None:
        for event in self._session.events():
            try:
                self._react(event, now)
            except KeywrightError as error:
                self._session.give_up(now)
                self._events.append(Failed(error, self._renewal is not None))

    def _react(self, event: ProvisionerEvent | LinkOpened, now: float) -> None:
        provisioner, known = self._session.provisioner, self._candidate
        match event:
            case LinkOpened():
                provisioner.invite(0, now)
            case CapabilitiesReceived():
                choice = self._policy.choose(
                    event.capabilities, static_oob=known.static_oob, has_oob_key=known.public_key is not None
                )
                provisioner.start(choice, now, static_oob=known.static_oob, device_key=known.public_key)
            case ValueShown() | ValueWanted():
                self._events.append(event)
            case Authenticated():
                provisioner.provide(self._promise(event.elements, event.device_key.reveal()), now)
            case Provisioned():
                assert self._renewal is not None  # nothing is Provisioned without data
                self._events.append(Renewed(complete_renewal(self._database, self._renewal, self._timestamp)))
            case Ended():
                if self._renewal is not None and event.error_code:
                    # It refused: nothing was taken.
                    self._database.memory.commit({_RENEWAL + known.uuid.hex(): None})
                self._events.append(Failed(event.error, self._renewal is not None and not event.error_code))
            case _:
                pass

    def _promise(self, elements: int, device_key: bytes) -> ProvisioningData:
        """The data, once what the node may become is written."""
        database, uuid, address = self._database, self._candidate.uuid, self._node.address
        if self._procedure == Procedure.ADDRESS:
            address = database.reserve_anew(uuid, elements).first
        self._renewal = Renewal(uuid, self._procedure, device_key, address, elements)
        database.memory.commit({_RENEWAL + uuid.hex(): msgspec.msgpack.encode(self._renewal)})
        return database.data_for(address, self._net_index)
