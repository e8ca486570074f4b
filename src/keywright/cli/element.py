"""`keywright element`: make, serve and look at the virtual secure element."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, final

import typer

from keywright.cli.applets import Applets, Modules, applets, factories
from keywright.cli.card.facts import document, read_card, sections
from keywright.cli.keyfile import GP_TEST, static_keys
from keywright.cli.links import trace_sink
from keywright.cli.options import Json, Trace
from keywright.cli.text import heading, note, pairs, say, show_json
from keywright.codec.hexa import unhex
from keywright.element.recording_applet import Recorded
from keywright.errors import DecodeError, StoreError, UsageError
from keywright.fob.open import ELEMENT, NO_CODE, UICC, Code, SimulatedLink, open_server, open_simulated
from keywright.fob.profiles import card_profile
from keywright.fob.uri import SIMULATED, Uri
from keywright.globalplatform import names
from keywright.globalplatform.profile import YUBIKEY, CardProfile
from keywright.iso7816.layers import transmit
from keywright.link.trace import Event
from keywright.sansio.dialogue import drive
from keywright.scp.scp03.messages import SCP03
from keywright.scp.scp11.messages import SCP11

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

DEFAULT_NAME: Final = "default"
DEFAULT_LINK: Final = "vpcd:127.0.0.1:35963"

Memory = Annotated[Path | None, typer.Option("--memory", metavar="FILE", help="Where it keeps its memory.")]
Protocols = Annotated[
    list[str] | None,
    typer.Option("--scp", metavar="NN:I", help="A protocol it offers beside SCP03, with its i; may be repeated."),
]
Resets = Annotated[
    bool | None,
    typer.Option("--resets/--no-resets", help="Blocking every key brings its first keys back, as with a YubiKey."),
]
Fob = Annotated[str, typer.Option("--fob", metavar="SERIAL", help="The simulated key fob of this serial.")]


@app.command()
def new(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to make.")],
    *,
    kvn: Annotated[str, typer.Option("--kvn", metavar="HEX", help="Version number of its first keys.")] = "FF",
    key_file: Annotated[
        str, typer.Option("--key-file", metavar="FILE|gp-test", help="Its first keys: a key file, or the test keys.")
    ] = GP_TEST,
    i: Annotated[str, typer.Option("--i", metavar="HEX", help="SCP03 options.")] = "70",
    aid: Annotated[str, typer.Option("--aid", metavar="HEX", help="AID of its security domain.")] = "A000000151000000",
    kdd: Annotated[str, typer.Option("--kdd", metavar="HEX", help="Key diversification data, 10 bytes.")] = "00" * 10,
    stay: Annotated[bool, typer.Option("--initial-keys-stay", help="Keep key set FF beside the owner's.")] = False,
    try_limit: Annotated[
        int | None, typer.Option("--try-limit", metavar="N", help="Wrong tries in a row that block a key set.")
    ] = None,
    scp: Protocols = None,
    applet: Applets = None,
    resets: Resets = None,
    profile: Annotated[
        str, typer.Option("--profile", metavar="NAME|FILE", help="The kind of card it is; kept in its memory.")
    ] = "",
    atr: Annotated[
        str,
        typer.Option("--atr", metavar="HEX", help="Its answer to reset; 3B00 is a card of T=0 alone, as pySim wants."),
    ] = "",
    json: Json = False,
) -> None:
    """Make the memory of a new secure element. Keys never stand on the command line: give a key file.

    The profile yubikey brings SCP11 as a YubiKey offers it (11:9B06) and --resets, unless told otherwise.
    Its applications are Python classes: memory keeps their AIDs alone, so give --applet to `serve` again.

    Example: keywright element new my.element --scp 02:55 --scp 11:9B06 --applet my_applets:Wallet
    """
    from keywright.element.open import DEFAULT_ATR, SecureElement  # noqa: PLC0415 - after the arguments are known good

    if file.exists():
        raise StoreError(f"{file}: already there; an element is never overwritten", hint="give another path")
    given, code = static_keys(key_file), applets(applet)
    options, kind = _byte(i, "--i"), card_profile(profile) if profile else None
    offered = _offered(scp, kind)
    version = given.kvn or _byte(kvn, "--kvn")
    try:
        with SecureElement(
            path=str(file),
            kvn=version,
            keys=given.keys,
            i=options,
            isd_aid=unhex(aid, "--aid"),
            kdd=unhex(kdd, "--kdd"),
            initial_keys_stay=stay,
            try_limit=try_limit,
            protocols=offered,
            applets=code,
            resets=_is_yubikey(kind) if resets is None else resets,
            profile=kind,
            rng=os.urandom,
            atr=unhex(atr, "--atr") if atr else DEFAULT_ATR,
        ) as made:
            answer_to_reset = made.atr.hex().upper()
    except ValueError as error:
        if isinstance(error, DecodeError):
            raise
        raise UsageError(str(error)) from error
    is_test = key_file == GP_TEST
    if json:
        facts = {
            "file": str(file),
            "aid": aid.upper(),
            "kvn": f"{version:02X}",
            "i": f"{options:02X}",
            "test_keys": is_test,
            "protocols": [f"{number:02X}:{bits:02X}" for number, bits in offered],
            "profile": profile or DEFAULT_NAME,
            "applets": [one.aid.hex().upper() for one in code],
            "atr": answer_to_reset,
        }
        show_json(facts)
    else:
        say(f"made {file}: element {aid.upper()}, KVN {version:02X}, {names.secure_channel(SCP03, options)}")
        _say_how_to_go_on(file, is_test=is_test)


def _say_how_to_go_on(file: Path, *, is_test: bool) -> None:
    if is_test:
        say("  with the public test keys 40..4F")
    say(f"  serve it: keywright element serve --memory {file}")
    say(f"  use it:   keywright card info --link 'sim:element?memory={file}'")


def _is_yubikey(profile: CardProfile | None) -> bool:
    """Whether a profile offers SCP11 as a YubiKey does, by name or as the base of a file."""
    return profile is not None and profile.scp11.i == YUBIKEY.scp11.i


def _offered(scp: list[str] | None, profile: CardProfile | None) -> list[tuple[int, int]]:
    """What --scp says; without it, SCP11 where the profile is that of a YubiKey's."""
    if scp is None and _is_yubikey(profile):
        return [(SCP11, YUBIKEY.scp11.i)]
    return [_protocol(text) for text in scp or ()]


