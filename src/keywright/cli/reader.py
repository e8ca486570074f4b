"""`keywright reader`: PC/SC readers, what is in them, and what they can do."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Annotated, Any

import typer

from keywright.cli.links import confirm
from keywright.cli.options import Json, Yes
from keywright.cli.text import say, show_json, table
from keywright.codec.hexa import unhex
from keywright.link.pcsc import FEATURES, PcscLink
from keywright.link.pcsc_readers import ReaderState, reader_states, watch_readers

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="READER", help="Its name, or a part that only one reader has.")]


@app.command(name="list")
def list_(*, json: Json = False) -> None:
    """List the readers, and what is in each.

    Example: keywright reader list
    """
    states = reader_states()
    if json:
        show_json({"readers": [_document(state) for state in states]})
        return
    if not states:
        say("there is no reader")
        return
    for line in table(("", "reader", "state", "ATR"), [_row(number, state) for number, state in enumerate(states)]):
        say(line)


@app.command()
def watch(
    *,
    seconds: Annotated[int | None, typer.Option("--for", metavar="SECONDS", help="Stop after this time.")] = None,
    json: Json = False,
) -> None:
    """Tell what comes and goes in the readers, until Ctrl-C.

    Example: keywright reader watch --for 60 --json
    """
    until = None if seconds is None else time.monotonic() + seconds
    for state in watch_readers(until):
        if json:
            show_json(_document(state))
        else:
            say(f"{time.strftime('%H:%M:%S')}  {state.name}: {state.what}  {state.atr.hex().upper()}".rstrip())


@app.command()
def features(reader: Name, *, json: Json = False) -> None:
    """Show what a reader offers by control code, such as PIN entry or escape commands.

    Example: keywright reader features OMNIKEY
    """
    with closing(PcscLink(reader, mode="direct")) as link:
        found, name = link.features(), link.name
    if json:
        show_json({"link": name, "features": {f"{tag:02X}": f"{code:08X}" for tag, code in found.items()}})
        return
    rows = [(f"{tag:02X}", FEATURES.get(tag, "of its own"), f"{code:08X}") for tag, code in found.items()]
    for line in table(("tag", "feature", "control code"), rows) if rows else ["the reader tells of no features"]:
        say(line)


@app.command()
def escape(
    reader: Name,
    data: Annotated[str, typer.Argument(metavar="HEX", help="What to send to the reader itself.")],
    *,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Send an escape command to a reader and show its answer. What it does is the reader's business.

    Example: keywright reader escape 'ACS ACR122U' E000002100
    """
    raw = unhex(data, "HEX")
    confirm(f"pcsc:{reader}", "send a command to the reader itself", yes=yes)
    with closing(PcscLink(reader, mode="direct")) as link:
        answer = link.escape(raw)
    if json:
        show_json({"link": link.name, "sent": raw.hex().upper(), "answer": answer.hex().upper()})
    else:
        say(answer.hex().upper() or "empty answer")


def _row(number: int, state: ReaderState) -> tuple[str, ...]:
    return str(number), state.name, state.what, state.atr.hex().upper()


def _document(state: ReaderState) -> dict[str, Any]:
    return {
        "reader": state.name,
        "state": state.what,
        "present": state.present,
        "atr": state.atr.hex().upper(),
        "in_use": state.in_use,
        "exclusive": state.exclusive,
        "mute": state.mute,
        "changes": state.changes,
    }
