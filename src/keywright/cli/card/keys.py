"""`keywright card keys`: the key sets of a security domain."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import typer

from keywright.cli.card.connection import Card
from keywright.cli.card.options import looking
from keywright.cli.card.randomness import Rng
from keywright.cli.text import bad, say, table
from keywright.errors import DecodeError, StatusError, WireError
from keywright.fob.uri import is_simulated
from keywright.globalplatform import names
from keywright.globalplatform.host import Dialogue, get_value, key_information, select
from keywright.globalplatform.messages import CardData, KeyInformation, Tag
from keywright.scp.failure import CardCryptogramError
from keywright.scp.scp03.host import initialize_update
from keywright.scp.scp03.keys import KeySet

app = typer.Typer(rich_markup_mode=None)

_S8 = 8


class Probe(msgspec.Struct, frozen=True):
    """One key version, and whether the public test keys open it; None: it cannot be told, and `note` says why."""

    kvn: int
    opens: bool | None
    note: str


def probe_keys(aid: bytes = b"", rng: Rng = os.urandom) -> Dialogue[tuple[KeyInformation, tuple[Probe, ...]]]:
    """Key information, and for every version whether the test keys 40..4F are its keys.

    Only INITIALIZE UPDATE is sent: the card uses up sequence numbers, but counts no try.
    """
    yield from select(aid)
    information = (yield from key_information()) or KeyInformation()
    value = yield from get_value(Tag.CARD_DATA)
    try:
        size = CardData.parse(value or b"").challenge_bytes
    except DecodeError:
        size = _S8
    probes: tuple[Probe, ...] = ()
    for kvn in information.versions:
        probes += ((yield from _probe(kvn, rng(size))),)
    return information, probes


def _probe(kvn: int, challenge: bytes) -> Dialogue[Probe]:
    try:
        yield from initialize_update(KeySet.gp_test(), challenge, kvn=kvn)
    except CardCryptogramError:
        return Probe(kvn, False, "other keys")
    except StatusError as error:
        return Probe(kvn, None, f"no SCP03 session ({error.sw:04X})")
    except WireError as error:
        return Probe(kvn, None, str(error))
    return Probe(kvn, True, "open to everyone")


@app.callback(invoke_without_command=True)
@looking
def keys(card: Card) -> None:
    """Show the key sets, and whether test keys open them.

    Tried with INITIALIZE UPDATE alone: the card counts no try.

    Example: keywright card keys --link pcsc:
    """
    information, probes = card.ask(probe_keys(card.access.wish.aid, card.rng))
    if card.access.json:
        card.tell((), {"key_sets": [_document(information, one) for one in probes]})
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
    if any(one.opens for one in probes) and not is_simulated(card.access.uri):
        say(bad("Anyone can open this card: the test keys 40..4F are public."))


def _document(information: KeyInformation, one: Probe) -> dict[str, Any]:
    return {
        "kvn": f"{one.kvn:02X}",
        "keys": [
            {
                "kid": f"{entry.kid:02X}",
                "components": [{"type": names.key_type(p.type), "bits": p.length * 8} for p in entry.components],
            }
            for entry in information.keys
            if entry.kvn == one.kvn
        ],
        "gp_test": one.opens,
        "note": one.note,
    }
