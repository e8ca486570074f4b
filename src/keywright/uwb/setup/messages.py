"""The messages that set a ranging session up (Aliro 1.0, as public code has it): for both ends, for every carrier.

A message is its protocol, its id and attributes (`id | length | value`, one octet each for id and length). Sealing and
transport are the carrier's: Aliro seals the payload with BleSK and authenticates the header. An attribute of more than
127 octets is refused, because its length would read as the long form of BER.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, TypeAlias

from keywright.codec.record import U8, U16, Record, prefixed
from keywright.codec.tlv import Template, tag
from keywright.errors import DecodeError

RANGING_SERVICE: Final = 1
NOTIFICATION: Final = 2
SUPPLEMENTARY: Final = 3


class Envelope(Record, frozen=True):
    """A message in clear: the header that a carrier authenticates, and the payload that it seals."""

    protocol: U8
    id: U8
    payload: Annotated[bytes, prefixed(2)]


class ConfigIds(Record, frozen=True):
    """UWB configuration identifiers, best first."""

    ids: tuple[U16, ...] = ()


class M1(Template, frozen=True):
    """What the reader can do, and the session meant."""

    PROTOCOL: ClassVar[int] = RANGING_SERVICE
    ID: ClassVar[int] = 0
    config_ids: Annotated[ConfigIds, tag(0x00)]
    pulse_shapes: Annotated[bytes, tag(0x01)]
    """One octet for each combination."""
    channels: Annotated[int, tag(0x03, size=1)]
    session_id: Annotated[int, tag(0x02, size=4)]
    vendor: Annotated[bytes | None, tag(0x10)] = None


class M2(Template, frozen=True):
    """What the device takes of that, and what it can do itself."""

    PROTOCOL: ClassVar[int] = RANGING_SERVICE
    ID: ClassVar[int] = 1
    config_ids: Annotated[ConfigIds, tag(0x00)]
    """Exactly one."""
    pulse_shapes: Annotated[bytes, tag(0x01)]
    """Exactly one."""
    channels: Annotated[int, tag(0x03, size=1)]
    """Exactly one bit."""
    sync_codes: Annotated[int, tag(0x06, size=4)]
    """Bit n-1 is SYNC code n."""
    ran_multiplier: Annotated[int, tag(0x04, size=1)]
    """The least that the device can keep up with."""
    slots: Annotated[int, tag(0x05, size=1)]
    """Which numbers of chaps a slot may have: `terms.CHAPS`."""
    hopping: Annotated[int, tag(0x08, size=1)]
    vendor: Annotated[bytes | None, tag(0x10)] = None


class M3(Template, frozen=True):
    """What the reader decides."""

    PROTOCOL: ClassVar[int] = RANGING_SERVICE
    ID: ClassVar[int] = 2
    ran_multiplier: Annotated[int, tag(0x04, size=1)]
    chaps_per_slot: Annotated[int, tag(0x09, size=1)]
    responders: Annotated[int, tag(0x0A, size=1)]
    slots_per_round: Annotated[int, tag(0x0B, size=1)]
    sync_codes: Annotated[int, tag(0x06, size=4)]
    hopping: Annotated[int, tag(0x08, size=1)]
    mac_mode: Annotated[int, tag(0x0F, size=1)]
    vendor: Annotated[bytes | None, tag(0x10)] = None


class M4(Template, frozen=True):
    """Where the device begins."""

    PROTOCOL: ClassVar[int] = RANGING_SERVICE
    ID: ClassVar[int] = 3
    sts_index0: Annotated[int, tag(0x0C, size=4)]
    uwb_time0: Annotated[int, tag(0x0D, size=8)]
    """Microseconds of the device's UWB clock."""
    hop_key: Annotated[int, tag(0x0E, size=4)]
    sync_code: Annotated[int, tag(0x07, size=1)]
    vendor: Annotated[bytes | None, tag(0x10)] = None


class SuspendRequest(Template, frozen=True):
    """Either end wants to pause."""

    PROTOCOL: ClassVar[int] = RANGING_SERVICE
    ID: ClassVar[int] = 4
    session_id: Annotated[int, tag(0x02, size=4)]


class SuspendResponse(Template, frozen=True):
    """The other end's word on that."""

    PROTOCOL: ClassVar[int] = RANGING_SERVICE
    ID: ClassVar[int] = 5
    status: Annotated[int, tag(0x11, size=1)]
    """`SUSPENDED`, or anything else: not now."""


