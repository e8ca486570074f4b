"""`keywright uwb uci`: simulated UWB subsystems for hosts to use, and a host for whatever speaks UCI over TCP."""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Annotated, Final, TypeAlias

import typer

from keywright.cli.options import Json
from keywright.cli.text import note, pairs, say, show_json
from keywright.codec.hexa import tohex, unhex
from keywright.errors import DecodeError, LinkError, UsageError
from keywright.fob.uci import DEFAULT_PORT, UciConnection, UciServer, connected
from keywright.fob.uri import parse_uri
from keywright.uwb.air import Position
from keywright.uwb.uci.codes import STATES, STATUSES, Status
from keywright.uwb.uci.host import begin, capabilities, end, identify, ranging_parameters
from keywright.uwb.uci.messages import (
    ExtendedMeasurement,
    GenericErrorNtf,
    SessionInfoNtf,
    SessionStatusNtf,
    ShortMeasurement,
    UciNotification,
)
from keywright.uwb.uci.scene import Outcome
from keywright.uwb.uci.subsystem import Ranged, Started, Stopped, UciEvent

app = typer.Typer(rich_markup_mode=None)
_verbs = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(_verbs, name="uci", help="UWB subsystems that speak UCI over TCP.")

DEFAULT_LINK: Final = f"tcp:127.0.0.1:{DEFAULT_PORT}"
_LATE_INTERVALS: Final = 5
_LEAST_WAIT_S: Final = 2.0

Link: TypeAlias = Annotated[str, typer.Option("--link", metavar="tcp:HOST:PORT", help="Where UCI is spoken.")]
Address: TypeAlias = Annotated[
    str, typer.Option("--address", metavar="HEX", help="MAC address of this end, as on the wire: 2 octets or 8.")
]


@_verbs.command()
def serve(
    *,
    link: Link = DEFAULT_LINK,
    anchor: Annotated[
        list[str], typer.Option("--anchor", metavar="HEX@X,Y,Z", help="Somebody who always answers, metres away.")
    ] = [],  # noqa: B006 - typer copies it
    place: Annotated[
        list[str], typer.Option("--place", metavar="HEX@X,Y,Z", help="Where the host with this MAC address is.")
    ] = [],  # noqa: B006 - as above
    loss: Annotated[int, typer.Option("--loss", metavar="PERCENT", min=0, max=100, help="Packets that get lost.")] = 0,
    json: Json = False,
) -> None:
    """Be a UWB subsystem for every host that connects, until Ctrl-C.

    Hosts in the same session range with each other and with the anchors. All are at the origin unless placed.

    Example: keywright uwb uci serve --anchor 0200@3,4,0
    """
    host, port = _address_of(link)
    anchors = dict(map(_placed, anchor))
    places = {**anchors, **dict(map(_placed, place))}
    with ExitStack() as stack:
        server = UciServer(host, port, places=places, anchors=tuple(anchors), loss=loss / 100)
        stack.enter_context(closing(server))
        stopped: list[bool] = []
        stack.enter_context(_stopped_by_signal(lambda: stopped.append(True)))
        _ready(f"tcp:{host}:{server.port}", as_json=json)
        for event in server.run(lambda: bool(stopped)):
            _tell(event, as_json=json)


@_verbs.command()
def info(*, link: Link = DEFAULT_LINK, json: Json = False) -> None:
    """Reset a subsystem and say what it is.

    Example: keywright uwb uci info --link tcp:127.0.0.1:7000
    """
    with connected(*_address_of(link)) as connection:
        found = connection.run(identify())
        caps = connection.run(capabilities()).capabilities
    versions = {
        "uci": _version(found.uci_version),
        "mac": _version(found.mac_version),
        "phy": _version(found.phy_version),
        "test": _version(found.test_version),
    }
    if json:
        known = {f"{one.id:02X}": tohex(one.value) for one in caps}
        show_json({"versions": versions, "vendor": tohex(found.vendor), "capabilities": known})
        return
    for line in pairs([(f"{name} version", version) for name, version in versions.items()]):
        say(line)
    for line in pairs([(f"capability {one.id:02X}", tohex(one.value)) for one in caps]):
        say(line)


@_verbs.command("range")
def range_(
    *,
    link: Link = DEFAULT_LINK,
    address: Address = "0100",
    peer: Annotated[list[str], typer.Option("--peer", metavar="HEX", help="MAC address of another end; up to 8.")],
    session: Annotated[int, typer.Option("--session", metavar="N", min=0, max=0xFFFFFFFF, help="Session id.")] = 1,
    role: Annotated[str, typer.Option("--role", metavar="initiator|responder", help="What this end is.")] = "initiator",
    interval: Annotated[int, typer.Option("--interval", metavar="MS", min=1, max=60_000, help="Between rounds.")] = 200,
    count: Annotated[int, typer.Option("--count", metavar="N", min=1, max=1_000_000, help="Rounds.")] = 5,
    channel: Annotated[int, typer.Option("--channel", metavar="N", help="UWB channel, 5 or 9 mostly.")] = 9,
    json: Json = False,
) -> None:
    """Let a subsystem range with others, and tell the distances.

    Example: keywright uwb uci range --peer 0200 --count 3
    """
    if role not in {"initiator", "responder"}:
        raise UsageError(f"--role {role}: neither initiator nor responder")
    own, peers = _mac(address), [_mac(one) for one in peer]
    try:
        parameters = ranging_parameters(
            own, peers, initiator=role == "initiator", interval_ms=interval, channel=channel & 0xFF
        )
    except ValueError as error:
        raise UsageError(str(error), hint="for example --address 0100 --peer 0200") from error
    with connected(*_address_of(link)) as connection:
        connection.run(identify())
        token = connection.run(begin(session, parameters))
        for notice in _rounds(connection, token, count, max(_LEAST_WAIT_S, _LATE_INTERVALS * interval / 1000)):
            _show(notice, as_json=json)
        connection.run(end(token))


