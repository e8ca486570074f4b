"""How a step reaches the mesh radio of its unit: by advertisements, or over GATT connections to its mesh services."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol, final

from keywright.errors import DecodeError, KeywrightError, LinkError, WireError
from keywright.mesh.advertising import MESH_MESSAGE, ad_structures, build_ad
from keywright.mesh.beacons import ServiceData
from keywright.mesh.bearer import Bearer
from keywright.mesh.conversation import Conversation, Done, Stopped
from keywright.mesh.database.cdb import uuid_text
from keywright.mesh.enrolment import Enrolment
from keywright.mesh.identities import Connectable, parse_advertisement
from keywright.mesh.models.composition import Composition
from keywright.mesh.pb_adv.link import PbAdvLink
from keywright.mesh.pb_gatt.link import PbGattLink
from keywright.mesh.pb_gatt.messages import MESH_BEACON, NETWORK_PDU, PROXY_CONFIGURATION
from keywright.mesh.pb_gatt.sar import ProxySar
from keywright.mesh.scanner import Scanner
from keywright.mesh.session import earliest
from keywright.production.job import Job, MismatchError, StepDialogue
from keywright.production.on_air import AirClock

PROBE_S: Final = 40.0
LISTEN_S: Final = 10.0
"""How long a unit is listened for that advertises several times a second."""
GOODBYE_S: Final = 0.5
"""For the frames that close a PB-ADV link."""


class Asked(NamedTuple):
    """What came of asking a node: its composition, None if nothing answered; whether a device sends its beacon."""

    composition: Composition | None
    is_device: bool = False


class Way(Protocol):
    """One of the two."""

    def link(self, job: Job, uuid: bytes) -> StepDialogue[tuple[AirClock, Bearer]]:
        """A link to the device for provisioning. Raises LinkError, MismatchError."""
        ...

    def leave(self, clock: AirClock, enrolment: Enrolment) -> StepDialogue[None]:
        """End the link of a session that has ended."""
        ...

    def ask(self, conversation: Conversation[Composition], uuid: bytes, *, probes: bool) -> StepDialogue[Asked]:
        """Have a node answer. probes: it may as well be a device that is none yet. Raises LinkError."""
        ...


def way_of(job: Job) -> Way:
    """How the radio of this unit is reached."""
    return OverGatt() if job.has_gatt else OverAdvertising()


@final
class OverAdvertising:
    """PB-ADV, and network PDUs in advertisements."""

    def link(self, job: Job, uuid: bytes) -> StepDialogue[tuple[AirClock, Bearer]]:
        """As `Way`; whether the device is there shows once the session runs."""
        yield from ()
        clock = AirClock()
        return clock, PbAdvLink.connect(uuid, int.from_bytes(job.rng(4)), clock.now, random=_chance(job))

    def leave(self, clock: AirClock, enrolment: Enrolment) -> StepDialogue[None]:
        """As `Way`."""
        yield from clock.carry(enrolment, GOODBYE_S, lambda: False)

    def ask(self, conversation: Conversation[Composition], uuid: bytes, *, probes: bool) -> StepDialogue[Asked]:
        """As `Way`: both are listened for at once, and a beacon is believed once nothing has answered."""
        clock = AirClock()
        asking = _InAdvertisements(conversation)
        yield from clock.carry(asking, PROBE_S, lambda: asking.is_over)
        return Asked(asking.found, probes and uuid in asking.devices)


@final
class OverGatt:
    """PB-GATT, and a proxy connection to the node itself. The station knows where the unit is."""

    def link(self, job: Job, uuid: bytes) -> StepDialogue[tuple[AirClock, Bearer]]:
        """As `Way`: the device has to advertise the UUID that the order says."""
        del job
        clock = AirClock()
        if not _is_device(uuid, (yield from _heard(clock))):
            raise MismatchError("the radio is a mesh node already", hint="reset the node, or take it out of the lot")
        mtu = yield from clock.connect("provisioning")
        return clock, PbGattLink.connect(mtu, clock.now)

    def leave(self, clock: AirClock, enrolment: Enrolment) -> StepDialogue[None]:
        """As `Way`: what is sent next, or the end of the unit, disconnects."""
        del clock, enrolment
        yield from ()

    def ask(self, conversation: Conversation[Composition], uuid: bytes, *, probes: bool) -> StepDialogue[Asked]:
        """As `Way`: what it advertises says whether it is a node."""
        clock = AirClock()
        if probes and _is_device(uuid, (yield from _heard(clock))):
            return Asked(None, is_device=True)
        mtu = yield from clock.connect("proxy")
        asking = _ThroughProxy(conversation, mtu)
        yield from clock.carry(asking, PROBE_S, lambda: asking.is_over)
        return Asked(asking.found)


def _heard(clock: AirClock) -> StepDialogue[Connectable]:
    """What the unit advertises. Raises LinkError if it is silent."""
    end = clock.now + LISTEN_S
    while frames := (yield from clock.listen(end - clock.now)):
        for frame in frames:
            said = parse_advertisement(frame)
            if said is not None:
                return said
    raise LinkError(
        f"the mesh radio of the unit was not heard in {LISTEN_S:.0f} s",
        delivered=False,
        hint="see that the unit is on and in reach",
    )


def _is_device(uuid: bytes, said: Connectable) -> bool:
    """Whether it advertises as a device. Raises MismatchError for another device than the order's."""
    if not isinstance(said, ServiceData):
        return False
    if said.uuid != uuid:
        raise MismatchError(f"another device is at the unit's address: {uuid_text(said.uuid)}")
    return True


