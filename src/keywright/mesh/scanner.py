"""What is heard of devices that want into a network, of networks, and of proxies (MshPRT 3.10, 7.1.2.2.1, 7.2.2.2)."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Final, TypeAlias, final

import msgspec

from keywright.errors import AuthenticationError, DecodeError
from keywright.mesh.advertising import MESH_BEACON, URI, ad_structures
from keywright.mesh.beacons import (
    OOB_INFORMATION,
    PRIVATE,
    SECURE_NETWORK,
    SecureNetwork,
    ServiceData,
    open_private,
    open_secure_network,
    parse_unprovisioned,
    uri_hash,
)
from keywright.mesh.identities import IDENTITIES, Identity, NetworkIdentity, identify, parse_advertisement
from keywright.mesh.network.keys import NetKey

_MOST: Final = 4096
"""Of each kind that are kept: whoever makes up devices must not fill the memory."""
_MOST_URIS: Final = 256


class DeviceSeen(msgspec.Struct, frozen=True):
    """An unprovisioned device. `uri`: URI AD data that its hash belongs to, empty if none was heard."""

    uuid: bytes
    oob_information: int
    uri: bytes = b""
    over: tuple[str, ...] = ("PB-ADV",)
    """Bearers that it was heard to offer."""
    rssi_dbm: int | None = None
    """How strong it was heard last, None where the radio does not say."""
    uri_hash: bytes = b""
    """Of its beacon, 4 octets, empty for none; PB-GATT does not tell it."""

    @property
    def oob_places(self) -> tuple[str, ...]:
        """Where its OOB information is; reserved bits are passed over."""
        return tuple(name for bit, name in enumerate(OOB_INFORMATION) if name and self.oob_information >> bit & 1)


class NetworkSeen(msgspec.Struct, frozen=True):
    """A network, by its beacon. Without its key nothing of it is authenticated, and private beacons say nothing."""

    network_id: bytes
    iv_index: int
    is_authenticated: bool = False


class ProxySeen(msgspec.Struct, frozen=True):
    """A node that offers a connection. What it says of itself takes the network's key, but for the Network ID."""

    kind: str
    """As in `identities.IDENTITIES`."""
    network_id: bytes = b""
    """Empty for a network whose key is not here."""
    address: int | None = None


Seen: TypeAlias = DeviceSeen | NetworkSeen | ProxySeen


@final
class Scanner:
    """Endpoint that only listens. Each device, network and proxy is told once, and again when more is known of it."""

    def __init__(self, keys: Sequence[NetKey] = (), addresses: Sequence[int] = ()) -> None:
        """keys: of networks whose beacons and proxies are to be known. addresses: primary elements of their nodes."""
        self._keys = tuple(keys)
        self._addresses = tuple(addresses)
        self._devices: dict[bytes, DeviceSeen] = {}
        self._hashes: dict[bytes, bytes] = {}
        self._networks: dict[bytes, NetworkSeen] = {}
        self._proxies: dict[ProxySeen, None] = {}
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

    @property
    def proxies(self) -> tuple[ProxySeen, ...]:
        """Every proxy so far that can be told from others."""
        return tuple(self._proxies)

    def receive(self, data: bytes, now: float, *, rssi_dbm: int | None = None) -> None:  # noqa: ARG002 - as endpoints
        """Take advertising data; `rssi_dbm` from a radio that says it."""
        for kind, content in ad_structures(data):
            if kind == URI and len(self._uris) < _MOST_URIS:
                digest = uri_hash(content)
                if digest not in self._uris:  # else nothing more is known of any device
                    self._uris[digest] = content
                    self._known()
            elif kind == MESH_BEACON:
                self._beacon(content, rssi_dbm)
        match parse_advertisement(data):
            case ServiceData() as offer:
                self._note(DeviceSeen(offer.uuid, offer.oob_information, b"", ("PB-GATT",), rssi_dbm))
            case None:
                pass
            case identity:
                self._proxy(identity)

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

    # ---- beacons and proxies ----------------------------------------------------------------------------------

    def _beacon(self, content: bytes, rssi_dbm: int | None) -> None:
        with contextlib.suppress(DecodeError):
            if content[:1] == bytes((SECURE_NETWORK,)):
                self._secure_network(content)
            elif content[:1] == bytes((PRIVATE,)):
                self._private(content)
            else:
                beacon = parse_unprovisioned(content)
                if beacon.uuid in self._devices or len(self._devices) < _MOST:
                    self._hashes[beacon.uuid] = beacon.uri_hash
                    self._note(DeviceSeen(beacon.uuid, beacon.oob_information, rssi_dbm=rssi_dbm))

    def _secure_network(self, content: bytes) -> None:
        said = SecureNetwork.parse(content)
        for key in self._keys:
            if key.network_id == said.network_id:
                with contextlib.suppress(AuthenticationError):
                    self._note_network(key.network_id, open_secure_network(key, content).iv_index, is_ours=True)
                return
        self._note_network(said.network_id, said.iv_index, is_ours=False)

    def _private(self, content: bytes) -> None:
        for key in self._keys:
            with contextlib.suppress(AuthenticationError):
                self._note_network(key.network_id, open_private(key, content).iv_index, is_ours=True)
                return

    def _proxy(self, identity: Identity) -> None:
        found = identify(identity, self._keys, self._addresses)
        network_id = found.key.network_id if found else b""
        if isinstance(identity, NetworkIdentity):
            network_id = identity.network_id
        seen = ProxySeen(IDENTITIES[identity.kind], network_id, found.address if found else None)
        if seen not in self._proxies and len(self._proxies) < _MOST:
            self._proxies[seen] = None
            self._events.append(seen)

    # ---- what is known ----------------------------------------------------------------------------------------

    def _known(self) -> None:
        for device in self.devices:
            self._note(device)

    def _note(self, device: DeviceSeen) -> None:
        before = self._devices.get(device.uuid)
        if before is None and len(self._devices) >= _MOST:
            return
        over = device.over if before is None else tuple(sorted({*before.over, *device.over}))
        uri = self._uris.get(self._hashes.get(device.uuid, b""), b"")
        uri_hash = self._hashes.get(device.uuid, b"")
        now = msgspec.structs.replace(device, uri=uri, over=over, uri_hash=uri_hash)
        self._devices[device.uuid] = now
        # How strong it is heard changes all the time, and is no news.
        if before is None or msgspec.structs.replace(before, rssi_dbm=now.rssi_dbm) != now:
            self._events.append(now)

    def _note_network(self, network_id: bytes, iv_index: int, *, is_ours: bool) -> None:
        network = NetworkSeen(network_id, iv_index, is_ours)
        before = self._networks.get(network_id)
        if before != network and (before is not None or len(self._networks) < _MOST):
            self._networks[network_id] = network
            self._events.append(network)
