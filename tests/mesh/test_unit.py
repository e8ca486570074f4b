"""A whole unit on the air: found by its beacon, provisioned, configured, its power cut, reset, provisioned again."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from keywright.crypto.ec import EcPrivateKey
from keywright.mesh.advertising import MESH_BEACON, MESH_MESSAGE, ad_structures, build_ad
from keywright.mesh.beacons import parse_unprovisioned
from keywright.mesh.bearer import LinkOpened
from keywright.mesh.database.keys import owner_stack
from keywright.mesh.keys import HMAC
from keywright.mesh.messages import ProvisioningData
from keywright.mesh.models import configuration as c
from keywright.mesh.models.composition import Composition, Element, parse_composition
from keywright.mesh.models.indexes import pack_index_list, pack_indexes
from keywright.mesh.network.access import AccessMessage
from keywright.mesh.network.iv_index import IvIndex, IvState
from keywright.mesh.network.keyring import Keyring, Subnet
from keywright.mesh.network.keys import AppKey, NetKey
from keywright.mesh.network.pdu import open_network
from keywright.mesh.network.stack import DEFAULT_TTL, Received, Stack
from keywright.mesh.oob import Authentication
from keywright.mesh.pb_adv.link import PbAdvLink
from keywright.mesh.policy import Choice
from keywright.mesh.provisioner import Authenticated, CapabilitiesReceived, Ended, Provisioned
from keywright.mesh.remote import messages as remote
from keywright.mesh.session import ProvisionerSession
from keywright.mesh.unit import Design, Unit
from keywright.sansio.air import Air, Conditions
from keywright.store.memory import RamMemory
from support.mesh import counting, make_provisioner
from support.mesh_network import NET_KEY, Network

UUID = bytes.fromhex("70cf7c9732a345b691494810d2e9cbf4")
COMPOSITION = Composition(0x05F1, 1, 2, 100, 0, (Element(0x0100, (0, 2, 0x1000)), Element(0x0101, (0x1000,))))
NET, APP = b"the network key!", b"application key!"
A, B = 0x0001, 0x0100
CHOICE = Choice(HMAC, uses_oob_key=False, authentication=Authentication())


def make_unit(memory: RamMemory, now: float = 0.0) -> Unit:
    return Unit(
        Design(UUID, COMPOSITION),
        memory,
        now,
        new_key=lambda: EcPrivateKey.generate("P-256"),
        random_bytes=counting(),
        random=random.Random(3).random,
    )


class Listener:
    """An endpoint that only listens."""

    def __init__(self, heard: list[bytes]) -> None:
        self._heard = heard

    def receive(self, data: bytes, now: float) -> None:
        self._heard.append(data)

    def outgoing(self, now: float) -> list[bytes]:
        return []

    def deadline(self) -> None:
        return None

    def events(self) -> list[object]:
        return []


class Messages:
    """A stack on an advertising bearer."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.deadline = stack.deadline
        self.events = stack.events

    def receive(self, data: bytes, now: float) -> None:
        for kind, content in ad_structures(data):
            if kind == MESH_MESSAGE:
                self.stack.receive(content, now)

    def outgoing(self, now: float) -> list[bytes]:
        return [build_ad(MESH_MESSAGE, pdu) for pdu in self.stack.outgoing(now)]


def provision(air: Air, unit: Unit, link_id: int) -> AppKey:
    """Provision a unit that is on the air; the device key."""
    session = ProvisionerSession(
        make_provisioner(), PbAdvLink.connect(UUID, link_id, air.now, random=random.Random(4).random)
    )
    number = air.join(session)
    key: list[AppKey] = []
    for event in happenings(air, session, number):
        match event:
            case LinkOpened():
                session.provisioner.invite(0, air.now)
            case CapabilitiesReceived():
                session.provisioner.start(CHOICE, air.now)
            case Authenticated():
                key.append(AppKey(event.device_key.reveal(), is_device_key=True))
                session.provisioner.provide(ProvisioningData(NET, 0, 0, IvState(7).index.to_bytes(4), B), air.now)
            case Ended():
                raise event.error
            case _:
                pass
    air.run(air.now + 5.0)
    air.leave(number)
    return key[0]