def _protocol(text: str) -> tuple[int, int]:
    """Protocol number and "i" of --scp."""
    number, colon, bits = text.partition(":")
    if not colon:
        raise UsageError(f"--scp {text}: protocol and i are due", hint="for example 02:55 or 11:9B06")
    i = unhex(bits, "--scp")
    if not 1 <= len(i) <= 2:
        raise UsageError(f"--scp {text}: i has one byte or two")
    return _byte(number, "--scp"), int.from_bytes(i)


def _byte(text: str, what: str) -> int:
    data = unhex(text, what)
    if len(data) != 1:
        raise UsageError(f"{what}: one byte in hex is due, not {text!r}")
    return data[0]


@app.command()
def serve(
    *,
    link: Annotated[
        str,
        typer.Option(
            "--link", metavar="URI", help="Where: vpcd:HOST:PORT, vpcd+connect:HOST:PORT, tcp:HOST:PORT, ble:."
        ),
    ] = DEFAULT_LINK,
    memory: Memory = None,
    fob: Fob = "",
    uicc: Annotated[bool, typer.Option("--uicc", help="As a UICC, which takes packets over the air, too.")] = False,
    second: Annotated[
        Path | None, typer.Option("--second", metavar="FILE", help="Memory of an element in the second slot of vpcd.")
    ] = None,
    applet: Applets = None,
    module: Modules = None,
    json: Json = False,
    trace: Trace = None,
) -> None:
    """Serve a secure element until Ctrl-C, as a card in the virtual reader or over TCP, on this machine only.

    Says so on standard output when it can be reached. Without --memory it forgets everything at the end. The virtual
    reader has two slots; the second one is empty unless --second names an element for it.

    Example: keywright element serve --memory my.element --applet my_applets:Wallet
    """
    with ExitStack() as stack:
        code = Code(applets(applet), factories(module))
        device = stack.enter_context(closing(_opened(memory, fob, code, uicc=uicc)))
        sink = stack.enter_context(trace_sink(trace, full=True)) if trace is not None else None
        served = [_Served(device, sink)]
        if second is not None:
            served.append(_Served(stack.enter_context(closing(_opened(second, "", code))), sink))
        server = open_server(link, *served)
        stack.callback(server.close)

        def ready(where: str) -> None:
            if json:
                memories = {"memory": _path(memory), "second": _path(second)}
                show_json({"ready": where, "pid": os.getpid(), **memories})
            else:
                say(f"ready: {where}  {device.name}" + (f", memory {memory}" if memory else ", in memory only"))
                if second is not None:
                    say(f"  second slot: memory {second}")
                note("Ctrl-C ends it")
            sys.stdout.flush()

        with _stopped_by_signal(server.stop):
            server.serve(ready)
        note(f"served {sum(one.commands for one in served)} commands")


