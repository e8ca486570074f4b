"""The secure channel: opening it, wrapping one command, and both ends at once."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Final

from bench.bare import BareCmac, BareEnd, BareSession, exchange, open_both, open_host
from bench.figures import Figure, micro
from bench.foreign import ForeignHost
from bench.measure import Contender, Race, race
from keywright.element import SecureElement
from keywright.element.applet import Context
from keywright.globalplatform.messages import DEFAULT_ISD
from keywright.iso7816.apdu import Command, Response
from keywright.sansio.dialogue import drive, through
from keywright.scp.scp03 import HostChannel, KeySet, open_channel
from keywright.scp.scp03.keys import GP_TEST_KEY

KEYS: Final = (GP_TEST_KEY, GP_TEST_KEY, GP_TEST_KEY)
CHALLENGE: Final = bytes.fromhex("0102030405060708")
KVN: Final = 0xFF
ECHO_AID: Final = bytes.fromhex("F06B65797772696768744543484F")
WRAP_BYTES: Final = 239
TRIP_BYTES: Final = 230
OK: Final = b"\x90\x00"


class Echo:
    """An applet that answers with what it was sent."""

    aid = ECHO_AID

    def select(self, context: Context) -> bytes:
        """No file control information."""
        del context
        return b""

    def process(self, command: Command, context: Context) -> Response:
        """The same bytes."""
        del context
        return Response(command.data)


def figures() -> list[Figure]:
    """Every row about the channel."""
    return [*_opening(), *_wrapping(), *_both_ends()]


def _opening() -> list[Figure]:
    element = SecureElement()
    dialogue = open_channel(KeySet.gp_test(), CHALLENGE, kvn=KVN)
    answer = Response.parse(element.handle(next(dialogue).encode()))
    header = dialogue.send(answer).encode()[:5]
    keys = KeySet.gp_test()
    foreign = ForeignHost(KEYS, KVN, CHALLENGE, answer.data)
    end = BareEnd(GP_TEST_KEY, GP_TEST_KEY)
    card_challenge, cryptogram = answer.data[13:21], answer.data[21:29]

    def ours() -> None:
        opening = open_channel(keys, CHALLENGE, kvn=KVN)
        next(opening)
        opening.send(answer)
        opening.close()

    found = race(
        [
            Contender("keywright", ours),
            Contender("yubikit", foreign.open),
            Contender("bare", lambda: open_host(end, CHALLENGE, card_challenge, cryptogram, header)),
        ]
    )
    what = "session open, host side"
    return [_against(what, found, "yubikit", 2.0), _against(what, found, "bare", None)]


def _wrapping() -> list[Figure]:
    data = bytes(range(WRAP_BYTES))
    command = Command(0x80, 0xE2, 0x00, 0x00, data)
    ours = _opened(SecureElement(), 0x03)
    foreign = ForeignHost(KEYS, KVN, CHALLENGE, _answer()).open()
    bare = BareSession(GP_TEST_KEY, BareCmac(GP_TEST_KEY), GP_TEST_KEY)
    header, padded = bytes.fromhex("84E20000F8"), data + b"\x80"
    found = race(
        [
            Contender("keywright", lambda: ours.wrap(command)),
            Contender("yubikit", lambda: foreign.send_apdu(0x80, 0xE2, 0, 0, data, 0)),
            Contender("bare", lambda: bare.seal_command(header, padded)),
        ]
    )
    what = f"wrap of {WRAP_BYTES} bytes, C-MAC and C-DEC"
    return [_against(what, found, "yubikit", 3.0), _against(what, found, "bare", 1.0)]


def _both_ends() -> list[Figure]:
    host, card = BareEnd(GP_TEST_KEY, GP_TEST_KEY), BareEnd(GP_TEST_KEY, GP_TEST_KEY)
    header = bytes.fromhex("8482330010")
    opens = race(
        [
            Contender("keywright", _session_opener()),
            Contender("bare", lambda: open_both(host, card, CHALLENGE, b"\0\0\1", DEFAULT_ISD, header)),
        ]
    )
    trips = race([Contender("keywright", _round_trip()), Contender("bare", _bare_round_trip())])
    return [
        _against("session open, both ends", opens, "bare", 0.35, percent=True),
        _against(f"round trip of {TRIP_BYTES} bytes, level 33, both ends", trips, "bare", 0.35, percent=True),
    ]


def _session_opener() -> Callable[[], object]:
    element, keys = SecureElement(), KeySet.gp_test()

    def exchanged(command: Command) -> Response:
        return Response.parse(element.handle(command.encode()))

    return lambda: drive(open_channel(keys, CHALLENGE, kvn=KVN), exchanged)


def _round_trip() -> Callable[[], object]:
    element = SecureElement(applets=[Echo()])
    element.handle(Command(0x00, 0xA4, 0x04, 0x00, ECHO_AID, 0).encode())
    channel = _opened(element, 0x33)
    command = Command(0x80, 0xE2, 0x00, 0x00, bytes(range(TRIP_BYTES)), 0)

    def exchanged(wrapped: Command) -> Response:
        return Response.parse(element.handle(wrapped.encode()))

    def trip() -> None:
        answer = drive(through(_once(command), channel.secure), exchanged)
        if answer.data != command.data:
            raise AssertionError("the echo is not what was sent")

    return trip


def _once(command: Command) -> Generator[Command, Response, Response]:
    return (yield command)


def _bare_round_trip() -> Callable[[], object]:
    host, card = (BareSession(GP_TEST_KEY, BareCmac(GP_TEST_KEY), GP_TEST_KEY) for _ in range(2))
    header, padded = bytes.fromhex("84E20000F8"), bytes(range(TRIP_BYTES)) + b"\x80" + bytes(9)
    return lambda: exchange(host, card, header, padded, OK)


def _opened(element: SecureElement, level: int) -> HostChannel:
    def exchanged(command: Command) -> Response:
        return Response.parse(element.handle(command.encode()))

    return drive(open_channel(KeySet.gp_test(), CHALLENGE, kvn=KVN, level=level), exchanged)


def _answer() -> bytes:
    """Data of an element's answer to INITIALIZE UPDATE."""
    return SecureElement().handle(bytes((0x80, 0x50, KVN, 0x00, 8)) + CHALLENGE + b"\0")[:-2]


def _against(what: str, found: Race, other: str, target: float | None, *, percent: bool = False) -> Figure:
    ratio = found.speed("keywright", other)
    ours, theirs = (micro(found.median(name)) for name in ("keywright", other))
    value, form = (ratio * 100, "{:.0f} %") if percent else (ratio, "{:.2f} x")
    goal = target * 100 if percent and target is not None else target
    return Figure(what, ours, f"{other} {theirs}", value, goal, form=form)
