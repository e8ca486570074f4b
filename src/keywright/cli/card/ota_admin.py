"""`keywright card ota serve` and `trigger`: administration over HTTP (SCP81), server and what makes a card call."""

from __future__ import annotations

import contextlib
import ipaddress
import os
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import typer

from keywright.cli.card.connection import Card
from keywright.cli.card.options import byte, sending
from keywright.cli.card.ota import SENDER, Sender, app
from keywright.cli.card.ota_options import Protection, protected
from keywright.cli.card.ota_phone import Phone
from keywright.cli.card.ota_script import Asked, Commands, Given, ScriptFile, commands_of
from keywright.cli.keyfile import pre_shared_key
from keywright.cli.options import Json
from keywright.cli.text import bad, good, heading, note, pairs, say, show_json
from keywright.codec.hexa import unhex
from keywright.errors import KeywrightError, LinkError, UsageError
from keywright.fob.administration import serve_card
from keywright.fob.explain import KNOWN
from keywright.fob.open import SimulatedLink
from keywright.globalplatform.explain import explain
from keywright.globalplatform.redaction import masked
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.status import SW, meaning
from keywright.link.plain import PlainServer
from keywright.link.record import Recording
from keywright.link.sockets import is_loopback
from keywright.link.tls_psk import PskServer
from keywright.sansio.dialogue import drive
from keywright.scp.comprehension import ADDRESS, BEARER, TRANSPORT, address_value, comprehension_item
from keywright.scp.scp80.applications import Format
from keywright.scp.scp80.host import send_packet
from keywright.scp.scp81.parameters import (
    HttpParameters,
    KeyReference,
    SecurityParameters,
    SessionParameters,
    TriggerParameters,
    trigger_message,
)
from keywright.scp.scp81.server import AdministrationServer
from keywright.scp.scp81.server import commands as as_scripts

_PORT: Final = 8443
_TCP: Final = 0x02
_DEFAULT_BEARER: Final = b"\x03"
_PATH: Final = "/administration"
_AGENT: Final = "//se-id/eid/keywright"

Path_: TypeAlias = Annotated[str, typer.Option("--path", metavar="PATH", help="Where the card posts first.")]
Identity: TypeAlias = Annotated[str, typer.Option("--identity", metavar="TEXT", help="PSK identity of the card.")]
WithoutTls: TypeAlias = Annotated[
    bool, typer.Option("--plain", help="Without TLS: on loopback only, to try it and to look at it.")
]


@app.command()
def serve(
    commands: Commands = None,
    *,
    script: ScriptFile = None,
    given: Given = None,
    host: Annotated[str, typer.Option("--host", metavar="HOST", help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="N", help="Port; 0 takes a free one.")] = _PORT,
    remote: Annotated[bool, typer.Option("--remote", help="Let other machines connect; TLS only.")] = False,
    psk: Annotated[
        Path | None, typer.Option("--psk", metavar="FILE", help="Key file with the card's pre-shared key: psk.")
    ] = None,
    identity: Identity = "",
    path: Path_ = _PATH,
    target: Annotated[str, typer.Option("--target", metavar="AID", help="The application that scripts are for.")] = "",
    without_tls: WithoutTls = False,
    json: Json = False,
) -> None:
    """Wait for a card to call, and run commands on it (SCP81).

    The card is the client: it calls after a trigger. The commands run one by one, as one session; a card that was cut
    off may come back and resume. The program ends when the session does. TLS with a pre-shared key needs the extra ota.

    Example: keywright card ota serve 80F28002024F0000 --psk psk.toml --identity card-1 --port 8443
    """
    asked = commands_of(commands or (), script, given or ())
    results: list[tuple[Asked, Response]] = []
    plan = as_scripts(_each(asked, results), target=unhex(target, "--target") or None)
    administration = AdministrationServer(plan, path, os.urandom)
    with contextlib.closing(_listening(host, port, psk, identity, without_tls=without_tls, remote=remote)) as server:
        note(f"waiting for a card at {host}:{server.port}{path}")
        while not administration.is_done:
            _one_connection(server, administration)
    if json:
        show_json(_served_document(asked, results, administration.error))
    else:
        for line in _served_lines(asked, results):
            say(line)
    if administration.error is not None:
        raise administration.error
    if len(results) < len(asked) or any(not _went_well(one, answer) for one, answer in results):
        raise typer.Exit(1)


def _each(asked: list[Asked], results: list[tuple[Asked, Response]]) -> Generator[Command, Response, None]:
    """Send the commands until one fails."""
    for one in asked:
        answer = yield one.command
        results.append((one, answer))
        if not _went_well(one, answer):
            return


def _went_well(asked: Asked, answer: Response) -> bool:
    return asked.expect.fits(answer.sw, answer.data) if asked.expect is not None else answer.sw == SW.OK


def _listening(
    host: str, port: int, psk: Path | None, identity: str, *, without_tls: bool, remote: bool
) -> PlainServer | PskServer:
    if without_tls:
        if psk is not None or remote:
            raise UsageError("--plain goes with neither --psk nor --remote", hint="leave out one of them")
        return PlainServer(host, port)
    if psk is None or not identity:
        raise UsageError("a card calls with a key of its own", hint="give --psk FILE and --identity TEXT, or --plain")
    key = pre_shared_key(psk)
    return PskServer({identity: key.reveal()}.get, host, port, remote=remote and not is_loopback(host))


