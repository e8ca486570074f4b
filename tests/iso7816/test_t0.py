"""T=0 beyond the scenario file: header and procedure bytes, how every APDU rides, time, and what is switchable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.errors import SequenceError
from keywright.iso7816.apdu import Command
from keywright.iso7816.atr import Atr
from keywright.iso7816.line import Line, LineExchange
from keywright.iso7816.line_faults import FaultyLine, LineFault
from keywright.iso7816.t0 import T0Card, T0Host, T0Profile
from keywright.iso7816.t0 import header as t0_header
from keywright.iso7816.t0.header import Header, Procedure, procedure, takes_data
from keywright.iso7816.t0.mapping import cut
from keywright.iso7816.t0.profile import of_atr
from keywright.iso7816.timing import Speed
from keywright.iso7816.transport import Answered, Failed, Failure, Muted, Ran
from support.blocks import Clock, Recorder
from support.messages import all_messages, check_message

OK = b"\x90\x00"
STORE = bytes.fromhex("80E2900003010203")
GET = bytes.fromhex("80CA006603")


class Applet(Recorder):
    """Answers GET with what it is told, everything else with its own length."""

    def __init__(self, answer: bytes = b"\x66\x01\x00" + OK) -> None:
        super().__init__({0xCA: answer, 0xCB: answer, 0xA4: answer, 0xE2: OK})


def line(device: Recorder, profile: T0Profile | None = None, channel: Any = None, **more: Any) -> Line:
    ends = T0Host(profile), T0Card(device, profile, **more)
    return Line(*ends, channel) if channel else Line(*ends)


# ---- header and procedure bytes -------------------------------------------------------------------------------


def test_the_header_keeps_the_promises_of_a_codec() -> None:
    for cls in all_messages(t0_header):
        check_message(cls)


def test_every_byte_is_a_procedure_byte_of_the_standard_or_illegal() -> None:
    for ins in (ins for ins in range(256) if ins >> 4 not in (6, 9)):
        for byte in range(256):
            found = procedure(byte, ins)
            expected = Procedure.ILLEGAL
            if byte == 0x60:
                expected = Procedure.NULL
            elif byte >> 4 in (6, 9):
                expected = Procedure.STATUS
            elif byte in (ins, ins ^ 0xFF):
                expected = Procedure.ALL if byte == ins else Procedure.ONE
            assert found is expected, (ins, byte)


def test_the_old_form_of_an_acknowledgement_is_taken_only_where_it_is_switched_on() -> None:
    assert procedure(0xCB, 0xCA) is procedure(0x34, 0xCA) is Procedure.ILLEGAL
    assert procedure(0xCB, 0xCA, lax=True) is Procedure.ALL
    assert procedure(0x34, 0xCA, lax=True) is Procedure.ONE
    for lax, kind in ((False, Failed), (True, Answered)):
        host, clock = T0Host(T0Profile(lax_acknowledge=lax)), Clock()
        host.command(GET, 0.0)
        clock.next_frame(host)
        host.receive(b"\xcb\x66\x01\x00" + OK, clock.now)
        assert isinstance(host.events()[-1], kind)


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        ("80CA006603", False),
        ("80CB006603", True),
        ("84CA006608", True),
        ("0CB0000008", True),
        ("00B0000008", False),
        ("00C0000008", False),
        ("84C0000008", False),
        ("E4CA006608", True),
        ("80F2400202", True),
        ("A0F2000002", False),
        ("A012000002", False),
        ("A0A4000002", True),
        ("0070000001", False),
        ("8050000008", True),
    ],
)
def test_a_card_knows_which_instructions_take_data(header: str, takes: bool) -> None:  # noqa: FBT001 - one of the table
    assert takes_data(Header.parse(bytes.fromhex(header))) is takes


# ---- every APDU over both ends --------------------------------------------------------------------------------

DATA = st.binary(max_size=300)
STYLES = st.builds(
    T0Profile,
    single=st.sampled_from((0, 1, 2, 500)),
    nulls=st.integers(0, 3),
    nulls_before_status=st.integers(0, 3),
    announces=st.sampled_from(("61", "9F", "status")),
    closing_envelope=st.booleans(),
    get_response_class=st.sampled_from(("channel", "copy")),
)


@given(data=DATA, answer=st.binary(max_size=700), le=st.booleans(), profile=STYLES)
def test_any_command_is_run_once_as_it_was_and_its_answer_comes_whole(
    data: bytes, answer: bytes, *, le: bool, profile: T0Profile
) -> None:
    le = le or bool(answer)
    command = Command(0x80, 0xCB if data else 0xCA, 0, 0x66, data, 0 if le else None, len(data) > 255)
    device = Applet(answer + OK)
    assert line(device, profile).command(command.encode()) == [Answered(answer + OK)]
    ran = Command.parse(device.ran[0])
    runs = sum(raw[1] != 0xC0 for raw in device.ran)  # a GET RESPONSE that finds nothing is the device's to refuse
    assert (ran.cla, ran.ins, ran.p1, ran.p2, ran.data, runs) == (0x80, command.ins, 0, 0x66, data, 1)


@pytest.mark.parametrize("size", range(240, 270))
def test_an_envelope_never_ends_where_a_card_could_take_it_for_a_whole_command(size: int) -> None:
    for extra in (0, 255, 510):
        command = Command(0x84, 0xE2, 0, 0, bytes(size + extra), 0, extended=True)
        device = Recorder({0xE2: b"abc" + OK})
        assert line(device).command(command.encode()) == [Answered(b"abc" + OK)]
        assert device.ran == [command.encode()]


@given(st.binary(min_size=1, max_size=1200), st.integers(0, 1200))
def test_what_is_cut_joins_again_and_does_not_end_where_it_must_not(apdu: bytes, avoid: int) -> None:
    pieces = cut(apdu, avoid)
    ends = [sum(map(len, pieces[:number])) for number in range(1, len(pieces) + 1)]
    assert b"".join(pieces) == apdu
    assert all(1 <= len(piece) <= 255 for piece in pieces)
    assert avoid not in ends[:-1]


def test_an_envelope_may_be_ended_by_an_empty_one() -> None:
    command = Command(0x80, 0xE2, 0, 0, bytes(600), None, extended=True).encode()
    for ends in ("length", "empty"):
        profile = T0Profile(closing_envelope=True, envelope_ends=ends)
        device = Applet()
        assert line(device, profile).command(command) == [Answered(OK)]
        assert device.ran == [command]


def test_an_envelope_that_is_left_is_dropped() -> None:
    device, clock = Applet(), Clock()
    card = T0Card(device)
    say(card, clock, bytes.fromhex("00C20000FF"))
    assert say(card, clock, bytes.fromhex("80E290000001FF") + bytes(248)) == OK
    assert say(card, clock, GET) == b"\xca\x66\x01\x00" + OK
    assert say(card, clock, bytes.fromhex("00C2000000")) == b"\x67\x00", "an empty string is no command"


def test_too_long_a_command_in_envelopes_is_answered_6700() -> None:
    device = Applet()
    command = Command(0x80, 0xE2, 0, 0, bytes(900), None, extended=True).encode()
    assert line(device, T0Profile(max_command=500)).command(command) == [Answered(b"\x67\x00")]
    assert device.ran == []


@pytest.mark.parametrize("apdu", ["FFCA000000", "0060000000", "0090000000", "00A404", "80E290000502"])
def test_what_has_no_form_on_t0_is_not_sent(apdu: str) -> None:
    device = Applet()
    here = line(device)
    end = here.command(bytes.fromhex(apdu))[-1]
    assert isinstance(end, Failed)
    assert (end.failure, end.delivered, end.is_down) == (Failure.UNSENDABLE, False, False)
    assert here.command(STORE) == [Answered(OK)]
    assert device.ran == [STORE]


@pytest.mark.parametrize(("header", "status"), [("FFA4000000", "6e00"), ("0065000000", "6d00"), ("0095000000", "6d00")])
def test_a_card_refuses_what_t0_forbids(header: str, status: str) -> None:
    assert say(T0Card(Applet()), Clock(), bytes.fromhex(header)).hex() == status


# ---- GET RESPONSE and 6Cxx at the card ------------------------------------------------------------------------


def say(card: T0Card, clock: Clock, characters: bytes) -> bytes:
    """Give a card characters; all that it says."""
    card.receive(characters, clock.now)
    said = b""
    while (frame := clock.next_frame(card)) is not None:
        said += frame
    return said


@pytest.mark.parametrize("cla", [0x00, 0x80, 0x84, 0x04, 0x01, 0x83, 0xE0])
def test_get_response_is_taken_with_any_class(cla: int) -> None:
    card, clock = T0Card(Applet()), Clock()
    say(card, clock, bytes.fromhex("00A4040001"))
    assert say(card, clock, b"\x01") == b"\x61\x03"
    assert say(card, clock, bytes((cla, 0xC0, 0, 0, 3))) == b"\xc0\x66\x01\x00" + OK


def test_data_wait_for_the_next_command_only() -> None:
    device, clock = Applet(), Clock()
    card = T0Card(device)
    say(card, clock, bytes.fromhex("00A4040001"))
    assert say(card, clock, b"\x01") == b"\x61\x03"
    assert say(card, clock, GET) == b"\xca\x66\x01\x00" + OK
    assert say(card, clock, bytes.fromhex("00C0000003")) == b"\x6d\x00", "passed on to the device, as any other"


def test_get_response_in_pieces() -> None:
    card, clock = T0Card(Applet(bytes(range(10)) + OK)), Clock()
    say(card, clock, bytes.fromhex("00A4040001"))
    assert say(card, clock, b"\x01") == b"\x61\x0a"
    assert say(card, clock, bytes.fromhex("00C0000004")) == b"\xc0\x00\x01\x02\x03\x61\x06"
    assert say(card, clock, bytes.fromhex("00C0000000")) == b"\x6c\x06"
    assert say(card, clock, bytes.fromhex("00C0000006")) == b"\xc0\x04\x05\x06\x07\x08\x09" + OK


def test_the_repeat_after_6cxx_does_not_run_the_command_again() -> None:
    device, clock = Applet(), Clock()
    card = T0Card(device)
    assert say(card, clock, bytes.fromhex("80CA006600")) == b"\x6c\x03"
    assert say(card, clock, GET) == b"\xca\x66\x01\x00" + OK
    assert len(device.ran) == 1
    assert say(card, clock, GET) == b"\xca\x66\x01\x00" + OK
    assert len(device.ran) == 2


def test_a_le_that_is_exact_is_not_exceeded() -> None:
    command = Command(0x00, 0xA4, 4, 0, b"\x01", 4).encode()
    assert line(Applet(bytes(10) + OK)).command(command) == [Answered(bytes(4) + b"\x61\x06")]


def test_a_case_4_command_without_data_to_fetch_stays_9000() -> None:
    device = Recorder({0xE2: OK, 0xC0: b"\x69\x85"})
    assert line(device).command(STORE + b"\x00") == [Answered(OK)]
    assert device.ran == [STORE, bytes.fromhex("00C0000000")]
    device.ran.clear()
    assert line(device, T0Profile(fetch_after_ok=False)).command(STORE + b"\x00") == [Answered(OK)]
    assert device.ran == [STORE]


# ---- the host against a card that does not keep the rules -----------------------------------------------------


def ended(apdu: bytes, *said: bytes, profile: T0Profile | None = None) -> Any:
    """The end of a command at the host, for a card that says this."""
    host, clock = T0Host(profile), Clock()
    host.command(apdu, 0.0)
    for characters in said:
        clock.next_frame(host)
        host.receive(characters, clock.now)
    while clock.next_frame(host) is not None:
        pass
    return host.events()[-1]


@pytest.mark.parametrize(
    ("apdu", "said", "failure", "delivered"),
    [
        (GET, [b"\x12"], Failure.ILLEGAL, None),
        (GET, [b"\xca\x66\x01\x00\xca"], Failure.ILLEGAL, None),
        (GET, [b"\x35\x66" + OK], Failure.ILLEGAL, None),
        (STORE, [b"\x12"], Failure.ILLEGAL, False),
        (STORE, [b"\xe2", b"\xe2"], Failure.ILLEGAL, None),
        (bytes.fromhex("00440000"), [b"\x44"], Failure.ILLEGAL, None),
        (GET, [b"\xca\x66"], Failure.SILENCE, None),
        (GET, [b"\x90"], Failure.SILENCE, None),
        (STORE, [], Failure.SILENCE, False),
        (STORE, [b"\xe2"], Failure.SILENCE, None),
        (STORE, [b"\x1d"], Failure.SILENCE, False),
        (GET, [b"\x60" * 11], Failure.ENDLESS, None),
    ],
)
def test_a_card_that_breaks_the_rules_is_named(
    apdu: bytes,
    said: list[bytes],
    failure: Failure,
    delivered: bool | None,  # noqa: FBT001 - one of the table
) -> None:
    end = ended(apdu, *said, profile=T0Profile(max_nulls=10))
    assert isinstance(end, Failed)
    assert (end.failure, end.delivered, end.is_down) == (failure, delivered, True)


def test_a_card_that_announces_data_for_ever_is_stopped() -> None:
    device = Recorder({0xA4: b"\x61\x02", 0xC0: b"\x61\x02"})
    end = line(device, T0Profile(max_rounds=7)).command(bytes.fromhex("00A40400013F00"))[-1]
    assert isinstance(end, Failed)
    assert (end.failure, end.delivered) == (Failure.ENDLESS, None)


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=4), st.sampled_from([GET, STORE, STORE + b"\0"]))
def test_the_host_survives_any_characters(said: list[bytes], apdu: bytes) -> None:
    end = ended(apdu, *said)
    assert isinstance(end, Answered | Failed)


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=6))
def test_the_card_survives_any_characters(heard: list[bytes]) -> None:
    card, clock = T0Card(Applet()), Clock()
    for characters in heard:
        card.receive(characters, clock.now)
        clock.now += 0.01
        card.outgoing(clock.now)
    card.reset(clock.now)
    assert say(card, clock, GET) == b"\xca\x66\x01\x00" + OK


def test_one_command_at_a_time() -> None:
    host = T0Host()
    host.command(GET, 0.0)
    with pytest.raises(SequenceError):
        host.command(GET, 0.0)


def test_characters_that_nobody_waits_for_are_dropped() -> None:
    here = line(Applet())
    here.host.receive(OK, 0.0)
    assert here.command(GET) == [Answered(b"\x66\x01\x00" + OK)]


# ---- time and parity ------------------------------------------------------------------------------------------


def test_wt_runs_anew_at_every_character() -> None:
    host, clock = T0Host(), Clock()
    host.command(GET, 0.0)
    clock.next_frame(host)
    wait = host.profile.wait
    for byte in b"\x60\x60\xca\x66":
        host.receive(bytes((byte,)), clock.now)
        assert host.deadline() == pytest.approx(clock.now + wait)
        clock.now += wait * 0.9
        assert not host.outgoing(clock.now)
    assert host.events() == []


@pytest.mark.parametrize("times", [0.2, 1.0, 7.5])
def test_a_device_that_works_long_sends_null_bytes(times: float) -> None:
    wait = T0Profile().wait
    device = Applet()
    here = line(device, work=lambda _: times * wait)
    for apdu in (GET, STORE):
        begun = here.now
        assert isinstance(here.command(apdu)[-1], Answered)
        assert here.now - begun >= times * wait
    assert device.ran == [GET, STORE]


def test_a_header_that_stops_in_the_middle_mutes_the_card() -> None:
    card = T0Card(Applet())
    card.receive(GET[:3], 0.0)
    card.receive(GET[3:], 99.0)
    assert card.events() == [Muted("a command stopped in the middle")]
    card.receive(GET, 99.0)
    assert not card.outgoing(200.0)


@pytest.mark.parametrize("frame", [0, 1])
def test_a_character_that_stays_wrong_costs_a_reset(frame: int) -> None:
    device = Applet()
    here = line(device, None, FaultyLine([LineFault(frame, "parity", size=2)], lambda _: True))
    end = here.command(GET)[-1]
    assert isinstance(end, Failed)
    assert end.failure == (Failure.DAMAGED if frame else Failure.SILENCE)
    assert len(device.ran) == frame
    here.reset()
    assert here.command(GET) == [Answered(b"\x66\x01\x00" + OK)]
    assert Ran(GET) in here.card_events


def test_the_profile_follows_the_atr() -> None:
    found = of_atr(Atr.parse(bytes.fromhex("3BC00540" + "14")), Speed(512, 8))
    assert (found.waiting_integer, found.extra_guard) == (0x14, 5)
    assert found.wait == Speed(512, 8).waiting_time(0x14)


def test_a_line_is_an_exchange() -> None:
    there: Callable[[bytes], bytes] = LineExchange(line(Applet())).exchange
    assert there(GET) == b"\x66\x01\x00" + OK
