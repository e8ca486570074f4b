"""The part of Matter's Door Lock cluster (0101) that provisions a reader: numbers, and commands as objects.

Clauses are of the Matter Application Cluster Specification 1.4, chapter 5.2, as the models of connectedhomeip and
matter.js carry them. A command's fields are a map from their numbers; `read` raises ValueError for one that does not
keep its constraints.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self, TypeVar

import msgspec

from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.errors import DecodeError

T = TypeVar("T")

CLUSTER: Final = 0x0101
CURVE: Final = "P-256"
ALIRO_PROVISIONING: Final = 1 << 13
"""Feature bit ALIRO."""
ALIRO_BLE_UWB: Final = 1 << 14
"""Feature bit ALBU."""
OPERATION_SOURCE: Final = 10
"""OperationSource of what a credential of Aliro did."""
ALL_INDICES: Final = 0xFFFE
"""CredentialIndex of ClearCredential: every index of the type."""
GROUP_BYTES: Final = 16
POINT_BYTES: Final = 65
_SCALAR_BYTES: Final = 32


class Attribute:
    """Attribute numbers (5.2.9.38 to 46); all are read by administrators, none is written."""

    READER_VERIFICATION_KEY: Final = 0x0080
    READER_GROUP_IDENTIFIER: Final = 0x0081
    READER_GROUP_SUB_IDENTIFIER: Final = 0x0082
    EXPEDITED_VERSIONS: Final = 0x0083
    GROUP_RESOLVING_KEY: Final = 0x0084
    BLE_UWB_VERSIONS: Final = 0x0085
    BLE_ADVERTISING_VERSION: Final = 0x0086
    ISSUER_KEYS_SUPPORTED: Final = 0x0087
    ENDPOINT_KEYS_SUPPORTED: Final = 0x0088
    FEATURE_MAP: Final = 0xFFFC


NAMES: Final = {
    Attribute.READER_VERIFICATION_KEY: "AliroReaderVerificationKey",
    Attribute.READER_GROUP_IDENTIFIER: "AliroReaderGroupIdentifier",
    Attribute.READER_GROUP_SUB_IDENTIFIER: "AliroReaderGroupSubIdentifier",
    Attribute.EXPEDITED_VERSIONS: "AliroExpeditedTransactionSupportedProtocolVersions",
    Attribute.GROUP_RESOLVING_KEY: "AliroGroupResolvingKey",
    Attribute.BLE_UWB_VERSIONS: "AliroSupportedBLEUWBProtocolVersions",
    Attribute.BLE_ADVERTISING_VERSION: "AliroBLEAdvertisingVersion",
    Attribute.ISSUER_KEYS_SUPPORTED: "NumberOfAliroCredentialIssuerKeysSupported",
    Attribute.ENDPOINT_KEYS_SUPPORTED: "NumberOfAliroEndpointKeysSupported",
    Attribute.FEATURE_MAP: "FeatureMap",
}
"""What each attribute is called."""


class Invoke:
    """Command numbers (5.2.10)."""

    SET_CREDENTIAL: Final = 0x22
    SET_CREDENTIAL_RESPONSE: Final = 0x23
    GET_CREDENTIAL_STATUS: Final = 0x24
    GET_CREDENTIAL_STATUS_RESPONSE: Final = 0x25
    CLEAR_CREDENTIAL: Final = 0x26
    SET_READER_CONFIG: Final = 0x28
    CLEAR_READER_CONFIG: Final = 0x29


TIMED: Final = frozenset(
    {Invoke.SET_CREDENTIAL, Invoke.CLEAR_CREDENTIAL, Invoke.SET_READER_CONFIG, Invoke.CLEAR_READER_CONFIG}
)
"""Commands that are taken in a timed interaction only."""


class Status:
    """Status codes of the interaction model and of SetCredentialResponse."""

    SUCCESS: Final = 0x00
    FAILURE: Final = 0x01
    DUPLICATE: Final = 0x02
    OCCUPIED: Final = 0x03
    UNSUPPORTED_COMMAND: Final = 0x81
    INVALID_COMMAND: Final = 0x85
    UNSUPPORTED_ATTRIBUTE: Final = 0x86
    UNSUPPORTED_WRITE: Final = 0x88
    RESOURCE_EXHAUSTED: Final = 0x89
    NEEDS_TIMED_INTERACTION: Final = 0xC6
    INVALID_IN_STATE: Final = 0xCB


class CredentialType:
    """Types of credentials of Aliro (5.2.6.9); 0 to 5 are codes, cards and fingers."""

    ISSUER: Final = 6
    EVICTABLE: Final = 7
    NON_EVICTABLE: Final = 8


TYPES: Final = {
    CredentialType.ISSUER: "AliroCredentialIssuerKey",
    CredentialType.EVICTABLE: "AliroEvictableEndpointKey",
    CredentialType.NON_EVICTABLE: "AliroNonEvictableEndpointKey",
}
"""What each type is called."""
ENDPOINTS: Final = (CredentialType.EVICTABLE, CredentialType.NON_EVICTABLE)
"""Types that open: their number together is limited."""


class Operation:
    """DataOperationTypeEnum."""

    ADD: Final = 0
    CLEAR: Final = 1
    MODIFY: Final = 2


class Slot(msgspec.Struct, frozen=True):
    """CredentialStruct: where a credential is."""

    type: int
    index: int

    def fields(self) -> dict[int, Any]:
        """As the fields of a command."""
        return {0: self.type, 1: self.index}

    @classmethod
    def read(cls, value: object) -> Self:
        """From the fields of a command."""
        found = _of(value, dict, "Credential")
        return cls(_number(found.get(0), 0xFF, "CredentialType"), _number(found.get(1), 0xFFFF, "CredentialIndex"))


class SetCredential(msgspec.Struct, frozen=True):
    """Put a key into a slot (5.2.10.36)."""

    operation: int
    slot: Slot
    key: EcPublicKey
    user: int | None = None
    """None with ADD: a new user."""
    user_status: int | None = None
    user_type: int | None = None

    def fields(self) -> dict[int, Any]:
        """As the fields of a command."""
        return {
            0: self.operation,
            1: self.slot.fields(),
            2: self.key.point,
            3: self.user,
            4: self.user_status,
            5: self.user_type,
        }

    @classmethod
    def read(cls, fields: Mapping[int, Any]) -> Self:
        """From the fields of a command."""
        return cls(
            _number(fields.get(0), 2, "OperationType"),
            Slot.read(fields.get(1)),
            point(fields.get(2), "CredentialData"),
            _optional(fields.get(3), 0xFFFF, "UserIndex"),
            _optional(fields.get(4), 0xFF, "UserStatus"),
            _optional(fields.get(5), 0xFF, "UserType"),
        )


class GetCredentialStatus(msgspec.Struct, frozen=True):
    """Ask for a slot (5.2.10.38)."""

    slot: Slot

    def fields(self) -> dict[int, Any]:
        """As the fields of a command."""
        return {0: self.slot.fields()}

    @classmethod
    def read(cls, fields: Mapping[int, Any]) -> Self:
        """From the fields of a command."""
        return cls(Slot.read(fields.get(0)))


class ClearCredential(msgspec.Struct, frozen=True):
    """Empty a slot, all of a type (index FFFE), or all there are (5.2.10.40)."""

    slot: Slot | None

    def fields(self) -> dict[int, Any]:
        """As the fields of a command."""
        return {0: None if self.slot is None else self.slot.fields()}

    @classmethod
    def read(cls, fields: Mapping[int, Any]) -> Self:
        """From the fields of a command."""
        if 0 not in fields:
            raise ValueError("Credential: missing; null clears all")
        return cls(None if fields[0] is None else Slot.read(fields[0]))


class SetReaderConfig(msgspec.Struct, frozen=True):
    """Give a reader its keys and its group (SetAliroReaderConfig, 5.2.10.42)."""

    signing_key: EcPrivateKey
    group_identifier: bytes
    group_resolving_key: bytes | None = None
    """For readers with Bluetooth and UWB."""

    def __repr__(self) -> str:
        return f"<SetReaderConfig of group {self.group_identifier.hex()}>"

    @classmethod
    def read(cls, fields: Mapping[int, Any]) -> Self:
        """From the fields of a command. The verification key must be that of the signing key."""
        try:
            key = EcPrivateKey.from_scalar(CURVE, _sized(fields.get(0), _SCALAR_BYTES, "SigningKey"))
        except DecodeError:
            raise ValueError("SigningKey: not a key of P-256") from None
        if point(fields.get(1), "VerificationKey") != key.public:
            raise ValueError("VerificationKey: not the one of the signing key")
        resolving = fields.get(3)
        return cls(
            key,
            _sized(fields.get(2), GROUP_BYTES, "GroupIdentifier"),
            None if resolving is None else _sized(resolving, GROUP_BYTES, "GroupResolvingKey"),
        )


def point(value: object, what: str) -> EcPublicKey:
    """A public key of P-256 as its 65 bytes. Raises ValueError."""
    try:
        return EcPublicKey.from_point(CURVE, _sized(value, POINT_BYTES, what))
    except DecodeError as error:
        raise ValueError(f"{what}: {error}") from error


def _of(value: object, kind: type[T], what: str) -> T:
    if type(value) is not kind:
        raise ValueError(f"{what}: {type(value).__name__} where {kind.__name__} is due")
    return value


def _number(value: object, most: int, what: str) -> int:
    found = _of(value, int, what)
    if not 0 <= found <= most:
        raise ValueError(f"{what}: {found} is not from 0 to {most}")
    return found


def _optional(value: object, most: int, what: str) -> int | None:
    return None if value is None else _number(value, most, what)


def _sized(value: object, size: int, what: str) -> bytes:
    found = _of(value, bytes, what)
    if len(found) != size:
        raise ValueError(f"{what}: {len(found)} bytes, not {size}")
    return found
