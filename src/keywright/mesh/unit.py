"""A unit with a radio: an unprovisioned device until it is provisioned, a node after, a device again after Node Reset.

Endpoint on advertising bearers: frames are advertising data. All it knows is in its memory, so that a unit whose power
is cut is found as it left itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias, final

import msgspec

from keywright.crypto.aes import AesKey
from keywright.errors import DecodeError
from keywright.mesh.advertising import MESH_BEACON, MESH_MESSAGE, PB_ADV, URI, ad_structures, build_ad
from keywright.mesh.beacons import SUPPORTS_CERTIFICATES, SUPPORTS_RECORDS, unprovisioned
from keywright.mesh.bearer import Bearer
from keywright.mesh.device import Abilities, Device, DeviceEvent, Provisioned
from keywright.mesh.ends import AgreementKey, RandomBytes
from keywright.mesh.messages import IV_UPDATE, KEY_REFRESH, ProvisioningData
from keywright.mesh.models.composition import Composition
from keywright.mesh.models.state import NetKeyState, NodeMemory, NodeState
from keywright.mesh.network.iv_index import IvState
from keywright.mesh.network.keyring import NORMAL, SWITCHED
from keywright.mesh.node import Node, NodeEvent, WasRenewed, WasReset
from keywright.mesh.pb_adv.link import PbAdvLink, Timing
from keywright.mesh.pb_adv.messages import LinkOpen, PbAdvPdu, parse_generic
from keywright.mesh.records import BASE_URI, DEVICE_CERTIFICATE, NO_RECORDS, Records
from keywright.mesh.remote.scanning import Own
from keywright.mesh.session import DeviceSession
from keywright.store.memory import Memory

BEACON_S: Final = 1.0
"""Between two unprovisioned device beacons; the clause gives no value."""

UnitEvent: TypeAlias = DeviceEvent | NodeEvent


class Design(msgspec.Struct, frozen=True):
    """What a unit is made as, and never forgets."""

    uuid: bytes
    composition: Composition
    abilities: Abilities = Abilities()
    records: Records = NO_RECORDS
    oob_information: int = 0
    uri: bytes = b""
    """URI AD data, empty for none."""
    timing: Timing = Timing()
    next_composition: Composition | None = None
    """What its node becomes by Node Address or Composition Refresh (MshPRT 3.11.8)."""
    test_mode: bool = False
    """Whether its IV index changes without waiting, as for tests (MshPRT 3.11.5.1)."""

    def __repr__(self) -> str:
        return f"<Design {self.uuid.hex()}>"


@final
class Unit:
    """Endpoint: the unit as a radio hears it."""

    def __init__(
        self,
        design: Design,
        memory: Memory,
        now: float,
        *,
        new_key: Callable[[], AgreementKey],
        random_bytes: RandomBytes,
        random: Callable[[], float],
    ) -> None:
        """new_key(): a fresh P-256 key. random_bytes(n): n octets. random(): a number from 0 up to 1."""
        self.design = design
        self.node: Node | None = None
        self._memory = NodeMemory(memory, design.composition, next_composition=design.next_composition)
        self._new_key = new_key
        self._random_bytes = random_bytes
        self._random = random
        self._session: DeviceSession | None = None
        self._link: PbAdvLink | None = None
        self._is_elsewhere = False
        self._beacon_at: float | None = None
        self._events: list[UnitEvent] = []
        if self._memory.state is None:
            self._beacon_at = now
        else:
            self.node = self._take_up(now)

    @property
    def device(self) -> Device | None:
        """The provisioning session under way, also of a node that is provisioned anew, for whoever enters a value."""
        if self._session is not None:
            return self._session.device
        return self.node.device if self.node is not None else None

    def receive(self, data: bytes, now: float) -> None:
        """Take advertising data."""
        for kind, content in ad_structures(data):
            if kind == MESH_MESSAGE and self.node is not None:
                self.node.receive(content, now)
            elif kind == MESH_BEACON and self.node is not None:
                self.node.beaconing.receive(content, now)
            elif kind == PB_ADV:
                self._provisioning(content, data, now)
        if self.node is not None and self.node.remote is not None:
            self.node.remote.hear(data, now)
        self._turn(now)

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Advertising data to send now."""
        frames: list[bytes] = []
        if self._session is not None and not self._is_elsewhere:
            frames += self._session.outgoing(now)
        self._turn(now)
        if self.node is not None:
            if self.node.remote is not None:
                frames += self.node.remote.outgoing(now)
            frames += [build_ad(MESH_MESSAGE, pdu) for pdu in self.node.outgoing(now)]
            self._turn(now)
        if self.node is not None:
            frames += [build_ad(MESH_BEACON, beacon) for beacon in self.node.beaconing.outgoing(now)]
        if self._beacon_at is not None and now >= self._beacon_at:
            frames += self._beacons()
            self._beacon_at = now + BEACON_S
        return frames

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        node = self.node
        beside = (None, None) if node is None else (node.beaconing, node.remote)
        ends = (self._session, node, *beside)
        times = [end.deadline() for end in ends if end is not None]
        return min((time for time in (*times, self._beacon_at) if time is not None), default=None)

    def events(self) -> Sequence[UnitEvent]:
        """What has happened."""
        events, self._events = self._events, []
        return events

    # ---- on another bearer ------------------------------------------------------------------------------------

    def take_link(self, link: Bearer, now: float) -> bool:
        """Be provisioned on a link of another bearer, whose owner carries its frames; whether the unit is free for it.

        The owner calls `link_receive` and `link_outgoing` until the link is closed, and once more then.
        """
        del now
        if self.node is not None or self._session is not None:
            return False
        self._session = self._new_session(link)
        self._is_elsewhere = True
        self._beacon_at = None
        return True

    def link_receive(self, data: bytes, now: float) -> None:
        """Take one frame of that link."""
        if self._session is not None and self._is_elsewhere:
            self._session.receive(data, now)
            self._turn(now)

    def link_outgoing(self, now: float) -> Sequence[bytes]:
        """Frames of that link to send now."""
        frames: Sequence[bytes] = ()
        if self._session is not None and self._is_elsewhere:
            frames = self._session.outgoing(now)
        self._turn(now)
        return frames

    def link_deadline(self) -> float | None:
        """When `link_outgoing` is due."""
        return self._session.deadline() if self._session is not None else None

    def proxied(self, now: float) -> Sequence[bytes]:
        """Network PDUs of the node to send now, for another bearer than advertising."""
        frames = () if self.node is None else self.node.outgoing(now)
        self._turn(now)
        return frames

    # ---- as a device ------------------------------------------------------------------------------------------

    @property
    def oob_information(self) -> int:
        """OOB information of its beacon: what the design says, and whether it has records and certificates."""
        information = self.design.oob_information
        listed = self.design.records.listed().records
        if listed:
            information |= SUPPORTS_RECORDS
        if BASE_URI in listed or DEVICE_CERTIFICATE in listed:
            information |= SUPPORTS_CERTIFICATES
        return information

    def _beacons(self) -> list[bytes]:
        design, information = self.design, self.oob_information
        beacons = [build_ad(MESH_BEACON, unprovisioned(design.uuid, information, design.uri))]
        return [*beacons, build_ad(URI, design.uri)] if design.uri else beacons

    def _provisioning(self, content: bytes, data: bytes, now: float) -> None:
        # A node goes on with its link until that is closed: Complete and what is before it may have to be sent again.
        if self._session is None and self.node is None:
            self._open(content, now)  # which acknowledges what came
        elif self._session is not None and not self._is_elsewhere:
            self._session.receive(data, now)

    def _open(self, content: bytes, now: float) -> None:
        try:
            pdu = PbAdvPdu.parse(content)
            message = parse_generic(pdu.generic)
        except DecodeError:
            return
        is_over = self._link is not None and pdu.link_id == self._link.link_id
        if not isinstance(message, LinkOpen) or message.uuid != self.design.uuid or is_over:
            return
        self._link = PbAdvLink.accept(pdu.link_id, now, random=self._random, timing=self.design.timing)
        self._session = self._new_session(self._link)
        self._is_elsewhere = False
        self._beacon_at = None

    def _new_session(self, link: Bearer) -> DeviceSession:
        return DeviceSession(self._make_device(self.design.abilities.elements, remember=self._remember), link)

    def _make_device(
        self,
        elements: int,
        *,
        remember: Callable[[ProvisioningData, AesKey], None],
        judge: Callable[[ProvisioningData], int] = lambda _: 0,
    ) -> Device:
        return Device(
            msgspec.structs.replace(self.design.abilities, elements=elements),
            new_key=self._new_key,
            random=self._random_bytes,
            remember=remember,
            records=self.design.records,
            judge=judge,
        )

    def _remember(self, data: ProvisioningData, device_key: AesKey) -> None:
        iv_state = IvState(int.from_bytes(data.iv_index), bool(data.flags & IV_UPDATE))
        # In phase 2 of a key refresh the device gets the new key alone, and goes on to the end of it with the others.
        in_refresh = bool(data.flags & KEY_REFRESH)
        net_key = NetKeyState(data.net_key, data.net_key if in_refresh else b"", SWITCHED if in_refresh else NORMAL)
        self._memory.begin(
            NodeState(data.unicast_address, device_key.reveal(), {data.key_index: net_key}, iv_state=iv_state)
        )

    def _take_up(self, now: float) -> Node:
        own = Own(self.design.uuid, self.oob_information, self.design.uri)
        return Node(
            self._memory,
            now,
            random=self._random,
            random_bytes=self._random_bytes,
            test_mode=self.design.test_mode,
            own=own,
            make_device=self._make_device,
        )

    # ---- what changes the one into the other ------------------------------------------------------------------

    def _turn(self, now: float) -> None:
        session = self._session
        if session is not None:
            for told in session.events():
                self._events.append(told)
                if isinstance(told, Provisioned):
                    self.node = self._take_up(now)
            if session.is_over:
                self._session = None
                if self.node is None:
                    self._beacon_at = now
        if self.node is not None:
            for event in self.node.events():
                self._events.append(event)
                if isinstance(event, WasRenewed):
                    self.node = self._take_up(now)
                    return
                if isinstance(event, WasReset):
                    self.node = None
                    self._beacon_at = now + BEACON_S
                    return
