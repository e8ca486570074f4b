"""The messages of an Aliro session over Bluetooth (Aliro 1.0 11.7, by its public implementations), for both ends.

    protocol(1) | id(1) | length(2) | payload

Ranging setup, its notifications and time sync are `uwb.setup.messages`; what is here is the rest: AP messages with
APDUs, and the notifications about access. A payload is attributes, `id | length | value`, one octet each for id and
length; AP messages are bare APDUs.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, TypeAlias

from keywright.codec.record import U8, Record, Rest, prefixed
from keywright.codec.tlv import Template, tag
from keywright.errors import DecodeError
from keywright.uwb.setup.messages import MESSAGES as SETUP_MESSAGES
from keywright.uwb.setup.messages import (
    NOTIFICATION,
    RANGING_SERVICE,
    SUPPLEMENTARY,
    Envelope,
    Event,
    GeneralError,
    SetupMessage,
    general_error,
)

__all__ = [
    "ACCESS_PROTOCOL",
    "NAMES",
    "NOTIFICATION",
    "RANGING_SERVICE",
    "SUPPLEMENTARY",
    "THIRD_PARTY",
    "AccessCompleted",
    "ApRequest",
    "ApResponse",
    "Attribute",
    "BleMessage",
    "Envelope",
    "Event",
    "GeneralError",
    "InitiateAccess",
    "InitiateRke",
    "Reporting",
    "RkeAction",
    "RkeRequest",
    "Source",
    "StateReport",
    "StatusChanged",
    "envelope",
    "general_error",
    "kind_of",
    "parse_message",
]

ACCESS_PROTOCOL: Final = 0
"""AP: APDUs, never sealed with BleSK."""
THIRD_PARTY: Final = 4
"""Data of an application, with message ids of its own."""
HEADER_BYTES: Final = 4
LONGEST_VALUE: Final = 255
"""Octets of an attribute's value."""


class Reporting:
    """How a reader reports changes of its state unasked: the top three bits of `StateInformation.reporting`."""

    NONE: Final = 0
    TO_ALL: Final = 1
    """To each device that is connected."""
    TO_THIS: Final = 2
    """Only to the device whose change it was."""


class Source:
    """Who or what changed the state of the reader."""

    UNSPECIFIED: Final = 0
    MANUAL: Final = 1
    AUTO: Final = 2
    SCHEDULE: Final = 3
    THIS_DEVICE_RANGING: Final = 4
    """The device that is told, in the Bluetooth and UWB flow."""
    THIS_DEVICE_NFC: Final = 5
    THIS_DEVICE_BLE: Final = 6
    """The device that is told, in the flow with Bluetooth alone."""
    MATTER: Final = 7


class State:
    """The state of the reader; the low octet of the `ReaderStatus` values that are successes."""

    SECURED: Final = 0x00
    UNSECURED: Final = 0x01
    OBSTRUCTED: Final = 0x02
    ENTERING_SECURED: Final = 0x80
    ENTERING_UNSECURED: Final = 0x81
    UNKNOWN: Final = 0x82


class RkeAction:
    """What a device asks for by remote keyless entry."""

    SECURE: Final = 0
    UNSECURE: Final = 1


# ---- AP messages ----------------------------------------------------------------------------------------------


class ApRequest(Record, frozen=True):
    """A command APDU, from the reader."""

    PROTOCOL: ClassVar[int] = ACCESS_PROTOCOL
    ID: ClassVar[int] = 0
    apdu: Annotated[bytes, Rest()]


class ApResponse(Record, frozen=True):
    """An answer APDU, from the device."""

    PROTOCOL: ClassVar[int] = ACCESS_PROTOCOL
    ID: ClassVar[int] = 1
    apdu: Annotated[bytes, Rest()]


# ---- notifications --------------------------------------------------------------------------------------------


class Attribute(Record, frozen=True):
    """One attribute as it lies in a payload. Its length is one octet, also above 127: no form of BER."""

    id: U8
    value: Annotated[bytes, prefixed(1)]


