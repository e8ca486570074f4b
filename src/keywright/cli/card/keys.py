"""`keywright card keys`: the key sets of a security domain."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import typer

from keywright.cli.card.connection import Card
from keywright.cli.card.facts import components_document
from keywright.cli.card.options import looking
from keywright.cli.card.randomness import Rng
from keywright.cli.text import bad, say, table
from keywright.errors import DecodeError, WireError
from keywright.fob.uri import is_simulated
from keywright.globalplatform import names
from keywright.globalplatform.detect import GP_TEST, NONE, detect
from keywright.globalplatform.dialogues.keys import describe_keys
from keywright.globalplatform.host import Dialogue, get_value, select
from keywright.globalplatform.key_information import KeyDescription
from keywright.globalplatform.messages import CardData, Ins, Tag
from keywright.iso7816.apdu import Command
from keywright.iso7816.status import SW

app = typer.Typer(rich_markup_mode=None)

_S8 = 8


class Probe(msgspec.Struct, frozen=True):
    """One key version, and whether the public test keys open it; None: it cannot be told, and `note` says why."""

    kvn: int
    opens: bool | None
    note: str


Told = tuple[KeyDescription, ...]


def probe_keys(aid: bytes = b"", rng: Rng = os.urandom) -> Dialogue[tuple[Told, tuple[Probe, ...]]]:
    """Key information, and for every version whether the test keys 40..4F are its keys.

    Only INITIALIZE UPDATE is sent: the card uses up sequence numbers, but counts no try.
    """
    yield from select(aid)
    told = yield from describe_keys()
    value = yield from get_value(Tag.CARD_DATA)
    try:
        size = CardData.parse(value or b"").challenge_bytes
    except DecodeError:
        size = _S8
    probes: tuple[Probe, ...] = ()
    for kvn in dict.fromkeys(one.kvn for one in told):
        probes += ((yield from _probe(kvn, rng(size))),)
    return told, probes


def _probe(kvn: int, challenge: bytes) -> Dialogue[Probe]:
    response = yield Command(0x80, Ins.INITIALIZE_UPDATE, kvn, 0, challenge, 0)
    if response.sw != SW.OK:
        return Probe(kvn, None, f"opens no session by INITIALIZE UPDATE ({response.sw:04X})")
    try:
        found = detect(response.data, challenge, (GP_TEST,), schemes=(NONE,))
    except WireError as error:
        return Probe(kvn, None, str(error))
    return Probe(kvn, bool(found.matches), "open to everyone" if found.matches else "other keys")


@app.callback(invoke_without_command=True)
@looking
def keys(card: Card) -> None:
    """Show the key sets, and whether test keys open them.

    Tried with INITIALIZE UPDATE alone: the card counts no try.

    Example: keywright card keys --link pcsc:
    """
    told, probes = card.ask(probe_keys(card.access.wish.aid, card.rng))
    if card.access.json:
        card.tell((), {"key_sets": [_document(told, one) for one in probes]})
        return
    if not probes:
        say("the card lists no keys")
        return
    rows = []
    for one in probes:
        held = [key for key in told if key.kvn == one.kvn]
        kinds = " / ".join(dict.fromkeys(names.key(key) for key in held))
        verdict = {True: "yes", False: "no", None: "?"}[one.opens]
        rows.append((f"{one.kvn:02X}", " ".join(f"{key.kid:02X}" for key in held), kinds, verdict, one.note))
    for line in table(("KVN", "KID", "type", "test keys", ""), rows):
        say(line)
    if any(one.opens for one in probes) and not is_simulated(card.access.uri):
        say(bad("Anyone can open this card: the test keys 40..4F are public."))


def _document(told: Told, one: Probe) -> dict[str, Any]:
    return {
        "kvn": f"{one.kvn:02X}",
        "keys": [
            {"kid": f"{key.kid:02X}", "components": components_document(key)} for key in told if key.kvn == one.kvn
        ],
        "gp_test": one.opens,
        "note": one.note,
    }
