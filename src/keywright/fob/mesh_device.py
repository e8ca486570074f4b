"""Simulated mesh devices: what they are made as, their memories, and a radio in virtual time.

A device is known by a name, as a fob is by its serial. What its maker would have drawn at random (UUID, static OOB
value, key pair) is derived from the name: an order can hold it, and it protects nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, final

from keywright.crypto.ec import EcPrivateKey
from keywright.fob.mesh_model import Heard, MeshModel, Sent
from keywright.mesh.device import Abilities, Refused, ValueShown, ValueWanted
from keywright.mesh.ends import CURVE
from keywright.mesh.keys import CMAC, HMAC
from keywright.mesh.models.composition import (
    CONFIGURATION_SERVER,
    HEALTH_SERVER,
    REMOTE_PROVISIONING_SERVER,
    Composition,
    Element,
)
from keywright.mesh.oob import INPUT_ACTIONS, OUTPUT_ACTIONS, Authentication, Value
from keywright.mesh.records import BASE_URI, NO_RECORDS, Records
from keywright.mesh.session import earliest
from keywright.mesh.unit import Design, Unit, UnitEvent
from keywright.sansio.air import Air, Conditions
from keywright.sansio.endpoint import Endpoint
from keywright.store.memory import Memory

COMPANY: Final = 0xFFFF
"""Company identifier of no company, which is for tests (Bluetooth Assigned Numbers 7.1)."""
PRODUCT: Final = 0x4B57
NAMESPACE: Final = "mesh "
"""Before a name: where a journal keeps the memory of the radio, apart from a chip of the same name."""
GATHER_S: Final = 0.06
"""After a host heard the first frame: how long more of them are collected before it is told."""
LOOK_S: Final = 0.25
"""How often it is looked whether somebody has entered a value."""
_ONOFF_SERVER: Final = 0x1000
_REPLAY_ROOM: Final = 64
"""How many sources their replay protection lists say they have room for."""
_GENERIC_ONOFF_ELEMENT: Final = Element(0, (_ONOFF_SERVER,))

Chance = Callable[[], float]
"""A number from 0 up to 1."""


USUAL: Final = MeshModel()


def uuid_of(name: str) -> bytes:
    """Device UUID of the simulated device of this name, 16 octets in the form of RFC 9562, version 8."""
    octets = bytearray(_derived("UUID", name)[:16])
    octets[6] = 0x80 | octets[6] & 0x0F
    octets[8] = 0x80 | octets[8] & 0x3F
    return bytes(octets)


def static_oob_of(name: str) -> bytes:
    """Its static OOB value, 32 octets."""
    return _derived("static OOB", name)


def key_of(name: str) -> EcPrivateKey:
    """Its maker's key pair, whose public key goes out of band."""
    return EcPrivateKey.draw(CURVE, _Stream(name).take)


def design_of(
    name: str, model: MeshModel = USUAL, *, uuid: bytes | None = None, static_oob: bytes | None = None
) -> Design:
    """The device of this name. uuid, static_oob: in place of those derived from the name.

    Raises ValueError for a model that no device can be.
    """
    value = static_oob if static_oob is not None else static_oob_of(name) if model.static_oob else b""
    key = key_of(name) if model.has_key or model.has_certificate else None
    output_size, output_actions = _carried(model.output, OUTPUT_ACTIONS)
    input_size, input_actions = _carried(model.input, INPUT_ACTIONS)
    abilities = Abilities(
        elements=model.elements,
        algorithms={"both": CMAC.bit | HMAC.bit, "cmac": CMAC.bit, "hmac": HMAC.bit}[model.algorithms],
        static_oob=value,
        static_key=key,
        output_size=output_size,
        output_actions=output_actions,
        input_size=input_size,
        input_actions=input_actions,
    )
    own = uuid or uuid_of(name)
    return Design(
        own,
        _composition(model, model.elements, 1),
        abilities,
        _records(own, model, key),
        next_composition=_composition(model, model.next_elements, 2) if model.next_elements else None,
        test_mode=model.iv_test,
    )


def _records(uuid: bytes, model: MeshModel, key: EcPrivateKey | None) -> Records:
    contents: dict[int, bytes] = {}
    if model.has_certificate and key is not None:
        from keywright.fob.mesh_vendor import certified_records  # noqa: PLC0415 - loads X.509

        contents |= certified_records(uuid, key.public, company=COMPANY, product=PRODUCT)
    if model.certificate_uri:
        from keywright.mesh.certificate_uri import uri_data  # noqa: PLC0415 - as above

        contents[BASE_URI] = uri_data(model.certificate_uri)
    return Records(contents) if contents else NO_RECORDS


def _composition(model: MeshModel, elements: int, version: int) -> Composition:
    remote = (REMOTE_PROVISIONING_SERVER,) if model.remote else ()
    first = Element(0, (CONFIGURATION_SERVER, HEALTH_SERVER, *remote, _ONOFF_SERVER))
    others = [_GENERIC_ONOFF_ELEMENT] * (elements - 1)
    return Composition(COMPANY, PRODUCT, version, _REPLAY_ROOM, 0, (first, *others))


def make_unit(design: Design, memory: Memory, now: float, chance: Chance) -> Unit:
    """The device as its memory left it, switched on."""
    return Unit(
        design,
        memory,
        now,
        new_key=lambda: EcPrivateKey.generate(CURVE),
        random_bytes=os.urandom,
        random=chance,
    )


def system_chance() -> float:
    """Chance from the system."""
    return int.from_bytes(os.urandom(4)) / (1 << 32)


# ---- the person in front of a device