class InitiateAccess(Record, frozen=True):
    """The device wants to be authenticated; a TLV A5 may be longer than 127 octets, so no `Template`."""

    PROTOCOL: ClassVar[int] = NOTIFICATION
    ID: ClassVar[int] = 5
    attributes: tuple[Attribute, ...] = ()

    def proprietary(self) -> bytes:
        """The complete TLV A5, which goes into every salt. Raises DecodeError when it is not there once."""
        return _only(self.attributes)


class InitiateRke(Record, frozen=True):
    """As `InitiateAccess`, and a `RkeRequest` will follow."""

    PROTOCOL: ClassVar[int] = NOTIFICATION
    ID: ClassVar[int] = 6
    attributes: tuple[Attribute, ...] = ()

    def proprietary(self) -> bytes:
        """As that of `InitiateAccess`."""
        return _only(self.attributes)


class StateInformation(Record, frozen=True):
    """How a reader will report its state, and the state."""

    reporting: U8
    """b8 to b6: a value of `Reporting`."""
    state: U8

    @property
    def mode(self) -> int:
        """A value of `Reporting`."""
        return self.reporting >> 5


class AccessCompleted(Template, frozen=True):
    """The access protocol was a success: the first message that is sealed with BleSK."""

    PROTOCOL: ClassVar[int] = NOTIFICATION
    ID: ClassVar[int] = 3
    information: Annotated[StateInformation, tag(0x00)]


class StateReport(Record, frozen=True):
    """Who changed the state of a reader to what."""

    source: U8
    """A value of `Source`."""
    state: U8
    """A value of `State`."""


class StatusChanged(Template, frozen=True):
    """The state of the reader is another one."""

    PROTOCOL: ClassVar[int] = NOTIFICATION
    ID: ClassVar[int] = 2
    report: Annotated[StateReport, tag(0x00)]


class RkeRequest(Template, frozen=True):
    """The holder of the device has pressed a button."""

    PROTOCOL: ClassVar[int] = NOTIFICATION
    ID: ClassVar[int] = 4
    action: Annotated[int, tag(0x00, size=1)]
    """A value of `RkeAction`."""


def _only(attributes: tuple[Attribute, ...]) -> bytes:
    found = [one.value for one in attributes if one.id == 0]
    if len(found) != 1 or not found[0]:
        raise DecodeError("one attribute 0 with a TLV A5 is due")
    return found[0]


AccessMessage: TypeAlias = (
    ApRequest | ApResponse | InitiateAccess | InitiateRke | AccessCompleted | StatusChanged | RkeRequest
)
BleMessage: TypeAlias = AccessMessage | SetupMessage
MESSAGES: Final[tuple[type[BleMessage], ...]] = (
    ApRequest,
    ApResponse,
    InitiateAccess,
    InitiateRke,
    AccessCompleted,
    StatusChanged,
    RkeRequest,
    *SETUP_MESSAGES,
)
_BY_ID: Final[dict[tuple[int, int], type[BleMessage]]] = {(kind.PROTOCOL, kind.ID): kind for kind in MESSAGES}
NAMES: Final = {key: kind.__name__ for key, kind in _BY_ID.items()}
"""What a message with this protocol and id is called."""


def kind_of(protocol: int, message_id: int) -> type[BleMessage] | None:
    """The class of messages with this header, None if there is none."""
    return _BY_ID.get((protocol, message_id))


def envelope(message: BleMessage) -> Envelope:
    """Header and payload in clear. Raises ValueError for a field that does not fit."""
    return Envelope(message.PROTOCOL, message.ID, message.build())


def parse_message(frame: Envelope) -> BleMessage:
    """The message of a header and a payload in clear. Raises DecodeError, also for one that there is not."""
    kind = kind_of(frame.protocol, frame.id)
    if kind is None:
        raise DecodeError(f"there is no message {frame.id} of protocol {frame.protocol}")
    return kind.parse(frame.payload)
