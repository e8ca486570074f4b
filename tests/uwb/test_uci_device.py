"""A UWB subsystem behind UCI: states, parameters, ranging, and a host that says anything."""

from __future__ import annotations

import random
from typing import Any

import pytest

from keywright.crypto.aes import AesKey
from keywright.uwb.uci.codes import STATUSES, App, DeviceState, Multicast, Reason, SessionState, Status, Transfer
from keywright.uwb.uci.config import MANDATORY, AppConfig
from keywright.uwb.uci.device import DEVICE_TABLE, SESSION_TABLE, UciDevice
from keywright.uwb.uci.host import Answer, HostStream, Refusal, ranging_parameters
from keywright.uwb.uci.messages import (
    BY_HEADER,
    CapsInfoCmd,
    CapsInfoRsp,
    Controlee,
    ControleeStatus,
    DataSizeCmd,
    DataSizeRsp,
    DataTransferStatusNtf,
    DeviceInfoCmd,
    DeviceInfoRsp,
    DeviceResetCmd,
    DeviceResetRsp,
    DeviceStatusNtf,
    GenericErrorNtf,
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
    TimestampCmd,
    TimestampRsp,
    Tlv,
    UciCommand,
    UciMessage,
    build_message,
)
from keywright.uwb.uci.packets import COMMAND, Packet, build_packet
from keywright.uwb.uci.scene import Scene
from keywright.uwb.uci.subsystem import MOST_SESSIONS, Ranged, Started, Stopped

PHONE, DOOR, CAR = b"\x01\x00", b"\x02\x00", b"\x03\x00"
S = 0x01020304
PARAMETERS = ranging_parameters(PHONE, [DOOR], initiator=True)


