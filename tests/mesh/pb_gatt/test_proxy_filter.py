"""Proxy Configuration messages: the standard's PDU, the filter row by row, and both ends over a connection."""

from __future__ import annotations

import pytest

from keywright.codec.message import Message
from keywright.errors import AuthenticationError, DecodeError
from keywright.mesh.models import configuration as c
from keywright.mesh.network.iv_index import IvIndex, IvState
from keywright.mesh.network.keyring import Keyring, Subnet
from keywright.mesh.network.keys import AppKey, NetKey
from keywright.mesh.network.stack import Received, Stack
from keywright.mesh.pb_gatt import configuration
from keywright.mesh.pb_gatt.configuration import (
    ACCEPT,
    REJECT,
    ROOM,
    AddAddresses,
    FilterStatus,
    ProxyFilter,
    RemoveAddresses,
    SetFilterType,
    open_configuration,
    seal_configuration,
)
from keywright.mesh.pb_gatt.messages import PROXY_CONFIGURATION
from keywright.mesh.pb_gatt.proxy import ProxyClient
from keywright.mesh.pb_gatt.sar import ProxySar
from keywright.mesh.pb_gatt.unit import GattUnit
from keywright.store.memory import RamMemory
from support.mesh_gatt import NET, node
from support.messages import all_messages, check_message
from support.vectors import load, unhex

MTU = 69
CLIENT = 0x7000


@pytest.mark.parametrize("cls", all_messages(configuration), ids=lambda cls: cls.__name__)
def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


def keyring(net_key: bytes = NET) -> Keyring:
    ring = Keyring()
    ring.subnets[0] = Subnet(NetKey(net_key))
    return ring


def test_the_standards_message_is_opened_and_named_as_unknown() -> None:
    """Its only sample is of directed proxies, which this has not."""
    case = next(case for case in load("mesh/beacons_and_proxy.json") if "ProxyPDU" in case)
    with pytest.raises(DecodeError, match="opcode 04"):
        open_configuration(keyring(unhex(case["NetKey"])), int(case["IVIndex"], 16), unhex(case["ProxyPDU"])[1:])
    with pytest.raises(AuthenticationError):
        open_configuration(keyring(), int(case["IVIndex"], 16), unhex(case["ProxyPDU"])[1:])


def test_the_filter() -> None:
    one = ProxyFilter()
    assert not one.passes(0xC000)
    assert one.apply(AddAddresses((0xC000, 0xC001, 0x0000, 0xC000))) == FilterStatus(ACCEPT, 2)
    assert one.passes(0xC000)
    assert not one.passes(0xC002)
    assert one.apply(RemoveAddresses((0xC000, 0xC005))) == FilterStatus(ACCEPT, 1)
    one.heard(5)
    assert one.passes(5)
    assert one.apply(SetFilterType(2)) is None
    assert one.apply(FilterStatus(0, 0)) is None
    assert one.apply(SetFilterType(REJECT)) == FilterStatus(REJECT, 0)
    assert one.passes(5)
    one.apply(AddAddresses((5, 6)))
    assert not one.passes(5)
    one.heard(5)
    assert one.passes(5)
    assert not one.passes(6)


def test_a_full_filter_takes_no_more() -> None:
    one = ProxyFilter()
    one.apply(AddAddresses(tuple(range(1, ROOM + 10))))
    assert one.apply(AddAddresses((1,))) == FilterStatus(ACCEPT, ROOM)


def client(unit: GattUnit) -> ProxyClient:
    assert unit.unit.node is not None
    state = unit.unit.node.memory.state
    assert state is not None
    ring, memory = keyring(), RamMemory()
    ring.device_keys[state.address] = AppKey(state.device_key, is_device_key=True)
    unit.disconnected("", 0.0)
    unit.connected(MTU, 0.0)
    stack = Stack(memory, address=CLIENT, elements=1, keyring=ring, iv_index=IvIndex(memory, IvState(0), 0.0))
    return ProxyClient(stack, MTU)


def settle(proxy: ProxyClient, unit: GattUnit, until: float = 3.0) -> list[object]:
    """Carry values both ways while time goes on; what the client is told."""
    told: list[object] = []
    for tick in range(int(until * 100)):
        now = tick / 100
        for value in proxy.outgoing(now):
            unit.receive(value, now)
        for value in unit.outgoing(now):
            proxy.receive(value, now)
        told += proxy.events()
    return told


def test_both_ends_set_a_filter() -> None:
    unit = node()
    proxy = client(unit)
    for message in (SetFilterType(REJECT), AddAddresses((1, 2, 3)), RemoveAddresses((2,))):
        proxy.configure(message)
    assert proxy.deadline() == float("-inf")
    assert settle(proxy, unit) == [FilterStatus(REJECT, 0), FilterStatus(REJECT, 3), FilterStatus(REJECT, 2)]


@pytest.mark.parametrize(("messages", "hears"), [([], True), ([SetFilterType(REJECT)], True)])
def test_the_sender_hears_its_answer(messages: list[configuration.Configuration], *, hears: bool) -> None:
    unit = node()
    proxy = client(unit)
    for message in messages:
        proxy.configure(message)
    assert unit.unit.node is not None
    address = unit.unit.node.stack.address
    proxy.stack.send(c.build_message(c.NodeIdentityGet(0)), address, 0.0, device=address)
    assert any(isinstance(event, Received) for event in settle(proxy, unit)) == hears


def test_an_answer_does_not_pass_a_filter_without_its_address() -> None:
    unit = node()
    proxy = client(unit)
    assert unit.unit.node is not None
    address = unit.unit.node.stack.address
    proxy.stack.send(c.build_message(c.NodeIdentityGet(0)), address, 0.0, device=address)
    for value in proxy.outgoing(0.0):
        unit.receive(value, 0.0)
    proxy.configure(RemoveAddresses((CLIENT,)))
    assert settle(proxy, unit) == [FilterStatus(ACCEPT, 0)]


def test_a_message_is_taken_once_and_another_networks_never() -> None:
    unit = node()
    proxy = client(unit)
    proxy.configure(AddAddresses((1,)))
    (value,) = proxy.outgoing(0.0)
    for _ in range(2):
        unit.receive(value, 0.0)
    foreign = seal_configuration(NetKey(bytes(16)), 0, 9, CLIENT, SetFilterType(REJECT))
    unit.receive(ProxySar(MTU, ()).cut(PROXY_CONFIGURATION, foreign)[0], 0.0)
    assert settle(proxy, unit) == [FilterStatus(ACCEPT, 1)]


@pytest.mark.parametrize("breaks", ["client", "proxy"])
def test_nothing_more_is_taken_once_the_rules_were_broken(breaks: str) -> None:
    unit = node()
    proxy = client(unit)
    (unit if breaks == "client" else proxy).receive(b"\x04\x00", 0.0)
    assert (unit if breaks == "client" else proxy).is_closed
    proxy.configure(SetFilterType(REJECT))
    assert settle(proxy, unit) == []


def test_a_message_has_room_for_five_addresses() -> None:
    proxy = client(node())
    proxy.configure(AddAddresses((1, 2, 3, 4, 5)))
    with pytest.raises(ValueError, match="at most 12 octets"):
        proxy.configure(AddAddresses((1, 2, 3, 4, 5, 6)))
