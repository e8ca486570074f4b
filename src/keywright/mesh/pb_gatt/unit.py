"""A unit behind GATT: the Mesh Provisioning Service while it is a device, the Mesh Proxy Service as a node (MshPRT 7).

Endpoint: frames are the values written to Data In and notified by Data Out. A proxy client reaches this node, and what
the node sends reaches the client if its filter lets it pass; nothing is relayed to others.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Final, final

from keywright.errors import DecodeError, KeywrightError, WireError
from keywright.mesh.advertising import COMPLETE_UUID16, SERVICE_DATA_UUID16, build_ad
from keywright.mesh.beacons import ServiceData, secure_network
from keywright.mesh.device import Provisioned
from keywright.mesh.identities import PROVISIONING_UUID, PROXY_UUID, network_identity
from keywright.mesh.network.beaconing import network_state
from keywright.mesh.network.pdu import NetworkPdu, open_network, sent_under
from keywright.mesh.node import Node, WasReset
from keywright.mesh.pb_gatt.configuration import ProxyFilter, open_configuration, seal_configuration
from keywright.mesh.pb_gatt.link import PbGattLink
from keywright.mesh.pb_gatt.messages import (
    MESH_BEACON,
    NETWORK_PDU,
    PROVISIONING_SERVICE,
    PROXY_CONFIGURATION,
    PROXY_SERVICE,
    Service,
)
from keywright.mesh.pb_gatt.sar import ProxySar
from keywright.mesh.session import earliest
from keywright.mesh.unit import Unit, UnitEvent

LEAVE_S: Final = 5.0
"""How long a device that was provisioned, or a node that was reset, leaves the client to disconnect. No clause says."""
_PROXY_KINDS: Final = (NETWORK_PDU, MESH_BEACON, PROXY_CONFIGURATION)


@final
class GattUnit:
    """Endpoint: the server's end of a GATT connection to a unit, over many connections one after the other."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self._link: PbGattLink | None = None
        self._sar: ProxySar | None = None
        self._filter = ProxyFilter()
        self._configured: dict[int, tuple[int, int]] = {}
        self._values: list[bytes] = []
        self._leave_at: float | None = None
        self._is_closed = False
        self._events: list[UnitEvent] = []

    # ---- what a client finds ----------------------------------------------------------------------------------

    @property
    def pipe(self) -> Service:
        """The one service that the unit shows now; it may change between connections alone."""
        return PROVISIONING_SERVICE if self.unit.node is None else PROXY_SERVICE

    @property
    def advertising(self) -> Sequence[bytes]:
        """AD structures of its connectable advertisements (MshPRT 7.1.2.2.1, 7.2.2.2)."""
        node = self.unit.node
        if node is None:
            uuid, content = PROVISIONING_UUID, ServiceData(self.unit.design.uuid, self.unit.oob_information).build()
        else:
            first = next(iter(node.stack.keyring.subnets.values()))
            uuid, content = PROXY_UUID, network_identity(first.sending).build()
        return (build_ad(COMPLETE_UUID16, uuid), build_ad(SERVICE_DATA_UUID16, uuid + content))

    # ---- the connection ---------------------------------------------------------------------------------------

    @property
    def is_closed(self) -> bool:
        """Whether the connection is to be ended."""
        return self._is_closed or (self._link is not None and self._link.is_closed)

    def connected(self, mtu: int, now: float) -> None:
        """A client listens to Data Out, on a connection with this ATT_MTU."""
        self._is_closed = False
        if self.unit.node is not None:
            self._sar = ProxySar(mtu, _PROXY_KINDS)
            self._filter, self._configured = ProxyFilter(), {}
            self._values = [value for one in _beacons(self.unit.node) for value in self._sar.cut(MESH_BEACON, one)]
            return
        self._link = PbGattLink.accept(mtu, now)
        self._is_closed = not self.unit.take_link(self._link, now)

    def disconnected(self, why: str, now: float) -> None:
        """The connection is gone, or the client listens no more."""
        if self._link is not None:
            self._link.disconnected(why, now)
            self.unit.link_outgoing(now)
        self._link = self._sar = self._leave_at = None
        self._values = []
        self._is_closed = False

    # ---- endpoint ---------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Take one value. What breaks the rules of Proxy PDUs ends the connection (MshPRT 6.6)."""
        if self._link is not None:
            self.unit.link_receive(data, now)
        elif self._sar is not None and not self._is_closed:
            try:
                message = self._sar.take(data, now)
            except (DecodeError, WireError):
                self._is_closed = True
                return
            if message is not None and self.unit.node is not None:
                self._take(self.unit.node, self._sar, *message, now)

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Values to notify now."""
        if self._link is not None:
            values = self.unit.link_outgoing(now)
        else:
            node = self.unit.node
            pdus = [pdu for pdu in self.unit.proxied(now) if node is not None and self._passes(node, pdu)]
            values, self._values = self._values, []
            if self._sar is not None:
                values = [*values, *(value for pdu in pdus for value in self._sar.cut(NETWORK_PDU, pdu))]
                self._check(self._sar, now)
        for event in self.unit.events():
            self._events.append(event)
            if isinstance(event, Provisioned | WasReset):
                self._leave_at = now + LEAVE_S
        if self._leave_at is not None and now >= self._leave_at:
            self._leave_at = None
            self._is_closed = True
        return values

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        node = self.unit.node
        of_unit = self.unit.link_deadline() if self._link is not None else node.deadline() if node is not None else None
        of_sar = self._sar.deadline() if self._sar is not None and not self._is_closed else None
        return earliest(of_unit, of_sar, self._leave_at)

    def events(self) -> Sequence[UnitEvent]:
        """What has happened."""
        events, self._events = self._events, []
        return events

    def _take(self, node: Node, sar: ProxySar, kind: int, message: bytes, now: float) -> None:
        if kind == NETWORK_PDU:
            pdu = _opened(node, message)
            if pdu is not None:
                self._filter.heard(pdu.src)
            node.receive(message, now)
        elif kind == MESH_BEACON:
            node.beaconing.receive(message, now)
        elif kind == PROXY_CONFIGURATION:
            with contextlib.suppress(KeywrightError):  # not of this network, unknown, or no sequence number left
                self._configure(node, sar, message)

    def _configure(self, node: Node, sar: ProxySar, message: bytes) -> None:
        stack = node.stack
        state = stack.iv_index.state
        key, pdu, asked = open_configuration(stack.keyring, state.index, message)
        # A filter lives as long as its connection, so a message must be new within this one.
        counted = (sent_under(message, state.index), pdu.seq)
        if counted <= self._configured.get(pdu.src, (-1, -1)):
            return
        self._configured[pdu.src] = counted
        status = self._filter.apply(asked)
        if status is not None:
            answer = seal_configuration(key, state.sending, stack.take_sequence(), stack.address, status)
            self._values += sar.cut(PROXY_CONFIGURATION, answer)

    def _passes(self, node: Node, message: bytes) -> bool:
        pdu = _opened(node, message)
        return pdu is not None and self._filter.passes(pdu.dst)

    def _check(self, sar: ProxySar, now: float) -> None:
        try:
            sar.check(now)
        except WireError:
            self._is_closed = True


def _opened(node: Node, message: bytes) -> NetworkPdu | None:
    """A network PDU in clear, None if it is not of the node's networks."""
    stack = node.stack
    for _, key in stack.keyring.net_keys(message[0] & 0x7F if message else 0):
        with contextlib.suppress(KeywrightError):
            return open_network(key, sent_under(message, stack.iv_index.state.index), message)
    return None


def _beacons(node: Node) -> Sequence[bytes]:
    """A Secure Network beacon of each network, for a client that has just connected (MshPRT 6.7)."""
    state = node.stack.iv_index.state
    subnets = node.stack.keyring.subnets.values()
    return [secure_network(subnet.sending, network_state(subnet, state)) for subnet in subnets]
