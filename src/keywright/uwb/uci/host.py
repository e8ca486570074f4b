"""The host's end of UCI: dialogues that configure a subsystem and start it, and what cuts its stream into messages.

A dialogue yields commands and is sent responses. Notifications come at any time and are not its business: `HostStream`
keeps the two apart.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Final, TypeAlias, TypeVar, cast, final

import msgspec

from keywright.errors import DecodeError, StatusError, WireError
from keywright.uwb.uci.codes import STATUSES, App, SessionType, Status
from keywright.uwb.uci.messages import (
    CapsInfoCmd,
    CapsInfoRsp,
    DeviceInfoCmd,
    DeviceInfoRsp,
    DeviceResetCmd,
    DeviceResetRsp,
    SessionDeinitCmd,
    SessionDeinitRsp,
    SessionInitCmd,
    SessionInitRsp,
    SessionStartCmd,
    SessionStartRsp,
    SessionStopCmd,
    SessionStopRsp,
    SetAppConfigCmd,
    SetAppConfigRsp,
    Tlv,
    UciCommand,
    UciNotification,
    UciResponse,
    parse_packet,
)
from keywright.uwb.uci.packets import NOTIFICATION, RESPONSE, Reassembler


class Refusal(msgspec.Struct, frozen=True):
    """A response that is a status alone."""

    header: tuple[int, int, int]
    status: int


Answer: TypeAlias = UciResponse | Refusal
R = TypeVar("R", bound=UciResponse)
Steps: TypeAlias = Generator[UciCommand, Answer, R]

_HINTS: Final = {
    Status.SESSION_DUPLICATE: "give another session id, or reset the device",
    Status.SESSION_NOT_CONFIGURED: "set every mandatory parameter before",
    Status.UNKNOWN_GID: "this subsystem does not know the group",
    Status.UNKNOWN_OID: "this subsystem does not know the command",
}


@final
class HostStream:
    """Cuts what comes from a subsystem into answers and notifications; what is neither is passed over."""

    def __init__(self) -> None:
        self._stream = Reassembler()

    def feed(self, data: bytes) -> tuple[list[Answer], list[UciNotification]]:
        """What is now whole, in order. Raises WireError for segments that do not fit together."""
        try:
            packets = self._stream.feed(data)
        except DecodeError as error:
            raise WireError(str(error), hint="connect again") from error
        answers: list[Answer] = []
        notices: list[UciNotification] = []
        for packet in packets:
            try:
                message = parse_packet(packet)
            except DecodeError:
                if packet.type == RESPONSE and len(packet.payload) == 1:
                    answers.append(Refusal(packet[:3], packet.payload[0]))
                continue
            if packet.type == RESPONSE:
                answers.append(cast("UciResponse", message))
            elif packet.type == NOTIFICATION:
                notices.append(cast("UciNotification", message))
        return answers, notices


def ask(command: UciCommand, kind: type[R], doing: str) -> Steps[R]:
    """One command. Raises StatusError if it is refused, WireError for the response to another command."""
    answer = yield command
    header = answer.header if isinstance(answer, Refusal) else answer.HEADER
    if header != kind.HEADER:
        raise WireError(f"{doing}: the response is that to another command")
    if isinstance(answer, kind) and getattr(answer, "status", Status.OK) == Status.OK:
        return answer
    status = int(getattr(answer, "status", Status.FAILED))
    wrong = ", ".join(
        f"{one.id:02X} {STATUSES.get(one.status, hex(one.status))}" for one in getattr(answer, "wrong", ())
    )
    meaning = STATUSES.get(status, "unknown status") + (f"; parameters {wrong}" if wrong else "")
    raise StatusError(status, doing, meaning=meaning, hint=_HINTS.get(status, ""))


def identify() -> Steps[DeviceInfoRsp]:
    """Reset the subsystem and ask for its versions."""
    yield from ask(DeviceResetCmd(), DeviceResetRsp, "reset")
    return (yield from ask(DeviceInfoCmd(), DeviceInfoRsp, "device info"))


def capabilities() -> Steps[CapsInfoRsp]:
    """Ask for what the subsystem can do."""
    return (yield from ask(CapsInfoCmd(), CapsInfoRsp, "capabilities"))


def begin(
    session_id: int, parameters: tuple[Tlv, ...], session_type: int = SessionType.RANGING
) -> Generator[UciCommand, Answer, int]:
    """Open a session, configure it, start it. Returns what stands for it: its id, or the handle that it was given."""
    opened = yield from ask(SessionInitCmd(session_id, session_type), SessionInitRsp, f"session {session_id:08X}")
    session = int.from_bytes(opened.handle, "little") if opened.handle else session_id
    yield from ask(SetAppConfigCmd(session, parameters), SetAppConfigRsp, "configuration")
    yield from ask(SessionStartCmd(session), SessionStartRsp, "start")
    return session


def end(session: int) -> Steps[SessionDeinitRsp]:
    """Stop a session and close it: by what `begin` returned."""
    yield from ask(SessionStopCmd(session), SessionStopRsp, "stop")
    return (yield from ask(SessionDeinitCmd(session), SessionDeinitRsp, "close"))


def ranging_parameters(
    address: bytes, peers: Sequence[bytes], *, initiator: bool, interval_ms: int = 200, channel: int = 9
) -> tuple[Tlv, ...]:
    """What a session of double-sided ranging needs. Addresses: 2 octets or 8, as they are on the wire.

    Raises ValueError for addresses of several lengths, and for none or too many peers.
    """
    size = len(address)
    if size not in (2, 8) or any(len(peer) != size for peer in peers) or not 1 <= len(peers) <= 8:
        raise ValueError("1 to 8 peers, all addresses of 2 octets or all of 8")
    return (
        Tlv(App.MAC_ADDRESS_MODE, b"\x02" if size == 8 else b"\x00"),
        Tlv(App.DEVICE_TYPE, bytes((initiator,))),
        Tlv(App.DEVICE_ROLE, b"\x00" if initiator else b"\x01"),
        Tlv(App.MULTI_NODE_MODE, bytes((len(peers) > 1,))),
        Tlv(App.RANGING_ROUND_USAGE, b"\x02"),
        Tlv(App.SCHEDULED_MODE, b"\x01"),
        Tlv(App.CHANNEL_NUMBER, bytes((channel,))),
        Tlv(App.DEVICE_MAC_ADDRESS, address),
        Tlv(App.NO_OF_CONTROLEE, bytes((len(peers),))),
        Tlv(App.DST_MAC_ADDRESS, b"".join(peers)),
        Tlv(App.RANGING_DURATION, interval_ms.to_bytes(4, "little")),
    )
