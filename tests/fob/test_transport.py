"""Secure sessions over T=0, T=1 and ISO 14443-4: the virtual element behind both ends of a transport."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterable
from contextlib import closing

import pytest

from keywright.errors import LinkError, SequenceError, StatusError, UsageError
from keywright.fob.open import check_link, open_link
from keywright.fob.transport import TRANSPORTS, TransportLink, over
from keywright.globalplatform.host import card_state, get_status, identify, put_keys, secured
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.atr import Atr
from keywright.iso7816.iso14443 import Iso14443Reader
from keywright.iso7816.layers import sized, transmit
from keywright.iso7816.line import Arrival, Channel, Sender, clean
from keywright.iso7816.line_faults import FaultyLine, LineFault
from keywright.iso7816.t0 import T0Card, T0Host
from keywright.iso7816.t1 import T1Host
from keywright.iso7816.t1.block import Invalid, read
from keywright.link import base
from keywright.production.readiness import check_lot_link
from keywright.sansio.dialogue import drive, through
from keywright.scp.scp03 import HostChannel, KeySet, open_channel
from support.blocks import FCI, Recorder
from support.cards import ECHO_AID, HOST_CHALLENGE, OWN, EchoApplet, element

ALL = pytest.mark.parametrize("transport", TRANSPORTS)
LEVELS = pytest.mark.parametrize("level", [0x00, 0x01, 0x03, 0x11, 0x13, 0x33])
SELECT_ECHO = Command(0x00, 0xA4, 0x04, 0x00, ECHO_AID, 0)


def link_over(transport: str, channel: Channel = clean) -> TransportLink:
    return over(element(applets=[EchoApplet()], kvn=0x30), transport, channel)


def opened(link: base.Exchange, level: int = 0x33) -> HostChannel:
    return drive(open_channel(KeySet.gp_test(), HOST_CHALLENGE, level=level), transmit(link))


def one(command: Command) -> Generator[Command, Response, Response]:
    return (yield command)


def exchange(link: base.Exchange, session: HostChannel, command: Command) -> Response:
    """One command under a session; its size is chosen above secure messaging, as everywhere."""
    command = sized(command, extended=link.extended, room=session.max_data)
    return drive(through(one(command), session.secure), transmit(link))


@ALL
def test_a_link_over_a_transport_is_a_link(transport: str) -> None:
    with closing(open_link(f"sim:fob?transport={transport}")) as link:
        assert isinstance(link, base.Exchange)
        assert Atr.parse(link.atr).faults() == ()
        assert link.reset() == link.atr
        assert drive(identify(), transmit(link)).uid
        assert link.extended is (transport != "t0")
    with pytest.raises(LinkError):
        link.exchange(bytes(4))


@pytest.mark.parametrize(
    ("transport", "protocols", "crc"),
    [
        ("t0", (0,), False),
        ("t1", (1,), False),
        ("t1-crc", (1,), True),
        ("nfc-a", (0, 1), False),
        ("nfc-b", (0, 1), False),
    ],
)
def test_the_atr_names_the_transport(transport: str, protocols: tuple[int, ...], *, crc: bool) -> None:
    found = Atr.parse(link_over(transport).atr)
    assert found.protocols == protocols
    assert found.t1.crc is crc
    assert found.t1.ifsc == (254 if transport.startswith("t1") else 32)


@ALL
@LEVELS
def test_a_session_runs_over_every_transport(transport: str, level: int) -> None:
    link = link_over(transport)
    send = transmit(link)
    session = opened(link, level)
    assert drive(secured(session, card_state()), send) == 0x01
    assert drive(secured(session, get_status(0x80)), send)
    if level:
        drive(secured(session, put_keys(session, OWN, kvn=0x31)), send)
        drive(open_channel(OWN, HOST_CHALLENGE, kvn=0x31, level=level), send)
    assert session.is_open


@ALL
@LEVELS
@pytest.mark.parametrize("size", [0, 1, 200, 255, 256, 700, 3000])
def test_long_commands_and_long_answers_come_through_whole(transport: str, level: int, size: int) -> None:
    """T=0 chains by the class byte and fetches by 61xx, T=1 and 14443-4 chain blocks."""
    link = link_over(transport)
    transmit(link)(SELECT_ECHO)
    session = opened(link, level)
    data = bytes(range(256)) * (size // 256 + 1)
    echoed = exchange(link, session, Command(0x80, 0x10, 0, 0, data[:size], 0))
    assert echoed == Response(b"\x80" + data[:size])
    zeros = exchange(link, session, Command(0x80, 0x18, size >> 8, size & 0xFF, b"", 0))
    assert zeros == Response(bytes(size))


@ALL
def test_a_frame_is_never_larger_than_agreed(transport: str) -> None:
    largest = {"host": 0, "card": 0}

    def watch(sender: Sender, frame: bytes) -> Iterable[Arrival]:
        largest[sender] = max(largest[sender], len(frame))
        return (Arrival(frame),)

    link = link_over(transport, watch)
    transmit(link)(SELECT_ECHO)
    transmit(link)(Command(0x80, 0x10, 0, 0, bytes(2000), 0))
    if transport != "t0":
        assert largest == {"host": 256, "card": 256} if "nfc" in transport else max(largest.values()) <= 259
    else:
        assert largest["host"] <= 255


# ---- T=0 ------------------------------------------------------------------------------------------------------


def test_t0_puts_61xx_and_6cxx_out_of_sight() -> None:
    sent: list[tuple[Sender, bytes]] = []

    def watch(sender: Sender, frame: bytes) -> Iterable[Arrival]:
        sent.append((sender, frame))
        return (Arrival(frame),)

    link = link_over("t0", watch)
    fci = link.exchange(SELECT_ECHO.encode())
    assert fci[-2:] == b"\x90\x00"
    assert ("host", b"\x00\xc0\x00\x00" + bytes((len(fci) - 2,))) in sent
    cplc = link.exchange(bytes.fromhex("00A4040000")) and link.exchange(bytes.fromhex("80CA9F7F00"))
    assert len(cplc) == 47
    assert ("card", b"\x6c\x2d") in sent
    assert ("host", bytes.fromhex("80CA9F7F2D")) in sent


def test_t0_carries_extended_length_in_envelopes_where_the_caller_asks_for_it() -> None:
    link = link_over("t0")
    link.extended = True
    transmit(link)(SELECT_ECHO)
    session = opened(link)
    for size in (245, 248, 255, 400, 501, 2000):
        data = bytes(size)
        assert exchange(link, session, Command(0x80, 0x10, 0, 0, data, 0, True)) == Response(b"\x80" + data)


# ---- what goes wrong ------------------------------------------------------------------------------------------


def silent_after(frames: int, count: int) -> FaultyLine:
    return FaultyLine([LineFault(frames + number, "lose") for number in range(count)], lambda _: True)


@pytest.mark.parametrize("transport", ["t1", "t1-crc"])
def test_a_resynch_ends_the_secure_session(transport: str) -> None:
    link = link_over(transport)
    session = opened(link)
    link.line.channel = silent_after(1, 5)
    with pytest.raises(LinkError, match="resynchronised") as raised:
        exchange(link, session, Command(0x80, 0xF2, 0x80, 0x02, b"\x4f\x00", 0))
    assert raised.value.delivered is None
    assert "new secure session" in raised.value.hint
    assert not session.is_open
    with pytest.raises(SequenceError):
        session.wrap(Command(0x80, 0xF2, 0x80, 0x02, b"\x4f\x00", 0))
    assert drive(secured(opened(link), card_state()), transmit(link)) == 0x01, "the card itself goes on"


@pytest.mark.parametrize("transport", ["t1", "nfc-a"])
def test_a_repeated_command_after_resynch_is_never_called_an_answer(transport: str) -> None:
    link = link_over(transport)
    if isinstance(link.line.host, T1Host):
        link.line.host.profile = type(link.line.host.profile)(after_resynch="repeat")
        link.line.channel = silent_after(1, 5)
        with pytest.raises(LinkError, match="sent again"):
            link.exchange(bytes.fromhex("80CA9F7F00"))
    assert link.exchange(bytes.fromhex("80CA9F7F00"))[-2:] == b"\x90\x00"


@ALL
def test_a_card_that_is_lost_closes_the_session_and_comes_back_after_a_reset(transport: str) -> None:
    link = link_over(transport)
    session = opened(link)
    link.line.channel = silent_after(0 if transport != "t0" else 2, 1000)
    with pytest.raises(LinkError) as raised:
        exchange(link, session, Command(0x80, 0xF2, 0x80, 0x02, b"\x4f\x00", 0))
    assert raised.value.delivered is None
    assert raised.value.hint == "reset the card"
    assert not session.is_open
    with pytest.raises(LinkError) as raised:
        link.exchange(bytes.fromhex("80CA9F7F00"))
    assert raised.value.delivered is False
    link.line.channel = clean
    assert link.reset() == link.atr
    with pytest.raises(StatusError):
        drive(get_status(0x80), transmit(link))
    assert drive(secured(opened(link), card_state()), transmit(link)) == 0x01


@pytest.mark.parametrize("transport", ["t1", "t1-crc", "nfc-a", "nfc-b"])
@pytest.mark.parametrize("kind", ["lose", "cut", "flip", "double", "parity"])
def test_a_session_survives_any_single_fault_of_blocks(transport: str, kind: str) -> None:
    for frame in range(0, 18, 3):
        link = link_over(transport)
        session = opened(link)
        fault = LineFault(frame, kind, bits=(11,), size=2)  # type: ignore[arg-type]  # one of the kinds
        link.line.channel = FaultyLine([fault], lambda _: True)
        for _ in range(6):
            assert drive(secured(session, card_state()), transmit(link)) == 0x01


def notices(link: TransportLink) -> Callable[[bytes], bool]:
    """Whether the ends of a link can tell that a frame is damaged; damage that they cannot is another matter."""
    host = link.line.host
    if isinstance(host, T1Host):
        code = host.profile.code
        return lambda frame: isinstance(read(frame, code, 254), Invalid)
    assert isinstance(host, Iso14443Reader)
    air = host.profile.code
    return lambda frame: not air.holds(frame)


@pytest.mark.parametrize("transport", ["t1", "t1-crc", "nfc-a", "nfc-b"])
def test_on_a_bad_line_a_session_is_right_or_closed_and_never_wrong(transport: str) -> None:
    closed = 0
    for seed in range(40):
        draw = random.Random(seed)
        link = link_over(transport)
        session = opened(link)
        kinds = draw.choices(["lose", "cut", "flip", "double", "late"], k=12)
        first = draw.randrange(0, 8)
        plan = [
            LineFault(first + number, kind, bits=(draw.randrange(400),), size=2, seconds=draw.choice((0.1, 9.0)))  # type: ignore[arg-type]  # one of the kinds
            for number, kind in enumerate(kinds)
            if draw.random() < 0.7
        ]
        link.line.channel = FaultyLine(plan, notices(link))
        try:
            for _ in range(8):
                assert drive(secured(session, card_state()), transmit(link)) == 0x01
        except LinkError:
            closed += 1
            assert not session.is_open
            link.line.channel = clean
            link.reset()
            assert drive(secured(opened(link), card_state()), transmit(link)) == 0x01
    assert 0 < closed < 40


def test_a_card_that_cannot_be_activated_is_a_link_error() -> None:
    for transport in TRANSPORTS:
        if transport == "t0":
            continue
        with pytest.raises(LinkError, match="cannot be reached") as raised:
            link_over(transport, lambda *_: ())
        assert raised.value.delivered is False


def test_a_command_that_t0_cannot_carry_is_not_sent() -> None:
    link = link_over("t0")
    for command in ("FFCA000000", "0060000000", "00A40400"[:6]):
        with pytest.raises(LinkError) as raised:
            link.exchange(bytes.fromhex(command))
        assert raised.value.delivered is False
    assert link.exchange(bytes.fromhex("80CA9F7F00"))[-2:] == b"\x90\x00"


def test_a_device_without_an_atr_is_reached_too() -> None:
    for transport in TRANSPORTS:
        with closing(over(Recorder(), transport)) as link:
            assert link.exchange(bytes.fromhex("00A4040008A00000015100000000")) == FCI
        with pytest.raises(LinkError, match="closed"):
            link.reset()


def test_the_ends_of_a_t0_link_are_those_of_t0() -> None:
    line = link_over("t0").line
    assert isinstance(line.host, T0Host)
    assert isinstance(line.card, T0Card)


@pytest.mark.parametrize("uri", ["sim:element?transport=t2", "sim:fob?transport=T1"])
def test_an_unknown_transport_is_refused(uri: str) -> None:
    with pytest.raises(UsageError, match="no transport") as raised:
        open_link(uri)
    assert "t1-crc" in raised.value.hint
    with pytest.raises(UsageError):
        check_link(uri)
    with pytest.raises(ValueError):
        over(element(), "t2")


def test_a_lot_does_not_take_a_transport_and_drop_it() -> None:
    check_lot_link("sim:fob")
    with pytest.raises(UsageError, match="whole APDUs"):
        check_lot_link("sim:fob?transport=t1")
