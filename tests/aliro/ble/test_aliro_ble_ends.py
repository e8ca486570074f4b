"""Each end alone: against a peer of another hand, in every phase with every message, and with any octets."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keywright.aliro.ble.ends import Application, Busy, Closed, Phase
from keywright.aliro.ble.messages import (
    MESSAGES,
    AccessCompleted,
    ApRequest,
    ApResponse,
    Attribute,
    BleMessage,
    Event,
    InitiateAccess,
    InitiateRke,
    RkeRequest,
    StateInformation,
    StateReport,
    StatusChanged,
    envelope,
    general_error,
)
from keywright.aliro.ble.reader import ReaderEnd
from keywright.aliro.ble.settings import Authenticated, ReaderSettings, RkeRequested
from keywright.aliro.ble.user_device import Completed, StateChanged, UserDeviceEnd
from keywright.aliro.cache import PersistentKeys
from keywright.aliro.messages import EXPEDITED_AID
from keywright.aliro.profile import Interface
from keywright.aliro.reader import Opened, Plan, authenticate, finish
from keywright.errors import SequenceError, StatusError, WireError
from keywright.iso7816.apdu import Command, Response
from keywright.sansio.dialogue import drive
from keywright.uwb.setup.messages import (
    M1,
    M2,
    M3,
    M4,
    ConfigIds,
    RangingNotice,
    ResumeRequest,
    ResumeResponse,
    SuspendRequest,
    SuspendResponse,
    TimeSync,
)
from support.aliro import fresh, reader, stream
from support.aliro_ble import Foreign, Session, door, negotiated, simulated

A5 = bytes.fromhex("A508800200005C020100")
QUICKLY = settings(max_examples=max(20, settings.default.max_examples // 4) if settings.default else 25)
ERROR = bytes.fromhex("0101")
"""A general error in clear, but for its code."""


class ForeignDevice:
    """A device by another hand around a simulated one: it frames, seals and talks to one reader."""

    def __init__(self, end: ReaderEnd) -> None:
        self.end = end
        self.wire = Foreign(is_reader=False)
        self.device = simulated()

    def say(self, protocol: int, number: int, payload: bytes) -> list[tuple[int, int, bytes]]:
        """Send one message; what the reader says to it."""
        self.end.receive(self.wire.build(protocol, number, payload), 0.0)
        return [self.wire.parse(octets) for octets in self.end.outgoing(0.0)]

    def authenticate(self, number: int = 5) -> tuple[int, int, bytes]:
        """The access protocol, until the reader says something else; that, in clear."""
        self.device.handle(Command(0, 0xA4, 4, 0, EXPEDITED_AID, 0).encode())
        proprietary = self.device.session.proprietary
        answers = self.say(2, number, bytes((0, len(proprietary))) + proprietary)
        while True:
            ((protocol, message, payload),) = answers
            if protocol:
                return protocol, message, payload
            assert message == 0
            self.end.receive(self.wire.build(0, 1, self.device.handle(payload)), 0.0)
            survivors = self.device.session.survivors
            out = list(self.end.outgoing(0.0))
            if out and out[0][0] == 2 and survivors is not None:
                self.wire.protect(survivors.ble.reveal())
            answers = [self.wire.parse(octets) for octets in out]


class ForeignReader:
    """A reader by another hand around the dialogue of the access protocol."""

    def __init__(self, end: UserDeviceEnd) -> None:
        self.end = end
        self.wire = Foreign(is_reader=True)
        ((protocol, number, payload),) = self.hear()
        assert (protocol, payload[:2]) == (2, bytes((0, len(payload) - 2)))
        self.number, self.proprietary = number, payload[2:]

    def hear(self) -> list[tuple[int, int, bytes]]:
        """What the device has said."""
        return [self.wire.parse(octets) for octets in self.end.outgoing(0.0)]

    def say(self, protocol: int, number: int, payload: bytes) -> list[tuple[int, int, bytes]]:
        """Send one message; what the device says to it."""
        self.end.receive(self.wire.build(protocol, number, payload), 0.0)
        return self.hear()

    def exchange(self, command: Command) -> Response:
        """One APDU; SELECT is answered with what the device said at the beginning."""
        if command.ins == 0xA4:
            inside = b"\x84\x09" + EXPEDITED_AID + self.proprietary
            return Response(bytes((0x6F, len(inside))) + inside)
        ((protocol, number, payload),) = self.say(0, 0, command.encode())
        assert (protocol, number) == (0, 1)
        return Response.parse(payload)

    def authenticate(self, *, ursk_ready: bool = True) -> Opened:
        """The access protocol; messages are sealed after it."""
        one = reader(interface=Interface.BLE)
        opened = drive(authenticate(one, Plan(), fresh("f"), PersistentKeys()), self.exchange)
        drive(finish(opened, 0x0100, ursk_ready=ursk_ready), self.exchange)
        assert opened.ble is not None
        self.wire.protect(opened.ble.reveal())
        return opened


def _reader_end(phase: Phase, *, is_rke: bool = False) -> tuple[ReaderEnd, ForeignDevice]:
    end = door().connect(negotiated()[0], 0.0)
    device = ForeignDevice(end)
    if phase == "access":
        device.device.handle(Command(0, 0xA4, 4, 0, EXPEDITED_AID, 0).encode())
        device.say(2, 5, b"\0" + bytes((len(A5),)) + A5)
    elif phase == "open":
        device.authenticate(6 if is_rke else 5)
    elif phase == "closed":
        end.close()
    end.events()
    return end, device


def _device_end(phase: Phase, *, is_rke: bool = False) -> tuple[UserDeviceEnd, ForeignReader]:
    end = UserDeviceEnd(simulated(), negotiated()[1], 0.0, random=stream("x"), is_rke=is_rke)
    foreign = ForeignReader(end)
    if phase == "open":
        foreign.authenticate()
        foreign.say(2, 3, bytes.fromhex("00022000"))
    elif phase == "closed":
        end.close()
    end.events()
    return end, foreign


# ---- against another hand -------------------------------------------------------------------------------------


def test_the_reader_authenticates_a_device_of_another_hand_and_goes_on_to_m1() -> None:
    end = door().connect(negotiated()[0], 0.0)
    device = ForeignDevice(end)
    assert device.authenticate() == (2, 3, bytes.fromhex("00022000"))
    assert [type(event) for event in end.events()] == [Authenticated]
    assert device.say(3, 0, TimeSync(0, 7, 80, 0, 100, 1, 0).build()) == []
    ((protocol, number, payload),) = device.say(2, 1, bytes.fromhex("0000"))
    assert (protocol, number) == (1, 0)
    assert device.device.session.command is None
    assert end.opened is not None
    assert M1.parse(payload).session_id == int.from_bytes(end.opened.transaction.command.transaction_identifier[12:])


def test_the_reader_is_asked_by_remote_keyless_entry_of_another_hand() -> None:
    end, device = _reader_end("open", is_rke=True)
    assert device.say(2, 4, bytes.fromhex("000101")) == []
    assert end.events() == [RkeRequested(1)]
    end.report(1, 6)
    assert [device.wire.parse(octets) for octets in end.outgoing(0.0)] == [(2, 2, bytes.fromhex("00020601"))]


def test_the_device_is_authenticated_by_a_reader_of_another_hand_and_asks_for_ranging() -> None:
    end = UserDeviceEnd(simulated(), negotiated()[1], 0.0, random=stream("x"))
    foreign = ForeignReader(end)
    assert (foreign.number, foreign.proprietary) == (5, A5)
    opened = foreign.authenticate()
    said = foreign.say(2, 3, bytes.fromhex("00022000"))
    assert [(protocol, number) for protocol, number, _ in said] == [(3, 0), (2, 1)]
    assert said[1][2] == bytes.fromhex("0000")
    assert end.events() == [Completed(StateInformation(0x20, 0))]
    session_id = int.from_bytes(opened.transaction.command.transaction_identifier[12:])
    offer = M1(ConfigIds((0,)), b"\x11", 3, session_id)
    ((protocol, number, payload),) = foreign.say(1, 0, offer.build())
    assert (protocol, number) == (1, 1)
    assert M2.parse(payload).channels == 2
    assert end.ursk is not None
    assert opened.ursk is not None
    assert end.ursk.reveal() == opened.ursk.reveal()
    assert foreign.say(2, 2, bytes.fromhex("00020401")) == []
    assert end.events() == [StateChanged(StateReport(4, 1))]


def test_a_device_that_another_reader_uses_for_remote_keyless_entry() -> None:
    end, foreign = _device_end("open", is_rke=True)
    assert foreign.number == 6
    assert end.setup is None
    end.request_rke(0, 0.0)
    assert foreign.hear() == [(2, 4, bytes.fromhex("000100"))]


def test_a_device_ranges_only_with_a_reader_that_says_it_has_the_ursk() -> None:
    end, foreign = _device_end("access")
    foreign.authenticate(ursk_ready=False)
    assert foreign.say(2, 3, bytes.fromhex("00022000")) == []
    assert end.events() == [Completed(StateInformation(0x20, 0))]
    assert (end.ursk, end.setup) == (None, None)
    frame = envelope(SAMPLES[M1])
    assert foreign.say(frame.protocol, frame.id, frame.payload) == [(2, 0, bytes.fromhex("010103"))]


# ---- every phase with every message ---------------------------------------------------------------------------

SAMPLES: dict[type[BleMessage], BleMessage] = {
    type(message): message
    for message in (
        ApRequest(bytes.fromhex("803C0000064101004201")),
        ApResponse(bytes.fromhex("6985")),
        InitiateAccess((Attribute(0, A5),)),
        InitiateRke((Attribute(0, A5),)),
        AccessCompleted(StateInformation(0x20, 0)),
        StatusChanged(StateReport(4, 1)),
        RkeRequest(1),
        M1(ConfigIds((0,)), b"\x11", 3, 1),
        M2(ConfigIds((0,)), b"\x11", 2, 0xF00, 2, 0x7F, 0xF0),
        M3(2, 3, 1, 6, 0xF00, 0x50, 0),
        M4(1000, 5_000_000, 7, 9),
        SuspendRequest(1),
        SuspendResponse(1),
        ResumeRequest(1),
        ResumeResponse(2000, 1),
        general_error(0),
        RangingNotice(secure_ranging_failed=True),
        TimeSync(0, 1, 80, 0, 100, 1, 0),
    )
}
ENDS: dict[str, Callable[..., tuple[ReaderEnd, ForeignDevice] | tuple[UserDeviceEnd, ForeignReader]]] = {
    "reader": _reader_end,
    "device": _device_end,
}
TABLES = {"reader": ReaderEnd.TABLE, "device": UserDeviceEnd.TABLE}
SETUP = frozenset(SAMPLES) - {kind for table in TABLES.values() for kinds in table.values() for kind in kinds}
PAIRS = [
    (end, phase, kind)
    for end in ENDS
    for phase in ("waiting", "access", "open", "closed")
    if (end, phase) != ("device", "waiting")
    for kind in MESSAGES
]


@pytest.mark.parametrize(("which", "phase", "kind"), PAIRS, ids=lambda value: getattr(value, "__name__", value))
def test_what_the_table_does_not_list_is_refused(which: str, phase: Phase, kind: type[BleMessage]) -> None:
    end, peer = ENDS[which](phase)
    assert set(SAMPLES) == set(MESSAGES)
    frame = envelope(SAMPLES[kind])
    said = peer.say(frame.protocol, frame.id, frame.payload)
    listed = kind in TABLES[which][phase]
    if phase == "closed":
        assert said == []
        assert end.is_closed
    elif kind is Event:
        assert said == []  # an error is not answered with an error
        assert end.is_over == (phase != "open")
    elif phase != "open":
        clear = [(protocol, number, payload[:2]) for protocol, number, payload in said]
        assert (clear != [(2, 0, ERROR)]) == (listed and kind not in (ApResponse, AccessCompleted))
        assert end.is_over == (clear == [(2, 0, ERROR)])
    elif frame.protocol == 0:
        assert said[-1][:2] == (2, 0)
        assert end.is_over
    elif kind in SETUP:
        assert not end.is_over  # ranging setup has a table of its own
    else:
        refused = not listed or kind is RkeRequest  # in the flow with UWB nobody presses a button
        assert ([(number, payload) for _, number, payload in said] == [(0, bytes.fromhex("010100"))]) == refused
        assert not end.is_over


@pytest.mark.parametrize("which", ENDS)
def test_ranging_in_a_session_without_a_ursk_is_answered_so(which: str) -> None:
    end, peer = ENDS[which]("open", is_rke=True)
    frame = envelope(SAMPLES[M1 if which == "device" else M2])
    assert peer.say(frame.protocol, frame.id, frame.payload) == [(2, 0, bytes.fromhex("010103"))]
    assert not end.is_over


# ---- missing attributes, wrong values -------------------------------------------------------------------------


@pytest.mark.parametrize("payload", ["", "01020304", "0000", "0003A50200", "0004A5028001"])
def test_initiating_without_a5_is_general_error_2_and_ends_the_session(payload: str) -> None:
    for number in (5, 6):
        end, device = _reader_end("waiting")
        assert device.say(2, number, bytes.fromhex(payload)) == [(2, 0, bytes.fromhex("010102"))]
        assert end.is_closed


@pytest.mark.parametrize("payload", ["", "0000", "000102", "0001FF", "00020000", "010100", "0001000001"])
def test_an_rke_request_without_its_attribute_is_general_error_2_and_changes_nothing(payload: str) -> None:
    end, device = _reader_end("open", is_rke=True)
    assert device.say(2, 4, bytes.fromhex(payload)) == [(2, 0, bytes.fromhex("010102"))]
    assert end.events() == []
    assert device.say(2, 4, bytes.fromhex("000100")) == []
    assert end.events() == [RkeRequested(0)]


@pytest.mark.parametrize("payload", ["", "000120", "0003200000", "01022000"])
def test_completion_without_its_attribute_is_general_error_2(payload: str) -> None:
    end, foreign = _device_end("access")
    foreign.authenticate()
    assert foreign.say(2, 3, bytes.fromhex(payload)) == [(2, 0, bytes.fromhex("010102"))]
    assert end.is_closed


@pytest.mark.parametrize("payload", ["", "000100", "01020401"])
def test_a_changed_status_without_its_attribute_is_general_error_2(payload: str) -> None:
    end, foreign = _device_end("open")
    assert foreign.say(2, 2, bytes.fromhex(payload)) == [(2, 0, bytes.fromhex("010102"))]
    assert not end.is_over


@pytest.mark.parametrize("which", ENDS)
def test_every_attribute_of_ranging_setup_is_missed(which: str) -> None:
    end, peer = ENDS[which]("open")
    if isinstance(end, UserDeviceEnd):
        first: BleMessage = M1(ConfigIds((0,)), b"\x11", 3, end.session_id or 0)
    else:
        peer.say(3, 0, SAMPLES[TimeSync].build())
        peer.say(2, 1, bytes.fromhex("0000"))
        first = SAMPLES[M2]
    whole = envelope(first)
    attributes = _attributes(whole.payload)
    for missing in range(len(attributes)):
        rest = b"".join(attributes[:missing] + attributes[missing + 1 :])
        assert (2, 0, bytes.fromhex("010102")) in peer.say(whole.protocol, whole.id, rest)
        if which == "reader":
            assert peer.say(2, 1, bytes.fromhex("0000"))[0][:2] == (1, 0)
    answer = peer.say(whole.protocol, whole.id, whole.payload)
    assert [(protocol, number) for protocol, number, _ in answer] == [(1, 1 if which == "device" else 2)]
    assert not end.is_over


def _attributes(payload: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(payload):
        end = at + 2 + payload[at + 1]
        found.append(payload[at:end])
        at = end
    return found


# ---- sealed and replayed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ENDS)
@QUICKLY
@given(st.integers(0, 8 * 22 - 1))
def test_a_changed_bit_of_a_sealed_message_ends_the_session(which: str, bit: int) -> None:
    end, peer = ENDS[which]("open")
    octets = bytearray(peer.wire.build(2, 1, bytes.fromhex("0400")))
    octets[bit // 8] ^= 1 << bit % 8
    end.receive(bytes(octets), 0.0)
    if not end.is_over:
        assert bit // 8 in (2, 3)  # a longer length: the rest does not come
        end.outgoing(5.0)
    assert end.is_over
    assert any(isinstance(event, Closed) and event.error is not None for event in end.events())


@pytest.mark.parametrize("which", ENDS)
def test_a_replayed_message_ends_the_session(which: str) -> None:
    end, peer = ENDS[which]("open")
    octets = peer.wire.build(2, 1, bytes.fromhex("0400"))
    end.receive(octets, 0.0)
    assert not end.is_over
    end.receive(octets, 0.0)
    assert end.is_over
    end.receive(octets, 0.0)
    assert end.is_over


@pytest.mark.parametrize("which", ENDS)
def test_a_message_in_clear_where_it_should_be_sealed_ends_the_session(which: str) -> None:
    end, _ = ENDS[which]("open")
    end.receive(bytes.fromhex("020000020000"), 0.0)
    assert end.is_over


def test_a_replayed_ap_request_is_one_that_is_not_due() -> None:
    end, foreign = _device_end("access")
    requests: list[bytes] = []
    one = reader(interface=Interface.BLE)

    def noted(command: Command) -> Response:
        requests.append(command.encode())
        return foreign.exchange(command)

    drive(authenticate(one, Plan(fast=False), fresh("f"), PersistentKeys()), noted)
    ((_, _, payload),) = foreign.say(0, 0, requests[1])
    assert payload == bytes.fromhex("6985")
    assert not end.is_over


def test_completion_before_there_is_a_key_or_by_another_key_ends_the_session() -> None:
    end, foreign = _device_end("access")
    assert foreign.say(2, 3, bytes.fromhex("00022000")) == [(2, 0, bytes.fromhex("010100"))]
    assert end.is_closed
    end, foreign = _device_end("access")
    foreign.authenticate()
    foreign.wire.protect(bytes(32))
    end.receive(foreign.wire.build(2, 3, bytes.fromhex("00022000")), 0.0)
    assert end.is_over
    assert Completed(StateInformation(0x20, 0)) not in end.events()


@pytest.mark.parametrize("which", ENDS)
@pytest.mark.parametrize("phase", ["waiting", "access", "open"])
@QUICKLY
@given(data=st.lists(st.binary(max_size=40), max_size=3))
def test_any_octets_are_taken(which: str, phase: Phase, data: list[bytes]) -> None:
    end, _ = ENDS[which](phase if which == "reader" else "access" if phase == "waiting" else phase)
    for number, octets in enumerate(data):
        end.receive(octets, float(number))
        end.outgoing(float(number))
        end.deadline()
    end.disconnected("over", 10.0)
    assert end.is_closed


# ---- what owners may not do -----------------------------------------------------------------------------------


def test_what_is_too_early_or_in_the_wrong_flow_is_refused_to_the_owner() -> None:
    early = UserDeviceEnd(simulated(), negotiated()[1], 0.0, random=stream("x"))
    ranging, _ = _device_end("open")
    early_reader, _ = _reader_end("access")
    acts: tuple[Callable[[], object], ...] = (
        lambda: early.request_rke(1, 0.0),
        lambda: early.initiate(0.0),
        lambda: early.suspend(0.0),
        lambda: early.send_application(0, b""),
        lambda: ranging.request_rke(1, 0.0),
        lambda: ranging.suspend(0.0),
        lambda: early_reader.suspend(0.0),
        lambda: early_reader.resume(0.0),
        lambda: early_reader.start_ranging(0.0),
        lambda: early_reader.measured((1.0, True), 0.0),  # type: ignore[arg-type]  # it is not looked at
    )
    for act in acts:
        with pytest.raises(SequenceError):
            act()


def test_a_device_whose_element_does_not_let_aliro_be_selected() -> None:
    device = simulated(vendor=bytes(127), extended=(2048, 2048))
    assert UserDeviceEnd(device, negotiated()[1], 0.0, random=stream("x")).outgoing(0.0)

    class Refusing:
        session = device.session

        def __init__(self, answer: str) -> None:
            self._answer = bytes.fromhex(answer)

        def handle(self, _: bytes) -> bytes:
            return self._answer

        def reset(self) -> None:
            pass

    for answer, error in (("6A82", StatusError), ("9000", WireError), ("6F0084009000", WireError)):
        with pytest.raises(error):
            UserDeviceEnd(Refusing(answer), negotiated()[1], 0.0, random=stream("x"))


def test_an_answer_that_no_message_can_carry_ends_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    device = simulated()
    end = UserDeviceEnd(device, negotiated()[1], 0.0, random=stream("x"))
    foreign = ForeignReader(end)
    for size, protocol in ((0xFFFF, 0), (0x10000, 2)):
        monkeypatch.setattr(device, "handle", lambda _, answer=bytes(size): answer)
        assert [said[0] for said in foreign.say(0, 0, bytes(4))] == [protocol]
    assert end.is_closed


def test_a_reader_whose_salts_name_another_interface_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="Bluetooth"):
        ReaderSettings(reader())


def test_busy_is_told_and_ends_a_session_that_has_not_begun() -> None:
    end, foreign = _device_end("access")
    assert foreign.say(2, 0, bytes.fromhex("0000")) == []
    assert end.events() == [Busy(), Closed("the other end is busy")]
    end, foreign = _device_end("open")
    foreign.say(2, 0, bytes.fromhex("0000"))
    assert not end.is_over


def test_octets_of_an_application_pass_both_ways() -> None:
    session = Session().run(1.0)
    session.reader.send_application(7, b"hello")
    session.device.send_application(8, b"")
    session.run(1.0)
    assert session.of_device(Application) == [Application(7, b"hello")]
    assert session.of_reader(Application) == [Application(8, b"")]
