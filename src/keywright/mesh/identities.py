"""What connectable advertisements say: of devices for PB-GATT, of proxies (MshPRT 7.1.2.2.1, 7.2.2.2).

A proxy says which network it is of, or which node it is, in clear or so that only who has the network's key knows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final, TypeAlias

import msgspec

from keywright.codec.record import U8, Record, raw
from keywright.crypto.compare import equal
from keywright.errors import DecodeError
from keywright.mesh.advertising import COMPLETE_UUID16, FLAGS, SERVICE_DATA_UUID16, ad_structures, build_ad
from keywright.mesh.beacons import ServiceData
from keywright.mesh.network.keys import NetKey

PROVISIONING_UUID: Final = (0x1827).to_bytes(2, "little")
"""Mesh Provisioning Service, as advertising data have it."""
PROXY_UUID: Final = (0x1828).to_bytes(2, "little")
"""Mesh Proxy Service."""

NETWORK_ID: Final = 0x00
NODE_IDENTITY: Final = 0x01
PRIVATE_NETWORK_IDENTITY: Final = 0x02
PRIVATE_NODE_IDENTITY: Final = 0x03
IDENTITIES: Final = ("Network ID", "Node Identity", "Private Network Identity", "Private Node Identity")
"""What each type of identity is called (MshPRT 7.2.2.2.1)."""
_GENERAL_NO_BR_EDR: Final = b"\x06"
"""AD Flags: general discoverable, no BR/EDR (Bluetooth Core Supplement, Part A 1.3)."""


class NetworkIdentity(Record, frozen=True):
    """Network ID in clear (MshPRT 7.2.2.2.2)."""

    kind: U8
    network_id: Annotated[bytes, raw(8)]


class HashedIdentity(Record, frozen=True):
    """Node Identity, and the two private ones (MshPRT 7.2.2.2.3 to 7.2.2.2.5)."""

    kind: U8
    hash: Annotated[bytes, raw(8)]
    random: Annotated[bytes, raw(8)]


Identity: TypeAlias = NetworkIdentity | HashedIdentity
Connectable: TypeAlias = ServiceData | Identity


class Identified(msgspec.Struct, frozen=True):
    """Whom an identity belongs to; `address` of the node, None where it says the network alone."""

    key: NetKey
    address: int | None


def network_identity(key: NetKey) -> NetworkIdentity:
    """The network, for everybody."""
    return NetworkIdentity(NETWORK_ID, key.network_id)


def node_identity(key: NetKey, address: int, random: bytes, *, is_private: bool = False) -> HashedIdentity:
    """The node, for who has the NetKey. address: of its primary element. random: 8 octets, new for each time."""
    kind = PRIVATE_NODE_IDENTITY if is_private else NODE_IDENTITY
    return HashedIdentity(kind, _node_hash(key, kind, address, random), random)


def private_network_identity(key: NetKey, random: bytes) -> HashedIdentity:
    """The network, for who has its NetKey. random: 8 octets, new every ten minutes at least."""
    return HashedIdentity(PRIVATE_NETWORK_IDENTITY, _hash(key, key.network_id + random), random)


def identify(identity: Identity, keys: Iterable[NetKey], addresses: Iterable[int] = ()) -> Identified | None:
    """Whom it belongs to among these networks and nodes, None if to none. addresses: of primary elements."""
    known = tuple(addresses)
    for key in keys:
        if isinstance(identity, NetworkIdentity):
            if identity.network_id == key.network_id:
                return Identified(key, None)
        elif identity.kind == PRIVATE_NETWORK_IDENTITY:
            if equal(identity.hash, _hash(key, key.network_id + identity.random)):
                return Identified(key, None)
        else:
            for address in known:
                if equal(identity.hash, _node_hash(key, identity.kind, address, identity.random)):
                    return Identified(key, address)
    return None


def advertisement(content: Connectable) -> bytes:
    """Advertising data of a connectable advertisement, 31 octets at most."""
    uuid = PROVISIONING_UUID if isinstance(content, ServiceData) else PROXY_UUID
    return (
        build_ad(FLAGS, _GENERAL_NO_BR_EDR)
        + build_ad(COMPLETE_UUID16, uuid)
        + build_ad(SERVICE_DATA_UUID16, uuid + content.build())
    )


def parse_advertisement(data: bytes) -> Connectable | None:
    """What a connectable advertisement says of mesh; None for one that says nothing that is known."""
    for kind, content in ad_structures(data):
        if kind == SERVICE_DATA_UUID16 and content[:2] in {PROVISIONING_UUID, PROXY_UUID}:
            try:
                return ServiceData.parse(content[2:]) if content[:2] == PROVISIONING_UUID else _identity(content[2:])
            except DecodeError:
                return None
    return None


def _identity(content: bytes) -> Identity | None:
    if content[:1] == bytes((NETWORK_ID,)):
        return NetworkIdentity.parse(content)
    return HashedIdentity.parse(content) if content and content[0] < len(IDENTITIES) else None


def _hash(key: NetKey, block: bytes) -> bytes:
    return key.identity_key.encrypt_blocks(block)[8:]


def _node_hash(key: NetKey, kind: int, address: int, random: bytes) -> bytes:
    # Octet 5 keeps the hashes of the two kinds apart.
    padding = bytes(5) + bytes((kind if kind == PRIVATE_NODE_IDENTITY else 0,))
    return _hash(key, padding + random + address.to_bytes(2))
