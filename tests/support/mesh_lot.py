"""A lot of mesh devices on one air, and the provisioner that enrols them."""

from __future__ import annotations

import random
from collections.abc import Mapping

from keywright.crypto.ec import EcPrivateKey
from keywright.mesh.database.network import NetworkDatabase
from keywright.mesh.device import Abilities
from keywright.mesh.enrolment import Candidate, Enrolled, Failed
from keywright.mesh.enrolments import Enrolments, LotEvent, Radio
from keywright.mesh.models.composition import Composition, Element
from keywright.mesh.pb_adv.links import topic
from keywright.mesh.policy import Policy
from keywright.mesh.unit import Design, Unit
from keywright.sansio.air import Air, Conditions
from keywright.store.memory import RamMemory

TIME = "2026-01-02T03:04:05Z"
COMPOSITION = Composition(0x05F1, 1, 2, 100, 0, (Element(0x0100, (0, 2, 0x1000)), Element(0x0101, (0x1000,))))


def uuid_of(number: int) -> bytes:
    """A UUID of version 4 form."""
    return bytes((0x70, 0xCF, 0x7C, 0x97, 0x32, 0xA3, 0x45, 0xB6, 0x91, 0x49)) + number.to_bytes(6)


def static_of(number: int) -> bytes:
    """The static OOB value that a device was made with."""
    return bytes((number & 0xFF, number >> 8)) * 8


def begin(memory: RamMemory) -> NetworkDatabase:
    """A new network."""
    return NetworkDatabase.begin(
        memory, name="lot", uuid=bytes(16), net_key=bytes(range(16)), provisioner_uuid=bytes(16), timestamp=TIME
    )


class Lot:
    """`count` units and one provisioner; `absent` units are not there, `wrong` ones have another static value."""

    def __init__(
        self,
        count: int,
        *,
        at_once: int = 16,
        seed: int = 1,
        conditions: Conditions | None = None,
        absent: frozenset[int] = frozenset(),
        wrong: frozenset[int] = frozenset(),
    ) -> None:
        self.chance = random.Random(seed)
        self.air = Air(self.chance.random, conditions, topic=topic)
        self.memory = RamMemory()
        self.database = begin(self.memory)
        self.units: dict[bytes, Unit] = {}
        self.numbers: dict[bytes, int] = {}
        self.ended: dict[bytes, Enrolled | Failed] = {}
        self.most_at_once = 0
        radio = Radio(
            lambda: EcPrivateKey.generate("P-256"), self.chance.randbytes, self.chance.random, at_once=at_once
        )
        self.enrolments = Enrolments(radio, self.database, policy=Policy(), timestamp=TIME, opening=self._opening)
        for number in range(count):
            uuid = uuid_of(number)
            self.enrolments.add(Candidate(uuid, f"fob-{number}", static_of(number)), 0.0)
            if number not in absent:
                self._make(uuid, bytes(16) if number in wrong else static_of(number))
        self.station = self.air.join(self.enrolments, topics=())

    def run(self, seconds: float = 3600.0) -> Mapping[bytes, Enrolled | Failed]:
        """Until every candidate has ended, or that long; how each ended."""
        self.air.run(self.air.now + seconds, self._all_ended)
        self.air.run(self.air.now + 5.0)
        return self.ended

    def _make(self, uuid: bytes, static_oob: bytes) -> None:
        unit = Unit(
            Design(uuid, COMPOSITION, Abilities(elements=2, static_oob=static_oob)),
            RamMemory(),
            0.0,
            new_key=lambda: EcPrivateKey.generate("P-256"),
            random_bytes=self.chance.randbytes,
            random=self.chance.random,
        )
        self.units[uuid] = unit
        self.numbers[uuid] = self.air.join(unit, topics=[uuid])

    def _opening(self, uuid: bytes, link_id: int) -> None:
        self.air.tune(self.station, link_id)
        if uuid in self.numbers:
            self.air.tune(self.numbers[uuid], link_id)

    def _all_ended(self) -> bool:
        self.most_at_once = max(self.most_at_once, len(self.enrolments))
        for told in self.enrolments.events():
            assert isinstance(told, LotEvent)
            if isinstance(told.event, Enrolled | Failed):
                self.ended[told.candidate.uuid] = told.event
        return not len(self.enrolments)
