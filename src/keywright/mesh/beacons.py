"""Beacons: of devices that want in, and of networks (MshPRT 3.10, 7.1.2.2, 7.2.2.2)."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from keywright.codec.record import U8, U16, U32, Record, Rest, raw
from keywright.crypto.compare import equal
from keywright.errors import AuthenticationError, DecodeError
from keywright.mesh.keys import s1
from keywright.mesh.network.keys import NetKey

UNPROVISIONED: Final = 0x00
SECURE_NETWORK: Final = 0x01
PRIVATE: Final = 0x02

OOB_INFORMATION: Final = (
    "other",
    "electronic or URI",
    "2D code",
    "bar code",
    "NFC",
    "number",
    "text",
    "certificate-based provisioning",
    "provisioning records",
    "",
    "",
    "on box",
    "inside box",
    "on paper",
    "inside manual",
    "on device",
)
"""Where OOB information is, by bit; empty: reserved."""
SUPPORTS_CERTIFICATES: Final = 1 << 7
SUPPORTS_RECORDS: Final = 1 << 8


class UnprovisionedDevice(Record, frozen=True):
    """Unprovisioned Device beacon, in an AD structure of type Mesh Beacon (MshPRT 3.10.2)."""

    kind: U8
    uuid: Annotated[bytes, raw(16)]
    oob_information: U16
    uri_hash: Annotated[bytes, Rest(0, 4)] = b""


class ServiceData(Record, frozen=True):
    """PB-GATT service data after the service UUID (MshPRT 7.1.2.2.1)."""

    uuid: Annotated[bytes, raw(16)]
    oob_information: U16


class SecureNetwork(Record, frozen=True):
    """Secure Network beacon (MshPRT 3.10.3)."""

    kind: U8
    flags: U8
    network_id: Annotated[bytes, raw(8)]
    iv_index: U32
    authentication: Annotated[bytes, raw(8)]


class Private(Record, frozen=True):
    """Mesh Private beacon (MshPRT 3.10.4)."""

    kind: U8
    random: Annotated[bytes, raw(13)]
    sealed: Annotated[bytes, raw(13)]


class NetworkState(msgspec.Struct, frozen=True):
    """What a network's beacon says."""

    flags: int
    """`messages.KEY_REFRESH`, `messages.IV_UPDATE`."""
    iv_index: int


def unprovisioned(uuid: bytes, oob_information: int, uri: bytes = b"") -> bytes:
    """An Unprovisioned Device beacon; `uri`: URI AD data, whose hash the beacon has (MshPRT 3.10.2)."""
    return UnprovisionedDevice(UNPROVISIONED, uuid, oob_information, uri_hash(uri) if uri else b"").build()


def parse_unprovisioned(data: bytes) -> UnprovisionedDevice:
    """An Unprovisioned Device beacon. Raises DecodeError for any other."""
    if data[:1] != bytes((UNPROVISIONED,)):
        raise DecodeError("not an unprovisioned device beacon")
    return UnprovisionedDevice.parse(data)


def uri_hash(uri: bytes) -> bytes:
    """4 octets by which a beacon and a URI are known to belong together."""
    return s1(uri)[:4]


def secure_network(key: NetKey, state: NetworkState) -> bytes:
    """A Secure Network beacon."""
    return SecureNetwork(
        SECURE_NETWORK, state.flags, key.network_id, state.iv_index, _authentication(key, state)
    ).build()


def open_secure_network(key: NetKey, data: bytes) -> NetworkState:
    """What a Secure Network beacon says. Raises DecodeError, AuthenticationError for another network."""
    if data[:1] != bytes((SECURE_NETWORK,)):
        raise DecodeError("not a secure network beacon")
    beacon = SecureNetwork.parse(data)
    state = NetworkState(beacon.flags, beacon.iv_index)
    if beacon.network_id != key.network_id or not equal(beacon.authentication, _authentication(key, state)):
        raise AuthenticationError("secure network beacon not accepted")
    return state


def private(key: NetKey, state: NetworkState, random: bytes) -> bytes:
    """A Mesh Private beacon; `random`: 13 octets, new at least every ten minutes (MshPRT 3.10.4.1)."""
    clear = bytes((state.flags,)) + state.iv_index.to_bytes(4)
    return Private(PRIVATE, random, key.private_beacon_key.seal(random, clear)).build()


def open_private(key: NetKey, data: bytes) -> NetworkState:
    """What a Mesh Private beacon says. Raises DecodeError, AuthenticationError for another network or a wrong tag."""
    if data[:1] != bytes((PRIVATE,)):
        raise DecodeError("not a mesh private beacon")
    beacon = Private.parse(data)
    clear = key.private_beacon_key.open(beacon.random, beacon.sealed)
    return NetworkState(clear[0], int.from_bytes(clear[1:]))


def _authentication(key: NetKey, state: NetworkState) -> bytes:
    return key.beacon_key.cmac(bytes((state.flags,)) + key.network_id + state.iv_index.to_bytes(4))[:8]