def happenings(air: Air, session: ProvisionerSession, number: int) -> Iterator[object]:
    """The session's events, each answered before the air goes on."""
    found: list[object] = []

    def some() -> bool:
        found.extend(session.events())
        return bool(found)

    while True:
        air.run(air.now + 100.0, some)
        assert found, "nothing happens any more"
        event = found.pop(0)
        yield event
        if isinstance(event, Provisioned | Ended):
            return
        air.wake(number)


def client(device_key: AppKey, memory: RamMemory) -> Stack:
    keyring = Keyring()
    keyring.subnets[0] = Subnet(NetKey(NET))
    keyring.device_keys[B] = device_key
    return Stack(memory, address=A, elements=1, keyring=keyring, iv_index=IvIndex(memory, IvState(7), 0.0))


def ask(air: Air, stack: Stack, number: int, message: c.Message) -> c.Message:
    """A Configuration message and its answer."""
    stack.send(c.build_message(message), B, air.now, device=B)
    air.wake(number)
    answers: list[Received] = []

    def answered() -> bool:
        answers.extend(event for event in stack.events() if isinstance(event, Received))
        return bool(answers)

    air.run(air.now + 20.0, answered)
    assert len(answers) == 1
    return c.parse_message(answers[0].message)


@pytest.mark.parametrize(
    "message",
    [
        c.build_message(c.BeaconGet()),
        c.build_message(c.CompositionDataGet(0)),
        remote.build_message(remote.ScanCapabilitiesGet()),
    ],
    ids=["short", "in segments", "remote provisioning"],
)
@pytest.mark.parametrize(("asked", "answered"), [(0, 0), (1, DEFAULT_TTL), (None, DEFAULT_TTL)])
def test_an_answer_goes_no_further_than_a_question_of_ttl_0(
    message: AccessMessage, asked: int | None, answered: int
) -> None:
    network = Network(composition=Composition(1, 2, 3, 10, 0, (Element(0, (0, 4)),)))
    owner, node, address = owner_stack(network.database, 0.0), network.units[0].node, network.address(0)
    assert node is not None
    owner.send(message, address, 0.0, device=address, ttl=asked)
    for frame in owner.outgoing(0.0):
        node.receive(frame, 0.0)
    answers = [open_network(NetKey(NET_KEY), 0, frame) for frame in node.outgoing(1.0)]
    assert answers
    assert {pdu.ttl for pdu in answers} == {answered}


@pytest.mark.parametrize(
    "conditions", [Conditions(), Conditions(duplication=0.3, reordering_s=0.1)], ids=["good", "bad"]
)
def test_the_life_of_a_unit(conditions: Conditions) -> None:
    memory, owner = RamMemory(), RamMemory()
    unit = make_unit(memory)
    heard: list[bytes] = []

    air = Air(random.Random(5).random, conditions)
    place = air.join(unit)
    listener = air.join(Listener(heard))
    air.run(2.5)
    ((kind, beacon), *_) = ad_structures(heard[0])
    assert kind == MESH_BEACON
    assert parse_unprovisioned(beacon).uuid == UUID
    air.leave(listener)

    key = provision(air, unit, 1)
    assert unit.node is not None
    stack = client(key, owner)
    number = air.join(Messages(stack))
    status = ask(air, stack, number, c.CompositionDataGet(0xFF))
    assert isinstance(status, c.CompositionDataStatus)
    assert parse_composition(status.data) == COMPOSITION

    indexes = pack_indexes(0, 5)
    assert ask(air, stack, number, c.AppKeyAdd(indexes, APP)) == c.AppKeyStatus(0, indexes)
    assert ask(air, stack, number, c.ModelAppBind(B + 1, 5, b"\x00\x10")) == c.ModelAppStatus(0, B + 1, 5, b"\x00\x10")

    # The power goes, and comes back: the unit is the node it was.
    air.leave(place)
    unit = make_unit(memory, air.now)
    place = air.join(unit)
    assert ask(air, stack, number, c.AppKeyGet(0)) == c.AppKeyList(0, 0, pack_index_list((5,)))
    assert ask(air, stack, number, c.PublicationSet(B + 1, 0xC000, 5, 5, 0, 0, b"\x00\x10")) == c.PublicationStatus(
        0, B + 1, 0xC000, 5, 5, 0, 0, b"\x00\x10"
    )

    assert ask(air, stack, number, c.NodeReset()) == c.NodeResetStatus()
    assert unit.node is None
    assert memory.names() == []
    again = provision(air, unit, 2)
    assert again != key
    assert unit.node is not None
