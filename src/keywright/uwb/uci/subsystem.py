"""What a simulated UWB subsystem is and does: its sessions, their states, and what ranging gives.

Octets are `uci.device`'s business; here commands come as messages, and notifications wait in `notices`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias, cast, final

import msgspec

from keywright.uwb.uci.codes import (
    App,
    Device,
    DeviceState,
    Multicast,
    Reason,
    SessionState,
    SessionType,
    Status,
)
from keywright.uwb.uci.config import CHANGES_WHILE_ACTIVE, MOST_CONTROLEES, AppConfig
from keywright.uwb.uci.messages import (
    Aoa,
    CapsInfoCmd,
    CapsInfoRsp,
    ControleeStatus,
    DataSizeCmd,
    DataSizeRsp,
    DeviceInfoCmd,
    DeviceInfoRsp,
    DeviceResetCmd,
    DeviceResetRsp,
    DeviceStatusNtf,
    ExtendedMeasurement,
    GetAppConfigCmd,
    GetAppConfigRsp,
    GetConfigCmd,
    GetConfigRsp,
    MulticastListCmd,
    MulticastListNtf,
    MulticastListRsp,
    ParameterStatus,
    RangingCountCmd,
    RangingCountRsp,
    SessionCountCmd,
    SessionCountRsp,
    SessionDeinitCmd,
    SessionDeinitRsp,
    SessionInfoNtf,
    SessionInitCmd,
    SessionInitRsp,
    SessionStartCmd,
    SessionStartRsp,
    SessionStateCmd,
    SessionStateRsp,
    SessionStatusNtf,
    SessionStopCmd,
    SessionStopRsp,
    SetAppConfigCmd,
    SetAppConfigRsp,
    SetConfigCmd,
    SetConfigRsp,
    ShortMeasurement,
    TimestampCmd,
    TimestampRsp,
    Tlv,
    UciNotification,
    UciResponse,
)
from keywright.uwb.uci.scene import Outcome, Request, Scene

MOST_SESSIONS: Final = 255
UCI_VERSION: Final = 0x0002
MAC_VERSION: Final = 0x3001
PHY_VERSION: Final = 0x3001
TEST_VERSION: Final = 0x1001
CAPABILITIES: Final = (
    Tlv(0x00, bytes((1, 1, 1, 3))),  # PHY versions 1.1 to 1.3
    Tlv(0x01, bytes((1, 1, 1, 3))),  # MAC versions
    Tlv(0x02, b"\x03"),  # initiator and responder
    Tlv(0x03, b"\x08"),  # double-sided ranging, deferred
    Tlv(0x04, b"\x09"),  # static and provisioned STS
    Tlv(0x05, b"\x03"),  # unicast, one to many
    Tlv(0x0B, b"\x88"),  # channels 5 and 9
    Tlv(0x11, b"\x01"),  # extended MAC addresses
)
"""What the subsystem says that it can do."""
_NO_DISTANCE: Final = 0xFFFF
_MOST_CM: Final = 0xFFFE
_PROXIMITY: Final = frozenset({2, 4, 5, 7})


class Started(msgspec.Struct, frozen=True):
    """A session has begun to range."""

    session_id: int


class Stopped(msgspec.Struct, frozen=True):
    """A session ranges no more."""

    session_id: int


class Ranged(msgspec.Struct, frozen=True):
    """A round is over, and this came of it."""

    session_id: int
    outcomes: tuple[Outcome, ...]


UciEvent: TypeAlias = Started | Stopped | Ranged


class Session(msgspec.Struct):
    """One session of the subsystem."""

    id: int
    type: int
    config: AppConfig
    state: int = SessionState.INIT
    sequence: int = 0
    next_at: float = 0.0


@final
class Subsystem:
    """The subsystem behind a host's connection.

    Each command is a method that gives the response, or the status alone where it is refused.
    """

    def __init__(self, scene: Scene) -> None:
        """scene: where it is, and who else."""
        self.state: int = DeviceState.READY
        self.sessions: dict[int, Session] = {}
        self.notices: list[UciNotification] = [DeviceStatusNtf(DeviceState.READY)]
        self.told: list[UciEvent] = []
        self._scene = scene
        self._is_low_power = True

    def range(self, now: float) -> None:
        """Range in every session where it is due."""
        for session in list(self.sessions.values()):
            if session.state == SessionState.ACTIVE and now >= session.next_at:
                self._range(session, now)

    def next_at(self) -> float | None:
        """When the next round is due."""
        active = [session.next_at for session in self.sessions.values() if session.state == SessionState.ACTIVE]
        return min(active, default=None)

    def close(self) -> None:
        """End every session."""
        for session in list(self.sessions.values()):
            self._stop(session, SessionState.DEINIT)
        self.sessions.clear()

    # ---- core -------------------------------------------------------------------------------------------------

    def reset(self, command: DeviceResetCmd, _: float) -> UciResponse | int:
        """Forget every session."""
        if command.config:
            return Status.INVALID_PARAM
        self.close()
        self.notices.clear()
        self.state = DeviceState.READY
        self._is_low_power = True
        self.notices.append(DeviceStatusNtf(DeviceState.READY))
        return DeviceResetRsp(Status.OK)

    def info(self, _: DeviceInfoCmd, __: float) -> UciResponse:
        """Versions."""
        return DeviceInfoRsp(Status.OK, UCI_VERSION, MAC_VERSION, PHY_VERSION, TEST_VERSION)

    def caps(self, _: CapsInfoCmd, __: float) -> UciResponse:
        """What it can do."""
        return CapsInfoRsp(Status.OK, CAPABILITIES)

    def set_config(self, command: SetConfigCmd, _: float) -> UciResponse:
        """Parameters of the device."""
        wrong = []
        for parameter in command.parameters:
            if parameter.id == Device.STATE:
                wrong.append(ParameterStatus(parameter.id, Status.READ_ONLY))
            elif parameter.id != Device.LOW_POWER_MODE or len(parameter.value) != 1:
                wrong.append(ParameterStatus(parameter.id, Status.INVALID_PARAM))
            else:
                self._is_low_power = bool(parameter.value[0])
        return SetConfigRsp(Status.INVALID_PARAM if wrong else Status.OK, tuple(wrong))

    def get_config(self, command: GetConfigCmd, _: float) -> UciResponse:
        """The same, given back."""
        values = {Device.STATE: self.state, Device.LOW_POWER_MODE: int(self._is_low_power)}
        unknown = tuple(Tlv(number, b"") for number in command.ids if number not in values)
        if unknown:
            return GetConfigRsp(Status.INVALID_PARAM, unknown)
        return GetConfigRsp(Status.OK, tuple(Tlv(number, bytes((values[number],))) for number in command.ids))

    def timestamp(self, _: TimestampCmd, now: float) -> UciResponse:
        """The time, microseconds."""
        return TimestampRsp(Status.OK, round(now * 1e6))

    # ---- session configuration --------------------------------------------------------------------------------

    def init(self, command: SessionInitCmd, _: float) -> UciResponse | int:
        """A new session."""
        if command.session_id in self.sessions:
            return Status.SESSION_DUPLICATE
        if command.session_type not in (SessionType.RANGING, SessionType.RANGING_AND_DATA):
            return Status.INVALID_PARAM
        if len(self.sessions) >= MOST_SESSIONS:
            return Status.MAX_SESSIONS_EXCEEDED
        session = Session(command.session_id, command.session_type, AppConfig())
        self.sessions[command.session_id] = session
        self.notices.append(SessionStatusNtf(session.id, SessionState.INIT, Reason.COMMANDS))
        return SessionInitRsp(Status.OK)

    def deinit(self, session: Session, _: SessionDeinitCmd, __: float) -> UciResponse:
        """A session less."""
        self._stop(session, SessionState.DEINIT)
        del self.sessions[session.id]
        return SessionDeinitRsp(Status.OK)

    def configure(self, session: Session, command: SetAppConfigCmd, _: float) -> UciResponse:
        """Parameters of a session."""
        if session.state == SessionState.ACTIVE:
            fixed = [one.id for one in command.parameters if one.id not in CHANGES_WHILE_ACTIVE]
            if fixed:
                wrong = tuple(ParameterStatus(number, Status.SESSION_ACTIVE) for number in fixed)
                return SetAppConfigRsp(Status.SESSION_ACTIVE, wrong)
        wrong = session.config.change(command.parameters)
        if wrong:
            return SetAppConfigRsp(Status.INVALID_PARAM, wrong)
        if session.state == SessionState.INIT and session.config.is_complete:
            self._move(session, SessionState.IDLE, Reason.COMMANDS)
        return SetAppConfigRsp(Status.OK)

    def configuration(self, session: Session, command: GetAppConfigCmd, _: float) -> UciResponse:
        """The same, given back; keys are not."""
        found = [(number, session.config.value(number)) for number in command.ids]
        if any(value is None for _, value in found):
            return GetAppConfigRsp(Status.FAILED, tuple(Tlv(number, b"") for number, value in found if value is None))
        return GetAppConfigRsp(Status.OK, tuple(Tlv(number, value or b"") for number, value in found))

    def count(self, _: SessionCountCmd, __: float) -> UciResponse:
        """How many sessions there are."""
        return SessionCountRsp(Status.OK, len(self.sessions))

    def session_state(self, session: Session, _: SessionStateCmd, __: float) -> UciResponse:
        """The state of a session."""
        return SessionStateRsp(Status.OK, session.state)

    def multicast(self, session: Session, command: MulticastListCmd, _: float) -> UciResponse | int:
        """Change the list of peers."""
        config = session.config
        if not config.number(App.DEVICE_TYPE) or not config.number(App.MULTI_NODE_MODE) or config.address_bytes != 2:
            return Status.REJECTED
        if command.action not in (Multicast.ADD, Multicast.REMOVE):
            return Status.INVALID_PARAM
        peers, results = list(config.peers), []
        for one in command.controlees:
            status = Multicast.OK
            if command.action == Multicast.REMOVE:
                status = Multicast.OK if one.address in peers else Multicast.NOT_FOUND
                peers = [peer for peer in peers if peer != one.address]
            elif one.address in peers:
                status = Multicast.ALREADY_PRESENT
            elif len(peers) >= MOST_CONTROLEES:
                status = Multicast.LIST_FULL
            else:
                peers.append(one.address)
            results.append(ControleeStatus(one.address, one.subsession_id, status))
        config.peers = tuple(peers)
        self.notices.append(MulticastListNtf(session.id, len(peers), tuple(results)))
        if not peers and session.state == SessionState.ACTIVE:
            self._stop(session, SessionState.IDLE, Reason.INVALID_CONTROLEES)
        worst = {result.status for result in results} - {Multicast.OK}
        if Multicast.LIST_FULL in worst:
            return MulticastListRsp(Status.MULTICAST_LIST_FULL)
        return MulticastListRsp(Status.FAILED if worst else Status.OK)

    def data_size(self, session: Session, _: DataSizeCmd, __: float) -> UciResponse:
        """Octets of data in a ranging round: none."""
        return DataSizeRsp(session.id, 0)

    # ---- session control --------------------------------------------------------------------------------------

    def start(self, session: Session, _: SessionStartCmd, now: float) -> UciResponse | int:
        """Begin to range."""
        if not session.config.peers:
            return Status.SESSION_NOT_CONFIGURED
        session.next_at = now + self._interval(session)
        self._scene.enter(session.id, session.config.address)
        self._move(session, SessionState.ACTIVE, Reason.COMMANDS)
        self.told.append(Started(session.id))
        if self.state != DeviceState.ACTIVE:
            self.state = DeviceState.ACTIVE
            self.notices.append(DeviceStatusNtf(DeviceState.ACTIVE))
        return SessionStartRsp(Status.OK)

    def stop(self, session: Session, _: SessionStopCmd, __: float) -> UciResponse:
        """Range no more."""
        self._stop(session, SessionState.IDLE)
        return SessionStopRsp(Status.OK)

    def ranging_count(self, session: Session, _: RangingCountCmd, __: float) -> UciResponse:
        """Rounds since the session began."""
        return RangingCountRsp(Status.OK, session.sequence)

    # ---- ranging ----------------------------------------------------------------------------------------------

    def _move(self, session: Session, state: int, reason: int) -> None:
        session.state = state
        self.notices.append(SessionStatusNtf(session.id, state, reason))

    def _stop(self, session: Session, state: int, reason: int = Reason.COMMANDS) -> None:
        was_active = session.state == SessionState.ACTIVE
        self._move(session, state, reason)
        if not was_active:
            return
        self._scene.leave(session.id, session.config.address)
        self.told.append(Stopped(session.id))
        if not any(one.state == SessionState.ACTIVE for one in self.sessions.values()):
            self.state = DeviceState.READY
            self.notices.append(DeviceStatusNtf(DeviceState.READY))

    @staticmethod
    def _interval(session: Session) -> float:
        return max(1, session.config.number(App.RANGING_DURATION)) / 1000

    def _range(self, session: Session, now: float) -> None:
        config = session.config
        session.next_at = max(session.next_at + self._interval(session), now)
        request = Request(config.address, session.id, config.peers, session.sequence, config.session_key)
        outcomes = self._scene.measure(request)
        self.told.append(Ranged(session.id, outcomes))
        if self._is_wanted(session, outcomes):
            measurements = tuple(_measurement(one, slot, config.address_bytes) for slot, one in enumerate(outcomes, 2))
            self.notices.append(
                SessionInfoNtf.of(
                    session.sequence,
                    session.id,
                    config.number(App.RANGING_DURATION),
                    cast("tuple[ShortMeasurement, ...]", measurements),
                )
            )
        session.sequence += 1
        most = config.number(App.MAX_NUMBER_OF_MEASUREMENTS)
        if most and session.sequence >= most:
            self._stop(session, SessionState.IDLE, Reason.MAX_MEASUREMENTS)

    @staticmethod
    def _is_wanted(session: Session, outcomes: Sequence[Outcome]) -> bool:
        config = session.config
        mode = config.number(App.RNG_DATA_NTF)
        if mode not in _PROXIMITY:
            return bool(mode)
        near, far = config.number(App.RNG_DATA_NTF_PROXIMITY_NEAR), config.number(App.RNG_DATA_NTF_PROXIMITY_FAR)
        return any(one.metres is not None and near <= one.metres * 100 <= far for one in outcomes)


def _measurement(one: Outcome, slot: int, address_bytes: int) -> ShortMeasurement | ExtendedMeasurement:
    kind = ExtendedMeasurement if address_bytes == 8 else ShortMeasurement
    if one.metres is None:
        return kind(one.address, Status.RANGING_RX_TIMEOUT, 0xFF, _NO_DISTANCE, Aoa(), Aoa(), slot, 0)
    status = Status.OK if round(one.metres * 100) >= 0 else Status.OK_NEGATIVE_DISTANCE
    return kind(one.address, status, 0, min(abs(round(one.metres * 100)), _MOST_CM), Aoa(), Aoa(), slot, 0)
