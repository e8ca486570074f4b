"""`keywright card`: look at a card."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer

from keywright.cli.card_facts import document, read_card, sections
from keywright.cli.card_session import Listing, probe_keys, registry
from keywright.cli.exchanges import as_document, as_lines
from keywright.cli.keyfile import GP_TEST, StaticKeys, static_keys
from keywright.cli.links import DEFAULT, confirm, opened
from keywright.cli.options import Json, Keys, Link, Trace, Yes
from keywright.cli.text import bad, heading, pairs, say, show_json, table, wrapped
from keywright.codec.hexa import unhex
from keywright.errors import DecodeError, UsageError
from keywright.fob.explain import KNOWN
from keywright.fob.uri import is_simulated
from keywright.globalplatform import names
from keywright.globalplatform.explain import Transcript
from keywright.globalplatform.messages import ApplicationEntry, Ins, KeyInformation
from keywright.iso7816.apdu import Command
from keywright.iso7816.layers import parse_answer, transmit
from keywright.sansio.dialogue import drive

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Aid = Annotated[str, typer.Option("--aid", metavar="HEX", help="Select this application, not the card's own domain.")]

_VERIFY: Final = 0x20
_CHANGING: Final = {
    Ins.PUT_KEY: "replace keys (PUT KEY)",
    Ins.DELETE: "delete something (DELETE)",
    Ins.INSTALL: "change the registry (INSTALL)",
    Ins.LOAD: "load code (LOAD)",
    Ins.SET_STATUS: "change a life cycle (SET STATUS)",
    Ins.STORE_DATA: "write data (STORE DATA)",
    Ins.EXTERNAL_AUTHENTICATE: "use up a try if it is wrong (EXTERNAL AUTHENTICATE)",
    _VERIFY: "use up a try if it is wrong (VERIFY)",
}


@app.command()
def info(*, link: Link = "", aid: Aid = "", json: Json = False, trace: Trace = None) -> None:
    """Show everything a card says without a key.

    Its chip, secure channels, keys and capabilities. Sends SELECT and GET DATA only, and changes nothing.
    """
    name = unhex(aid, "--aid")
    with opened(link, trace) as device:
        facts = drive(read_card(device.name, device.atr, name), transmit(device))
    if json:
        show_json(document(facts))
        return
    blocks = list(sections(facts))
    least = max(len(label) for _, lines in blocks for label, _ in lines)
    for title, lines in blocks:
        say(heading(title))
        for line in pairs(lines, least=least):
            say(line)


@app.command()
def keys(*, link: Link = "", aid: Aid = "", json: Json = False, trace: Trace = None) -> None:
    """Show the key sets, and which of them the public test keys open.

    Tried with INITIALIZE UPDATE alone: the card counts no try.
    """
    name = unhex(aid, "--aid")
    with opened(link, trace) as device:
        information, probes = drive(probe_keys(name), transmit(device))
    if json:
        sets = [
            {
                "kvn": f"{one.kvn:02X}",
                "keys": _key_documents(information, one.kvn),
                "gp_test": one.opens,
                "note": one.note,
            }
            for one in probes
        ]
        show_json({"link": link or DEFAULT, "key_sets": sets})
        return
    if not probes:
        say("the card lists no keys")
        return
    rows = []
    for one in probes:
        held = [entry for entry in information.keys if entry.kvn == one.kvn]
        kinds = " / ".join(dict.fromkeys(names.key(entry) for entry in held))
        verdict = {True: "yes", False: "no", None: "?"}[one.opens]
        rows.append((f"{one.kvn:02X}", " ".join(f"{entry.kid:02X}" for entry in held), kinds, verdict, one.note))
    for line in table(("KVN", "KID", "type", "test keys", ""), rows):
        say(line)
    opened_by_all = [one for one in probes if one.opens]
    if opened_by_all and not is_simulated(link or DEFAULT):
        say(bad("Anyone can open this card: the test keys 40..4F are public."))


def _key_documents(information: KeyInformation, kvn: int) -> list[dict[str, Any]]:
    return [
        {
            "kid": f"{entry.kid:02X}",
            "components": [{"type": names.key_type(p.type), "bits": p.length * 8} for p in entry.components],
        }
        for entry in information.keys
        if entry.kvn == kvn
    ]


@app.command(name="list")
def list_(*, link: Link = "", keys: Keys = "", aid: Aid = "", json: Json = False, trace: Trace = None) -> None:
    """List what is on a card: its security domain, applications and load files.

    Opens an SCP03 session: with --keys, or on simulated devices with the public test keys.
    """
    static = _keys_for(keys, link)
    name = unhex(aid, "--aid")
    with opened(link, trace) as device:
        listing = drive(registry(static.keys, static.kvn, name), transmit(device))
    if json:
        show_json({"link": link or DEFAULT, **_listing_document(listing)})
        return
    for line in _listing_lines(listing):
        say(line)


def _keys_for(name: str, link: str) -> StaticKeys:
    if name:
        return static_keys(name)
    if not is_simulated(link or DEFAULT):
        raise UsageError(
            f"{link}: a session needs this card's keys", hint=f"give a key file with --keys FILE, or --keys {GP_TEST}"
        )
    return static_keys(GP_TEST)


def _listing_document(listing: Listing) -> dict[str, Any]:
    return {
        "issuer_domain": [_entry_document(entry, card=True) for entry in listing.domain],
        "applications": [_entry_document(entry) for entry in listing.applications],
        "load_files": [_entry_document(entry) for entry in listing.load_files],
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


def _listing_lines(listing: Listing) -> Iterator[str]:
    groups = (
        ("Issuer security domain", listing.domain, True),
        ("Applications", listing.applications, False),
        ("Load files", listing.load_files, False),
    )
    for title, entries, card in groups:
        yield heading(title) + ("" if entries else "  none")
        for entry in entries:
            yield f"  {entry.aid.hex().upper():32}  {_state(entry, card=card) if title != 'Load files' else 'LOADED'}"
            if words := names.privileges(entry.privileges or b""):
                yield from wrapped(", ".join(words), indent=4)
            for module in entry.modules:
                yield f"    module {module.hex().upper()}"


@app.command()
def apdu(
    commands: Annotated[list[str], typer.Argument(metavar="HEX", help="Command APDUs, one word each.")],
    *,
    link: Link = "",
    yes: Yes = False,
    json: Json = False,
    trace: Trace = None,
) -> None:
    """Send command APDUs as they are, and say what they and the answers mean.

    Nothing is added: no secure channel, no GET RESPONSE. On a real card, what may change it is asked about first.
    """
    raw = [unhex(text, f"HEX {number}") for number, text in enumerate(_joined(commands), 1)]
    parsed = [_command(data, number) for number, data in enumerate(raw, 1)]
    for command in parsed:
        if command.ins in _CHANGING:
            confirm(link, _CHANGING[command.ins], yes=yes)
    transcript = Transcript(KNOWN)
    with opened(link, trace) as device:
        for data, command in zip(raw, parsed, strict=True):
            answer = device.exchange(data)
            told = transcript.explain(command, parse_answer(answer))
            if json:
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
        raise DecodeError(
            f"HEX {number}: {error}", error.offset, hint="a command is CLA INS P1 P2 [Lc data] [Le]"
        ) from error
