"""A node tells its owner which devices it hears, and what they say of themselves."""

from __future__ import annotations

import random

import pytest

from keywright.errors import LinkError, StatusError
from keywright.mesh.advertising import URI
from keywright.mesh.beacons import uri_hash
from keywright.mesh.database.keys import owner_stack
from keywright.mesh.models.composition import Composition, Element
from keywright.mesh.network.advertised import Advertised
from keywright.mesh.remote.messages import NO_RSSI
from keywright.mesh.remote.scan_client import Described, Heard, RemoteScan, ScanEvent, ScanOver
from keywright.mesh.unit import Design, Unit
from keywright.sansio.air import Conditions
from keywright.store.memory import RamMemory
from support.mesh_network import Network, uuid_of

SERVER = Composition(0x05F1, 1, 2, 100, 0, (Element(0x0100, (0, 2, 4)),))
URL = b"\x17//example.com"


def network(devices: int, conditions: Conditions | None = None, composition: Composition = SERVER) -> Network:
    net = Network(1, composition=composition, conditions=conditions)
    for number in range(devices):
        net.air.join(
            Unit(
                Design(uuid_of(100 + number), SERVER, oob_information=2, uri=URL if number == 0 else b""),
                RamMemory(),
                0.0,
                new_key=pytest.fail,
                random_bytes=random.Random(number).randbytes,
                random=random.Random(number).random,
            )
        )
    return net


def run(net: Network, scan: RemoteScan) -> list[ScanEvent]:
    place, found = net.air.join(Advertised(scan)), list[ScanEvent]()

    def over() -> bool:
        found.extend(scan.events())
        return bool(found) and isinstance(found[-1], ScanOver)

    net.air.run(net.air.now + 200.0, over)
    net.air.leave(place)
    return found


@pytest.mark.parametrize("conditions", [None, Conditions(0.2, 0.2, 0.001, 0.1)], ids=["good", "bad"])
def test_every_device_is_told_once(conditions: Conditions | None) -> None:
    net = network(3, conditions)
    *heard, over = run(net, RemoteScan.for_devices(owner_stack(net.database, 0.0), net.address(0)))
    assert over == ScanOver()
    first = Heard(uuid_of(100), 2, NO_RSSI, uri_hash(URL))
    all_of_them = [first, Heard(uuid_of(101), 2, NO_RSSI), Heard(uuid_of(102), 2, NO_RSSI)]
    # A report is one short message; in bad air it may be lost, and the scan is repeated by whoever misses a device.
    assert all(event in all_of_them for event in heard)
    assert conditions is not None or sorted(heard, key=repr) == sorted(all_of_them, key=repr)
    assert len(heard) == len({event.uuid for event in heard if isinstance(event, Heard)})


def test_one_device_alone_or_no_more_than_so_many() -> None:
    net = network(3)
    stack = owner_stack(net.database, 0.0)
    events = run(net, RemoteScan.for_devices(stack, net.address(0), uuid=uuid_of(101)))
    assert events == [Heard(uuid_of(101), 2, NO_RSSI), ScanOver()]
    assert len(run(net, RemoteScan.for_devices(stack, net.address(0), limit=2))) == 3


def test_what_a_device_says_of_itself() -> None:
    net = network(2)
    stack, at = owner_stack(net.database, 0.0), net.address(0)
    described, over = run(net, RemoteScan.for_one(stack, at, bytes((URI,)), uuid=uuid_of(100)))
    assert (described, over) == (Described(uuid_of(100), True, 2, ((URI, URL),)), ScanOver())
    assert run(net, RemoteScan.for_one(stack, at, bytes((URI,)), uuid=uuid_of(101)))[0] == Described(
        uuid_of(101), True, 2
    )
    assert run(net, RemoteScan.for_one(stack, at, bytes((URI,)), uuid=uuid_of(199)))[0] == Described(
        uuid_of(199), False
    )
    assert run(net, RemoteScan.for_one(stack, at, bytes((URI,))))[0] == Described(uuid_of(0), True, 0)


def test_a_scan_that_cannot_be_says_why() -> None:
    net = network(1)
    stack, at = owner_stack(net.database, 0.0), net.address(0)
    (over,) = run(net, RemoteScan.for_devices(stack, at, limit=200))
    assert isinstance(over, ScanOver)
    assert isinstance(over.error, StatusError)
    assert "status 0003 (limited resources, MshPRT 4.3.4.3)" in str(over.error)
    plain = network(1, composition=Composition(1, 2, 3, 4, 0, (Element(0, (0,)),)))
    for scan in (
        RemoteScan.for_devices(owner_stack(plain.database, 0.0), plain.address(0)),
        RemoteScan.for_one(owner_stack(plain.database, 0.0), plain.address(0), b"\x24"),
    ):
        (over,) = run(plain, scan)
        assert isinstance(over, ScanOver)
        assert isinstance(over.error, LinkError)
        assert "Scan Start to 0001 was not answered" in str(over.error)