class Attendant(NamedTuple):
    """Whoever stands before simulated devices, each known by its UUID: sees what it shows, enters what it asks for."""

    sees: Callable[[bytes, Authentication, Value], object] = lambda *_: None
    enters: Callable[[bytes, Authentication], Value | None] = lambda *_: None
    """None: nobody enters anything."""


@final
class Attended:
    """Endpoint: a unit with somebody before it. Its events are those of the unit."""

    def __init__(self, unit: Unit, attendant: Attendant, front: Endpoint[UnitEvent] | None = None) -> None:
        """front: what stands before the unit on its bearer, if not the unit itself."""
        self.unit = unit
        self._attendant = attendant
        self._front: Endpoint[UnitEvent] = front or unit
        self._wanted: Authentication | None = None
        self._now = 0.0
        self._events: list[UnitEvent] = []

    def behind(self, front: Endpoint[UnitEvent]) -> Attended:
        """The same unit and person, on another bearer."""
        return Attended(self.unit, self._attendant, front)

    def receive(self, data: bytes, now: float) -> None:
        """As the unit."""
        self._front.receive(data, now)

    def outgoing(self, now: float) -> Sequence[bytes]:
        """As the unit, once the person has done what it asks for."""
        self._now = now
        self._enter(now)
        frames = self._front.outgoing(now)
        for event in self._front.events():
            self._events.append(event)
            match event:
                case ValueShown():
                    self._attendant.sees(self.unit.design.uuid, event.authentication, event.value)
                case ValueWanted():
                    self._wanted = event.authentication
                case Refused():
                    self._wanted = None
                case _:
                    pass
        return frames

    def deadline(self) -> float | None:
        """As the unit; while a value is to be entered, soon, to see whether it is."""
        return earliest(self._front.deadline(), self._now + LOOK_S if self._wanted is not None else None)

    def events(self) -> Sequence[UnitEvent]:
        """What has happened."""
        events, self._events = self._events, []
        return events

    def _enter(self, now: float) -> None:
        device, wanted = self.unit.device, self._wanted
        if wanted is None:
            return
        value = self._attendant.enters(self.unit.design.uuid, wanted)
        if value is not None and device is not None and wanted.accepts(value):
            self._wanted = None
            device.enter(value, now)


# ---- one device as a line reaches it


@final
class DeviceOnAir:
    """One simulated device and the air between it and a host, which the host reaches by `exchange`.

    Time passes only while the host listens.
    """

    def __init__(self, name: str, memory: Memory, model: MeshModel = USUAL, chance: Chance = system_chance) -> None:
        self._air = Air(chance, model.conditions)
        self._host = _Host()
        self._air.join(make_unit(design_of(name, model), memory, 0.0, chance))
        self._place = self._air.join(self._host)

    def exchange(self, sent: Sent) -> Heard:
        """Send, then listen until something was heard or the time is over."""
        begun, end = self._air.now, self._air.now + max(0.0, sent.wait_s)
        self._host.out += sent.frames
        self._air.wake(self._place)
        self._air.run(end, lambda: bool(self._host.heard))
        if self._host.heard:
            self._air.run(min(end, self._air.now + GATHER_S))
        heard, self._host.heard = tuple(self._host.heard), []
        return Heard(heard, self._air.now - begun)


class _Host:
    """Endpoint: the host's radio."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.out: list[bytes] = []

    def receive(self, data: bytes, now: float) -> None:  # noqa: ARG002 - every endpoint is told
        self.heard.append(data)

    def outgoing(self, now: float) -> Sequence[bytes]:  # noqa: ARG002 - as above
        frames, self.out = self.out, []
        return frames

    def deadline(self) -> None:
        return None

    def events(self) -> Sequence[Any]:
        return ()


# ---- many devices on one air


@final
class SimulatedRadio:
    """Devices that share one air with whoever uses it; virtual time, so that nothing waits."""

    def __init__(
        self,
        designs: Sequence[Design],
        memories: Mapping[bytes, Memory],
        *,
        conditions: Conditions,
        chance: Chance,
        attendant: Attendant,
    ) -> None:
        """memories: by UUID."""
        self._air = Air(chance, conditions)
        self.close: Callable[[], object] = lambda: None
        """Lets go of the memories, if whoever made this says how."""
        self.chance = chance
        self.units = [make_unit(design, memories[design.uuid], 0.0, chance) for design in designs]
        for unit in self.units:
            self._air.join(Attended(unit, attendant))

    @property
    def now(self) -> float:
        """Seconds of the radio's clock."""
        return self._air.now

    def run(self, endpoint: Endpoint[Any], seconds: float, stop: Callable[[], bool] = lambda: False) -> None:
        """Put an endpoint on the air until `stop()` or for that long."""
        number = self._air.join(endpoint)
        try:
            self._air.run(self._air.now + seconds, stop)
        finally:
            self._air.leave(number)


# ---- parts


def _derived(what: str, name: str) -> bytes:
    return hashlib.sha256(f"keywright simulated mesh device\0{what}\0{name}".encode()).digest()


class _Stream:
    """Octets that a name determines."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._turn = 0

    def take(self, size: int) -> bytes:
        self._turn += 1
        return hashlib.shake_256(_derived(f"key {self._turn}", self._name)).digest(size)


def _carried(text: str, actions: Sequence[str]) -> tuple[int, int]:
    """Size and actions of `numeric:6`; 0 and 0 for nothing. Raises ValueError."""
    if not text:
        return 0, 0
    action, _, size = text.partition(":")
    if action not in actions or not size.isascii() or not size.isdecimal():
        raise ValueError(f"an OOB action with its size is one of {', '.join(actions)}, as numeric:6; not {text!r}")
    return int(size), 1 << actions.index(action)
