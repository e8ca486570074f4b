"""The messages of the Configuration models, for server and client (MshPRT 4.3.2). Little-endian.

Each class is the parameters of one opcode; `MESSAGES` finds it. A model is named by 2 octets, a vendor's by 4: company
identifier, then model identifier.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, TypeAlias

from keywright.codec.record import U8, U16, U24, LittleRecord, Rest, raw
from keywright.mesh.models.message_set import MessageSet

ModelId: TypeAlias = Annotated[bytes, Rest(2, 4)]
Key: TypeAlias = Annotated[bytes, raw(16)]
Label: TypeAlias = Annotated[bytes, raw(16)]


class Status:
    """Status codes (MshPRT 4.3.5)."""

    SUCCESS: Final = 0x00
    INVALID_ADDRESS: Final = 0x01
    INVALID_MODEL: Final = 0x02
    INVALID_APPKEY_INDEX: Final = 0x03
    INVALID_NETKEY_INDEX: Final = 0x04
    INSUFFICIENT_RESOURCES: Final = 0x05
    KEY_INDEX_ALREADY_STORED: Final = 0x06
    INVALID_PUBLISH_PARAMETERS: Final = 0x07
    NOT_A_SUBSCRIBE_MODEL: Final = 0x08
    STORAGE_FAILURE: Final = 0x09
    FEATURE_NOT_SUPPORTED: Final = 0x0A
    CANNOT_UPDATE: Final = 0x0B
    CANNOT_REMOVE: Final = 0x0C
    CANNOT_BIND: Final = 0x0D
    TEMPORARILY_UNABLE: Final = 0x0E
    CANNOT_SET: Final = 0x0F
    UNSPECIFIED: Final = 0x10
    INVALID_BINDING: Final = 0x11


STATUS_NAMES: Final = {
    value: name.lower().replace("_", " ") for name, value in vars(Status).items() if isinstance(value, int)
}
"""What each status is called."""


class BeaconGet(LittleRecord, frozen=True):
    """Whether the node sends secure network beacons?"""

    OPCODE: ClassVar[int] = 0x8009


class BeaconSet(LittleRecord, frozen=True):
    """Send them, or do not."""

    OPCODE: ClassVar[int] = 0x800A
    beacon: U8


class BeaconStatus(LittleRecord, frozen=True):
    """Answer to both."""

    OPCODE: ClassVar[int] = 0x800B
    beacon: U8


class CompositionDataGet(LittleRecord, frozen=True):
    """What the node is made of (page FF: the highest there is)."""

    OPCODE: ClassVar[int] = 0x8008
    page: U8


class CompositionDataStatus(LittleRecord, frozen=True):
    """A page; `composition.parse_composition` reads page 0."""

    OPCODE: ClassVar[int] = 0x02
    page: U8
    data: Annotated[bytes, Rest()]


class DefaultTtlGet(LittleRecord, frozen=True):
    """The TTL of what the node sends?"""

    OPCODE: ClassVar[int] = 0x800C


class DefaultTtlSet(LittleRecord, frozen=True):
    """Change it: 0, or 2 to 127."""

    OPCODE: ClassVar[int] = 0x800D
    ttl: U8


class DefaultTtlStatus(LittleRecord, frozen=True):
    """Answer to both."""

    OPCODE: ClassVar[int] = 0x800E
    ttl: U8


class FriendGet(LittleRecord, frozen=True):
    """Whether the node is a friend?"""

    OPCODE: ClassVar[int] = 0x800F


class FriendSet(LittleRecord, frozen=True):
    """Be one, or do not."""

    OPCODE: ClassVar[int] = 0x8010
    friend: U8


class FriendStatus(LittleRecord, frozen=True):
    """Answer to both."""

    OPCODE: ClassVar[int] = 0x8011
    friend: U8


class GattProxyGet(LittleRecord, frozen=True):
    """Whether the node is a proxy?"""

    OPCODE: ClassVar[int] = 0x8012


class GattProxySet(LittleRecord, frozen=True):
    """Be one, or do not."""

    OPCODE: ClassVar[int] = 0x8013
    proxy: U8


class GattProxyStatus(LittleRecord, frozen=True):
    """Answer to both."""

    OPCODE: ClassVar[int] = 0x8014
    proxy: U8


class KeyRefreshPhaseGet(LittleRecord, frozen=True):
    """In which phase a NetKey is?"""

    OPCODE: ClassVar[int] = 0x8015
    net_index: U16


class KeyRefreshPhaseSet(LittleRecord, frozen=True):
    """Go on: 2 to use the new key, 3 to forget the old one."""

    OPCODE: ClassVar[int] = 0x8016
    net_index: U16
    transition: U8


class KeyRefreshPhaseStatus(LittleRecord, frozen=True):
    """Answer to both."""

    OPCODE: ClassVar[int] = 0x8017
    status: U8
    net_index: U16
    phase: U8


class PublicationGet(LittleRecord, frozen=True):
    """What a model publishes?"""

    OPCODE: ClassVar[int] = 0x8018
    element: U16
    model: ModelId


class PublicationSet(LittleRecord, frozen=True):
    """Let a model publish; address 0 ends it."""

    OPCODE: ClassVar[int] = 0x03
    element: U16
    address: U16
    app_index: U16
    """12 bits, then the flag for friendship credentials."""
    ttl: U8
    period: U8
    retransmit: U8
    model: ModelId


class PublicationVirtualAddressSet(LittleRecord, frozen=True):
    """Let a model publish to a label UUID."""

    OPCODE: ClassVar[int] = 0x801A
    element: U16
    label: Label
    app_index: U16
    ttl: U8
    period: U8
    retransmit: U8
    model: ModelId


class PublicationStatus(LittleRecord, frozen=True):
    """Answer to the three."""

    OPCODE: ClassVar[int] = 0x8019
    status: U8
    element: U16
    address: U16
    app_index: U16
    ttl: U8
    period: U8
    retransmit: U8
    model: ModelId


class SubscriptionAdd(LittleRecord, frozen=True):
    """Let a model hear a group."""

    OPCODE: ClassVar[int] = 0x801B
    element: U16
    address: U16
    model: ModelId


class SubscriptionDelete(LittleRecord, frozen=True):
    """Let it hear the group no more."""

    OPCODE: ClassVar[int] = 0x801C
    element: U16
    address: U16
    model: ModelId


class SubscriptionDeleteAll(LittleRecord, frozen=True):
    """Let it hear no group."""

    OPCODE: ClassVar[int] = 0x801D
    element: U16
    model: ModelId


class SubscriptionOverwrite(LittleRecord, frozen=True):
    """Let it hear this group alone."""

    OPCODE: ClassVar[int] = 0x801E
    element: U16
    address: U16
    model: ModelId


class SubscriptionVirtualAddressAdd(LittleRecord, frozen=True):
    """Let a model hear a label UUID."""

    OPCODE: ClassVar[int] = 0x8020
    element: U16
    label: Label
    model: ModelId


class SubscriptionVirtualAddressDelete(LittleRecord, frozen=True):
    """Let it hear the label UUID no more."""

    OPCODE: ClassVar[int] = 0x8021
    element: U16
    label: Label
    model: ModelId


class SubscriptionVirtualAddressOverwrite(LittleRecord, frozen=True):
    """Let it hear this label UUID alone."""

    OPCODE: ClassVar[int] = 0x8022
    element: U16
    label: Label
    model: ModelId


class SubscriptionStatus(LittleRecord, frozen=True):
    """Answer to the seven."""

    OPCODE: ClassVar[int] = 0x801F
    status: U8
    element: U16
    address: U16
    model: ModelId


class SigModelSubscriptionGet(LittleRecord, frozen=True):
    """Which groups a model of the standard hears?"""

    OPCODE: ClassVar[int] = 0x8029
    element: U16
    model: Annotated[bytes, raw(2)]


class SigModelSubscriptionList(LittleRecord, frozen=True):
    """Answer."""

    OPCODE: ClassVar[int] = 0x802A
    status: U8
    element: U16
    model: Annotated[bytes, raw(2)]
    addresses: tuple[U16, ...] = ()


class VendorModelSubscriptionGet(LittleRecord, frozen=True):
    """Which groups a vendor's model hears?"""

    OPCODE: ClassVar[int] = 0x802B
    element: U16
    model: Annotated[bytes, raw(4)]