# ---- a conversation on each of them


@final
class _Ends:
    """Watches a conversation for its end."""

    def __init__(self, conversation: Conversation[Composition]) -> None:
        self._conversation = conversation
        self.found: Composition | None = None
        self.is_over = False

    def look(self) -> None:
        """Raises what stopped it, unless that is silence."""
        for event in self._conversation.events():
            match event:
                case Done():
                    self.found, self.is_over = event.result, True
                case Stopped():
                    self.is_over = True
                    _raise_unless_silent(event.error)
                case _:
                    pass


@final
class _InAdvertisements:
    """Endpoint: a conversation with one node on an advertising bearer, which also hears beacons of devices."""

    def __init__(self, conversation: Conversation[Composition]) -> None:
        self._conversation = conversation
        self._ends = _Ends(conversation)
        self._scanner = Scanner()
        self.deadline = conversation.deadline

    @property
    def is_over(self) -> bool:
        """Whether the conversation has ended."""
        return self._ends.is_over

    @property
    def found(self) -> Composition | None:
        """What it found."""
        return self._ends.found

    @property
    def devices(self) -> set[bytes]:
        """Device UUIDs of the beacons that were heard."""
        return {device.uuid for device in self._scanner.devices}

    def receive(self, data: bytes, now: float) -> None:
        """Take advertising data."""
        for kind, content in ad_structures(data):
            if kind == MESH_MESSAGE:
                self._conversation.receive(content, now)
        self._scanner.receive(data, now)

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Advertising data to send now."""
        frames = [build_ad(MESH_MESSAGE, pdu) for pdu in self._conversation.outgoing(now)]
        self._ends.look()
        return frames

    def events(self) -> Sequence[Any]:
        """Nothing: see `found`."""
        return ()


@final
class _ThroughProxy:
    """Endpoint: a conversation with one node through its own proxy; frames are values of the Mesh Proxy Service."""

    def __init__(self, conversation: Conversation[Composition], mtu: int) -> None:
        self._conversation = conversation
        self._ends = _Ends(conversation)
        self._sar = ProxySar(mtu, (NETWORK_PDU, MESH_BEACON, PROXY_CONFIGURATION))

    @property
    def is_over(self) -> bool:
        """Whether the conversation has ended."""
        return self._ends.is_over

    @property
    def found(self) -> Composition | None:
        """What it found."""
        return self._ends.found

    def receive(self, data: bytes, now: float) -> None:
        """Take one value. Raises LinkError for what breaks the rules of Proxy PDUs, as for a lost connection."""
        try:
            message = self._sar.take(data, now)
        except (DecodeError, WireError) as error:
            raise LinkError(f"the node's proxy sends what no rule allows: {error}", delivered=None) from error
        if message is not None and message[0] == NETWORK_PDU:
            self._conversation.receive(message[1], now)

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Values to write now. Raises LinkError when a message is not whole in time."""
        try:
            self._sar.check(now)
        except WireError as error:
            raise LinkError(f"the node's proxy: {error}", delivered=None) from error
        values = [one for pdu in self._conversation.outgoing(now) for one in self._sar.cut(NETWORK_PDU, pdu)]
        self._ends.look()
        return values

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        return earliest(self._conversation.deadline(), self._sar.deadline())

    def events(self) -> Sequence[Any]:
        """Nothing: see `found`."""
        return ()


def _raise_unless_silent(error: KeywrightError) -> None:
    if not isinstance(error, LinkError):
        raise error


def _chance(job: Job) -> Callable[[], float]:
    return lambda: int.from_bytes(job.rng(4)) / (1 << 32)