class ResumeRequest(Template, frozen=True):
    """The reader wants to go on."""

    PROTOCOL: ClassVar[int] = RANGING_SERVICE
    ID: ClassVar[int] = 6
    session_id: Annotated[int, tag(0x02, size=4)]


class ResumeResponse(Template, frozen=True):
    """Where the device begins anew."""

    PROTOCOL: ClassVar[int] = RANGING_SERVICE
    ID: ClassVar[int] = 7
    sts_index0: Annotated[int, tag(0x0C, size=4)]
    uwb_time0: Annotated[int, tag(0x0D, size=8)]


class Event(Template, frozen=True):
    """Something is wrong: busy, or a general error (`GeneralError`)."""

    PROTOCOL: ClassVar[int] = NOTIFICATION
    ID: ClassVar[int] = 0
    is_busy: Annotated[bool, tag(0x00)] = False
    general_error: Annotated[bytes | None, tag(0x01)] = None
    """One octet."""


class RangingNotice(Template, frozen=True):
    """A word about ranging; one attribute with no value."""

    PROTOCOL: ClassVar[int] = NOTIFICATION
    ID: ClassVar[int] = 1
    initiate: Annotated[bool, tag(0x00)] = False
    initiate_resume: Annotated[bool, tag(0x01)] = False
    setup_later: Annotated[bool, tag(0x02)] = False
    resume_later: Annotated[bool, tag(0x03)] = False
    secure_ranging_failed: Annotated[bool, tag(0x04)] = False
    suspended: Annotated[bool, tag(0x05)] = False


class TimeSync(Template, frozen=True):
    """When the device's UWB clock saw an event that the reader saw too. What follows from it: `uwb.sync`."""

    PROTOCOL: ClassVar[int] = SUPPLEMENTARY
    ID: ClassVar[int] = 0
    event_count: Annotated[int, tag(0x00, size=8)]
    device_time: Annotated[int, tag(0x01, size=8)]
    """Microseconds."""
    uncertainty: Annotated[int, tag(0x02, size=1)]
    """2^(n/8) microseconds."""
    has_skew: Annotated[int, tag(0x03, size=1)]
    max_ppm: Annotated[int, tag(0x04, size=2)]
    success: Annotated[int, tag(0x05, size=1)]
    """0: there was no measurement."""
    retry_delay: Annotated[int, tag(0x06, size=2)]


class GeneralError:
    """Values of `Event.general_error`."""

    UNKNOWN: Final = 0
    RESOURCE: Final = 1
    WRONG_PARAMETERS: Final = 2
    URSK_UNAVAILABLE: Final = 3


GENERAL_ERRORS: Final = {
    GeneralError.UNKNOWN: "unknown",
    GeneralError.RESOURCE: "resource",
    GeneralError.WRONG_PARAMETERS: "wrong parameters",
    GeneralError.URSK_UNAVAILABLE: "URSK unavailable",
}
SUSPENDED: Final = 1
"""Status of a suspend response that agrees (public actuator; its other values are not public)."""

SetupMessage: TypeAlias = (
    M1
    | M2
    | M3
    | M4
    | SuspendRequest
    | SuspendResponse
    | ResumeRequest
    | ResumeResponse
    | Event
    | RangingNotice
    | TimeSync
)
MESSAGES: Final[tuple[type[SetupMessage], ...]] = (
    M1,
    M2,
    M3,
    M4,
    SuspendRequest,
    SuspendResponse,
    ResumeRequest,
    ResumeResponse,
    Event,
    RangingNotice,
    TimeSync,
)
_BY_ID: Final = {(message.PROTOCOL, message.ID): message for message in MESSAGES}


def build_message(message: SetupMessage) -> bytes:
    """Header and payload in clear. Raises ValueError for a field that does not fit."""
    return Envelope(message.PROTOCOL, message.ID, message.build()).build()


def parse_message(octets: bytes) -> SetupMessage:
    """The message of a header and a payload in clear. Raises DecodeError for anything else, and for one left out."""
    envelope = Envelope.parse(octets)
    kind = _BY_ID.get((envelope.protocol, envelope.id))
    if kind is None:
        raise DecodeError(f"no ranging message {envelope.id} of protocol {envelope.protocol}")
    return kind.parse(envelope.payload)


def is_setup(protocol: int, message_id: int) -> bool:
    """Whether a message with this header is one of ours; a carrier's other messages are not."""
    return (protocol, message_id) in _BY_ID


def general_error(code: int) -> Event:
    """The event that says so."""
    return Event(general_error=bytes((code,)))
