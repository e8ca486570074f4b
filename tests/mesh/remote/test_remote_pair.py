"""A device that only a node can hear is provisioned through that node."""

from __future__ import annotations

import random

import pytest

from keywright.crypto.ec import EcPrivateKey
from keywright.errors import LinkError, PolicyError
from keywright.mesh.advertising import PB_ADV
from keywright.mesh.bearer import LinkClosed
from keywright.mesh.database.keys import owner_stack
from keywright.mesh.device import Abilities
from keywright.mesh.enrolment import Candidate, Enrolled, Enrolment, Failed
from keywright.mesh.models.composition import Composition, Element
from keywright.mesh.network.advertised import Advertised
from keywright.mesh.oob import Method
from keywright.mesh.policy import Policy
from keywright.mesh.remote import messages as m
from keywright.mesh.remote.client import RemoteLink
from keywright.mesh.remote.enrolling import enrol_through
from keywright.mesh.remote.messages import LinkState
from keywright.mesh.remote.server import RemoteServer
from keywright.mesh.unit import Design, Unit
from keywright.sansio.air import Conditions
from keywright.store.memory import RamMemory
from support.mesh import counting, make_provisioner
from support.mesh_network import TIME, Network

UUID = bytes.fromhex("70cf7c9732a345b691494810d2e9cbf4")
STATIC = bytes(range(32))
SERVER = Composition(0x05F1, 1, 2, 100, 0, (Element(0x0100, (0, 2, 4)),))
KEY = EcPrivateKey.generate("P-256")


class Far:
    """A network whose first node hears a device that its owner does not."""

    def __init__(self, conditions: Conditions | None = None, seed: int = 1) -> None:
        self.net = Network(1, composition=SERVER, conditions=conditions, seed=seed)
        self.memory = RamMemory()
        self.device = self.make_device()
        self.place = self.net.air.join(self.device)

    def make_device(self) -> Unit:
        return Unit(
            Design(UUID, SERVER, Abilities(static_oob=STATIC, static_key=KEY)),
            self.memory,
            self.net.air.now,
            new_key=lambda: EcPrivateKey.generate("P-256"),
            random_bytes=counting(7),
            random=random.Random(3).random,
        )

    def enrolment(self, *, known: bool = True, allow_weak: bool = False, uuid: bytes = UUID) -> Enrolment:
        net, database = self.net, self.net.database
        return enrol_through(
            net.address(0),
            owner_stack(database, net.air.now),
            make_provisioner(),
            database,
            Candidate(uuid, name="far", static_oob=STATIC, public_key=KEY.public) if known else Candidate(uuid),
            net.air.now,
            policy=Policy(methods=(Method.STATIC, Method.NONE)),
            timestamp=TIME,
            allow_weak=allow_weak,
        )

    def run(self, enrolment: Enrolment, seconds: float = 900.0) -> Enrolled | Failed:
        air = self.net.air
        # The owner hears no PB-ADV; what it sends is network PDUs, which mean nothing to the device.
        place = air.join(Advertised(enrolment), hears=lambda frame: frame[1] != PB_ADV)
        found: list[Enrolled | Failed] = []

        def ended() -> bool:
            found.extend(event for event in enrolment.events() if isinstance(event, Enrolled | Failed))
            return bool(found)

        air.run(air.now + seconds, ended)
        assert found, "neither enrolled nor failed"
        air.run(air.now + 30.0)
        air.leave(place)
        return found[0]


@pytest.mark.parametrize("seed", range(5))
def test_a_device_out_of_reach_becomes_a_node(seed: int) -> None:
    far = Far(Conditions(0.2, 0.2, 0.001, 0.1) if seed else None, seed)
    end = far.run(far.enrolment())
    assert isinstance(end, Enrolled), end
    assert far.device.node is not None
    assert far.device.node.stack.address == end.node.address
    assert end.node.security == "secure"
    server = far.net.units[0].node
    assert server is not None
    assert server.remote is not None
    assert server.remote.state == LinkState.IDLE


def test_without_oob_a_device_is_refused_unless_that_is_allowed() -> None:
    far = Far()
    end = far.run(far.enrolment(known=False))
    assert isinstance(end, Failed)
    assert isinstance(end.error, PolicyError)
    assert "public key is not known" in str(end.error)
    assert far.device.node is None
    end = far.run(far.enrolment(known=False, allow_weak=True))
    assert isinstance(end, Enrolled)
    assert end.node.security == "insecure"


def test_a_device_that_nobody_hears_is_named() -> None:
    far = Far()
    far.net.air.leave(far.place)
    end = far.run(far.enrolment())
    assert isinstance(end, Failed)
    assert isinstance(end.error, LinkError)
    assert "status 05 (link open failed)" in str(end.error)


def test_a_node_that_is_silent_is_named() -> None:
    far = Far()
    far.net.switch_off(0)
    end = far.run(far.enrolment())
    assert isinstance(end, Failed)
    assert isinstance(end.error, LinkError)
    assert "LinkGet to 0001 was not answered" in str(end.error)


def test_a_device_whose_power_goes_is_told_by_the_node() -> None:
    far = Far()
    enrolment = far.enrolment()
    place = far.net.air.join(Advertised(enrolment))
    far.net.air.run(60.0, lambda: far.device.device is not None and far.device.device.state == "invited")
    far.net.air.leave(far.place)
    far.net.air.leave(place)
    end = far.run(enrolment)
    assert isinstance(end, Failed)
    assert "status 0A (cannot send pdu)" in str(end.error)


@pytest.mark.parametrize("side", ["owner", "server", "device"])
def test_a_cut_at_any_time_is_made_good_by_beginning_again(side: str) -> None:
    for cut in (5, 25, 45, 65, 85, 105, 125, 145):
        far = Far()
        air, start = far.net.air, far.net.air.sent
        enrolment = far.enrolment()
        place = air.join(Advertised(enrolment))
        air.run(60.0, lambda air=air, end=start + cut: air.sent >= end)  # type: ignore[misc]  # bound for this turn
        air.leave(place)
        ended = [event for event in enrolment.events() if isinstance(event, Enrolled)]
        if side == "server":
            far.net.switch_off(0)
            far.net.switch_on(0)
        elif side == "device":
            air.leave(far.place)
            far.device = far.make_device()
            air.run(air.now + 70.0)
            far.place = air.join(far.device)
        air.run(air.now + 130.0)
        assert (far.device.node is not None) >= bool(ended)
        if far.device.node is not None:
            # The owner has what it needs to find out that it is its node.
            promised, known = far.net.database.pending(UUID), far.net.database.node(UUID)
            held = far.device.node.memory.state
            assert held is not None
            found = known.device_key if known else promised.device_key.hex().upper() if promised else None
            assert held.device_key.hex().upper() == found, cut
        else:
            end = far.run(far.enrolment())
            assert isinstance(end, Enrolled), (cut, end)


def test_a_server_whose_link_never_becomes_idle_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RemoteServer, "link_status", lambda _, status=0: m.LinkStatus(status, LinkState.ACTIVE))
    net = Network(1, composition=Composition(0x05F1, 1, 2, 100, 0, (Element(0x0100, (0, 2, 4)),)))
    link = RemoteLink(owner_stack(net.database, 0.0), net.address(0), bytes(16), 0.0)
    net.air.join(Advertised(link))
    net.air.run(3600.0, lambda: link.state == "closed")
    (closed,) = link.events()
    assert isinstance(closed, LinkClosed)
    assert closed.why == "the link of 0001 does not become idle (MshPRT 4.4.6)"
    assert net.air.now < 120.0
