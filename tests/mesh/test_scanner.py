"""Scanning: each device, network and proxy once, with what is known of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keywright.mesh.advertising import MESH_BEACON, URI, build_ad
from keywright.mesh.beacons import NetworkState, ServiceData, private, secure_network, unprovisioned, uri_hash
from keywright.mesh.identities import (
    IDENTITIES,
    Identity,
    advertisement,
    network_identity,
    node_identity,
    private_network_identity,
)
from keywright.mesh.network.keys import NetKey
from keywright.mesh.scanner import DeviceSeen, NetworkSeen, ProxySeen, Scanner

UUID, OTHER_UUID = bytes(range(16)), bytes(16)
SITE = b"\x17//example.com/mesh"
KEY, OTHER = NetKey(bytes(range(16))), NetKey(bytes(16))
RANDOM = bytes(range(8))


def beacon(uuid: bytes = UUID, information: int = 0, uri: bytes = b"") -> bytes:
    return build_ad(MESH_BEACON, unprovisioned(uuid, information, uri))


def network(key: NetKey, iv_index: int = 5) -> bytes:
    return build_ad(MESH_BEACON, secure_network(key, NetworkState(0, iv_index)))


def test_a_device_is_told_once_and_again_when_more_is_known() -> None:
    scanner = Scanner()
    for _ in range(3):
        scanner.receive(beacon(information=0x8002, uri=SITE), 0.0)
    assert scanner.events() == [DeviceSeen(UUID, 0x8002, uri_hash=uri_hash(SITE))]
    scanner.receive(build_ad(URI, SITE), 1.0)
    scanner.receive(build_ad(URI, SITE), 1.0)
    assert scanner.events() == [DeviceSeen(UUID, 0x8002, SITE, uri_hash=uri_hash(SITE))]
    scanner.receive(advertisement(ServiceData(UUID, 0x8002)), 2.0)
    assert scanner.events() == [DeviceSeen(UUID, 0x8002, SITE, ("PB-ADV", "PB-GATT"), uri_hash=uri_hash(SITE))]
    scanner.receive(beacon(OTHER_UUID), 3.0)
    assert [one.uuid for one in scanner.devices] == [UUID, OTHER_UUID]
    assert scanner.devices[0].oob_places == ("electronic or URI", "on device")
    assert scanner.outgoing(9.0) == ()


def test_a_uri_of_another_device_is_not_given_to_this_one() -> None:
    scanner = Scanner()
    scanner.receive(build_ad(URI, SITE), 0.0)
    scanner.receive(beacon(uri=b"\x17//example.com/other"), 0.0)
    scanner.receive(beacon(OTHER_UUID), 0.0)
    assert [one.uri for one in scanner.devices] == [b"", b""]
    scanner.receive(beacon(UUID, 0, SITE), 0.0)
    assert scanner.devices[0].uri == SITE


def test_how_strong_a_device_is_heard_is_kept_and_no_news() -> None:
    scanner = Scanner()
    scanner.receive(beacon(), 0.0, rssi_dbm=-70)
    scanner.receive(beacon(), 1.0, rssi_dbm=-40)
    assert [one.rssi_dbm for one in scanner.events() if isinstance(one, DeviceSeen)] == [-70]
    assert scanner.devices[0].rssi_dbm == -40


def test_networks_with_and_without_their_key() -> None:
    scanner, knowing = Scanner(), Scanner([KEY])
    hidden = build_ad(MESH_BEACON, private(KEY, NetworkState(2, 7), bytes(13)))
    for one in (scanner, knowing):
        for data in (network(KEY), network(OTHER), network(KEY), hidden):
            one.receive(data, 0.0)
    assert scanner.networks == (NetworkSeen(KEY.network_id, 5), NetworkSeen(OTHER.network_id, 5))
    assert knowing.networks == (NetworkSeen(KEY.network_id, 7, True), NetworkSeen(OTHER.network_id, 5))
    # A beacon in the name of a network whose key is here is authenticated, or not taken.
    forged = bytearray(network(KEY, 9))
    forged[-1] ^= 1
    knowing.receive(bytes(forged), 1.0)
    assert knowing.networks[0].iv_index == 7


def test_proxies_are_known_by_who_has_the_key() -> None:
    said: list[Identity] = [
        network_identity(KEY),
        node_identity(KEY, 0x0100, RANDOM),
        node_identity(KEY, 0x0100, RANDOM, is_private=True),
        private_network_identity(KEY, RANDOM),
    ]
    scanner, knowing = Scanner(), Scanner([OTHER, KEY], [1, 0x0100])
    for one in (scanner, knowing):
        for identity in said * 2:
            one.receive(advertisement(identity), 0.0)
    assert scanner.proxies == (
        ProxySeen(IDENTITIES[0], KEY.network_id),
        ProxySeen(IDENTITIES[1]),
        ProxySeen(IDENTITIES[3]),
        ProxySeen(IDENTITIES[2]),
    )
    assert knowing.proxies == (
        ProxySeen(IDENTITIES[0], KEY.network_id),
        ProxySeen(IDENTITIES[1], KEY.network_id, 0x0100),
        ProxySeen(IDENTITIES[3], KEY.network_id, 0x0100),
        ProxySeen(IDENTITIES[2], KEY.network_id),
    )
    assert len(knowing.events()) == 4


def test_made_up_devices_do_not_fill_the_memory() -> None:
    scanner = Scanner()
    for number in range(5000):
        scanner.receive(beacon(number.to_bytes(16)), 0.0)
        scanner.receive(build_ad(URI, number.to_bytes(4)), 0.0) if number < 3 else None
        scanner.receive(build_ad(MESH_BEACON, b"\x01\x00" + number.to_bytes(8) + bytes(12)), 0.0)
    assert len(scanner.devices) == len(scanner.networks) == 4096
    scanner.receive(beacon((7).to_bytes(16), 1), 0.0)
    assert scanner.devices[7].oob_information == 1


@given(st.binary(max_size=31))
def test_any_advertising_data_are_taken(data: bytes) -> None:
    scanner = Scanner([KEY], [1])
    scanner.receive(data, 0.0)
    scanner.receive(build_ad(MESH_BEACON, data[:29]), 0.0)
