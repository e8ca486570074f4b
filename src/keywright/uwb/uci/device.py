"""The UWB subsystem's end of UCI: it takes octets from a host, answers commands, and tells what ranging gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, TypeAlias, cast, final, get_args

from keywright.errors import DecodeError
from keywright.uwb.uci.codes import SessionState, Status, Transfer
from keywright.uwb.uci.messages import (
    BY_HEADER,
    GROUPS,
    CapsInfoCmd,
    DataSizeCmd,
    DataTransferStatusNtf,
    DeviceCommand,
    DeviceInfoCmd,
    DeviceResetCmd,
    GenericErrorNtf,
    GetAppConfigCmd,
    GetConfigCmd,
    MulticastListCmd,
    RangingCountCmd,
    SessionCommand,
    SessionCountCmd,
    SessionDeinitCmd,
    SessionInitCmd,
    SessionStartCmd,
    SessionStateCmd,
    SessionStopCmd,
    SetAppConfigCmd,
    SetConfigCmd,
    TimestampCmd,
    UciResponse,
    build_message,
)
from keywright.uwb.uci.packets import COMMAND, DATA, RESPONSE, Packet, Reassembler, build_packet
from keywright.uwb.uci.scene import Scene
from keywright.uwb.uci.subsystem import Session, Subsystem, UciEvent

OnDevice: TypeAlias = Callable[[Subsystem, Any, float], UciResponse | int]
OnSession: TypeAlias = Callable[[Subsystem, Session, Any, float], UciResponse | int]
_ANY: Final = (SessionState.INIT, SessionState.IDLE, SessionState.ACTIVE)

DEVICE_TABLE: Final[Mapping[type[DeviceCommand], OnDevice]] = MappingProxyType(
    {
        DeviceResetCmd: Subsystem.reset,
        DeviceInfoCmd: Subsystem.info,
        CapsInfoCmd: Subsystem.caps,
        SetConfigCmd: Subsystem.set_config,
        GetConfigCmd: Subsystem.get_config,
        TimestampCmd: Subsystem.timestamp,
        SessionInitCmd: Subsystem.init,
        SessionCountCmd: Subsystem.count,
    }
)
"""Commands about no session in particular."""
SESSION_TABLE: Final[Mapping[type[SessionCommand], tuple[tuple[int, ...], OnSession]]] = MappingProxyType(
    {
        SessionDeinitCmd: (_ANY, Subsystem.deinit),
        SetAppConfigCmd: (_ANY, Subsystem.configure),
        GetAppConfigCmd: (_ANY, Subsystem.configuration),
        SessionStateCmd: (_ANY, Subsystem.session_state),
        MulticastListCmd: ((SessionState.IDLE, SessionState.ACTIVE), Subsystem.multicast),
        DataSizeCmd: (_ANY, Subsystem.data_size),
        SessionStartCmd: ((SessionState.IDLE,), Subsystem.start),
        SessionStopCmd: ((SessionState.ACTIVE,), Subsystem.stop),
        RangingCountCmd: (_ANY, Subsystem.ranging_count),
    }
)
"""Commands about a session, with the states in which they are taken; in others they are refused and change nothing."""
_REFUSALS: Final[Mapping[tuple[type, int], int]] = {
    (SessionStartCmd, SessionState.INIT): Status.SESSION_NOT_CONFIGURED,
    (SessionStartCmd, SessionState.ACTIVE): Status.SESSION_ACTIVE,
    (SessionStopCmd, SessionState.INIT): Status.SESSION_NOT_CONFIGURED,
}


@final
class UciDevice:
    """Endpoint: octets of a stream in and out. Any octets get an answer or are passed over."""

    def __init__(self, scene: Scene) -> None:
        """scene: where it is, and who else."""
        self.subsystem = Subsystem(scene)
        self._stream = Reassembler()
        self._out: list[bytes] = []

    # ---- endpoint ---------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Take octets as they come."""
        packets: list[Packet] | None = None
        while packets is None:
            try:
                packets = self._stream.feed(data)
            except DecodeError:
                data = b""
                self._out.append(build_message(GenericErrorNtf(Status.SYNTAX_ERROR)))
        for packet in packets:
            self._take(packet, now)

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Octets to send now; also ranges where it is due."""
        self.subsystem.range(now)
        self._flush()
        out, self._out = self._out, []
        return out

    def deadline(self) -> float | None:
        """At once while something waits, else when the next round is due."""
        return float("-inf") if self._out or self.subsystem.notices else self.subsystem.next_at()

    def events(self) -> Sequence[UciEvent]:
        """What has happened."""
        told, self.subsystem.told = self.subsystem.told, []
        return told

    def closed(self) -> None:
        """The host is gone, and with it every session."""
        self.subsystem.close()

    # ---- commands ---------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        notices, self.subsystem.notices = self.subsystem.notices, []
        self._out += map(build_message, notices)

    def _take(self, packet: Packet, now: float) -> None:
        if packet.type == DATA:
            session = int.from_bytes(packet.payload[:4], "little")
            self._out.append(build_message(DataTransferStatusNtf(session, 0, Transfer.REJECTED, 0)))
        elif packet.type == COMMAND:
            # What was to be told before goes before the response, what the command causes after it.
            self._flush()
            response = self._answer(packet, now)
            if isinstance(response, int):
                refusal = Packet(RESPONSE, packet.group, packet.opcode, bytes((response,)))
                self._out.append(build_packet(refusal))
            else:
                self._out.append(build_message(response))
            self._flush()

    def _answer(self, packet: Packet, now: float) -> UciResponse | int:
        """The response, or the status alone where the command is refused."""
        kind = BY_HEADER.get(packet[:3])
        if kind is None:
            return Status.UNKNOWN_OID if packet.group in GROUPS else Status.UNKNOWN_GID
        try:
            command = kind.parse(packet.payload)
        except DecodeError:
            return Status.SYNTAX_ERROR
        if isinstance(command, get_args(DeviceCommand)):
            return DEVICE_TABLE[type(cast("DeviceCommand", command))](self.subsystem, command, now)
        about = cast("SessionCommand", command)
        session = self.subsystem.sessions.get(about.session)
        if session is None:
            return Status.SESSION_NOT_EXIST
        states, act = SESSION_TABLE[type(about)]
        if session.state not in states:
            return _REFUSALS.get((type(about), session.state), Status.REJECTED)
        return act(self.subsystem, session, about, now)