class Desk:
    """A host that says one thing after the other."""

    def __init__(self, scene: Scene | None = None) -> None:
        self.scene = scene or Scene(random.Random(1).random, {DOOR: (3.0, 4.0, 0.0)}, anchors=[DOOR])
        self.device = UciDevice(self.scene)
        self.stream = HostStream()
        self.now = 0.0
        self.listen()

    def say(self, *commands: UciCommand) -> tuple[list[Answer], list[UciMessage]]:
        for command in commands:
            self.device.receive(build_message(command), self.now)
        return self.listen()

    def listen(self) -> tuple[list[Answer], list[Any]]:
        octets = b"".join(self.device.outgoing(self.now))
        answers, notices = self.stream.feed(octets)
        return answers, list(notices)

    def wait(self, seconds: float) -> list[Any]:
        """Let time pass; what is notified meanwhile."""
        until = self.now + seconds
        found: list[Any] = []
        while (due := self.device.deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            found += self.listen()[1]
        self.now = until
        return found

    def session(self, state: int = SessionState.ACTIVE, *more: Tlv) -> None:
        """Bring session `S` into a state."""
        self.say(SessionInitCmd(S, 0))
        if state != SessionState.INIT:
            self.say(SetAppConfigCmd(S, (*PARAMETERS, *more)))
        if state == SessionState.ACTIVE:
            self.say(SessionStartCmd(S))
        assert self.device.subsystem.sessions[S].state == state


# ---- the life of a session ------------------------------------------------------------------------------------


def test_a_device_says_that_it_is_ready() -> None:
    device = UciDevice(Scene(random.Random(1).random))
    assert device.deadline() == float("-inf")
    assert device.outgoing(0.0) == [build_message(DeviceStatusNtf(DeviceState.READY))]
    assert device.deadline() is None


def test_a_session_goes_from_init_to_idle_to_active_and_back() -> None:
    desk = Desk()
    steps: list[tuple[UciCommand, UciMessage, list[UciMessage]]] = [
        (SessionInitCmd(S, 0), SessionInitRsp(0), [SessionStatusNtf(S, SessionState.INIT, 0)]),
        (SetAppConfigCmd(S, PARAMETERS), SetAppConfigRsp(0), [SessionStatusNtf(S, SessionState.IDLE, 0)]),
        (
            SessionStartCmd(S),
            SessionStartRsp(0),
            [SessionStatusNtf(S, SessionState.ACTIVE, 0), DeviceStatusNtf(DeviceState.ACTIVE)],
        ),
        (
            SessionStopCmd(S),
            SessionStopRsp(0),
            [SessionStatusNtf(S, SessionState.IDLE, 0), DeviceStatusNtf(DeviceState.READY)],
        ),
        (SessionDeinitCmd(S), SessionDeinitRsp(0), [SessionStatusNtf(S, SessionState.DEINIT, 0)]),
        (SessionCountCmd(), SessionCountRsp(0, 0), []),
    ]
    for command, response, notices in steps:
        assert desk.say(command) == ([response], notices), command
    assert desk.device.events() == [Started(S), Stopped(S)]


def test_the_response_comes_before_what_the_command_causes() -> None:
    desk = Desk()
    desk.device.receive(build_message(SessionInitCmd(S, 0)), 0.0)
    assert desk.device.outgoing(0.0) == [
        build_message(SessionInitRsp(0)),
        build_message(SessionStatusNtf(S, SessionState.INIT, 0)),
    ]


PAIRS = [
    (kind, state)
    for kind, (states, _) in SESSION_TABLE.items()
    for state in (SessionState.INIT, SessionState.IDLE, SessionState.ACTIVE)
    if state not in states
]
SAMPLES: dict[type, UciCommand] = {
    SessionDeinitCmd: SessionDeinitCmd(S),
    SetAppConfigCmd: SetAppConfigCmd(S),
    GetAppConfigCmd: GetAppConfigCmd(S),
    SessionStateCmd: SessionStateCmd(S),
    MulticastListCmd: MulticastListCmd(S, 0),
    DataSizeCmd: DataSizeCmd(S),
    SessionStartCmd: SessionStartCmd(S),
    SessionStopCmd: SessionStopCmd(S),
    RangingCountCmd: RangingCountCmd(S),
}


@pytest.mark.parametrize(("kind", "state"), PAIRS)
def test_what_is_not_due_is_refused_and_changes_nothing(kind: type, state: int) -> None:
    desk = Desk()
    desk.session(state)
    ((answer,), notices) = desk.say(SAMPLES[kind])
    assert getattr(answer, "status", None) in {Status.REJECTED, Status.SESSION_NOT_CONFIGURED, Status.SESSION_ACTIVE}
    assert notices == []
    assert desk.device.subsystem.sessions[S].state == state


@pytest.mark.parametrize("kind", SESSION_TABLE)
def test_a_session_that_there_is_not_is_named_so(kind: type) -> None:
    ((answer,), notices) = Desk().say(SAMPLES[kind])
    assert getattr(answer, "status", None) == Status.SESSION_NOT_EXIST
    assert notices == []


def test_every_command_is_in_one_table() -> None:
    commands = {kind for header, kind in BY_HEADER.items() if header[0] == COMMAND}
    assert commands == DEVICE_TABLE.keys() | SESSION_TABLE.keys()
    assert not DEVICE_TABLE.keys() & SESSION_TABLE.keys()


@pytest.mark.parametrize("session_id", [0, 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_session_ids_at_their_limits(session_id: int) -> None:
    desk = Desk()
    assert desk.say(SessionInitCmd(session_id, 0))[0] == [SessionInitRsp(0)]
    assert desk.say(SessionInitCmd(session_id, 0))[0] == [SessionInitRsp(Status.SESSION_DUPLICATE)]
    assert desk.say(SessionStateCmd(session_id))[0] == [SessionStateRsp(0, SessionState.INIT)]


def test_there_is_an_end_to_sessions() -> None:
    desk = Desk()
    for number in range(MOST_SESSIONS):
        assert desk.say(SessionInitCmd(number, 0))[0] == [SessionInitRsp(0)]
    assert desk.say(SessionInitCmd(MOST_SESSIONS, 0))[0] == [SessionInitRsp(Status.MAX_SESSIONS_EXCEEDED)]
    assert desk.say(SessionCountCmd())[0] == [SessionCountRsp(0, MOST_SESSIONS)]


@pytest.mark.parametrize("session_type", [2, 3, 0xA0, 0xD0, 0xFF])
def test_other_types_of_session_are_not_simulated(session_type: int) -> None:
    assert Desk().say(SessionInitCmd(S, session_type))[0] == [SessionInitRsp(Status.INVALID_PARAM)]


def test_a_reset_forgets_every_session() -> None:
    desk = Desk()
    desk.session()
    answers, notices = desk.say(DeviceResetCmd())
    assert (answers, notices) == ([DeviceResetRsp(0)], [DeviceStatusNtf(DeviceState.READY)])
    assert desk.say(SessionCountCmd())[0] == [SessionCountRsp(0, 0)]
    assert desk.wait(10.0) == []
    assert desk.say(DeviceResetCmd(1))[0] == [DeviceResetRsp(Status.INVALID_PARAM)]


# ---- core -----------------------------------------------------------------------------------------------------


def test_a_device_says_what_it_is() -> None:
    desk = Desk()
    desk.now = 2.5
    ((info, caps, time), _) = desk.say(DeviceInfoCmd(), CapsInfoCmd(), TimestampCmd())
    assert isinstance(info, DeviceInfoRsp)
    assert (info.status, info.uci_version) == (0, 2)
    assert isinstance(caps, CapsInfoRsp)
    assert {tlv.id for tlv in caps.capabilities} >= {0, 1, 2, 3}
    assert time == TimestampRsp(0, 2_500_000)


def test_device_parameters_are_read_and_written() -> None:
    desk = Desk()
    assert desk.say(SetConfigCmd((Tlv(1, b"\x00"),)))[0] == [SetConfigRsp(0)]
    assert desk.say(GetConfigCmd(b"\x00\x01"))[0] == [GetConfigRsp(0, (Tlv(0, b"\x01"), Tlv(1, b"\x00")))]
    assert desk.say(GetConfigCmd(b"\x00\x09"))[0] == [GetConfigRsp(Status.INVALID_PARAM, (Tlv(9, b""),))]
    wrong = (Tlv(0, b"\x01"), Tlv(1, b""), Tlv(7, b"\x01"))
    assert desk.say(SetConfigCmd(wrong))[0] == [
        SetConfigRsp(
            Status.INVALID_PARAM,
            (
                ParameterStatus(0, Status.READ_ONLY),
                ParameterStatus(1, Status.INVALID_PARAM),
                ParameterStatus(7, Status.INVALID_PARAM),
            ),
        )
    ]


# ---- parameters -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", MANDATORY)
def test_a_session_stays_init_until_nothing_mandatory_is_missing(missing: int) -> None:
    desk = Desk()
    desk.say(SessionInitCmd(S, 0))
    most = tuple(one for one in PARAMETERS if one.id != missing)
    assert desk.say(SetAppConfigCmd(S, most)) == ([SetAppConfigRsp(0)], [])
    assert desk.say(SessionStartCmd(S))[0] == [SessionStartRsp(Status.SESSION_NOT_CONFIGURED)]
    rest = tuple(one for one in PARAMETERS if one.id == missing)
    assert desk.say(SetAppConfigCmd(S, rest))[1] == [SessionStatusNtf(S, SessionState.IDLE, 0)]


@pytest.mark.parametrize(
    ("parameter", "status"),
    [
        (Tlv(App.DEVICE_TYPE, b""), Status.INVALID_PARAM),
        (Tlv(App.DEVICE_TYPE, b"\x00\x00"), Status.INVALID_PARAM),
        (Tlv(App.DEVICE_TYPE, b"\x02"), Status.INVALID_RANGE),
        (Tlv(App.CHANNEL_NUMBER, b"\x07"), Status.INVALID_RANGE),
        (Tlv(App.NO_OF_CONTROLEE, b"\x09"), Status.INVALID_RANGE),
        (Tlv(App.NO_OF_CONTROLEE, b"\x02"), Status.INVALID_PARAM),  # there is one address
        (Tlv(App.DST_MAC_ADDRESS, b"\x01\x00\x02\x00"), Status.INVALID_PARAM),
        (Tlv(App.DEVICE_MAC_ADDRESS, bytes(8)), Status.INVALID_PARAM),
        (Tlv(App.MAC_ADDRESS_MODE, b"\x01"), Status.INVALID_RANGE),
        (Tlv(App.RANGING_DURATION, b"\x00"), Status.INVALID_PARAM),
        (Tlv(App.SESSION_KEY, bytes(15)), Status.INVALID_PARAM),
    ],
)
def test_a_wrong_parameter_is_named_and_nothing_is_taken(parameter: Tlv, status: int) -> None:
    desk = Desk()
    desk.session(SessionState.IDLE)
    ((answer,), notices) = desk.say(SetAppConfigCmd(S, (Tlv(App.SLOTS_PER_RR, b"\x06"), parameter)))
    assert isinstance(answer, SetAppConfigRsp)
    assert answer.status == Status.INVALID_PARAM
    assert ParameterStatus(parameter.id, status) in answer.wrong or answer.wrong[0].status == status
    assert notices == []
    assert desk.say(GetAppConfigCmd(S, bytes((App.SLOTS_PER_RR,))))[0] == [
        GetAppConfigRsp(0, (Tlv(App.SLOTS_PER_RR, b"\x19"),))
    ]


def test_parameters_are_given_back_with_their_defaults_and_keys_are_not() -> None:
    desk = Desk()
    desk.session(SessionState.IDLE, Tlv(App.SESSION_KEY, bytes(16)), Tlv(0xE3, b"\x05"))
    ids = bytes((App.CHANNEL_NUMBER, App.STS_CONFIG, 0xE3))
    assert desk.say(GetAppConfigCmd(S, ids))[0] == [
        GetAppConfigRsp(0, (Tlv(App.CHANNEL_NUMBER, b"\x09"), Tlv(App.STS_CONFIG, b"\x00"), Tlv(0xE3, b"\x05")))
    ]
    for hidden in (App.SESSION_KEY, 0xE4):
        assert desk.say(GetAppConfigCmd(S, bytes((hidden,))))[0] == [
            GetAppConfigRsp(Status.FAILED, (Tlv(hidden, b""),))
        ]
    config = desk.device.subsystem.sessions[S].config
    assert config.session_key == AesKey(bytes(16), "session key")
    assert "session" not in repr(config)


def test_only_some_parameters_change_while_ranging() -> None:
    desk = Desk()
    desk.session()
    assert desk.say(SetAppConfigCmd(S, (Tlv(App.RNG_DATA_NTF, b"\x00"),)))[0] == [SetAppConfigRsp(0)]
    ((answer,), _) = desk.say(SetAppConfigCmd(S, (Tlv(App.CHANNEL_NUMBER, b"\x05"),)))
    assert answer == SetAppConfigRsp(
        Status.SESSION_ACTIVE, (ParameterStatus(App.CHANNEL_NUMBER, Status.SESSION_ACTIVE),)
    )


def test_an_empty_configuration_has_no_peers() -> None:
    config = AppConfig()
    assert (config.peers, config.address, config.is_complete, config.session_key) == ((), b"", False, None)
    assert config.value(App.DEVICE_ROLE) is None


# ---- ranging --------------------------------------------------------------------------------------------------


def test_an_active_session_tells_distances() -> None:
    desk = Desk()
    desk.session()
    notices = desk.wait(1.05)
    assert [type(notice) for notice in notices] == [SessionInfoNtf] * 5
    for number, notice in enumerate(notices):
        assert (notice.sequence, notice.session, notice.interval_ms) == (number, S, 200)
        (one,) = notice.measurements()
        assert (one.address, one.status, one.distance_cm, one.slot) == (DOOR, Status.OK, 500, 2)
    assert desk.say(RangingCountCmd(S))[0] == [RangingCountRsp(0, 5)]
    assert [type(event) for event in desk.device.events()] == [Started] + [Ranged] * 5


def test_a_peer_that_is_not_there_times_out() -> None:
    desk = Desk(Scene(random.Random(1).random))
    desk.session()
    (notice,) = desk.wait(0.25)
    (one,) = notice.measurements()
    assert (one.status, one.distance_cm) == (Status.RANGING_RX_TIMEOUT, 0xFFFF)


def test_two_devices_of_one_session_find_each_other() -> None:
    scene = Scene(random.Random(1).random, {DOOR: (12.0, 0.0, 0.0)})
    one, other = Desk(scene), Desk(scene)
    one.session()
    other.say(SessionInitCmd(S, 0), SetAppConfigCmd(S, ranging_parameters(DOOR, [PHONE], initiator=False)))
    assert one.wait(0.25)[0].measurements()[0].status == Status.RANGING_RX_TIMEOUT
    other.say(SessionStartCmd(S))
    for desk, peer in ((one, DOOR), (other, PHONE)):
        (found,) = desk.wait(0.25)[0].measurements()
        assert (found.address, found.status, found.distance_cm) == (peer, Status.OK, 1200)
    other.device.closed()
    assert one.wait(0.25)[0].measurements()[0].status == Status.RANGING_RX_TIMEOUT


def test_eight_peers_and_extended_addresses() -> None:
    peers = [bytes((number,)) + bytes(7) for number in range(1, 9)]
    places = {peer: (float(number), 0.0, 0.0) for number, peer in enumerate(peers, 1)}
    desk = Desk(Scene(random.Random(1).random, places, anchors=peers))
    own = b"\x99" + bytes(7)
    desk.say(
        SessionInitCmd(S, 0), SetAppConfigCmd(S, ranging_parameters(own, peers, initiator=True)), SessionStartCmd(S)
    )
    (notice,) = desk.wait(0.25)
    assert [one.distance_cm for one in notice.measurements()] == [100 * number for number in range(1, 9)]
    assert [one.address for one in notice.measurements()] == peers


def test_a_device_that_moves_is_seen_to_move() -> None:
    desk = Desk()
    desk.session()
    for metres in (1.0, 2.5, 40.0):
        desk.scene.places[DOOR] = (metres, 0.0, 0.0)
        (notice,) = desk.wait(0.2)
        assert notice.measurements()[0].distance_cm == pytest.approx(metres * 100, abs=1)


def test_a_scene_may_lose_packets() -> None:
    desk = Desk(Scene(random.Random(1).random, {DOOR: (3.0, 4.0, 0.0)}, anchors=[DOOR], loss=0.2))
    desk.session()
    statuses = {notice.measurements()[0].status for notice in desk.wait(5.0)}
    assert statuses == {Status.OK, Status.RANGING_RX_TIMEOUT}


@pytest.mark.parametrize(
    ("near", "far", "is_told"), [(0, 20000, True), (400, 600, True), (600, 900, False), (0, 499, False)]
)
def test_proximity_decides_what_is_told(near: int, far: int, *, is_told: bool) -> None:
    desk = Desk()
    desk.session(
        SessionState.ACTIVE,
        Tlv(App.RNG_DATA_NTF, b"\x02"),
        Tlv(App.RNG_DATA_NTF_PROXIMITY_NEAR, near.to_bytes(2, "little")),
        Tlv(App.RNG_DATA_NTF_PROXIMITY_FAR, far.to_bytes(2, "little")),
    )
    assert bool(desk.wait(0.25)) == is_told


def test_notifications_may_be_turned_off() -> None:
    desk = Desk()
    desk.session(SessionState.ACTIVE, Tlv(App.RNG_DATA_NTF, b"\x00"))
    assert desk.wait(1.0) == []


def test_a_session_ends_with_its_last_measurement() -> None:
    desk = Desk()
    desk.session(SessionState.ACTIVE, Tlv(App.MAX_NUMBER_OF_MEASUREMENTS, b"\x03\x00"))
    notices = desk.wait(2.0)
    assert [type(notice) for notice in notices] == [SessionInfoNtf] * 3 + [SessionStatusNtf, DeviceStatusNtf]
    assert notices[3] == SessionStatusNtf(S, SessionState.IDLE, Reason.MAX_MEASUREMENTS)


def test_an_interval_of_nothing_is_a_millisecond() -> None:
    desk = Desk()
    desk.session(SessionState.ACTIVE, Tlv(App.RANGING_DURATION, bytes(4)))
    assert len(desk.wait(0.0105)) == 10


def test_a_start_without_peers_is_refused() -> None:
    desk = Desk()
    desk.say(SessionInitCmd(S, 0))
    alone = tuple(one for one in PARAMETERS if one.id != App.DST_MAC_ADDRESS)
    desk.say(SetAppConfigCmd(S, alone))
    assert desk.say(SessionStartCmd(S))[0] == [SessionStartRsp(Status.SESSION_NOT_CONFIGURED)]


# ---- multicast ------------------------------------------------------------------------------------------------


def many(*peers: bytes) -> Desk:
    desk = Desk(Scene(random.Random(1).random, {CAR: (1.0, 0.0, 0.0)}, anchors=[DOOR, CAR]))
    parameters = (*ranging_parameters(PHONE, list(peers), initiator=True), Tlv(App.MULTI_NODE_MODE, b"\x01"))
    desk.say(SessionInitCmd(S, 0), SetAppConfigCmd(S, parameters), SessionStartCmd(S))
    return desk


def test_peers_come_and_go_while_ranging() -> None:
    desk = many(DOOR)
    answers, notices = desk.say(MulticastListCmd(S, Multicast.ADD, (Controlee(CAR, 7),)))
    assert answers == [MulticastListRsp(0)]
    assert notices == [MulticastListNtf(S, 2, (ControleeStatus(CAR, 7, Multicast.OK),))]
    assert [one.address for one in desk.wait(0.25)[0].measurements()] == [DOOR, CAR]
    desk.say(MulticastListCmd(S, Multicast.REMOVE, (Controlee(DOOR, 0),)))
    assert [one.address for one in desk.wait(0.2)[0].measurements()] == [CAR]
    _, notices = desk.say(MulticastListCmd(S, Multicast.REMOVE, (Controlee(CAR, 0),)))
    assert SessionStatusNtf(S, SessionState.IDLE, Reason.INVALID_CONTROLEES) in notices


def test_a_list_has_eight_places_and_each_address_one() -> None:
    desk = many(DOOR)
    new = tuple(Controlee(bytes((number, 9)), 0) for number in range(8))
    answers, (notice,) = desk.say(MulticastListCmd(S, Multicast.ADD, (Controlee(DOOR, 0), *new)))
    assert answers == [MulticastListRsp(Status.MULTICAST_LIST_FULL)]
    assert isinstance(notice, MulticastListNtf)
    statuses = [one.status for one in notice.controlees]
    assert statuses == [Multicast.ALREADY_PRESENT] + [Multicast.OK] * 7 + [Multicast.LIST_FULL]
    answers, _ = desk.say(MulticastListCmd(S, Multicast.REMOVE, (Controlee(b"\xff\xff", 0),)))
    assert answers == [MulticastListRsp(Status.FAILED)]
    assert desk.say(MulticastListCmd(S, 2, ()))[0] == [MulticastListRsp(Status.INVALID_PARAM)]


def test_a_session_of_two_has_no_list() -> None:
    desk = Desk()
    desk.session()
    assert desk.say(MulticastListCmd(S, 0, ()))[0] == [MulticastListRsp(Status.REJECTED)]


def test_there_is_no_data() -> None:
    desk = Desk()
    desk.session()
    assert desk.say(DataSizeCmd(S))[0] == [DataSizeRsp(S, 0)]
    desk.device.receive(build_packet(Packet(0, 1, 0, S.to_bytes(4, "little") + b"hello")), 0.0)
    assert desk.listen()[1] == [DataTransferStatusNtf(S, 0, Transfer.REJECTED, 0)]


# ---- a host that says anything --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("packet", "status"),
    [
        (Packet(COMMAND, 0, 0x3F, b""), Status.UNKNOWN_OID),
        (Packet(COMMAND, 1, 0x0C, b""), Status.UNKNOWN_OID),
        (Packet(COMMAND, 0xC, 0, b""), Status.UNKNOWN_GID),
        (Packet(COMMAND, 0xF, 0, bytes(300)), Status.UNKNOWN_GID),
        (Packet(COMMAND, 1, 0, b""), Status.SYNTAX_ERROR),
        (Packet(COMMAND, 1, 0, bytes(6)), Status.SYNTAX_ERROR),
        (Packet(COMMAND, 1, 3, bytes(4) + b"\x01\x04\x05\x01"), Status.SYNTAX_ERROR),
    ],
)
def test_what_nobody_knows_is_answered_with_a_status_alone(packet: Packet, status: int) -> None:
    desk = Desk()
    desk.device.receive(build_packet(packet), 0.0)
    ((answer,), _) = desk.listen()
    assert getattr(answer, "status", None) == status
    if isinstance(answer, Refusal):
        assert answer.header == (2, packet.group, packet.opcode)


@pytest.mark.parametrize("kind", [2, 3, 4, 5, 7])
def test_what_is_no_command_is_passed_over(kind: int) -> None:
    desk = Desk()
    desk.device.receive(build_packet(Packet(kind, 0, 0, b"\x00")), 0.0)
    assert desk.listen() == ([], [])


def test_segments_that_do_not_fit_are_a_generic_error_and_the_next_command_is_answered() -> None:
    desk = Desk()
    begun = bytes.fromhex("310300ff") + bytes(255)
    desk.device.receive(begun + build_message(DeviceInfoCmd()) + build_message(SessionCountCmd()), 0.0)
    assert desk.listen() == ([SessionCountRsp(0, 0)], [GenericErrorNtf(Status.SYNTAX_ERROR)])


def test_every_prefix_and_bit_of_a_configuration_gets_an_answer_or_waits() -> None:
    good = build_message(SetAppConfigCmd(S, PARAMETERS))
    for size in range(len(good)):
        desk = Desk()
        desk.session(SessionState.INIT)
        desk.device.receive(good[:size], 0.0)
        assert desk.listen() == ([], [])
    for bit in range(len(good) * 8):
        desk = Desk()
        desk.session(SessionState.INIT)
        spoiled = bytearray(good)
        spoiled[bit // 8] ^= 1 << bit % 8
        desk.device.receive(bytes(spoiled), 0.0)
        answers, notices = desk.listen()
        assert len(answers) <= 1 or bit // 8 == 3
        assert len(notices) <= 2


def test_random_octets_never_escape() -> None:
    chance = random.Random(11)
    desk = Desk()
    for _ in range(300):
        desk.device.receive(chance.randbytes(chance.randrange(40)), desk.now)
        desk.device.outgoing(desk.now)
        desk.now += 0.01


def test_statuses_have_names() -> None:
    assert STATUSES[Status.SESSION_ACTIVE] == "session active"
    assert len(STATUSES) == len({value for name, value in vars(Status).items() if isinstance(value, int)})
