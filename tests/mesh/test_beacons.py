"""Beacons: the standard's samples, and what is refused."""

from __future__ import annotations

import pytest

from keywright.codec.message import Message
from keywright.errors import AuthenticationError, DecodeError
from keywright.mesh import beacons
from keywright.mesh.beacons import (
    NetworkState,
    open_private,
    open_secure_network,
    parse_unprovisioned,
    private,
    secure_network,
    unprovisioned,
    uri_hash,
)
from keywright.mesh.network.keys import NetKey
from support.messages import all_messages, check_message
from support.vectors import load, unhex

CASES = {case["name"]: case for case in load("mesh/beacons_and_proxy.json")}
KEY = NetKey(bytes(range(16)))


@pytest.mark.parametrize("cls", all_messages(beacons), ids=lambda cls: cls.__name__)
def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


def test_the_standards_secure_network_beacon() -> None:
    case = CASES["Secure Network beacon"]
    key, state = NetKey(unhex(case["NetKey"])), NetworkState(0, int(case["IVIndex"], 16))
    assert key.beacon_key.reveal() == unhex(case["BeaconKey"])
    assert key.network_id == unhex(case["NetworkID"])
    assert secure_network(key, state) == unhex(case["beacon"])
    assert open_secure_network(key, unhex(case["beacon"])) == state


@pytest.mark.parametrize("name", [name for name in CASES if "Private beacon" in name])
def test_the_standards_private_beacons(name: str) -> None:
    case = CASES[name]
    # The samples give the key that a NetKey leads to; key_derivation.json has that step.
    key = NetKey(bytes(16))
    key.private_beacon_key = type(key.private_beacon_key)(unhex(case["PrivateBeaconKey"]))
    state = NetworkState(int(case["flags"], 16), int(case["IVIndex"], 16))
    assert private(key, state, unhex(case["random"])) == unhex(case["beacon"])
    assert open_private(key, unhex(case["beacon"])) == state


@pytest.mark.parametrize("place", range(22))
def test_a_changed_beacon_is_refused(place: int) -> None:
    for beacon, opened in (
        (secure_network(KEY, NetworkState(1, 5)), open_secure_network),
        (private(KEY, NetworkState(1, 5), bytes(13)), open_private),
    ):
        changed = bytearray(beacon)
        changed[place] ^= 1
        with pytest.raises((AuthenticationError, DecodeError)):
            opened(KEY, bytes(changed))


def test_an_unprovisioned_device_with_and_without_a_uri() -> None:
    uri = b"\x17//example.com/mesh"
    short, long = unprovisioned(bytes(16), 0x0100), unprovisioned(bytes(16), 0x8001, uri)
    assert (len(short), len(long)) == (19, 23)
    assert parse_unprovisioned(long).uri_hash == uri_hash(uri)
    assert parse_unprovisioned(short).oob_information == 0x0100
    with pytest.raises(DecodeError):
        parse_unprovisioned(secure_network(KEY, NetworkState(0, 0)))
