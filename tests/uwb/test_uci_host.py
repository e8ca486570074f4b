"""The host's end of UCI: dialogues with answers written by hand, and with our own subsystem."""

from __future__ import annotations

import random
from typing import Any

import pytest

from keywright.errors import LinkError, StatusError, WireError
from keywright.sansio.dialogue import drive
from keywright.uwb.uci.codes import App, SessionState, Status
from keywright.uwb.uci.device import UciDevice
from keywright.uwb.uci.host import (
    Answer,
    HostStream,
    Refusal,
    begin,
    capabilities,
    end,
    identify,
    ranging_parameters,
)
from keywright.uwb.uci.messages import (
    DeviceInfoCmd,
    DeviceInfoRsp,
    DeviceResetCmd,
    DeviceResetRsp,
    DeviceStatusNtf,
    ParameterStatus,
    SessionInfoNtf,
    SessionInitCmd,
    SessionInitRsp,
    SessionStartCmd,
    SessionStartRsp,
    SetAppConfigCmd,
    SetAppConfigRsp,
    UciCommand,
    build_message,
)
from keywright.uwb.uci.packets import Packet, build_packet
from keywright.uwb.uci.scene import Scene

PARAMETERS = ranging_parameters(b"\x01\x00", [b"\x02\x00"], initiator=True)


def test_identify_resets_and_asks() -> None:
    steps = identify()
    assert next(steps) == DeviceResetCmd()
    assert steps.send(DeviceResetRsp(0)) == DeviceInfoCmd()
    with pytest.raises(StopIteration) as done:
        steps.send(DeviceInfoRsp(0, 2, 0x3001, 0x3001, 0))
    assert done.value.value.uci_version == 2


@pytest.mark.parametrize(("handle", "session"), [(b"", 7), (b"\x01\x00\x00\x80", 0x80000001)])
def test_a_session_goes_by_its_handle_where_it_is_given_one(handle: bytes, session: int) -> None:
    steps = begin(7, PARAMETERS)
    assert next(steps) == SessionInitCmd(7, 0)
    assert steps.send(SessionInitRsp(0, handle)) == SetAppConfigCmd(session, PARAMETERS)
    assert steps.send(SetAppConfigRsp(0)) == SessionStartCmd(session)
    with pytest.raises(StopIteration) as done:
        steps.send(SessionStartRsp(0))
    assert done.value.value == session


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (SessionInitRsp(Status.SESSION_DUPLICATE), "session 00000007: status 0012 (session duplicate)"),
        (Refusal((2, 1, 0), Status.UNKNOWN_OID), "status 0008 (unknown oid)"),
        (SessionInitRsp(0xEE), "status 00EE (unknown status)"),
    ],
)
def test_a_refusal_is_a_status_error_that_says_of_what(answer: Answer, what: str) -> None:
    steps = begin(7, PARAMETERS)
    next(steps)
    with pytest.raises(StatusError) as caught:
        steps.send(answer)
    assert what in str(caught.value)


def test_wrong_parameters_are_named() -> None:
    steps = begin(7, PARAMETERS)
    next(steps)
    steps.send(SessionInitRsp(0))
    with pytest.raises(StatusError, match=r"invalid param; parameters 04 invalid range"):
        steps.send(SetAppConfigRsp(4, (ParameterStatus(App.CHANNEL_NUMBER, Status.INVALID_RANGE),)))


@pytest.mark.parametrize("answer", [DeviceResetRsp(0), Refusal((2, 0, 0), 0)])
def test_the_response_to_another_command_is_refused(answer: Answer) -> None:
    steps = begin(7, PARAMETERS)
    next(steps)
    with pytest.raises(WireError, match="another command"):
        steps.send(answer)


@pytest.mark.parametrize("peers", [[], [b"\x01"], [bytes(8)], [b"\x02\x00"] * 9])
def test_addresses_have_one_length(peers: list[bytes]) -> None:
    with pytest.raises(ValueError, match="1 to 8 peers"):
        ranging_parameters(b"\x01\x00", peers, initiator=True)


def test_a_stream_keeps_answers_and_notifications_apart() -> None:
    stream = HostStream()
    octets = b"".join(
        (
            build_message(DeviceStatusNtf(1)),
            build_message(DeviceResetRsp(0)),
            build_packet(Packet(2, 0xC, 1, b"\x07")),
            build_packet(Packet(2, 0xC, 1, b"\x07\x07")),
            build_packet(Packet(3, 0xC, 1, b"")),
            build_message(DeviceInfoCmd()),
        )
    )
    assert stream.feed(octets) == ([DeviceResetRsp(0), Refusal((2, 0xC, 1), 7)], [DeviceStatusNtf(1)])


def test_segments_that_do_not_fit_are_a_wire_error() -> None:
    with pytest.raises(WireError, match="inside a message"):
        HostStream().feed(bytes.fromhex("510300ff") + bytes(255) + build_message(DeviceResetRsp(0)))


def test_both_ends_range_together() -> None:
    device = UciDevice(Scene(random.Random(1).random, {b"\x02\x00": (8.0, 6.0, 0.0)}, anchors=[b"\x02\x00"]))
    stream = HostStream()
    notices: list[Any] = []
    now = 0.0

    def exchange(command: UciCommand) -> Answer:
        device.receive(build_message(command), now)
        answers, more = stream.feed(b"".join(device.outgoing(now)))
        notices.extend(more)
        (answer,) = answers
        return answer

    assert drive(identify(), exchange).status == 0
    assert drive(capabilities(), exchange).capabilities
    drive(begin(7, PARAMETERS), exchange)
    now = 0.3
    notices += stream.feed(b"".join(device.outgoing(now)))[1]
    drive(end(7), exchange)
    (told,) = [notice for notice in notices if isinstance(notice, SessionInfoNtf)]
    assert told.measurements()[0].distance_cm == 1000


@pytest.mark.parametrize("is_delivered", [False, True])
@pytest.mark.parametrize("cut", range(3))
def test_a_link_lost_at_any_command_leaves_a_device_that_a_reset_brings_back(cut: int, *, is_delivered: bool) -> None:
    device = UciDevice(Scene(random.Random(1).random, anchors=[b"\x02\x00"]))
    stream = HostStream()
    turns = iter(range(100))

    def exchange(command: UciCommand) -> Answer:
        is_cut = next(turns) == cut
        if is_delivered or not is_cut:
            device.receive(build_message(command), 0.0)
        answers, _ = stream.feed(b"".join(device.outgoing(0.0)))
        if is_cut:
            raise LinkError("cut", delivered=None)
        (answer,) = answers
        return answer

    with pytest.raises(LinkError):
        drive(begin(7, PARAMETERS), exchange)
    drive(identify(), exchange)
    drive(begin(7, PARAMETERS), exchange)
    assert device.subsystem.sessions[7].state == SessionState.ACTIVE
