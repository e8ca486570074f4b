"""Connectable advertisements: the standard's identities byte for byte, and who can tell whose they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.codec.message import Message
from keywright.crypto.aes import AesKey
from keywright.mesh import identities
from keywright.mesh.advertising import SERVICE_DATA_UUID16, ad_structures, build_ad
from keywright.mesh.beacons import ServiceData
from keywright.mesh.identities import (
    HashedIdentity,
    Identified,
    NetworkIdentity,
    advertisement,
    identify,
    network_identity,
    node_identity,
    parse_advertisement,
    private_network_identity,
)
from keywright.mesh.network.keys import NetKey
from support.messages import all_messages, check_message
from support.vectors import load, unhex

CASES = {case["name"].split(" service")[0]: case for case in load("mesh/beacons_and_proxy.json")}
NETWORK = CASES["Secure Network beacon"]
OURS, OTHER = NetKey(unhex(NETWORK["NetKey"])), NetKey(bytes(16))
RANDOM = bytes(range(8))


@pytest.mark.parametrize("cls", all_messages(identities), ids=lambda cls: cls.__name__)
def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


@pytest.mark.parametrize("name", ["Node Identity", "Private Node Identity", "Private Network Identity"])
def test_the_standards_identities(name: str) -> None:
    case = CASES[name]
    assert OURS.identity_key == AesKey(unhex(case["IdentityKey"]))
    random, address = unhex(case["random"]), int(case["address"], 16)
    made = (
        private_network_identity(OURS, random)
        if "Network" in name
        else node_identity(OURS, address, random, is_private="Private" in name)
    )
    assert made.build() == unhex(case["service_data"])
    parsed = HashedIdentity.parse(unhex(case["service_data"]))
    owner = Identified(OURS, None if "Network" in name else address)
    assert identify(parsed, [OTHER, OURS], [1, address, 0x7FFF]) == owner
    assert identify(parsed, [OTHER], [address]) is None


def test_the_network_id_is_for_everybody() -> None:
    assert network_identity(OURS).build() == b"\x00" + unhex(NETWORK["NetworkID"])
    assert identify(network_identity(OURS), [OTHER, OURS]) == Identified(OURS, None)
    assert identify(network_identity(OURS), [OTHER]) is None


def test_a_node_is_known_by_its_address_alone() -> None:
    for is_private in (False, True):
        said = node_identity(OURS, 0x1201, RANDOM, is_private=is_private)
        assert identify(said, [OURS], [0x1200, 0x1202]) is None
        # The hash of one kind is not taken for the other.
        assert identify(HashedIdentity(1 if is_private else 3, said.hash, said.random), [OURS], [0x1201]) is None
        assert identify(HashedIdentity(said.kind, said.hash, bytes(8)), [OURS], [0x1201]) is None


@pytest.mark.parametrize(
    "content",
    [
        ServiceData(bytes(range(16)), 0x8001),
        network_identity(OURS),
        node_identity(OURS, 1, RANDOM),
        node_identity(OURS, 1, RANDOM, is_private=True),
        private_network_identity(OURS, RANDOM),
    ],
)
def test_what_is_advertised_is_understood_and_fits(content: ServiceData | NetworkIdentity | HashedIdentity) -> None:
    data = advertisement(content)
    assert len(data) <= 31
    assert parse_advertisement(data) == content
    kinds = [kind for kind, _ in ad_structures(data)]
    assert kinds == [0x01, 0x03, 0x16]


def test_the_octets_of_a_pb_gatt_advertisement() -> None:
    assert advertisement(ServiceData(bytes(range(16)), 0x8001)).hex() == (
        "020106" + "03032718" + "15162718" + "000102030405060708090a0b0c0d0e0f" + "8001"
    )


@pytest.mark.parametrize("content", ["2718", "271800", "2818", "2818ff", "281804" + "00" * 16, "281801" + "00" * 15])
def test_what_is_no_identity_is_passed_over(content: str) -> None:
    assert parse_advertisement(build_ad(SERVICE_DATA_UUID16, bytes.fromhex(content))) is None


@given(st.binary(max_size=31))
def test_any_advertising_data_are_parsed_or_passed_over(data: bytes) -> None:
    parse_advertisement(data)