class VendorModelSubscriptionList(LittleRecord, frozen=True):
    """Answer."""

    OPCODE: ClassVar[int] = 0x802C
    status: U8
    element: U16
    model: Annotated[bytes, raw(4)]
    addresses: tuple[U16, ...] = ()


class NetworkTransmitGet(LittleRecord, frozen=True):
    """How often a PDU is sent?"""

    OPCODE: ClassVar[int] = 0x8023


class NetworkTransmitSet(LittleRecord, frozen=True):
    """Change it: count in the low 3 bits, interval in steps of 10 ms in the others."""

    OPCODE: ClassVar[int] = 0x8024
    transmit: U8


class NetworkTransmitStatus(LittleRecord, frozen=True):
    """Answer to both."""

    OPCODE: ClassVar[int] = 0x8025
    transmit: U8


class RelayGet(LittleRecord, frozen=True):
    """Whether the node relays?"""

    OPCODE: ClassVar[int] = 0x8026


class RelaySet(LittleRecord, frozen=True):
    """Relay, or do not."""

    OPCODE: ClassVar[int] = 0x8027
    relay: U8
    retransmit: U8


class RelayStatus(LittleRecord, frozen=True):
    """Answer to both."""

    OPCODE: ClassVar[int] = 0x8028
    relay: U8
    retransmit: U8


class ModelAppBind(LittleRecord, frozen=True):
    """Let a model use an AppKey."""

    OPCODE: ClassVar[int] = 0x803D
    element: U16
    app_index: U16
    model: ModelId


class ModelAppUnbind(LittleRecord, frozen=True):
    """Let it use the AppKey no more."""

    OPCODE: ClassVar[int] = 0x803F
    element: U16
    app_index: U16
    model: ModelId


