"""What beacons carry through a network: the IV index, its update, and key refresh phases."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from keywright.errors import SequenceError, StoreError
from keywright.mesh.advertising import MESH_BEACON, ad_structures
from keywright.mesh.beacons import NetworkState, private, secure_network
from keywright.mesh.models.state import NetKeyState, NodeMemory, NodeState, state_of
from keywright.mesh.network.access import AccessMessage
from keywright.mesh.network.advertised import Advertised
from keywright.mesh.network.beaconing import INTERVAL_S, LONGEST_S, Beaconing, Kinds
from keywright.mesh.network.iv_index import LEAST_S, IvIndex, IvState
from keywright.mesh.network.keyring import DISTRIBUTING, NORMAL, SWITCHED, Keyring, Subnet
from keywright.mesh.network.keys import AppKey, NetKey
from keywright.mesh.network.sequence import SequenceNumbers
from keywright.mesh.network.stack import Received, Stack
from keywright.mesh.node import Node
from keywright.sansio.air import Air
from keywright.store.memory import RamMemory
from support.mesh import counting
from support.mesh_network import COMPOSITION, NET_KEY, Network

OLD, NEW = bytes(range(16)), bytes(range(16, 32))
A = 0x0100
FIVE = IvState(5)


def node(
    memory: RamMemory | None = None,
    *,
    address: int = A,
    now: float = 0.0,
    phase: int = NORMAL,
    iv: IvState = FIVE,
    nets: Mapping[int, NetKeyState] | None = None,
    private_beacon: int = 0,
) -> Node:
    held = NodeMemory(memory or RamMemory(), COMPOSITION)
    key = NetKeyState(OLD, b"" if phase == NORMAL else NEW, phase)
    held.begin(NodeState(address, b"D" * 16, {0: key, **(nets or {})}, iv_state=iv, private_beacon=private_beacon))
    return Node(held, now, random=random.Random(1).random, random_bytes=counting())


def beacons(one: Node, now: float) -> list[bytes]:
    return list(one.beaconing.outgoing(now))


def test_a_node_sends_the_beacon_that_its_state_says() -> None:
    one = node(phase=SWITCHED, iv=IvState(6, is_updating=True), private_beacon=1)
    assert beacons(one, 0.0) == []
    assert one.beaconing.deadline() == INTERVAL_S
    state = NetworkState(3, 6)
    assert beacons(one, INTERVAL_S) == [
        secure_network(NetKey(NEW), state),
        private(NetKey(NEW), state, counting()(13)),
    ]
    assert beacons(one, INTERVAL_S + 1) == []
    state_of(one.memory).beacon = state_of(one.memory).private_beacon = 0
    assert beacons(one, 2 * INTERVAL_S) == []
    before = node(phase=DISTRIBUTING)
    assert beacons(before, INTERVAL_S) == [secure_network(NetKey(OLD), NetworkState(0, 5))]


@pytest.mark.parametrize(("heard", "interval"), [(0, 10.0), (1, 20.0), (5, 60.0), (200, LONGEST_S)])
def test_the_more_beacons_are_heard_the_fewer_are_sent(heard: int, interval: float) -> None:
    one = node()
    for _ in range(heard):
        one.beaconing.receive(secure_network(NetKey(OLD), NetworkState(0, 5)), 1.0)
    beacons(one, INTERVAL_S)
    assert one.beaconing.deadline() == INTERVAL_S + interval


@pytest.mark.parametrize("kind", ["secure", "private"])
@pytest.mark.parametrize(
    ("phase", "key", "flags", "after"),
    [
        (NORMAL, OLD, 1, (OLD, b"", NORMAL)),
        (NORMAL, NEW, 1, (OLD, b"", NORMAL)),
        (DISTRIBUTING, OLD, 0, (OLD, NEW, DISTRIBUTING)),
        (DISTRIBUTING, OLD, 1, (OLD, NEW, DISTRIBUTING)),
        (DISTRIBUTING, NEW, 1, (OLD, NEW, SWITCHED)),
        (DISTRIBUTING, NEW, 0, (NEW, b"", NORMAL)),
        (SWITCHED, OLD, 0, (OLD, NEW, SWITCHED)),
        (SWITCHED, NEW, 1, (OLD, NEW, SWITCHED)),
        (SWITCHED, NEW, 0, (NEW, b"", NORMAL)),
    ],
)
def test_a_beacon_under_the_new_key_takes_a_node_along(
    kind: str, phase: int, key: bytes, flags: int, after: tuple[bytes, bytes, int]
) -> None:
    memory = RamMemory()
    one = node(memory, phase=phase)
    state = NetworkState(flags, 5)
    one.beaconing.receive(
        secure_network(NetKey(key), state) if kind == "secure" else private(NetKey(key), state, bytes(13)), 1.0
    )
    kept = state_of(NodeMemory(memory, COMPOSITION)).net_keys[0]
    assert (kept.key, kept.new_key, kept.phase) == after
    assert one.stack.keyring.subnets[0].sending == NetKey(NEW if after[2] == SWITCHED else after[0])


def test_only_an_authenticated_beacon_of_the_network_counts() -> None:
    one = node()
    good = secure_network(NetKey(OLD), NetworkState(0, 9))
    hidden = private(NetKey(OLD), NetworkState(0, 9), bytes(13))
    for beacon in (good, hidden):
        for at in range(len(beacon)):
            one.beaconing.receive(beacon[:at] + bytes((beacon[at] ^ 1,)) + beacon[at + 1 :], 1.0)
            one.beaconing.receive(beacon[:at], 1.0)
    one.beaconing.receive(secure_network(NetKey(NEW), NetworkState(0, 9)), 1.0)
    assert one.stack.iv_index.state == IvState(5)
    one.beaconing.receive(good, 1.0)
    assert one.stack.iv_index.state == IvState(9)


def test_who_is_in_the_primary_network_takes_the_iv_index_from_that_alone() -> None:
    one = node(nets={3: NetKeyState(NEW)})
    one.beaconing.receive(secure_network(NetKey(NEW), NetworkState(0, 9)), 1.0)
    assert one.stack.iv_index.state == IvState(5)
    alone = node(nets={3: NetKeyState(NEW)})
    del alone.stack.keyring.subnets[0]
    alone.beaconing.receive(secure_network(NetKey(NEW), NetworkState(0, 9)), 1.0)
    assert alone.stack.iv_index.state == IvState(9)


def test_a_memory_that_takes_nothing_leaves_a_node_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    one = node(phase=DISTRIBUTING)

    def full(*_: object) -> None:
        raise StoreError("full")

    monkeypatch.setattr(RamMemory, "commit", full)
    one.beaconing.receive(secure_network(NetKey(NEW), NetworkState(1, 9)), 1.0)
    assert (state_of(one.memory).net_keys[0].phase, one.stack.iv_index.state) == (DISTRIBUTING, IvState(5))


# ---- the IV update through a network ------------------------------------------------------------------------------


class OnAir:
    """Nodes on one air; what they receive under their device keys is not looked at."""

    def __init__(self, *nodes: Node, now: float = 0.0) -> None:
        self.air = Air(random.Random(2).random)
        self.air.now = now
        self.nodes = nodes
        for one in nodes:
            self.air.join(Advertised(one, one.beaconing))

    @property
    def states(self) -> set[IvState]:
        return {one.stack.iv_index.state for one in self.nodes}


def test_a_node_that_runs_out_of_numbers_takes_the_network_to_the_next_index() -> None:
    memories = [RamMemory() for _ in range(3)]
    nodes = [node(memory, address=A + 2 * number) for number, memory in enumerate(memories)]
    memories[0].commit({"sequence": (0xC00100).to_bytes(4)})
    nodes[0] = Node(nodes[0].memory, 0.0, random=random.Random(1).random)
    net = OnAir(*nodes, now=LEAST_S - 100)  # nobody listened until now
    net.air.run(LEAST_S - 1)
    assert net.states == {IvState(5)}
    net.air.run(LEAST_S + 1300)
    assert net.states == {IvState(6, is_updating=True)}
    assert nodes[0].stack.sequence_left < 0x400000
    later = OnAir(*nodes, now=2 * LEAST_S - 100)
    later.air.run(2 * LEAST_S - 1)
    assert later.states == {IvState(6, is_updating=True)}
    later.air.run(2 * LEAST_S + 2600)
    assert net.states == {IvState(6)}
    assert nodes[0].stack.sequence_left == 1 << 24
    assert SequenceNumbers(memories[0]).left == 1 << 24
    assert {Node(one.memory, 0.0, random=random.Random(1).random).stack.iv_index.state for one in nodes} == {IvState(6)}


def owner(now: float = 0.0, iv: IvState = FIVE) -> tuple[Stack, Beaconing]:
    memory, ring = RamMemory(), Keyring()
    ring.subnets[0] = Subnet(NetKey(OLD))
    ring.device_keys[A] = AppKey(b"D" * 16, is_device_key=True)
    stack = Stack(memory, address=1, elements=1, keyring=ring, iv_index=IvIndex(memory, iv, now))
    return stack, Beaconing(stack, now, kinds=lambda: Kinds(secure=True), test_mode=True)


def test_in_test_mode_an_update_takes_no_time() -> None:
    memory = NodeMemory(RamMemory(), COMPOSITION)
    memory.begin(NodeState(A, b"D" * 16, {0: NetKeyState(OLD)}, iv_state=IvState(5)))
    one = Node(memory, 0.0, random=random.Random(1).random, test_mode=True)
    stack, beaconing = owner()
    air = Air(random.Random(2).random)
    air.join(Advertised(one, one.beaconing))
    air.join(Advertised(stack, beaconing))
    for state in (IvState(6, is_updating=True), IvState(6), IvState(7, is_updating=True), IvState(7)):
        stack.update_iv_index(air.now, test_mode=True)
        air.run(air.now + 700.0)
        assert one.stack.iv_index.state == state
        stack.send(AccessMessage(0x8008, b"\x00"), A, air.now, device=A)
        air.wake(1)
        air.run(air.now + 5.0)
        assert any(isinstance(event, Received) and event.src == A for event in stack.events())


def test_the_index_that_is_sent_under_stays_while_segments_are_on_their_way() -> None:
    stack, _ = owner(iv=IvState(5, is_updating=True))
    stack.send(AccessMessage(0x01, bytes(60)), A, 0.0, device=A)
    assert stack.is_sending
    with pytest.raises(SequenceError, match="segments"):
        stack.update_iv_index(LEAST_S)
    assert not stack.follow(IvState(5), LEAST_S)
    assert stack.follow(IvState(6, is_updating=True), LEAST_S) is False  # recovery would change it too
    now = 0.0
    while stack.is_sending:
        stack.outgoing(now)
        now += 1.0
    assert stack.follow(IvState(5), LEAST_S)
    assert stack.sequence_left == 1 << 24


def test_a_unit_sends_beacons_of_its_network() -> None:
    net = Network(1)
    heard = [
        content
        for frame in net.units[0].outgoing(INTERVAL_S)
        for kind, content in ad_structures(frame)
        if kind == MESH_BEACON
    ]
    assert heard == [secure_network(NetKey(NET_KEY), NetworkState(0, 0))]
