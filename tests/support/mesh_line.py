"""A unit that shows certificates, its enrolment, and whoever stands between the two, on one air."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from keywright.crypto.ec import EcPrivateKey
from keywright.errors import KeywrightError
from keywright.mesh.advertising import MESH_BEACON, ad_structures
from keywright.mesh.beacons import parse_unprovisioned
from keywright.mesh.cbp import CertificatePolicy
from keywright.mesh.database.network import NetworkDatabase
from keywright.mesh.device import Abilities
from keywright.mesh.device import ValueShown as DeviceShows
from keywright.mesh.enrolment import Candidate, Enrolled, Enrolment, Failed, RetrievalWanted
from keywright.mesh.models.composition import Composition, Element
from keywright.mesh.oob import Value
from keywright.mesh.pb_adv.link import PbAdvLink
from keywright.mesh.policy import Policy
from keywright.mesh.provisioner import ValueShown, ValueWanted
from keywright.mesh.records import Records
from keywright.mesh.retrieval import HttpAnswer, HttpGet
from keywright.mesh.session import ProvisionerSession
from keywright.mesh.unit import Design, Unit
from keywright.sansio.air import Air
from keywright.store.memory import RamMemory
from support.mesh import counting, make_provisioner
from support.mesh_pki import AT, COMPANY, PRODUCT, UUID, authority, key, root

STATIC = bytes(range(32))
COMPOSITION = Composition(COMPANY, PRODUCT, 3, 10, 0, (Element(0, (0,)), Element(0, (0x1000,))))
ISSUER = authority(2)
TRUSTING = CertificatePolicy(roots=(root().root,), hosts=("vendor.example",))


def abilities(**changes: Any) -> Abilities:
    """Of a device with a static value and a key of its maker's."""
    values: dict[str, Any] = {"elements": 2, "static_oob": STATIC, "static_key": key("device")}
    return Abilities(**(values | changes))


def network(memory: RamMemory | None = None) -> NetworkDatabase:
    """A new network."""
    return NetworkDatabase.begin(
        memory or RamMemory(), name="line", uuid=bytes(16), net_key=bytes(16), provisioner_uuid=bytes(16), timestamp=AT
    )


def make_unit(
    records: dict[int, bytes],
    memory: RamMemory | None = None,
    *,
    now: float = 0.0,
    uri: bytes = b"",
    uuid: bytes = UUID,
    composition: Composition = COMPOSITION,
    seed: int = 7,
    **changes: Any,
) -> Unit:
    """A unit with these records; `changes` are to its abilities."""
    return Unit(
        Design(uuid, composition, abilities(**changes), Records(records), uri=uri),
        memory or RamMemory(),
        now,
        new_key=lambda: EcPrivateKey.generate("P-256"),
        random_bytes=counting(seed),
        random=random.Random(seed).random,
    )


def heard(unit: Unit, **values: Any) -> Candidate:
    """What a scanner knows of a device that beacons."""
    (data, *_) = unit.outgoing(0.0)
    ((kind, content),) = ad_structures(data)
    assert kind == MESH_BEACON
    information = parse_unprovisioned(content).oob_information
    named: dict[str, Any] = {"name": "fob", **values}
    return Candidate(unit.design.uuid, static_oob=STATIC, oob_information=information, uri=unit.design.uri, **named)


class Line:
    """A unit and its enrolment on one air, with somebody who carries values and does requests."""

    def __init__(
        self,
        unit: Unit,
        candidate: Candidate | None = None,
        *,
        policy: Policy | None = None,
        certificates: CertificatePolicy | None = TRUSTING,
        at: str = AT,
        server: Callable[[HttpGet], HttpAnswer | KeywrightError | None] | None = None,
        air: Air | None = None,
        database: NetworkDatabase | None = None,
        link_id: int = 1,
    ) -> None:
        self.unit = unit
        self.air = air or Air(random.Random(1).random)
        self.database = database or network()
        self.requests: list[HttpGet] = []
        self.seen: list[object] = []
        self.end: Enrolled | Failed | None = None
        self._server = server
        self._value: Value | None = None
        candidate = candidate or heard(unit)
        self.place = self.air.join(unit)
        self.run = Enrolment(
            ProvisionerSession(
                make_provisioner(), PbAdvLink.connect(UUID, link_id, self.air.now, random=random.Random(4).random)
            ),
            self.database,
            candidate,
            policy=policy or Policy(),
            timestamp=at,
            certificates=certificates,
        )
        self.number = self.air.join(self.run)

    def go(self, seconds: float = 400.0) -> Enrolled | Failed:
        """Until it ends."""
        self.air.run(self.air.now + seconds, self._turn)
        assert self.end is not None, "neither enrolled nor failed"
        self.air.run(self.air.now + 5.0)
        return self.end

    def _turn(self) -> bool:
        for event in self.unit.events():
            self.seen.append(event)
            if isinstance(event, DeviceShows):
                self.run.enter(event.value, self.air.now)
                self.air.wake(self.number)
        for told in self.run.events():
            match told:
                case RetrievalWanted():
                    self._serve(told.request)
                case ValueShown():
                    self._value = told.value
                case Enrolled() | Failed():
                    self.end = told
                case ValueWanted():
                    pass
        device = self.unit.device
        if self._value is not None and device is not None and device.state == "input":
            device.enter(self._value, self.air.now)
            self.air.wake(self.place)
        return self.end is not None

    def _serve(self, request: HttpGet) -> None:
        self.requests.append(request)
        assert self._server is not None, "nobody serves"
        answer = self._server(request)
        if isinstance(answer, HttpAnswer):
            self.run.retrieved(answer, self.air.now)
        elif answer is not None:
            self.run.not_retrieved(answer, self.air.now)
        self.air.wake(self.number)


def enrolled(line: Line) -> Enrolled:
    """Let it end well, by certificate."""
    end = line.go()
    assert isinstance(end, Enrolled), end
    assert line.unit.node is not None
    assert line.unit.node.stack.address == end.node.address
    assert end.node.security == "secure"
    assert end.certificate is not None
    assert end.certificate.public_key == key("device").public
    end.certificate.check_composition(line.unit.design.composition)
    return end
