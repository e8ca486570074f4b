"""Looking at a card: what it says without a key, what is on it, and single commands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer

from keywright.cli.card.connection import Card
from keywright.cli.card.facts import document, read_card, sections
from keywright.cli.card.options import changing, looking, managing
from keywright.cli.exchanges import as_document, as_lines
from keywright.cli.text import heading, note, pairs, say, show_json, wrapped
from keywright.codec.hexa import unhex
from keywright.errors import DecodeError, UsageError
from keywright.fob.explain import KNOWN
from keywright.globalplatform import names
from keywright.globalplatform.dialogues.registry import Registry, read_registry
from keywright.globalplatform.explain import Transcript
from keywright.globalplatform.messages import ApplicationEntry, Ins
from keywright.iso7816.apdu import Command
from keywright.iso7816.layers import parse_answer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

_VERIFY: Final = 0x20
LOADED: Final = "LOADED"
"""The one state of a load file (GPCS table 11-3)."""
CHANGING: Final = {
    Ins.PUT_KEY: "replace keys (PUT KEY)",
    Ins.DELETE: "delete something (DELETE)",
    Ins.INSTALL: "change the registry (INSTALL)",
    Ins.LOAD: "load code (LOAD)",
    Ins.SET_STATUS: "change a life cycle (SET STATUS)",
    Ins.STORE_DATA: "write data (STORE DATA)",
    Ins.EXTERNAL_AUTHENTICATE: "use up a try if it is wrong (EXTERNAL AUTHENTICATE)",
    _VERIFY: "use up a try if it is wrong (VERIFY)",
}
"""Commands that change a card, and how to ask about them."""
_HARMLESS: Final = frozenset(
    {
        *(Ins.SELECT, Ins.GET_DATA, Ins.GET_STATUS, Ins.GET_RESPONSE, Ins.INITIALIZE_UPDATE, Ins.MANAGE_CHANNEL),
        *(0x84, 0x88, 0xCB, 0xB0, 0xB1, 0xB2, 0xB3),
    }
)
"""Commands that only read; also GET CHALLENGE, INTERNAL AUTHENTICATE, GET DATA, READ BINARY and READ RECORD of ISO."""


def change_of(command: Command) -> str:
    """What a command may do to a card, to ask about it; empty for one that only reads. Unknown ones may do anything."""
    if command.ins in _HARMLESS:
        return ""
    return CHANGING.get(command.ins, f"send INS {command.ins:02X}, which may change it,")


@app.command()
@looking
def info(card: Card) -> None:
    """Show everything a card says without a key.

    Its chip, secure channels, keys and capabilities. Sends SELECT and GET DATA only, and changes nothing.

    Example: keywright card info --link pcsc:
    """
    facts = card.ask(read_card(card.device.name, card.device.atr, card.access.wish.aid))
    if card.access.json:
        show_json(document(facts))
        return
    blocks = list(sections(facts))
    least = max(len(label) for _, lines in blocks for label, _ in lines)
    for title, lines in blocks:
        say(heading(title))
        for line in pairs(lines, least=least):
            say(line)


@app.command(name="list")
@managing
def list_(card: Card) -> None:
    """List the domains, applications and load files of a card.

    Opens a session: with --keys, or on simulated devices with the public test keys.

    Example: keywright card list --link pcsc: --keys card.toml
    """
    registry = card.manage(read_registry())
    card.tell(_lines(registry), _document(registry))


def _document(registry: Registry) -> dict[str, Any]:
    domain = registry.issuer_domain
    return {
        "issuer_domain": [] if domain is None else [_entry_document(domain, card=True)],
        "applications": [_entry_document(entry) for entry in registry.applications],
        "load_files": [_entry_document(entry) | {"state_name": LOADED} for entry in registry.load_files],
    }


def _entry_document(entry: ApplicationEntry, *, card: bool = False) -> dict[str, Any]:
    return {
        "aid": entry.aid.hex().upper(),
        "state": f"{entry.life_cycle:02X}",
        "state_name": _state(entry, card=card),
        "privileges": list(names.privileges(entry.privileges or b"")),
        "security_domain": _hex(entry.security_domain),
        "load_file": _hex(entry.load_file),
        "modules": [module.hex().upper() for module in entry.modules],
        "version": _hex(entry.version),
    }


def _hex(data: bytes | None) -> str | None:
    return None if data is None else data.hex().upper()


def _state(entry: ApplicationEntry, *, card: bool) -> str:
    if card:
        return names.card_state(entry.life_cycle)
    return names.application_state(entry.life_cycle, domain=names.is_security_domain(entry.privileges))


def _lines(registry: Registry) -> Iterator[str]:
    domain = registry.issuer_domain
    yield heading("Issuer security domain") + ("" if domain else "  none")
    if domain is not None:
        yield from _entry_lines(domain, _state(domain, card=True), 0)
    yield heading("Applications") + ("" if registry.applications else "  none")
    for entry, depth in _tree(registry):
        yield from _entry_lines(entry, _state(entry, card=False), depth)
    yield heading("Load files") + ("" if registry.load_files else "  none")
    for entry in registry.load_files:
        version = f"  version {'.'.join(map(str, entry.version))}" if entry.version else ""
        yield from _entry_lines(entry, f"{LOADED}{version}", 0)


def _tree(registry: Registry) -> Iterator[tuple[ApplicationEntry, int]]:
    """Applications below the security domain that they belong to, and how deep; in the card's order."""
    aids = {entry.aid for entry in registry.applications}
    below: dict[bytes | None, list[ApplicationEntry]] = {}
    for entry in registry.applications:
        owner = entry.security_domain if entry.security_domain in aids - {entry.aid} else None
        below.setdefault(owner, []).append(entry)
    shown: set[bytes] = set()
    waiting = [(entry, 0) for entry in reversed(below.get(None, []))]
    while waiting:
        entry, depth = waiting.pop()
        if entry.aid not in shown:
            shown.add(entry.aid)
            yield entry, depth
            waiting += [(child, depth + 1) for child in reversed(below.get(entry.aid, []))]
    yield from ((entry, 0) for entry in registry.applications if entry.aid not in shown)