def _rounds(connection: UciConnection, session: int, count: int, wait_s: float) -> Iterator[SessionInfoNtf]:
    """The next rounds of a session. Raises LinkError if none comes for so long, or the session ends by itself."""
    until = time.monotonic() + wait_s
    while count:
        notice = connection.notification(max(0.0, until - time.monotonic()))
        match notice:
            case SessionInfoNtf() if notice.session == session:
                count -= 1
                until = time.monotonic() + wait_s
                yield notice
            case None:
                raise LinkError(
                    f"no ranging round within {wait_s:.0f} s", delivered=True, hint="is the session active?"
                )
            case _:
                _remark(notice)


def _remark(notice: UciNotification) -> None:
    match notice:
        case SessionStatusNtf():
            note(f"session {notice.session:08X}: {STATES.get(notice.state, notice.state)} (reason {notice.reason:02X})")
        case GenericErrorNtf():
            note(f"the subsystem reports: {STATUSES.get(notice.status, notice.status)}")


def _show(notice: SessionInfoNtf, *, as_json: bool) -> None:
    for one in notice.measurements():
        if as_json:
            show_json({"round": notice.sequence, **_measured(one)})
        else:
            found = (
                f"{_distance(one):.2f} m"
                if _has_distance(one)
                else STATUSES.get(one.status, f"status {one.status:02X}")
            )
            say(f"{notice.sequence:6}  {tohex(one.address)}  {found}")
    sys.stdout.flush()


def _measured(one: ShortMeasurement | ExtendedMeasurement) -> dict[str, object]:
    distance = _distance(one) if _has_distance(one) else None
    return {"peer": tohex(one.address), "status": one.status, "metres": distance}


def _has_distance(one: ShortMeasurement | ExtendedMeasurement) -> bool:
    return one.status in (Status.OK, Status.OK_NEGATIVE_DISTANCE)


def _distance(one: ShortMeasurement | ExtendedMeasurement) -> float:
    metres = one.distance_cm / 100
    return -metres if one.status == Status.OK_NEGATIVE_DISTANCE else metres


def _ready(link: str, *, as_json: bool) -> None:
    if as_json:
        show_json({"ready": link})
    else:
        say(f"ready: {link}")
        note("Ctrl-C ends it")
    sys.stdout.flush()


def _tell(event: UciEvent, *, as_json: bool) -> None:
    said = {Started: "started", Stopped: "stopped", Ranged: "ranged"}[type(event)]
    outcomes = event.outcomes if isinstance(event, Ranged) else ()
    if as_json:
        document: dict[str, object] = {said: f"{event.session_id:08X}"}
        if outcomes:
            document["metres"] = {tohex(one.address): one.metres for one in outcomes}
        show_json(document)
    else:
        words = ", ".join(map(_outcome, outcomes))
        say(f"session {event.session_id:08X} {said}" + (f": {words}" if words else ""))
    sys.stdout.flush()


def _outcome(one: Outcome) -> str:
    return f"{tohex(one.address)} " + ("not there" if one.metres is None else f"{one.metres:.2f} m")


def _version(number: int) -> str:
    """A version as UCI writes it: the major in the low octet, minor and maintenance as digits of the high one."""
    return f"{number & 0xFF}.{number >> 12}.{number >> 8 & 0xF}"


def _address_of(link: str) -> tuple[str, int]:
    uri = parse_uri(link)
    if uri.scheme != "tcp":
        raise UsageError(f"{link}: UCI is spoken over TCP", hint=f"for example --link {DEFAULT_LINK}")
    return uri.address()


def _mac(text: str) -> bytes:
    try:
        octets = unhex(text.replace(":", ""), "MAC address")
    except DecodeError:
        octets = b""
    if len(octets) not in (2, 8):
        raise UsageError(f"{text}: a MAC address has 2 octets or 8, in hex", hint="for example 0200")
    return octets


def _placed(text: str) -> tuple[bytes, Position]:
    address, _, where = text.partition("@")
    try:
        x, y, z = map(float, where.split(","))
    except ValueError:
        x = y = z = math.nan
    if not all(map(math.isfinite, (x, y, z))):
        raise UsageError(f"{text}: this needs HEX@X,Y,Z in metres", hint="for example 0200@3,4,0")
    return _mac(address), (x, y, z)


@contextmanager
def _stopped_by_signal(stop: Callable[[], object]) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the turn, not the process in the middle of an answer."""
    before = {number: signal.signal(number, lambda *_: stop()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
