"""Mesh devices over Bluetooth: `ble:PEER`, provisioned by PB-GATT."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, final

from keywright.errors import LinkError
from keywright.fob.mesh_device import Attended, system_chance
from keywright.fob.mesh_model import Hear
from keywright.link.ble import Advertisement, Ble, BleConnection, Pipe, run_pipe
from keywright.mesh.beacons import ServiceData
from keywright.mesh.database.cdb import uuid_text
from keywright.mesh.identities import identify, parse_advertisement
from keywright.mesh.network.beaconing import Beaconing
from keywright.mesh.network.stack import Stack
from keywright.mesh.pb_gatt.link import PbGattLink
from keywright.mesh.pb_gatt.messages import PROVISIONING_SERVICE, PROXY_SERVICE
from keywright.mesh.pb_gatt.proxy import ProxyClient
from keywright.mesh.pb_gatt.unit import GattUnit
from keywright.mesh.unit import UnitEvent
from keywright.sansio.endpoint import Endpoint

SCAN_S: Final = 5.0
"""How long a device is looked for that was not heard before."""
_TURN_S: Final = 0.2


@final
class BleRadio:
    """The air of one Bluetooth controller, in real time, with one connection at a time."""

    def __init__(self, peer: str, hci: str, mtu: int) -> None:
        """peer: the only address that is heard; empty for all. Raises as `Ble`."""
        self.chance = system_chance
        self._peer = peer
        self._mtu = mtu
        self._ble = Ble(hci)
        self._addresses: dict[bytes, str] = {}
        self._link: PbGattLink | ProxyClient | None = None
        self._connection: BleConnection | None = None

    @property
    def now(self) -> float:
        """Seconds of a clock that never goes back."""
        return time.monotonic()

    def run(self, endpoint: Endpoint[Any], seconds: float, stop: Callable[[], bool] = lambda: False) -> None:
        """Run an endpoint until `stop()` or for that long: on the link of `link_to`, without one as a listener."""
        if self._link is None or self._connection is None:
            self._listen(endpoint, seconds, stop)
            return
        for _ in run_pipe(_Stopping(endpoint, stop), self._link, self._connection, until=self.now + seconds):
            return
        self._connection = None
        endpoint.outgoing(self.now)  # so that it knows of a connection that was lost
        stop()

    def listen(self, hear: Hear, seconds: float, stop: Callable[[], bool] = lambda: False) -> None:
        """As `mesh_radio.Radio`."""

        def heard(one: Advertisement) -> bool:
            if self._note(one):
                hear(one.data, self.now, one.rssi_dbm)
            return stop()

        self._ble.scan(seconds, heard)

    def to_network(
        self, stack: Stack, inner: Endpoint[Any], beaconing: Beaconing, addresses: Sequence[int] = ()
    ) -> ProxyClient:
        """As `mesh_radio.Radio`: connect to a proxy of one of the stack's networks, the first that is heard.

        Our own nodes are proxies for themselves alone, so `ble:ADDRESS` says which. Raises LinkError.
        """
        self._disconnect()
        keys = [key for subnet in stack.keyring.subnets.values() for key in subnet.all]
        proxies: list[str] = []

        def is_proxy(one: Advertisement) -> bool:
            offer = parse_advertisement(one.data) if self._note(one) else None
            if offer is not None and not isinstance(offer, ServiceData) and identify(offer, keys, addresses):
                proxies.append(one.address)
            return bool(proxies)

        self._ble.scan(SCAN_S, is_proxy)
        if not proxies:
            raise LinkError(
                f"no proxy of this network was heard over Bluetooth in {SCAN_S:.0f} s",
                delivered=False,
                hint="is a node with the GATT Proxy feature on, and in reach?",
            )
        self._connection = self._ble.connect(proxies[0], PROXY_SERVICE, mtu=self._mtu)
        client = ProxyClient(stack, self._connection.mtu, inner, beaconing)
        self._link = client
        return client

    def link_to(self, uuid: bytes) -> PbGattLink:
        """Connect to a device that advertises this UUID. Raises LinkError."""
        self._disconnect()
        if uuid not in self._addresses:
            self._ble.scan(SCAN_S, lambda one: self._note(one) and uuid in self._addresses)
        address = self._addresses.get(uuid)
        if address is None:
            raise LinkError(
                f"{uuid_text(uuid)}: not heard over Bluetooth in {SCAN_S:.0f} s",
                delivered=False,
                hint="see: keywright mesh scan",
            )
        self._connection = self._ble.connect(address, PROVISIONING_SERVICE, mtu=self._mtu)
        link = PbGattLink.connect(self._connection.mtu, self.now)
        self._link = link
        return link

    def serve(
        self,
        device: Attended,
        told: Callable[[UnitEvent], object],
        stop: Callable[[], bool],
        around: Callable[[Endpoint[UnitEvent]], Endpoint[UnitEvent]],
    ) -> None:
        """As `mesh_radio.Radio`: the unit's GATT service, for one client after the other."""
        events: queue.SimpleQueue[UnitEvent] = queue.SimpleQueue()
        serving = self._ble.serve(_Shown(device, around), mtu=self._mtu, on_event=lambda _, event: events.put(event))
        try:
            while not stop() and not serving.wait(_TURN_S):
                _tell_all(events, told)
        finally:
            serving.stop()
            _tell_all(events, told)

    def close(self) -> None:
        """Disconnect and give the controller up; twice does no harm."""
        self._disconnect()
        self._ble.close()

    def _listen(self, endpoint: Endpoint[Any], seconds: float, stop: Callable[[], bool]) -> None:
        if self._link is not None:
            return  # its connection is gone, and what is left to send with it

        self.listen(lambda data, now, _: endpoint.receive(data, now), seconds, stop)

    def _note(self, one: Advertisement) -> bool:
        """Whether this is to be heard; and where the device is that it tells of."""
        if self._peer and one.address.partition("/")[0].upper() != self._peer.partition("/")[0].upper():
            return False
        offer = parse_advertisement(one.data)
        if isinstance(offer, ServiceData):
            self._addresses[offer.uuid] = one.address
        return True

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._link = self._connection = None


def _tell_all(events: queue.SimpleQueue[UnitEvent], told: Callable[[UnitEvent], object]) -> None:
    while not events.empty():
        told(events.get())


@final
class _Stopping:
    """Endpoint whose only event is that it is to stop: the true events are for its owner."""

    def __init__(self, endpoint: Endpoint[Any], stop: Callable[[], bool]) -> None:
        self._stop = stop
        self.receive = endpoint.receive
        self.outgoing = endpoint.outgoing
        self.deadline = endpoint.deadline

    def events(self) -> Sequence[bool]:
        return (True,) if self._stop() else ()


@final
class _Shown:
    """Peripheral: an attended unit behind GATT."""

    def __init__(self, device: Attended, around: Callable[[Endpoint[UnitEvent]], Endpoint[UnitEvent]]) -> None:
        self._gatt = GattUnit(device.unit)
        endpoint = around(device.behind(self._gatt))
        self.connected = self._gatt.connected
        self.disconnected = self._gatt.disconnected
        self.receive = endpoint.receive
        self.outgoing = endpoint.outgoing
        self.deadline = endpoint.deadline
        self.events = endpoint.events

    @property
    def is_closed(self) -> bool:
        return self._gatt.is_closed

    @property
    def pipe(self) -> Pipe:
        return self._gatt.pipe

    @property
    def advertising(self) -> Sequence[bytes]:
        return self._gatt.advertising
