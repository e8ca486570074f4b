"""The messages of UCI, little-endian: core, session configuration, session control (google/pica `uci_packets.pdl`).

Each class is the payload alone, and says its type, group and opcode. Names are those of the specification.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, TypeAlias, get_args

from keywright.codec.record import U8, U16, U32, U64, LittleRecord, Rest, counted, prefixed, raw
from keywright.errors import DecodeError
from keywright.uwb.uci.packets import COMMAND, NOTIFICATION, RESPONSE, Packet, build_packet

CORE: Final = 0x0
SESSION_CONFIG: Final = 0x1
SESSION_CONTROL: Final = 0x2
GROUPS: Final = {CORE: "core", SESSION_CONFIG: "session configuration", SESSION_CONTROL: "session control"}
SHORT_ADDRESS: Final = 0
EXTENDED_ADDRESS: Final = 1
TWO_WAY: Final = 1
"""Type of ranging measurement: two-way ranging."""


class Tlv(LittleRecord, frozen=True):
    """A parameter: identifier, length, value. Its value may be a key, so it does not show itself."""

    id: U8
    value: Annotated[bytes, prefixed(1)]

    def __repr__(self) -> str:
        return f"<Tlv {self.id:02X}, {len(self.value)} octets>"


class ParameterStatus(LittleRecord, frozen=True):
    """What is wrong with a parameter."""

    id: U8
    status: U8


# ---- core -----------------------------------------------------------------------------------------------------


class DeviceResetCmd(LittleRecord, frozen=True):
    """CORE_DEVICE_RESET_CMD."""

    HEADER: ClassVar = (COMMAND, CORE, 0x00)
    config: U8 = 0


class DeviceResetRsp(LittleRecord, frozen=True):
    """CORE_DEVICE_RESET_RSP."""

    HEADER: ClassVar = (RESPONSE, CORE, 0x00)
    status: U8


class DeviceStatusNtf(LittleRecord, frozen=True):
    """CORE_DEVICE_STATUS_NTF."""

    HEADER: ClassVar = (NOTIFICATION, CORE, 0x01)
    state: U8


class DeviceInfoCmd(LittleRecord, frozen=True):
    """CORE_GET_DEVICE_INFO_CMD."""

    HEADER: ClassVar = (COMMAND, CORE, 0x02)


class DeviceInfoRsp(LittleRecord, frozen=True):
    """CORE_GET_DEVICE_INFO_RSP. Versions: major, then minor and maintenance as hexadecimal digits."""

    HEADER: ClassVar = (RESPONSE, CORE, 0x02)
    status: U8
    uci_version: U16
    mac_version: U16
    phy_version: U16
    test_version: U16
    vendor: Annotated[bytes, prefixed(1)] = b""


class CapsInfoCmd(LittleRecord, frozen=True):
    """CORE_GET_CAPS_INFO_CMD."""

    HEADER: ClassVar = (COMMAND, CORE, 0x03)


class CapsInfoRsp(LittleRecord, frozen=True):
    """CORE_GET_CAPS_INFO_RSP."""

    HEADER: ClassVar = (RESPONSE, CORE, 0x03)
    status: U8
    capabilities: Annotated[tuple[Tlv, ...], counted(1)] = ()


class SetConfigCmd(LittleRecord, frozen=True):
    """CORE_SET_CONFIG_CMD."""

    HEADER: ClassVar = (COMMAND, CORE, 0x04)
    parameters: Annotated[tuple[Tlv, ...], counted(1)] = ()


class SetConfigRsp(LittleRecord, frozen=True):
    """CORE_SET_CONFIG_RSP."""

    HEADER: ClassVar = (RESPONSE, CORE, 0x04)
    status: U8
    wrong: Annotated[tuple[ParameterStatus, ...], counted(1)] = ()


class GetConfigCmd(LittleRecord, frozen=True):
    """CORE_GET_CONFIG_CMD."""

    HEADER: ClassVar = (COMMAND, CORE, 0x05)
    ids: Annotated[bytes, prefixed(1)] = b""


class GetConfigRsp(LittleRecord, frozen=True):
    """CORE_GET_CONFIG_RSP."""

    HEADER: ClassVar = (RESPONSE, CORE, 0x05)
    status: U8
    parameters: Annotated[tuple[Tlv, ...], counted(1)] = ()


class GenericErrorNtf(LittleRecord, frozen=True):
    """CORE_GENERIC_ERROR_NTF."""

    HEADER: ClassVar = (NOTIFICATION, CORE, 0x07)
    status: U8


class TimestampCmd(LittleRecord, frozen=True):
    """CORE_QUERY_UWBS_TIMESTAMP_CMD."""

    HEADER: ClassVar = (COMMAND, CORE, 0x08)


class TimestampRsp(LittleRecord, frozen=True):
    """CORE_QUERY_UWBS_TIMESTAMP_RSP."""

    HEADER: ClassVar = (RESPONSE, CORE, 0x08)
    status: U8
    microseconds: U64


# ---- session configuration ------------------------------------------------------------------------------------


class SessionInitCmd(LittleRecord, frozen=True):
    """SESSION_INIT_CMD."""

    HEADER: ClassVar = (COMMAND, SESSION_CONFIG, 0x00)
    session_id: U32
    session_type: U8


class SessionInitRsp(LittleRecord, frozen=True):
    """SESSION_INIT_RSP. A subsystem of version 2 adds a handle of four octets that stands for the session from then."""

    HEADER: ClassVar = (RESPONSE, SESSION_CONFIG, 0x00)
    status: U8
    handle: Annotated[bytes, Rest(0, 4)] = b""


class SessionDeinitCmd(LittleRecord, frozen=True):
    """SESSION_DEINIT_CMD."""

    HEADER: ClassVar = (COMMAND, SESSION_CONFIG, 0x01)
    session: U32


class SessionDeinitRsp(LittleRecord, frozen=True):
    """SESSION_DEINIT_RSP."""

    HEADER: ClassVar = (RESPONSE, SESSION_CONFIG, 0x01)
    status: U8


class SessionStatusNtf(LittleRecord, frozen=True):
    """SESSION_STATUS_NTF."""

    HEADER: ClassVar = (NOTIFICATION, SESSION_CONFIG, 0x02)
    session: U32
    state: U8
    reason: U8


class SetAppConfigCmd(LittleRecord, frozen=True):
    """SESSION_SET_APP_CONFIG_CMD."""

    HEADER: ClassVar = (COMMAND, SESSION_CONFIG, 0x03)
    session: U32
    parameters: Annotated[tuple[Tlv, ...], counted(1)] = ()


class SetAppConfigRsp(LittleRecord, frozen=True):
    """SESSION_SET_APP_CONFIG_RSP."""

    HEADER: ClassVar = (RESPONSE, SESSION_CONFIG, 0x03)
    status: U8
    wrong: Annotated[tuple[ParameterStatus, ...], counted(1)] = ()


class GetAppConfigCmd(LittleRecord, frozen=True):
    """SESSION_GET_APP_CONFIG_CMD."""

    HEADER: ClassVar = (COMMAND, SESSION_CONFIG, 0x04)
    session: U32
    ids: Annotated[bytes, prefixed(1)] = b""


class GetAppConfigRsp(LittleRecord, frozen=True):
    """SESSION_GET_APP_CONFIG_RSP."""

    HEADER: ClassVar = (RESPONSE, SESSION_CONFIG, 0x04)
    status: U8
    parameters: Annotated[tuple[Tlv, ...], counted(1)] = ()


class SessionCountCmd(LittleRecord, frozen=True):
    """SESSION_GET_COUNT_CMD."""

    HEADER: ClassVar = (COMMAND, SESSION_CONFIG, 0x05)


class SessionCountRsp(LittleRecord, frozen=True):
    """SESSION_GET_COUNT_RSP."""

    HEADER: ClassVar = (RESPONSE, SESSION_CONFIG, 0x05)
    status: U8
    count: U8


class SessionStateCmd(LittleRecord, frozen=True):
    """SESSION_GET_STATE_CMD."""

    HEADER: ClassVar = (COMMAND, SESSION_CONFIG, 0x06)
    session: U32


class SessionStateRsp(LittleRecord, frozen=True):
    """SESSION_GET_STATE_RSP."""

    HEADER: ClassVar = (RESPONSE, SESSION_CONFIG, 0x06)
    status: U8
    state: U8


class Controlee(LittleRecord, frozen=True):
    """An entry of the multicast list."""

    address: Annotated[bytes, raw(2)]
    subsession_id: U32


class MulticastListCmd(LittleRecord, frozen=True):
    """SESSION_UPDATE_CONTROLLER_MULTICAST_LIST_CMD, without keys for subsessions."""

    HEADER: ClassVar = (COMMAND, SESSION_CONFIG, 0x07)
    session: U32
    action: U8
    """0 add, 1 remove."""
    controlees: Annotated[tuple[Controlee, ...], counted(1)] = ()


class MulticastListRsp(LittleRecord, frozen=True):
    """SESSION_UPDATE_CONTROLLER_MULTICAST_LIST_RSP."""

    HEADER: ClassVar = (RESPONSE, SESSION_CONFIG, 0x07)
    status: U8


class ControleeStatus(LittleRecord, frozen=True):
    """What became of an entry of the multicast list."""

    address: Annotated[bytes, raw(2)]
    subsession_id: U32
    status: U8


class MulticastListNtf(LittleRecord, frozen=True):
    """SESSION_UPDATE_CONTROLLER_MULTICAST_LIST_NTF of version 1; later versions leave out two of its fields."""

    HEADER: ClassVar = (NOTIFICATION, SESSION_CONFIG, 0x07)
    session: U32
    left: U8
    """Entries of the list now."""
    controlees: Annotated[tuple[ControleeStatus, ...], counted(1)] = ()


class DataSizeCmd(LittleRecord, frozen=True):
    """SESSION_QUERY_DATA_SIZE_IN_RANGING_CMD."""

    HEADER: ClassVar = (COMMAND, SESSION_CONFIG, 0x0B)
    session: U32


class DataSizeRsp(LittleRecord, frozen=True):
    """SESSION_QUERY_DATA_SIZE_IN_RANGING_RSP."""

    HEADER: ClassVar = (RESPONSE, SESSION_CONFIG, 0x0B)
    session: U32
    octets: U16


# ---- session control ------------------------------------------------------------------------------------------


class SessionStartCmd(LittleRecord, frozen=True):
    """SESSION_START_CMD."""

    HEADER: ClassVar = (COMMAND, SESSION_CONTROL, 0x00)
    session: U32


class SessionStartRsp(LittleRecord, frozen=True):
    """SESSION_START_RSP."""

    HEADER: ClassVar = (RESPONSE, SESSION_CONTROL, 0x00)
    status: U8


class SessionStopCmd(LittleRecord, frozen=True):
    """SESSION_STOP_CMD."""

    HEADER: ClassVar = (COMMAND, SESSION_CONTROL, 0x01)
    session: U32


class SessionStopRsp(LittleRecord, frozen=True):
    """SESSION_STOP_RSP."""

    HEADER: ClassVar = (RESPONSE, SESSION_CONTROL, 0x01)
    status: U8


class RangingCountCmd(LittleRecord, frozen=True):
    """SESSION_GET_RANGING_COUNT_CMD."""

    HEADER: ClassVar = (COMMAND, SESSION_CONTROL, 0x03)
    session: U32


class RangingCountRsp(LittleRecord, frozen=True):
    """SESSION_GET_RANGING_COUNT_RSP."""

    HEADER: ClassVar = (RESPONSE, SESSION_CONTROL, 0x03)
    status: U8
    count: U32


class DataCreditNtf(LittleRecord, frozen=True):
    """SESSION_DATA_CREDIT_NTF."""

    HEADER: ClassVar = (NOTIFICATION, SESSION_CONTROL, 0x04)
    session: U32
    is_available: U8


class DataTransferStatusNtf(LittleRecord, frozen=True):
    """SESSION_DATA_TRANSFER_STATUS_NTF."""

    HEADER: ClassVar = (NOTIFICATION, SESSION_CONTROL, 0x05)
    session: U32
    sequence: U8
    status: U8
    tx_count: U8


class Aoa(LittleRecord, frozen=True):
    """Angles of arrival with a figure of merit (0 to 100) each; angles in degrees, signed, 9 bits before the point."""

    azimuth: U16 = 0
    azimuth_merit: U8 = 0
    elevation: U16 = 0
    elevation_merit: U8 = 0


class ShortMeasurement(LittleRecord, frozen=True):
    """Two-way ranging with a peer that has a short address, 31 octets."""

    address: Annotated[bytes, raw(2)]
    status: U8
    nlos: U8
    """0 line of sight, 1 none, FF unknown."""
    distance_cm: U16
    """FFFF: no distance."""
    aoa: Aoa
    peers_aoa: Aoa
    slot: U8
    rssi: U8
    reserved: Annotated[bytes, raw(11)] = bytes(11)


class ExtendedMeasurement(LittleRecord, frozen=True):
    """The same with an extended address, 31 octets."""

    address: Annotated[bytes, raw(8)]
    status: U8
    nlos: U8
    distance_cm: U16
    aoa: Aoa
    peers_aoa: Aoa
    slot: U8
    rssi: U8
    reserved: Annotated[bytes, raw(5)] = bytes(5)


class _ShortList(LittleRecord, frozen=True):
    items: Annotated[tuple[ShortMeasurement, ...], counted(1)]
    vendor: Annotated[bytes, Rest()] = b""


class _ExtendedList(LittleRecord, frozen=True):
    items: Annotated[tuple[ExtendedMeasurement, ...], counted(1)]
    vendor: Annotated[bytes, Rest()] = b""


class SessionInfoNtf(LittleRecord, frozen=True):
    """SESSION_INFO_NTF: what a ranging round gave."""

    HEADER: ClassVar = (NOTIFICATION, SESSION_CONTROL, 0x00)
    sequence: U32
    session: U32
    rcr: U8
    interval_ms: U32
    kind: U8
    reserved: U8
    address_mode: U8
    reserved_too: Annotated[bytes, raw(8)]
    body: Annotated[bytes, Rest()] = b""

    @classmethod
    def of(
        cls,
        sequence: int,
        session: int,
        interval_ms: int,
        measurements: tuple[ShortMeasurement, ...] | tuple[ExtendedMeasurement, ...],
    ) -> SessionInfoNtf:
        """Two-way measurements of one kind of address."""
        is_extended = any(isinstance(one, ExtendedMeasurement) for one in measurements)
        body = bytes((len(measurements),)) + b"".join(one.build() for one in measurements)
        mode = EXTENDED_ADDRESS if is_extended else SHORT_ADDRESS
        return cls(sequence, session, 0, interval_ms, TWO_WAY, 0, mode, bytes(8), body)

    def measurements(self) -> tuple[ShortMeasurement, ...] | tuple[ExtendedMeasurement, ...]:
        """The two-way measurements. Raises DecodeError for another kind, or where they do not fit."""
        if self.kind != TWO_WAY or self.address_mode not in (SHORT_ADDRESS, EXTENDED_ADDRESS):
            raise DecodeError(f"measurements of type {self.kind}, address mode {self.address_mode}")
        if self.address_mode == EXTENDED_ADDRESS:
            return _ExtendedList.parse(self.body).items
        return _ShortList.parse(self.body).items


DeviceCommand: TypeAlias = (
    DeviceResetCmd
    | DeviceInfoCmd
    | CapsInfoCmd
    | SetConfigCmd
    | GetConfigCmd
    | TimestampCmd
    | SessionInitCmd
    | SessionCountCmd
)
SessionCommand: TypeAlias = (
    SessionDeinitCmd
    | SetAppConfigCmd
    | GetAppConfigCmd
    | SessionStateCmd
    | MulticastListCmd
    | DataSizeCmd
    | SessionStartCmd
    | SessionStopCmd
    | RangingCountCmd
)
"""Commands about a session that there has to be."""
UciCommand: TypeAlias = DeviceCommand | SessionCommand
UciResponse: TypeAlias = (
    DeviceResetRsp
    | DeviceInfoRsp
    | CapsInfoRsp
    | SetConfigRsp
    | GetConfigRsp
    | TimestampRsp
    | SessionInitRsp
    | SessionDeinitRsp
    | SetAppConfigRsp
    | GetAppConfigRsp
    | SessionCountRsp
    | SessionStateRsp
    | MulticastListRsp
    | DataSizeRsp
    | SessionStartRsp
    | SessionStopRsp
    | RangingCountRsp
)
UciNotification: TypeAlias = (
    DeviceStatusNtf
    | GenericErrorNtf
    | SessionStatusNtf
    | MulticastListNtf
    | DataCreditNtf
    | DataTransferStatusNtf
    | SessionInfoNtf
)
UciMessage: TypeAlias = UciCommand | UciResponse | UciNotification
MESSAGES: Final[tuple[type[UciMessage], ...]] = (
    *get_args(UciCommand),
    *get_args(UciResponse),
    *get_args(UciNotification),
)
BY_HEADER: Final[dict[tuple[int, int, int], type[UciMessage]]] = {message.HEADER: message for message in MESSAGES}


def packet_of(message: UciMessage) -> Packet:
    """A message as a packet."""
    return Packet(*message.HEADER, message.build())


def build_message(message: UciMessage) -> bytes:
    """A message as it goes into the stream."""
    return build_packet(packet_of(message))


def parse_packet(packet: Packet) -> UciMessage:
    """The message of a packet. Raises DecodeError for one that there is not, and for a payload that does not fit."""
    kind = BY_HEADER.get(packet[:3])
    if kind is None:
        raise DecodeError(f"no UCI message: {packet}")
    return kind.parse(packet.payload)