def _one_connection(server: PlainServer | PskServer, administration: AdministrationServer) -> None:
    """Serve one connection; one that fails is told, and the next one is waited for."""
    try:
        connection = server.accept()
        if connection is not None:
            serve_card(administration, connection)
    except KeywrightError as error:
        note(f"a connection ended: {error}")


def _served_lines(asked: list[Asked], results: list[tuple[Asked, Response]]) -> Iterator[str]:
    yield heading(f"ran {len(results)} of {len(asked)} command{'s' * (len(asked) != 1)}")
    for one, answer in results:
        status = f"{answer.sw:04X} {meaning(answer.sw).name}"
        yield f"  {explain(one.command, more=KNOWN).title}  {(good if _went_well(one, answer) else bad)(status)}"
        if answer.data:
            yield from pairs([("", answer.data.hex().upper())], indent=2)


def _served_document(
    asked: list[Asked], results: list[tuple[Asked, Response]], error: KeywrightError | None
) -> dict[str, Any]:
    return {
        "commands": len(asked),
        "executed": len(results),
        "error": None if error is None else str(error),
        "answers": [
            {
                "command": masked(one.command.encode()).hex().upper(),
                "sw": f"{answer.sw:04X}",
                "data": answer.data.hex().upper(),
            }
            for one, answer in results
        ],
    }


# ---- what makes a card call


@app.command()
@sending
@protected
def trigger(
    card: Card,
    server: Annotated[str, typer.Argument(metavar="HOST:PORT", help="The administration server.")],
    *,
    protection: Protection,
    identity: Identity = "card",
    psk_kvn: Annotated[
        str, typer.Option("--psk-kvn", metavar="HEX", help="Key version of the PSK on the card.")
    ] = "40",
    psk_kid: Annotated[str, typer.Option("--psk-kid", metavar="HEX", help="Its key identifier.")] = "01",
    path: Path_ = _PATH,
    agent: Annotated[str, typer.Option("--agent", metavar="TEXT", help="How the card names itself.")] = _AGENT,
    sender: Sender = SENDER,
    without_tls: WithoutTls = False,
) -> None:
    """Make a card call its administration server (SCP81).

    The trigger goes to the card in a packet. A real card then calls through its phone; a simulated one (sim:uicc)
    calls from here, and how its session ended is told.

    Example: keywright card ota trigger 127.0.0.1:8443 --keys ota.toml --counter-file c --link "sim:uicc?memory=u.kw"
    """
    parameters = _parameters(server, identity, KeyReference(_byte(psk_kvn), _byte(psk_kid)), agent, path)
    message = trigger_message(parameters, expanded=protection.form is Format.EXPANDED)
    card.confirm("make the card call a server")
    phone = Phone(card, sender)
    with protection.counting() as counting:
        dialogue = send_packet(protection.entity, message, counting.last, jump=0)
        _, counter = drive(dialogue, partial(phone.do, counting))
    calls = _calls(card, without_tls=without_tls)
    failed = [reason for reason in calls if reason]
    lines = [f"sent a trigger, counter {counter}"]
    lines += [
        bad(f"  the card called: {reason}") if reason else good("  the card called, all done") for reason in calls
    ]
    card.tell(lines, {"counter": counter, "calls": [{"done": not reason, "reason": reason} for reason in calls]})
    if failed:
        raise typer.Exit(1)


def _byte(text: str) -> int:
    value = byte(text, "--psk-kvn, --psk-kid")
    if value is None:
        raise UsageError("--psk-kvn and --psk-kid: one byte in hex each")
    return value


def _parameters(server: str, identity: str, key: KeyReference, agent: str, path: str) -> TriggerParameters:
    host, _, port = server.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 0xFFFF:
        raise UsageError(f"{server!r}: HOST:PORT is due", hint="for example 127.0.0.1:8443")
    objects = comprehension_item(BEARER, _DEFAULT_BEARER)
    objects += comprehension_item(TRANSPORT, bytes((_TCP,)) + int(port).to_bytes(2))
    with contextlib.suppress(ValueError):  # a name: the terminal finds its address
        objects += comprehension_item(ADDRESS, address_value(str(ipaddress.ip_address(host.strip("[]")))))
    security = SecurityParameters(identity.encode(), key)
    https = HttpParameters(host.encode(), agent.encode(), path.encode())
    return TriggerParameters(SessionParameters(objects, security, http=https))


def _calls(card: Card, *, without_tls: bool) -> list[str]:
    """Let a simulated card call; why each session failed, empty for one that was done."""
    device = card.device
    link = device.link if isinstance(device, Recording) else device
    uicc = link.uicc if isinstance(link, SimulatedLink) else None
    if uicc is None:
        return []
    from keywright.fob.uicc import call_server  # noqa: PLC0415 - loads only where a card is simulated

    calls = uicc.calls()
    if not calls:
        raise LinkError("the card took the packet, and does not call", hint="its parameters were not accepted")
    return [ended.reason for call in calls for ended in call_server(call, without_tls=without_tls)]
