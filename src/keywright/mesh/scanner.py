"""What is heard of devices that want into a network, and of networks (MshPRT 3.10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias, final

import msgspec

from keywright.errors import DecodeError
from keywright.mesh.advertising import MESH_BEACON, URI, ad_structures
from keywright.mesh.beacons import OOB_INFORMATION, SecureNetwork, parse_unprovisioned, uri_hash

_MOST_URIS: Final = 256
_SECURE_NETWORK: Final = b"\x01"


class DeviceSeen(msgspec.Struct, frozen=True):
    """An unprovisioned device. `uri`: URI AD data that its hash belongs to, empty if none was heard."""

    uuid: bytes
    oob_information: int
    uri: bytes = b""

    @property
    def oob_places(self) -> tuple[str, ...]:
        """Where its OOB information is; reserved bits are passed over."""
        return tuple(name for bit, name in enumerate(OOB_INFORMATION) if name and self.oob_information >> bit & 1)


class NetworkSeen(msgspec.Struct, frozen=True):
    """A network, by its Secure Network beacon; not authenticated, for that takes its key."""

    network_id: bytes
    iv_index: int


Seen: TypeAlias = DeviceSeen | NetworkSeen


@final
class Scanner:
    """Endpoint that only listens. Each device and network is told once, and again when more is known of it."""

    def __init__(self) -> None:
        self._devices: dict[bytes, DeviceSeen] = {}
        self._hashes: dict[bytes, bytes] = {}
        self._networks: dict[bytes, NetworkSeen] = {}
        self._uris: dict[bytes, bytes] = {}
        self._events: list[Seen] = []

    @property
    def devices(self) -> tuple[DeviceSeen, ...]:
        """Every device so far."""
        return tuple(self._devices.values())

    @property
    def networks(self) -> tuple[NetworkSeen, ...]:
        """Every network so far."""
        return tuple(self._networks.values())

    def receive(self, data: bytes, now: float) -> None:  # noqa: ARG002 - every endpoint is told
        """Take advertising data."""
        for kind, content in ad_structures(data):
            if kind == URI and len(self._uris) < _MOST_URIS:
                self._uris[uri_hash(content)] = content
                self._known()
            elif kind == MESH_BEACON:
                self._beacon(content)

    def outgoing(self, now: float) -> Sequence[bytes]:  # noqa: ARG002 - as above
        """Nothing: only passive scanning is done (MshPRT 3.3.1)."""
        return ()

    def deadline(self) -> None:
        """Never."""
        return

    def events(self) -> Sequence[Seen]:
        """What was heard for the first time."""
        events, self._events = self._events, []
        return events

    def _beacon(self, content: bytes) -> None:
        try:
            if content[:1] == _SECURE_NETWORK:
                network = SecureNetwork.parse(content)
                self._note_network(NetworkSeen(network.network_id, network.iv_index))
                return
            beacon = parse_unprovisioned(content)
        except DecodeError:
            return
        self._hashes[beacon.uuid] = beacon.uri_hash
        self._note(DeviceSeen(beacon.uuid, beacon.oob_information, self._uris.get(beacon.uri_hash, b"")))

    def _known(self) -> None:
        for device in self.devices:
            uri = self._uris.get(self._hashes[device.uuid], b"")
            self._note(msgspec.structs.replace(device, uri=uri))

    def _note(self, device: DeviceSeen) -> None:
        if self._devices.get(device.uuid) != device:
            self._devices[device.uuid] = device
            self._events.append(device)

    def _note_network(self, network: NetworkSeen) -> None:
        if self._networks.get(network.network_id) != network:
            self._networks[network.network_id] = network
            self._events.append(network)
