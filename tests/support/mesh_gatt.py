"""A unit behind GATT with its owner: made, provisioned over a connection without a radio, or a node already."""

from __future__ import annotations

import random

from keywright.crypto.ec import EcPrivateKey
from keywright.mesh.database.network import NetworkDatabase
from keywright.mesh.device import Abilities
from keywright.mesh.enrolment import Candidate, Enrolled, Enrolment, Failed
from keywright.mesh.models.composition import Composition, Element
from keywright.mesh.oob import Method
from keywright.mesh.pb_gatt.link import PbGattLink
from keywright.mesh.pb_gatt.messages import LEAST_MTU
from keywright.mesh.pb_gatt.unit import GattUnit
from keywright.mesh.policy import Policy
from keywright.mesh.session import ProvisionerSession
from keywright.mesh.unit import Design, Unit
from keywright.store.memory import RamMemory
from support.mesh import counting, make_provisioner

UUID = bytes.fromhex("70cf7c9732a345b691494810d2e9cbf4")
TIME = "2026-01-02T03:04:05Z"
NET = bytes(range(16))
STATIC = bytes(range(32))
COMPOSITION = Composition(1, 2, 3, 10, 0, (Element(0, (0,)), Element(0, (0x1000,))))


def make_unit(memory: RamMemory) -> GattUnit:
    """A unit with static OOB, as its memory has it."""
    unit = Unit(
        Design(UUID, COMPOSITION, Abilities(elements=2, static_oob=STATIC), oob_information=0x0800),
        memory,
        0.0,
        new_key=lambda: EcPrivateKey.generate("P-256"),
        random_bytes=counting(7),
        random=random.Random(3).random,
    )
    return GattUnit(unit)


def network(memory: RamMemory) -> NetworkDatabase:
    """A new network."""
    return NetworkDatabase.begin(
        memory,
        name="line",
        uuid=bytes(16),
        net_key=NET,
        provisioner_uuid=bytes(16),
        timestamp=TIME,
    )


def enrol(unit: GattUnit, database: NetworkDatabase, cut: int | None = None, side: str = "") -> tuple[object, int]:
    """Provision over a connection; how it ended and how many values there were. cut: that side's power goes there.

    A side without power says nothing and hears nothing; the other learns that the connection is gone.
    """
    link = PbGattLink.connect(LEAST_MTU, 0.0)
    run = Enrolment(
        ProvisionerSession(make_provisioner(), link),
        database,
        Candidate(UUID, static_oob=STATIC),
        policy=Policy(methods=(Method.STATIC,)),
        timestamp=TIME,
    )
    unit.connected(LEAST_MTU, 0.0)
    carried, ends, quiet = 0, [], 0
    while quiet < 3 and not link.is_closed:
        quiet += 1
        for sender in (run, unit):
            receiver = unit if sender is run else run
            for value in sender.outgoing(0.0):
                if carried == cut:
                    if side == "device":
                        link.disconnected("the connection is lost", 0.0)
                        run.outgoing(0.0)
                    else:
                        unit.disconnected("the connection is lost", 0.0)
                    ends += [event for event in run.events() if isinstance(event, Enrolled | Failed)]
                    return (ends[0] if ends else None), carried
                carried, quiet = carried + 1, 0
                receiver.receive(value, 0.0)
            ends += [event for event in run.events() if isinstance(event, Enrolled | Failed)]
    unit.disconnected("the client disconnected", 0.0)
    return (ends[0] if ends else None), carried


def node() -> GattUnit:
    """A node whose proxy client has just begun to listen."""
    unit = make_unit(RamMemory())
    enrol(unit, network(RamMemory()))
    unit.connected(LEAST_MTU, 0.0)
    return unit