def _entry_lines(entry: ApplicationEntry, state: str, depth: int) -> Iterator[str]:
    space = "  " * (depth + 1)
    yield f"{space}{entry.aid.hex().upper():{max(32 - 2 * depth, 10)}}  {state}"
    if words := names.privileges(entry.privileges or b""):
        yield from wrapped(", ".join(words), indent=len(space) + 2)
    for module in entry.modules:
        yield f"{space}  module {module.hex().upper()}"


@app.command()
@changing
def apdu(
    card: Card,
    commands: Annotated[list[str], typer.Argument(metavar="HEX", help="Command APDUs, one word each.")],
    *,
    secure: Annotated[bool, typer.Option("--secure", help="Send them under a secure channel.")] = False,
) -> None:
    """Send command APDUs, and say what all of it means.

    They go as they are. Nothing is added: no secure channel unless --secure, no GET RESPONSE. On a real card, what may
    change it is asked about first. A refusal is an answer, not an error.

    Example: keywright card apdu 00A4040000 80CA00E000 --link pcsc:
    """
    raw = [unhex(text, f"HEX {number}") for number, text in enumerate(_joined(commands), 1)]
    parsed = [_command(data, number) for number, data in enumerate(raw, 1)]
    for command in parsed:
        if change := change_of(command):
            card.confirm(change)
    if not secure and card.session is None and not card.access.is_anonymous:
        note("the keys are not used: commands go plainly without --secure")
    transcript = Transcript(KNOWN)
    for data, command in zip(raw, parsed, strict=True):
        if secure:
            card.authenticated()
        answer = card.send(command).encode() if secure else card.exchange(data)
        told = transcript.explain(command, parse_answer(answer))
        if card.access.json:
            show_json(as_document(data, answer, told))
            continue
        for line in as_lines(data, answer, told):
            say(line)


def _joined(words: list[str]) -> list[str]:
    """Words of one byte each are one command that was pasted with spaces."""
    return ["".join(words)] if len(words) > 1 and all(len(word) == 2 for word in words) else words


def _command(data: bytes, number: int) -> Command:
    try:
        return Command.parse(data)
    except DecodeError as error:
        raise UsageError(f"HEX {number}: {error}", hint="a command is CLA INS P1 P2 [Lc data] [Le]") from error
