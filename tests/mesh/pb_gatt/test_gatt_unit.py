"""A unit behind GATT without a radio: what it advertises, power cuts of either side at every value, bad bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keywright.mesh.beacons import NetworkState, ServiceData, open_secure_network
from keywright.mesh.database.network import NetworkDatabase
from keywright.mesh.device import Provisioned
from keywright.mesh.enrolment import Candidate, Enrolled, Enrolment
from keywright.mesh.identities import network_identity, parse_advertisement
from keywright.mesh.network.keys import NetKey
from keywright.mesh.oob import Method
from keywright.mesh.pb_gatt.link import PbGattLink
from keywright.mesh.pb_gatt.messages import LEAST_MTU, MESH_BEACON, PROVISIONING_SERVICE, PROXY_SERVICE
from keywright.mesh.pb_gatt.sar import PARTIAL_S, ProxySar
from keywright.mesh.pb_gatt.unit import LEAVE_S
from keywright.mesh.policy import Policy
from keywright.mesh.session import ProvisionerSession
from keywright.store.memory import RamMemory
from support.mesh import make_provisioner
from support.mesh_gatt import NET, STATIC, TIME, UUID, enrol, make_unit, network, node


def test_a_unit_becomes_a_node_and_changes_its_service() -> None:
    unit, database = make_unit(RamMemory()), network(RamMemory())
    assert unit.pipe == PROVISIONING_SERVICE
    assert parse_advertisement(b"".join(unit.advertising)) == ServiceData(UUID, 0x0800)
    end, _ = enrol(unit, database)
    assert isinstance(end, Enrolled)
    assert unit.pipe == PROXY_SERVICE
    assert parse_advertisement(b"".join(unit.advertising)) == network_identity(NetKey(NET))
    assert sum(map(len, unit.advertising)) <= 31 - 3


@pytest.mark.parametrize("side", ["device", "provisioner"])
def test_a_power_cut_at_any_value_loses_nothing(side: str) -> None:
    """The device is either the node that the network knows or promised an address to, or none, and is tried again."""
    _, count = enrol(make_unit(RamMemory()), network(RamMemory()))
    assert count > 20
    for cut in range(count):
        memory, owner = RamMemory(), RamMemory()
        unit, database = make_unit(memory), network(owner)
        end, carried = enrol(unit, database, cut, side)
        assert carried == cut
        if side == "device":
            assert end is not None
            unit = make_unit(memory)
        else:
            database = NetworkDatabase(owner)
        promised, known = database.pending(UUID), database.node(UUID)
        if unit.unit.node is not None:
            held = unit.unit.node.memory.state
            assert held is not None
            found = known.device_key if known else promised.device_key.hex().upper() if promised else None
            assert held.device_key.hex().upper() == found, cut
            continue
        assert known is None, cut
        before = promised.address if promised else None
        if promised:
            database.give_up(UUID)
        end, _ = enrol(unit, database)
        assert isinstance(end, Enrolled), (cut, end)
        assert before in (None, end.node.address)


def test_a_device_leaves_a_client_that_stays() -> None:
    unit, database = make_unit(RamMemory()), network(RamMemory())
    unit.connected(LEAST_MTU, 0.0)
    link = PbGattLink.connect(LEAST_MTU, 0.0)
    run = Enrolment(
        ProvisionerSession(make_provisioner(), link),
        database,
        Candidate(UUID, static_oob=STATIC),
        policy=Policy(methods=(Method.STATIC,)),
        timestamp=TIME,
    )
    told: list[object] = []
    for _ in range(40):
        for value in run.outgoing(0.0):
            unit.receive(value, 0.0)
        for value in unit.outgoing(0.0):
            run.receive(value, 0.0)
        told += unit.events()
    assert any(isinstance(event, Provisioned) for event in told)
    assert not unit.is_closed
    assert unit.deadline() is not None
    unit.outgoing(LEAVE_S)
    assert unit.is_closed


def test_a_proxy_client_is_told_the_state_of_the_network() -> None:
    sar = ProxySar(LEAST_MTU, (MESH_BEACON,))
    messages = [taken for value in node().outgoing(0.0) if (taken := sar.take(value, 0.0)) is not None]
    ((kind, beacon),) = messages
    assert kind == MESH_BEACON
    assert open_secure_network(NetKey(NET), beacon) == NetworkState(0, 0)


@pytest.mark.parametrize("value", [b"", b"\x03\x00", b"\x80\x00", b"\xc0\x00", b"\x04\x00"])
def test_a_proxy_disconnects_who_breaks_the_rules(value: bytes) -> None:
    unit = node()
    unit.receive(value, 0.0)
    assert unit.is_closed
    unit.disconnected("gone", 0.0)
    assert not unit.is_closed


def test_a_proxy_gives_a_partial_message_twenty_seconds() -> None:
    unit = node()
    unit.outgoing(0.0)
    unit.receive(b"\x40part", 1.0)
    unit.outgoing(20.9)
    assert not unit.is_closed
    unit.outgoing(1.0 + PARTIAL_S)
    assert unit.is_closed


@settings(max_examples=20)
@given(st.lists(st.binary(max_size=24), max_size=12))
def test_any_values_leave_a_node_as_it_is(values: list[bytes]) -> None:
    unit = node()
    for value in values:
        unit.receive(value, 0.0)
        unit.outgoing(0.0)
    assert unit.unit.node is not None
