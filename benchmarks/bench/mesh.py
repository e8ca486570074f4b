"""Bluetooth Mesh: 100 simulated devices provisioned at the same time in one process, over GATT.

Every device has a controller of its own on bumble's virtual air; one more is the provisioner's. All hundred connections
are open before the first Invite leaves, so that every session runs beside all others.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from typing import Final

from bench import mesh_core
from bench.figures import Figure
from keywright.crypto.ec import EcPrivateKey
from keywright.link.ble import Connection, Radio, VirtualAir, arun_pipe, serve
from keywright.mesh.database.network import NetworkDatabase
from keywright.mesh.device import Abilities
from keywright.mesh.enrolment import Candidate, Enrolled, Enrolment
from keywright.mesh.models.composition import Composition, Element
from keywright.mesh.oob import Method
from keywright.mesh.pb_gatt.link import PbGattLink
from keywright.mesh.pb_gatt.messages import GOOD_MTU, PROVISIONING_SERVICE
from keywright.mesh.pb_gatt.unit import GattUnit
from keywright.mesh.policy import Policy
from keywright.mesh.provisioner import Provisioner
from keywright.mesh.session import ProvisionerSession
from keywright.mesh.unit import Design, Unit
from keywright.store.memory import RamMemory

DEVICES: Final = 100
_COMPOSITION: Final = Composition(0x05F1, 1, 1, 32, 0, (Element(0, (0x0000, 0x1000)),))
_TIME: Final = "2026-01-01T00:00:00Z"


def figures() -> list[Figure]:
    """Every row about mesh."""
    opened_s, took_s = asyncio.run(gatt_devices(DEVICES))
    what = f"{DEVICES} devices provisioned at once over GATT, in one process"
    against = f"{opened_s:.1f} s to connect them"
    at_once = Figure(what, f"{took_s:.1f} s", against, DEVICES / took_s, form="{:.0f} per s")
    return [*mesh_core.figures(), at_once]


async def gatt_devices(count: int) -> tuple[float, float]:
    """Provision so many devices over GATT; seconds to open all connections, and from there to the last Complete.

    Raises RuntimeError if one of them is no node at the end.
    """
    air = VirtualAir()
    station = await Radio.open(air=air)
    database = NetworkDatabase.begin(
        RamMemory(),
        name="bench",
        uuid=os.urandom(16),
        net_key=os.urandom(16),
        provisioner_uuid=os.urandom(16),
        timestamp=_TIME,
    )
    start = time.perf_counter()
    units, serving, connections = [], [], []
    for _ in range(count):
        radio = await Radio.open(air=air)
        unit = _unit()
        units.append(unit)
        serving.append(asyncio.create_task(serve(radio, [GattUnit(unit)])))
        connections.append(await station.connect(radio.address, PROVISIONING_SERVICE, mtu=GOOD_MTU))
    opened = time.perf_counter()
    pairs = zip(units, connections, strict=True)
    ends = await asyncio.gather(*(_enrol(database, unit, connection) for unit, connection in pairs))
    took = time.perf_counter() - opened
    for task in serving:
        task.cancel()
    await asyncio.wait(serving)
    await station.close()
    nodes = [unit.node for unit in units if unit.node is not None]
    if not all(ends) or len({node.stack.address for node in nodes}) != count:
        raise RuntimeError(f"{sum(ends)} of {count} devices were provisioned")
    return opened - start, took


def _unit() -> Unit:
    return Unit(
        Design(os.urandom(16), _COMPOSITION, Abilities(static_oob=os.urandom(32))),
        RamMemory(),
        time.monotonic(),
        new_key=lambda: EcPrivateKey.generate("P-256"),
        random_bytes=os.urandom,
        random=random.random,
    )


async def _enrol(database: NetworkDatabase, unit: Unit, connection: Connection) -> bool:
    link = PbGattLink.connect(connection.mtu, time.monotonic())
    design = unit.design
    run = Enrolment(
        ProvisionerSession(Provisioner(EcPrivateKey.generate("P-256"), os.urandom), link),
        database,
        Candidate(design.uuid, static_oob=design.abilities.static_oob, attention_s=0),
        policy=Policy(methods=(Method.STATIC,)),
        timestamp=_TIME,
    )
    return any([isinstance(event, Enrolled) async for event in arun_pipe(run, link, connection)])
