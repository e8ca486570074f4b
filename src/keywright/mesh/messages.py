"""The provisioning PDUs, for both ends (Mesh Protocol 1.1, "MshPRT", 5.4.1).

A PDU is its type octet and its parameters, integers big-endian. Each class is the parameters alone, because that is
what goes into the confirmation inputs; `build_pdu` and `parse_pdu` deal with the type.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, TypeAlias

from keywright.codec.record import U8, U16, Record, Rest, raw
from keywright.errors import DecodeError

TYPE_MASK: Final = 0x3F
"""Bits of the first octet that are the type; the other two are 0 (MshPRT 5.4.1)."""
LONGEST: Final = 1469
"""Octets of the longest provisioning PDU that the generic provisioning layer carries (MshPRT 5.3.1)."""


class ErrorCode:
    """Error codes of Provisioning Failed (MshPRT 5.4.1.10)."""

    INVALID_PDU: Final = 0x01
    INVALID_FORMAT: Final = 0x02
    UNEXPECTED_PDU: Final = 0x03
    CONFIRMATION_FAILED: Final = 0x04
    OUT_OF_RESOURCES: Final = 0x05
    DECRYPTION_FAILED: Final = 0x06
    UNEXPECTED_ERROR: Final = 0x07
    CANNOT_ASSIGN_ADDRESSES: Final = 0x08
    INVALID_DATA: Final = 0x09


ERRORS: Final = {
    ErrorCode.INVALID_PDU: "invalid PDU",
    ErrorCode.INVALID_FORMAT: "invalid format",
    ErrorCode.UNEXPECTED_PDU: "unexpected PDU",
    ErrorCode.CONFIRMATION_FAILED: "confirmation failed",
    ErrorCode.OUT_OF_RESOURCES: "out of resources",
    ErrorCode.DECRYPTION_FAILED: "decryption failed",
    ErrorCode.UNEXPECTED_ERROR: "unexpected error",
    ErrorCode.CANNOT_ASSIGN_ADDRESSES: "cannot assign addresses",
    ErrorCode.INVALID_DATA: "invalid data",
}
"""What each error code is called."""


class PduError(DecodeError):
    """A provisioning PDU that a device answers with Failed; `error_code` is which (`ErrorCode`)."""

    code = "mesh-pdu"

    def __init__(self, message: str, error_code: int, offset: int = 0) -> None:
        super().__init__(message, offset)
        self.error_code = error_code


class Invite(Record, frozen=True):
    """Invite, provisioner to device (MshPRT 5.4.1.1)."""

    TYPE: ClassVar[int] = 0x00
    attention_s: U8
    """How long the device makes itself known, seconds."""


class Capabilities(Record, frozen=True):
    """Capabilities, device to provisioner (MshPRT 5.4.1.2). Bits of the fields: `mesh.oob`, `mesh.keys`."""

    TYPE: ClassVar[int] = 0x01
    elements: U8
    """1 to 255; 0 is prohibited."""
    algorithms: U16
    public_key_type: U8
    oob_type: U8
    output_size: U8
    output_actions: U16
    input_size: U8
    input_actions: U16


class Start(Record, frozen=True):
    """Start, provisioner to device (MshPRT 5.4.1.3)."""

    TYPE: ClassVar[int] = 0x02
    algorithm: U8
    public_key: U8
    """0: the device sends its key; 1: the provisioner has it from elsewhere."""
    method: U8
    action: U8
    size: U8


class PublicKey(Record, frozen=True):
    """Public Key, both directions: a point of P-256 (MshPRT 5.4.1.4)."""

    TYPE: ClassVar[int] = 0x03
    point: Annotated[bytes, raw(64)]
    """X || Y."""


class InputComplete(Record, frozen=True):
    """Input Complete, device to provisioner (MshPRT 5.4.1.5)."""

    TYPE: ClassVar[int] = 0x04


class Confirmation(Record, frozen=True):
    """Confirmation, both directions: 16 octets, or 32 with HMAC (MshPRT 5.4.1.6)."""

    TYPE: ClassVar[int] = 0x05
    value: Annotated[bytes, Rest(16, 32)]


class Random(Record, frozen=True):
    """Random, both directions: 16 octets, or 32 with HMAC (MshPRT 5.4.1.7)."""

    TYPE: ClassVar[int] = 0x06
    value: Annotated[bytes, Rest(16, 32)]


class Data(Record, frozen=True):
    """Data, provisioner to device: `ProvisioningData` sealed with CCM (MshPRT 5.4.1.8)."""

    TYPE: ClassVar[int] = 0x07
    sealed: Annotated[bytes, raw(33)]
    """25 octets and an 8-octet MIC."""


class Complete(Record, frozen=True):
    """Complete, device to provisioner (MshPRT 5.4.1.9)."""

    TYPE: ClassVar[int] = 0x08


class Failed(Record, frozen=True):
    """Failed, device to provisioner (MshPRT 5.4.1.10)."""

    TYPE: ClassVar[int] = 0x09
    error_code: U8


class RecordRequest(Record, frozen=True):
    """Record Request, provisioner to device (MshPRT 5.4.1.11)."""

    TYPE: ClassVar[int] = 0x0A
    record: U16
    offset: U16
    most: U16
    """How many octets of the record the answer may have; 0 is prohibited."""


class RecordResponse(Record, frozen=True):
    """Record Response, device to provisioner (MshPRT 5.4.1.12)."""

    TYPE: ClassVar[int] = 0x0B
    status: U8
    record: U16
    offset: U16
    total: U16
    data: Annotated[bytes, Rest()] = b""


class RecordsGet(Record, frozen=True):
    """Records Get, provisioner to device (MshPRT 5.4.1.13)."""

    TYPE: ClassVar[int] = 0x0C


class RecordsList(Record, frozen=True):
    """Records List, device to provisioner (MshPRT 5.4.1.14)."""

    TYPE: ClassVar[int] = 0x0D
    extensions: U16
    """All bits reserved."""
    records: tuple[U16, ...] = ()


class ProvisioningData(Record, frozen=True):
    """What Data carries (MshPRT 5.4.2.5). The key is in clear here: it neither prints nor leaves by `repr`."""

    net_key: Annotated[bytes, raw(16)]
    key_index: U16
    """12 bits."""
    flags: U8
    """`KEY_REFRESH`, `IV_UPDATE`."""
    iv_index: Annotated[bytes, raw(4)]
    unicast_address: U16

    def __repr__(self) -> str:
        return f"<ProvisioningData NetKey {self.key_index:03X}, address {self.unicast_address:04X}>"


KEY_REFRESH: Final = 0x01
"""Flag: the NetKey is the new one of a key refresh in phase 2."""
IV_UPDATE: Final = 0x02
"""Flag: an IV update is in progress."""

Pdu: TypeAlias = (
    Invite
    | Capabilities
    | Start
    | PublicKey
    | InputComplete
    | Confirmation
    | Random
    | Data
    | Complete
    | Failed
    | RecordRequest
    | RecordResponse
    | RecordsGet
    | RecordsList
)
PDUS: Final[tuple[type[Pdu], ...]] = (
    Invite,
    Capabilities,
    Start,
    PublicKey,
    InputComplete,
    Confirmation,
    Random,
    Data,
    Complete,
    Failed,
    RecordRequest,
    RecordResponse,
    RecordsGet,
    RecordsList,
)
"""Every PDU; its place is its type."""


def build_pdu(message: Pdu) -> bytes:
    """Type octet and parameters. Raises ValueError for a field that does not fit."""
    return bytes((message.TYPE,)) + message.build()


def parse_pdu(data: bytes) -> Pdu:
    """The message in a provisioning PDU. Values are not judged, only type and length.

    Raises PduError: INVALID_PDU for a type that there is not, INVALID_FORMAT for a length that this type never has.
    """
    if not data or data[0] >= len(PDUS):
        raise PduError(f"no provisioning PDU of type {data[:1].hex() or 'none'}", ErrorCode.INVALID_PDU)
    kind = PDUS[data[0]]
    try:
        return kind.parse(data[1:])
    except DecodeError as error:
        raise PduError(f"{kind.__name__}: {error}", ErrorCode.INVALID_FORMAT, error.offset + 1) from error


def describe(message: Pdu) -> str:
    """The PDU's name as the standard writes it: "Public Key"."""
    return "".join(" " + letter if letter.isupper() else letter for letter in type(message).__name__).strip()