def _path(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _opened(memory: Path | None, fob: str, code: Code = NO_CODE, *, uicc: bool = False) -> SimulatedLink:
    parameters = {"memory": str(memory)} if memory is not None else {}
    if fob and uicc:
        raise UsageError("a fob is no UICC", hint="leave out --fob or --uicc")
    if fob:
        return open_simulated(Uri(SIMULATED, "fob", {**parameters, "serial": fob}), code)
    return open_simulated(Uri(SIMULATED, UICC if uicc else ELEMENT, parameters), code)


@final
class _Served:
    """A device that counts and, if wanted, records what it is asked."""

    def __init__(self, link: SimulatedLink, sink: Callable[[Event], None] | None) -> None:
        self._link = link
        self._sink = sink
        self.commands = 0

    @property
    def atr(self) -> bytes:
        """ATR of the device."""
        return self._link.atr

    def handle(self, request: bytes, /) -> bytes:
        """The device's answer."""
        self.commands += 1
        answer = self._link.exchange(request)
        if self._sink is not None:
            self._sink(Event(time.time(), "host", self._link.name, "command", request))
            self._sink(Event(time.time(), "host", self._link.name, "answer", answer))
        return answer

    def reset(self) -> bytes:
        """Reset the device."""
        atr = self._link.reset()
        if self._sink is not None:
            self._sink(Event(time.time(), "host", self._link.name, "reset", atr))
        return atr


@contextmanager
def _stopped_by_signal(stop: Callable[[], object]) -> Iterator[None]:
    """Ctrl-C and SIGTERM call `stop` instead of ending the process in the middle of a command."""
    before = {number: signal.signal(number, lambda *_: stop()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@app.command()
def show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The memory of an element.")],
    *,
    fob: Fob = "",
    recorded: Annotated[
        bool, typer.Option("--recorded", help="And what was sent to loaded applications whose code is not here.")
    ] = False,
    json: Json = False,
) -> None:
    """Show an element's memory: what it would tell without a key, its life cycle and its tries. No key is shown.

    An application that was loaded from a CAP file, with no Python behind it, keeps its parameters and the last 32
    commands that it was sent: --recorded shows them as they came.

    Example: keywright element show my.element
    """
    if not file.exists():
        raise StoreError(f"{file}: there is no such file", hint=f"make one: keywright element new {file}")
    with closing(_opened(file, fob)) as link:
        facts = drive(read_card(f"{link.name} in {file}", link.atr), transmit(link))
        state, tries = names.card_state(link.element.life_cycle), link.element.attempts
        kept = link.element.recordings() if recorded else ()
    if json:
        document_: dict[str, Any] = {**document(facts), "life_cycle": state, "tries": tries}
        if recorded:
            document_["recorded"] = [_recorded_document(one) for one in kept]
        show_json(document_)
        return
    blocks = [
        ("Element", [("life cycle", state), ("tries", f"{tries} EXTERNAL AUTHENTICATE received")]),
        *sections(facts),
        *((f"Sent to {one.aid.hex().upper()}", list(_recorded_lines(one))) for one in kept),
    ]
    if recorded and not kept:
        blocks.append(("Sent", [("nothing", "no application is loaded whose code is not here")]))
    least = max(len(label) for _, lines in blocks for label, _ in lines)
    for title, lines in blocks:
        say(heading(title))
        for line in pairs(lines, least=least):
            say(line)


def _recorded_document(one: Recorded) -> dict[str, Any]:
    return {
        "aid": one.aid.hex().upper(),
        "parameters": one.parameters.hex().upper(),
        "received": one.received,
        "commands": [command.hex().upper() for command in one.commands],
    }


def _recorded_lines(one: Recorded) -> Iterator[tuple[str, str]]:
    yield "parameters", one.parameters.hex().upper() or "none"
    first = one.received - len(one.commands) + 1
    for number, command in enumerate(one.commands, first):
        yield f"command {number}", command.hex().upper()
    if not one.commands:
        yield "commands", "none"
