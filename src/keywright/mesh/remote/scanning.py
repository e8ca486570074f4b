"""The scanning half of a Remote Provisioning Server: which devices it hears, told to the client (MshPRT 4.4.5).

A scan tells each device once. An extended scan gathers AD structures of one device: those that come with its beacon,
and its URI, which is known to be its own by the hash.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

import msgspec

from keywright.codec.record import LittleRecord
from keywright.errors import DecodeError
from keywright.mesh.advertising import LONGEST as LONGEST_DATA
from keywright.mesh.advertising import MESH_BEACON, URI, ad_structures, build_ad
from keywright.mesh.beacons import UnprovisionedDevice, parse_unprovisioned, uri_hash
from keywright.mesh.network.access import LONGEST
from keywright.mesh.remote import messages as m
from keywright.mesh.remote.messages import NO_RSSI, Status

ITEMS: Final = 16
"""How many devices one scan tells; 4 at least (MshPRT 4.2.23)."""
EXTENDED_S: Final = (1, 21)
_TYPES_LAST: Final = 16
_REPORT_ROOM: Final = LONGEST - 19
"""Octets that an Extended Scan Report has room for after its UUID; what does not fit is left out."""
_PARTIAL: Final = frozenset((0x02, 0x04, 0x06, 0x08))
"""AD types of partial lists and names: nobody may ask for them."""


class Client(msgspec.Struct, frozen=True):
    """Who asked, and over which network."""

    address: int
    net_index: int


class Own(msgspec.Struct, frozen=True):
    """What the server's node tells of itself."""

    uuid: bytes
    oob_information: int = 0
    uri: bytes = b""


class _Extended(msgspec.Struct):
    client: Client
    uuid: bytes
    types: bytes
    until: float
    beacon: UnprovisionedDevice | None = None
    found: dict[int, bytes] = msgspec.field(default_factory=dict)


@final
class Scanning:
    """What the server does when it scans. `say(message, client)` sends."""

    def __init__(
        self, own: Own, say: Callable[[LittleRecord, Client, float], None], can_scan: Callable[[], bool]
    ) -> None:
        self._own = own
        self._say = say
        self._can_scan = can_scan
        self._client: Client | None = None
        self._limit = 0
        self._uuid = b""
        self._until = 0.0
        self._told: set[bytes] = set()
        self._extended: _Extended | None = None

    def deadline(self) -> float | None:
        """When a scan is over."""
        times = [self._until] if self._client is not None else []
        return min([*times, self._extended.until] if self._extended is not None else times, default=None)

    def turn(self, now: float) -> None:
        """End what is over."""
        if self._client is not None and now >= self._until:
            self._client = None
        if self._extended is not None and now >= self._extended.until:
            self._end_extended(self._extended, now)

    # ---- asked ------------------------------------------------------------------------------------------------

    def capabilities(self) -> m.ScanCapabilitiesStatus:
        """Answer to Scan Capabilities Get: extended scans are of what is heard anyway."""
        return m.ScanCapabilitiesStatus(ITEMS, 1)

    def status(self, now: float, status: int = Status.SUCCESS) -> m.ScanStatus:
        """Answer to Scan Get, Start and Stop."""
        self.turn(now)
        if self._client is None:
            return m.ScanStatus(status, 0, 0, 0)
        left = min(0xFF, max(1, round(self._until - now)))
        return m.ScanStatus(status, 2 if self._uuid else 1, self._limit, left)

    def start(self, message: m.ScanStart, client: Client, now: float) -> m.ScanStatus | None:
        """Scan Start; a timeout of 0 is prohibited."""
        self.turn(now)
        if not message.timeout_s:
            return None
        if message.limit > ITEMS or (self._client is not None and self._client != client):
            return self.status(now, Status.LIMITED_RESOURCES)
        if not self._can_scan():
            return self.status(now, Status.SCANNING_CANNOT_START)
        self._client, self._limit, self._uuid = client, message.limit, message.uuid
        self._until = now + message.timeout_s
        self._told = set()
        return self.status(now)

    def stop(self, client: Client, now: float) -> m.ScanStatus:
        """Scan Stop; the scan of another client goes on."""
        if self._client is not None and self._client != client:
            return self.status(now, Status.INVALID_STATE)
        self._client = None
        return self.status(now)

    def start_extended(self, message: m.ExtendedScanStart, client: Client, now: float) -> None:
        """Extended Scan Start: of this node at once, of a device when its time is over or all is found."""
        try:
            types, uuid, timeout_s = message.split()
        except DecodeError:
            return
        if not 1 <= len(types) <= _TYPES_LAST or len(set(types)) != len(types) or _PARTIAL & set(types):
            return
        if not uuid:
            own = self._own
            structures = build_ad(URI, own.uri) if own.uri and URI in types else b""
            told = own.oob_information.to_bytes(2, "little") + structures
            self._say(m.ExtendedScanReport(Status.SUCCESS, own.uuid, told), client, now)
            return
        least, most = EXTENDED_S
        if not least <= timeout_s <= most:
            return
        if self._extended is not None and (self._extended.client, self._extended.uuid) != (client, uuid):
            self._say(m.ExtendedScanReport(Status.LIMITED_RESOURCES, uuid), client, now)
            return
        if not self._can_scan():
            self._say(m.ExtendedScanReport(Status.SCANNING_CANNOT_START, uuid), client, now)
            return
        self._extended = _Extended(client, uuid, types, now + timeout_s)

    # ---- heard ------------------------------------------------------------------------------------------------

    def hear(self, data: bytes, now: float, rssi: int = NO_RSSI) -> None:
        """Take advertising data."""
        self.turn(now)
        structures = list(ad_structures(data))
        for kind, content in structures:
            if kind == MESH_BEACON:
                try:
                    beacon = parse_unprovisioned(content)
                except DecodeError:
                    continue
                self._report(beacon, rssi, now)
                self._gather(beacon, structures)
            elif kind == URI and self._extended is not None:
                waited = self._extended.beacon
                if waited is not None and waited.uri_hash == uri_hash(content):
                    self._extended.found.setdefault(URI, content)
        extended = self._extended
        if extended is not None and extended.beacon is not None and set(extended.types) <= set(extended.found):
            self._end_extended(extended, now)

    def _report(self, beacon: UnprovisionedDevice, rssi: int, now: float) -> None:
        if self._client is None or beacon.uuid in self._told or self._uuid not in {b"", beacon.uuid}:
            return
        if len(self._told) >= (self._limit or ITEMS):
            return
        self._told.add(beacon.uuid)
        report = m.ScanReport(rssi & 0xFF, beacon.uuid, beacon.oob_information, beacon.uri_hash)
        self._say(report, self._client, now)

    def _gather(self, beacon: UnprovisionedDevice, structures: list[tuple[int, bytes]]) -> None:
        extended = self._extended
        if extended is None or extended.uuid != beacon.uuid:
            return
        extended.beacon = beacon
        for kind, content in structures:
            if kind in extended.types:
                extended.found.setdefault(kind, content)

    def _end_extended(self, extended: _Extended, now: float) -> None:
        self._extended = None
        if extended.beacon is None:
            told = b""
        else:
            told = extended.beacon.oob_information.to_bytes(2, "little")
            for kind, content in sorted(extended.found.items()):
                # What is longer than legacy advertising has is not told either.
                if len(content) <= LONGEST_DATA and len(told) + 2 + len(content) <= _REPORT_ROOM:
                    told += build_ad(kind, content)
        self._say(m.ExtendedScanReport(Status.SUCCESS, extended.uuid, told), extended.client, now)
