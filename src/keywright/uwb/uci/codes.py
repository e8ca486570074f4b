"""Numbers of UCI: status codes, states, reasons, session types, parameters (google/pica `uci_packets.pdl`)."""

from __future__ import annotations

from typing import Final


class Status:
    """Status codes."""

    OK: Final = 0x00
    REJECTED: Final = 0x01
    FAILED: Final = 0x02
    SYNTAX_ERROR: Final = 0x03
    INVALID_PARAM: Final = 0x04
    INVALID_RANGE: Final = 0x05
    INVALID_MSG_SIZE: Final = 0x06
    UNKNOWN_GID: Final = 0x07
    UNKNOWN_OID: Final = 0x08
    READ_ONLY: Final = 0x09
    COMMAND_RETRY: Final = 0x0A
    SESSION_NOT_EXIST: Final = 0x11
    SESSION_DUPLICATE: Final = 0x12
    SESSION_ACTIVE: Final = 0x13
    MAX_SESSIONS_EXCEEDED: Final = 0x14
    SESSION_NOT_CONFIGURED: Final = 0x15
    MULTICAST_LIST_FULL: Final = 0x17
    ADDRESS_NOT_FOUND: Final = 0x18
    ADDRESS_ALREADY_PRESENT: Final = 0x19
    RANGING_RX_TIMEOUT: Final = 0x21
    OK_NEGATIVE_DISTANCE: Final = 0x1B


STATUSES: Final = {
    value: name.lower().replace("_", " ") for name, value in vars(Status).items() if isinstance(value, int)
}
"""What each status is called."""


class DeviceState:
    """States of the subsystem."""

    READY: Final = 0x01
    ACTIVE: Final = 0x02
    ERROR: Final = 0xFF


class SessionState:
    """States of a session."""

    INIT: Final = 0x00
    DEINIT: Final = 0x01
    ACTIVE: Final = 0x02
    IDLE: Final = 0x03


STATES: Final = {
    SessionState.INIT: "INIT",
    SessionState.DEINIT: "DEINIT",
    SessionState.ACTIVE: "ACTIVE",
    SessionState.IDLE: "IDLE",
}


class Reason:
    """Why a session has changed its state."""

    COMMANDS: Final = 0x00
    MAX_RETRY: Final = 0x01
    MAX_MEASUREMENTS: Final = 0x02
    INVALID_CONTROLEES: Final = 0x33


class SessionType:
    """Types of session; only ranging of FiRa is simulated."""

    RANGING: Final = 0x00
    RANGING_AND_DATA: Final = 0x01
    DATA: Final = 0x02
    CCC: Final = 0xA0
    TEST: Final = 0xD0


class Multicast:
    """Actions of a multicast list update, and what becomes of each entry."""

    ADD: Final = 0
    REMOVE: Final = 1
    OK: Final = 0x00
    LIST_FULL: Final = 0x01
    NOT_FOUND: Final = 0x02
    ALREADY_PRESENT: Final = 0x08


class Transfer:
    """Status of a data transfer."""

    REJECTED: Final = 0x04
    TYPE_NOT_SUPPORTED: Final = 0x05


class Device:
    """Parameters of the subsystem."""

    STATE: Final = 0x00
    LOW_POWER_MODE: Final = 0x01


class App:
    """Parameters of a session that mean something here; all others are kept and given back."""

    DEVICE_TYPE: Final = 0x00
    RANGING_ROUND_USAGE: Final = 0x01
    STS_CONFIG: Final = 0x02
    MULTI_NODE_MODE: Final = 0x03
    CHANNEL_NUMBER: Final = 0x04
    NO_OF_CONTROLEE: Final = 0x05
    DEVICE_MAC_ADDRESS: Final = 0x06
    DST_MAC_ADDRESS: Final = 0x07
    SLOT_DURATION: Final = 0x08
    RANGING_DURATION: Final = 0x09
    RNG_DATA_NTF: Final = 0x0E
    RNG_DATA_NTF_PROXIMITY_NEAR: Final = 0x0F
    RNG_DATA_NTF_PROXIMITY_FAR: Final = 0x10
    DEVICE_ROLE: Final = 0x11
    SLOTS_PER_RR: Final = 0x1B
    SCHEDULED_MODE: Final = 0x22
    MAC_ADDRESS_MODE: Final = 0x26
    MAX_NUMBER_OF_MEASUREMENTS: Final = 0x32
    SESSION_KEY: Final = 0x45
    SUBSESSION_KEY: Final = 0x46
