"""A whole unit behind GATT: found, provisioned and configured through bumble's virtual controllers, in real time."""

from __future__ import annotations

import importlib.util
import random
import time
from collections.abc import Iterator

import pytest

from keywright.crypto.ec import EcPrivateKey
from keywright.link.ble import Ble, run_pipe
from keywright.mesh.advertising import SERVICE_DATA_UUID16, ad_structures
from keywright.mesh.beacons import ServiceData
from keywright.mesh.database.network import NetworkDatabase
from keywright.mesh.device import Abilities, Refused
from keywright.mesh.device import Provisioned as DeviceProvisioned
from keywright.mesh.enrolment import Candidate, Enrolled, Enrolment, Failed
from keywright.mesh.models import configuration as c
from keywright.mesh.models.composition import Composition, Element, parse_composition
from keywright.mesh.network.iv_index import IvIndex, IvState
from keywright.mesh.network.keyring import Keyring, Subnet
from keywright.mesh.network.keys import AppKey, NetKey
from keywright.mesh.network.stack import Received, Stack
from keywright.mesh.oob import Method
from keywright.mesh.pb_gatt.link import PbGattLink
from keywright.mesh.pb_gatt.messages import PROVISIONING_SERVICE, PROXY_SERVICE
from keywright.mesh.pb_gatt.proxy import ProxyClient
from keywright.mesh.pb_gatt.unit import GattUnit
from keywright.mesh.policy import Policy
from keywright.mesh.session import ProvisionerSession
from keywright.mesh.unit import Design, Unit
from keywright.store.memory import RamMemory
from support.mesh import counting, make_provisioner
from support.peers import require_peer

require_peer("bumble", importlib.util.find_spec("bumble") is not None, "pip install keywright[ble]")

UUID = bytes.fromhex("70cf7c9732a345b691494810d2e9cbf4")
TIME = "2026-01-02T03:04:05Z"
STATIC = bytes(range(32))
NET = bytes(range(16))
COMPOSITION = Composition(1, 2, 3, 10, 0, (Element(0, (0,)), Element(0, (0x1000,))))


@pytest.fixture(scope="module")
def two() -> Iterator[tuple[Ble, Ble]]:
    with Ble() as server, Ble() as client:
        yield server, client


def make_unit(memory: RamMemory) -> GattUnit:
    unit = Unit(
        Design(UUID, COMPOSITION, Abilities(elements=2, static_oob=STATIC), oob_information=0x0800),
        memory,
        time.monotonic(),
        new_key=lambda: EcPrivateKey.generate("P-256"),
        random_bytes=counting(7),
        random=random.Random(3).random,
    )
    return GattUnit(unit)


def network() -> NetworkDatabase:
    return NetworkDatabase.begin(
        RamMemory(), name="line", uuid=bytes(16), net_key=NET, provisioner_uuid=bytes(16), timestamp=TIME
    )


def service_data(client: Ble, address: str) -> bytes:
    """The service data that a device advertises now."""
    *_, heard = client.scan(5.0, lambda one: one.address == address)
    return next(content for kind, content in ad_structures(heard.data) if kind == SERVICE_DATA_UUID16)


def enrol(client: Ble, address: str, database: NetworkDatabase, mtu: int, static_oob: bytes) -> Enrolled | Failed:
    connection = client.connect(address, PROVISIONING_SERVICE, mtu=mtu)
    link = PbGattLink.connect(connection.mtu, time.monotonic())
    run = Enrolment(
        ProvisionerSession(make_provisioner(), link),
        database,
        Candidate(UUID, name="fob", static_oob=static_oob),
        policy=Policy(methods=(Method.STATIC,)),
        timestamp=TIME,
    )
    (end,) = run_pipe(run, link, connection, until=time.monotonic() + 30.0)
    assert isinstance(end, Enrolled | Failed)
    return end


@pytest.mark.parametrize("mtu", [23, 69, 247])
def test_a_unit_is_found_provisioned_and_configured(two: tuple[Ble, Ble], mtu: int) -> None:
    server, client = two
    memory, database = RamMemory(), network()
    unit, told = make_unit(memory), []
    serving = server.serve(unit, on_event=lambda _, event: told.append(event))
    data = service_data(client, server.address)
    assert data[:2] == b"\x27\x18"
    assert ServiceData.parse(data[2:]) == ServiceData(UUID, 0x0800)

    end = enrol(client, server.address, database, mtu, STATIC)
    assert isinstance(end, Enrolled)
    assert end.node == database.node(UUID)
    assert [event for event in told if isinstance(event, DeviceProvisioned)]
    wait_for_service(client, server.address, b"\x28\x18")
    assert unit.pipe == PROXY_SERVICE

    address = end.node.address
    configure(client, server.address, address, bytes.fromhex(end.node.device_key or ""), mtu)
    serving.stop()


def wait_for_service(client: Ble, address: str, uuid: bytes) -> None:
    """Until the unit has seen the client leave and advertises as a node."""
    until = time.monotonic() + 5.0
    while service_data(client, address)[:2] != uuid:
        assert time.monotonic() < until


def configure(client: Ble, at: str, address: int, device_key: bytes, mtu: int) -> None:
    connection = client.connect(at, PROXY_SERVICE, mtu=mtu)
    keyring = Keyring()
    keyring.subnets[0] = Subnet(NetKey(NET))
    keyring.device_keys[address] = AppKey(device_key, is_device_key=True)
    owner = RamMemory()
    stack = Stack(
        owner, address=0x7000, elements=1, keyring=keyring, iv_index=IvIndex(owner, IvState(0), time.monotonic())
    )
    proxy = ProxyClient(stack, connection.mtu)
    stack.send(c.build_message(c.CompositionDataGet(0xFF)), address, time.monotonic(), device=address)
    for event in run_pipe(proxy, proxy, connection, until=time.monotonic() + 30.0):
        if isinstance(event, Received):
            status = c.parse_message(event.message)
            assert isinstance(status, c.CompositionDataStatus)
            assert parse_composition(status.data) == COMPOSITION
            proxy.close()
    assert proxy.why_closed == "closed by this side"


def test_a_wrong_value_leaves_the_unit_as_it_was(two: tuple[Ble, Ble]) -> None:
    server, client = two
    database, told = network(), []
    unit = make_unit(RamMemory())
    serving = server.serve(unit, on_event=lambda _, event: told.append(event))
    end = enrol(client, server.address, database, 69, bytes(32))
    assert isinstance(end, Failed)
    assert not end.may_be_node
    assert [event.error_code for event in told if isinstance(event, Refused)] == [4]
    end = enrol(client, server.address, database, 69, STATIC)
    assert isinstance(end, Enrolled)
    serving.stop()


def test_a_lost_connection_frees_the_unit(two: tuple[Ble, Ble]) -> None:
    server, client = two
    unit = make_unit(RamMemory())
    serving = server.serve(unit)
    connection = client.connect(server.address, PROVISIONING_SERVICE)
    connection.send(b"\x03\x00\x05")
    value = connection.receive(5.0)
    assert value is not None
    assert value[:2] == b"\x03\x01"
    connection.close()
    assert isinstance(enrol(client, server.address, network(), 69, STATIC), Enrolled)
    serving.stop()


def test_a_value_that_breaks_the_rules_ends_the_connection(two: tuple[Ble, Ble]) -> None:
    server, client = two
    serving = server.serve(make_unit(RamMemory()))
    connection = client.connect(server.address, PROVISIONING_SERVICE)
    connection.send(b"\xc3\x00")
    with pytest.raises(Exception, match="disconnected"):
        connection.receive(5.0)
    serving.stop()