class ModelAppStatus(LittleRecord, frozen=True):
    """Answer to both."""

    OPCODE: ClassVar[int] = 0x803E
    status: U8
    element: U16
    app_index: U16
    model: ModelId


class SigModelAppGet(LittleRecord, frozen=True):
    """Which AppKeys a model of the standard may use?"""

    OPCODE: ClassVar[int] = 0x804B
    element: U16
    model: Annotated[bytes, raw(2)]


class SigModelAppList(LittleRecord, frozen=True):
    """Answer; `indexes.unpack_index_list` reads the indexes."""

    OPCODE: ClassVar[int] = 0x804C
    status: U8
    element: U16
    model: Annotated[bytes, raw(2)]
    indexes: Annotated[bytes, Rest()]


class VendorModelAppGet(LittleRecord, frozen=True):
    """Which AppKeys a vendor's model may use?"""

    OPCODE: ClassVar[int] = 0x804D
    element: U16
    model: Annotated[bytes, raw(4)]


class VendorModelAppList(LittleRecord, frozen=True):
    """Answer; `indexes.unpack_index_list` reads the indexes."""

    OPCODE: ClassVar[int] = 0x804E
    status: U8
    element: U16
    model: Annotated[bytes, raw(4)]
    indexes: Annotated[bytes, Rest()]


class NetKeyAdd(LittleRecord, frozen=True):
    """Add a NetKey."""

    OPCODE: ClassVar[int] = 0x8040
    net_index: U16
    key: Key

    def __repr__(self) -> str:
        return f"<NetKeyAdd {self.net_index:03X}>"


class NetKeyUpdate(LittleRecord, frozen=True):
    """Give the key that replaces a NetKey."""

    OPCODE: ClassVar[int] = 0x8045
    net_index: U16
    key: Key

    def __repr__(self) -> str:
        return f"<NetKeyUpdate {self.net_index:03X}>"


class NetKeyDelete(LittleRecord, frozen=True):
    """Forget a NetKey."""

    OPCODE: ClassVar[int] = 0x8041
    net_index: U16


class NetKeyStatus(LittleRecord, frozen=True):
    """Answer to the three."""

    OPCODE: ClassVar[int] = 0x8044
    status: U8
    net_index: U16


class NetKeyGet(LittleRecord, frozen=True):
    """Which NetKeys the node has?"""

    OPCODE: ClassVar[int] = 0x8042


class NetKeyList(LittleRecord, frozen=True):
    """Answer; `indexes.unpack_index_list` reads it."""

    OPCODE: ClassVar[int] = 0x8043
    indexes: Annotated[bytes, Rest()]


class AppKeyAdd(LittleRecord, frozen=True):
    """Add an AppKey; `indexes.unpack_indexes` reads the indexes."""

    OPCODE: ClassVar[int] = 0x00
    indexes: U24
    key: Key

    def __repr__(self) -> str:
        return f"<AppKeyAdd {self.indexes:06X}>"


class AppKeyUpdate(LittleRecord, frozen=True):
    """Give the key that replaces an AppKey."""

    OPCODE: ClassVar[int] = 0x01
    indexes: U24
    key: Key

    def __repr__(self) -> str:
        return f"<AppKeyUpdate {self.indexes:06X}>"


class AppKeyDelete(LittleRecord, frozen=True):
    """Forget an AppKey."""

    OPCODE: ClassVar[int] = 0x8000
    indexes: U24


class AppKeyStatus(LittleRecord, frozen=True):
    """Answer to the three."""

    OPCODE: ClassVar[int] = 0x8003
    status: U8
    indexes: U24


class AppKeyGet(LittleRecord, frozen=True):
    """Which AppKeys are bound to a NetKey?"""

    OPCODE: ClassVar[int] = 0x8001
    net_index: U16


class AppKeyList(LittleRecord, frozen=True):
    """Answer; `indexes.unpack_index_list` reads it."""

    OPCODE: ClassVar[int] = 0x8002
    status: U8
    net_index: U16
    indexes: Annotated[bytes, Rest()]


class NodeIdentityGet(LittleRecord, frozen=True):
    """Whether the node advertises its identity on a network?"""

    OPCODE: ClassVar[int] = 0x8046
    net_index: U16


class NodeIdentitySet(LittleRecord, frozen=True):
    """Advertise it, or do not."""

    OPCODE: ClassVar[int] = 0x8047
    net_index: U16
    identity: U8


class NodeIdentityStatus(LittleRecord, frozen=True):
    """Answer to both."""

    OPCODE: ClassVar[int] = 0x8048
    status: U8
    net_index: U16
    identity: U8


class NodeReset(LittleRecord, frozen=True):
    """Leave the network and be an unprovisioned device again."""

    OPCODE: ClassVar[int] = 0x8049


class NodeResetStatus(LittleRecord, frozen=True):
    """Answer, the last thing the node says."""

    OPCODE: ClassVar[int] = 0x804A


Message: TypeAlias = LittleRecord
_SET: Final = MessageSet("Configuration", globals())
MESSAGES: Final = _SET.by_opcode
"""Every message of the Configuration models, by opcode."""
build_message: Final = _SET.build
parse_message: Final = _SET.parse
