"""The messages of the Remote Provisioning models, for server and client (MshPRT 4.3.4). Little-endian.

UUIDs, URI hashes and provisioning PDUs are octets as they are. Each class is the parameters of one opcode.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from keywright.codec.record import U8, U16, LittleRecord, Rest, raw
from keywright.errors import DecodeError
from keywright.mesh.models.message_set import MessageSet

NO_RSSI: Final = 127
"""RSSI that says: not known (Bluetooth Core 6.0, Vol 4 Part E 7.7.65.2)."""


class Status:
    """Status codes (MshPRT 4.3.4.3)."""

    SUCCESS: Final = 0x00
    SCANNING_CANNOT_START: Final = 0x01
    INVALID_STATE: Final = 0x02
    LIMITED_RESOURCES: Final = 0x03
    LINK_CANNOT_OPEN: Final = 0x04
    LINK_OPEN_FAILED: Final = 0x05
    LINK_CLOSED_BY_DEVICE: Final = 0x06
    LINK_CLOSED_BY_SERVER: Final = 0x07
    LINK_CLOSED_BY_CLIENT: Final = 0x08
    CANNOT_RECEIVE_PDU: Final = 0x09
    CANNOT_SEND_PDU: Final = 0x0A
    CANNOT_DELIVER_PDU_REPORT: Final = 0x0B
    CANNOT_DELIVER_PDU_OUTBOUND_REPORT: Final = 0x0C


STATUS_NAMES: Final = {
    value: name.lower().replace("_", " ") for name, value in vars(Status).items() if isinstance(value, int)
}
"""What each status is called."""


class LinkState:
    """State of the server's link (MshPRT 4.2.25)."""

    IDLE: Final = 0
    OPENING: Final = 1
    ACTIVE: Final = 2
    TRANSFER: Final = 3
    """A PDU is on its way to the device."""
    CLOSING: Final = 4


class Procedure:
    """Node provisioning protocol interface: what is done to the server's own node (MshPRT 3.11.8)."""

    DEVICE_KEY: Final = 0
    ADDRESS: Final = 1
    COMPOSITION: Final = 2


class ScanCapabilitiesGet(LittleRecord, frozen=True):
    """How much the server can scan?"""

    OPCODE: ClassVar[int] = 0x804F


class ScanCapabilitiesStatus(LittleRecord, frozen=True):
    """Answer: how many devices it can report, 4 at least, and whether it can scan actively."""

    OPCODE: ClassVar[int] = 0x8050
    items: U8
    active: U8


class ScanGet(LittleRecord, frozen=True):
    """Whether it is scanning?"""

    OPCODE: ClassVar[int] = 0x8051


class ScanStart(LittleRecord, frozen=True):
    """Scan for so many devices (0: as many as it can), so many seconds; with a UUID for that one alone."""

    OPCODE: ClassVar[int] = 0x8052
    limit: U8
    timeout_s: U8
    uuid: Annotated[bytes, Rest(0, 16)] = b""


class ScanStop(LittleRecord, frozen=True):
    """Stop scanning."""

    OPCODE: ClassVar[int] = 0x8053


class ScanStatus(LittleRecord, frozen=True):
    """Answer to the three; scanning: 0 not, 1 for any, 2 for one."""

    OPCODE: ClassVar[int] = 0x8054
    status: U8
    scanning: U8
    limit: U8
    timeout_s: U8


class ScanReport(LittleRecord, frozen=True):
    """A device was heard."""

    OPCODE: ClassVar[int] = 0x8055
    rssi_octet: U8
    uuid: Annotated[bytes, raw(16)]
    oob_information: U16
    uri_hash: Annotated[bytes, Rest(0, 4)] = b""

    @property
    def rssi(self) -> int:
        """Strength in dBm, `NO_RSSI` if it is not known."""
        return self.rssi_octet - 256 if self.rssi_octet > NO_RSSI else self.rssi_octet


class ExtendedScanStart(LittleRecord, frozen=True):
    """Ask for AD structures: of the server itself, or of a device with so many seconds to find it."""

    OPCODE: ClassVar[int] = 0x8056
    count: U8
    rest: Annotated[bytes, Rest()]

    @classmethod
    def of(cls, types: bytes, uuid: bytes = b"", timeout_s: int = 0) -> ExtendedScanStart:
        """The message for these AD types."""
        return cls(len(types), types + uuid + (bytes((timeout_s,)) if uuid else b""))

    def split(self) -> tuple[bytes, bytes, int]:
        """AD types, UUID (empty: the server) and timeout. Raises DecodeError for a length that does not fit."""
        types, more = self.rest[: self.count], self.rest[self.count :]
        if len(types) != self.count or len(more) not in {0, 17}:
            raise DecodeError(f"Extended Scan Start of {self.count} AD types in {len(self.rest)} octets", 1)
        return types, more[:16], more[16] if more else 0


class ExtendedScanReport(LittleRecord, frozen=True):
    """What was found: OOB information and AD structures, neither if the device was not heard."""

    OPCODE: ClassVar[int] = 0x8057
    status: U8
    uuid: Annotated[bytes, raw(16)]
    rest: Annotated[bytes, Rest()] = b""


class LinkGet(LittleRecord, frozen=True):
    """In which state the link is?"""

    OPCODE: ClassVar[int] = 0x8058


class LinkOpen(LittleRecord, frozen=True):
    """Open a link: to the device with this UUID, perhaps with a timeout in seconds, or to the node's own interface."""

    OPCODE: ClassVar[int] = 0x8059
    rest: Annotated[bytes, Rest(1, 16, 17)]


class LinkClose(LittleRecord, frozen=True):
    """Close it; reason 0 success, 2 fail."""

    OPCODE: ClassVar[int] = 0x805A
    reason: U8


class LinkStatus(LittleRecord, frozen=True):
    """Answer to the three."""

    OPCODE: ClassVar[int] = 0x805B
    status: U8
    state: U8


class LinkReport(LittleRecord, frozen=True):
    """The link has opened or closed; reason: of the device's Link Close."""

    OPCODE: ClassVar[int] = 0x805C
    status: U8
    state: U8
    reason: Annotated[bytes, Rest(0, 1)] = b""


class PduSend(LittleRecord, frozen=True):
    """Send a provisioning PDU to the device."""

    OPCODE: ClassVar[int] = 0x805D
    number: U8
    pdu: Annotated[bytes, Rest()]


class PduOutboundReport(LittleRecord, frozen=True):
    """The device has it."""

    OPCODE: ClassVar[int] = 0x805E
    number: U8


class PduReport(LittleRecord, frozen=True):
    """A provisioning PDU of the device."""

    OPCODE: ClassVar[int] = 0x805F
    number: U8
    pdu: Annotated[bytes, Rest()]


_SET: Final = MessageSet("Remote Provisioning", globals())
MESSAGES: Final = _SET.by_opcode
"""Every message of the Remote Provisioning models, by opcode."""
build_message: Final = _SET.build
parse_message: Final = _SET.parse
