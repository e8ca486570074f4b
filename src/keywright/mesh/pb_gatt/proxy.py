"""A proxy client: a node's stack that reaches its network through one GATT connection to a proxy (MshPRT 6, 7.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from keywright.errors import DecodeError, WireError
from keywright.mesh.network.stack import Stack, StackEvent
from keywright.mesh.pb_gatt.messages import MESH_BEACON, NETWORK_PDU, PROXY_CONFIGURATION
from keywright.mesh.pb_gatt.sar import ProxySar
from keywright.mesh.session import earliest


@final
class ProxyClient:
    """Endpoint: frames are the values written to Data In and notified by Data Out of the Mesh Proxy Service."""

    def __init__(self, stack: Stack, mtu: int) -> None:
        """mtu: ATT_MTU of the connection, on which Data Out is enabled already."""
        self.stack = stack
        self.why_closed = ""
        """Why the connection is over, empty while it is not."""
        self._sar = ProxySar(mtu, (NETWORK_PDU, MESH_BEACON, PROXY_CONFIGURATION))

    @property
    def is_closed(self) -> bool:
        """Whether the connection is to be ended, or is."""
        return bool(self.why_closed)

    def close(self) -> None:
        """End the connection."""
        self.why_closed = self.why_closed or "closed by this side"

    def disconnected(self, why: str, now: float) -> None:
        """The connection is gone."""
        del now
        self.why_closed = self.why_closed or why

    def receive(self, data: bytes, now: float) -> None:
        """Take one value. What breaks the rules of Proxy PDUs ends the connection (MshPRT 6.6)."""
        try:
            message = self._sar.take(data, now)
        except (DecodeError, WireError) as error:
            self.why_closed = self.why_closed or str(error)
            return
        if message is not None and message[0] == NETWORK_PDU:
            self.stack.receive(message[1], now)

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Values to write now."""
        try:
            self._sar.check(now)
        except WireError as error:
            self.why_closed = self.why_closed or str(error)
        return [value for pdu in self.stack.outgoing(now) for value in self._sar.cut(NETWORK_PDU, pdu)]

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        return earliest(self.stack.deadline(), None if self.is_closed else self._sar.deadline())

    def events(self) -> Sequence[StackEvent]:
        """What has happened."""
        return self.stack.events()
