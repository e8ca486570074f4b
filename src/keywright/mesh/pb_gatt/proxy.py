"""A proxy client: a node's stack that reaches its network through one GATT connection to a proxy (MshPRT 6, 7.2)."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, final

from keywright.errors import DecodeError, KeywrightError, WireError
from keywright.mesh.network.beaconing import Beaconing
from keywright.mesh.network.stack import Stack, StackEvent
from keywright.mesh.pb_gatt.configuration import Configuration, FilterStatus, open_configuration, seal_configuration
from keywright.mesh.pb_gatt.messages import MESH_BEACON, NETWORK_PDU, PROXY_CONFIGURATION
from keywright.mesh.pb_gatt.sar import ProxySar
from keywright.mesh.session import earliest
from keywright.sansio.endpoint import Endpoint


@final
class ProxyClient:
    """Endpoint: frames are the values written to Data In and notified by Data Out of the Mesh Proxy Service."""

    def __init__(
        self, stack: Stack, mtu: int, inner: Endpoint[Any] | None = None, beaconing: Beaconing | None = None
    ) -> None:
        """mtu: ATT_MTU of the connection, on which Data Out is enabled already.

        inner: what runs over the stack, if not the stack alone. beaconing: what takes the beacons of the proxy, and
        makes those that it is sent.
        """
        self.stack = stack
        self._inner: Endpoint[Any] = inner or stack
        self._beaconing = beaconing
        self.why_closed = ""
        """Why the connection is over, empty while it is not."""
        self._values: list[bytes] = []
        self._events: list[FilterStatus] = []
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

    def configure(self, message: Configuration, net_index: int = 0) -> None:
        """Send a Proxy Configuration message; `FilterStatus` is told when it is answered.

        Without any, the proxy passes on what is for the addresses that this side has sent from. Raises PolicyError for
        a network that is not known here, SequenceError and StoreError when no sequence number is to be had.
        """
        stack = self.stack
        key, seq = stack.keyring.sending_net_key(net_index), stack.take_sequence()
        sealed = seal_configuration(key, stack.iv_index.state.sending, seq, stack.address, message)
        self._values += self._sar.cut(PROXY_CONFIGURATION, sealed)

    def receive(self, data: bytes, now: float) -> None:
        """Take one value. What breaks the rules of Proxy PDUs ends the connection (MshPRT 6.6)."""
        if self.is_closed:
            return
        try:
            message = self._sar.take(data, now)
        except (DecodeError, WireError) as error:
            self.why_closed = self.why_closed or str(error)
            return
        if message is not None and message[0] == NETWORK_PDU:
            self._inner.receive(message[1], now)
        elif message is not None and message[0] == MESH_BEACON:
            if self._beaconing is not None:
                self._beaconing.receive(message[1], now)
        elif message is not None and message[0] == PROXY_CONFIGURATION:
            with contextlib.suppress(KeywrightError):  # not of our network, or unknown
                _, _, told = open_configuration(self.stack.keyring, self.stack.iv_index.state.index, message[1])
                if isinstance(told, FilterStatus):
                    self._events.append(told)

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Values to write now."""
        try:
            self._sar.check(now)
        except WireError as error:
            self.why_closed = self.why_closed or str(error)
        values, self._values = self._values, []
        beacons = self._beaconing.outgoing(now) if self._beaconing is not None else ()
        values += [value for beacon in beacons for value in self._sar.cut(MESH_BEACON, beacon)]
        return [*values, *(value for pdu in self._inner.outgoing(now) for value in self._sar.cut(NETWORK_PDU, pdu))]

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        at_once = float("-inf") if self._values else None
        of_beacons = self._beaconing.deadline() if self._beaconing is not None else None
        return earliest(at_once, of_beacons, self._inner.deadline(), None if self.is_closed else self._sar.deadline())

    def events(self) -> Sequence[StackEvent | FilterStatus | Any]:
        """What has happened, inside too."""
        events, self._events = self._events, []
        return [*events, *self._inner.events()]
