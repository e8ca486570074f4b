"""`keywright card keys detect`: which keys a card has, from one answer to INITIALIZE UPDATE, fresh or recorded."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, final

import typer

from keywright.cli.card.connection import Card
from keywright.cli.card.keys import app
from keywright.cli.card.options import byte, looking
from keywright.cli.card.randomness import Rng
from keywright.cli.keyfile import GP_TEST, raw_keys
from keywright.cli.messages_in import Piece, items, of_file, together
from keywright.cli.text import bad, say, show_json
from keywright.errors import DecodeError, UsageError
from keywright.globalplatform import detect as detection
from keywright.globalplatform.host import Dialogue, get_value, select
from keywright.globalplatform.messages import CardData, Fci, Ins, Tag, unwrapped
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.assembly import Assembly, Whole
from keywright.iso7816.channels import channel_of, is_gp, is_secured
from keywright.iso7816.status import SW, check

_BY_NAME: Final = 0x04


class Challenged(NamedTuple):
    """Our challenge, the card's answer to INITIALIZE UPDATE, and the AID of who gave it (empty: unknown)."""

    challenge: bytes
    answer: bytes
    aid: bytes


@app.command()
@looking
def detect(
    card: Card,
    *,
    candidate: Annotated[
        list[str] | None, typer.Option("--candidate", metavar="FILE|gp-test", help="Keys that may be it; repeatable.")
    ] = None,
    of_kvn: Annotated[str, typer.Option("--of-kvn", metavar="HEX", help="The key version that is asked.")] = "",
    scheme: Annotated[
        list[str] | None, typer.Option("--scheme", metavar="NAME", help="Schemes to try; else all that are known.")
    ] = None,
    recording: Annotated[
        str, typer.Option("--recording", metavar="FILE|-", help="Take the answer from a recording; no card is asked.")
    ] = "",
) -> None:
    """Tell which keys a card has, without a try.

    Which key, diversification scheme and version, from one answer to INITIALIZE UPDATE. Everything is computed here: no
    try is used. The published test keys are tried besides those that are given. A recording is what `keywright decode`
    reads: a trace, a pcapng file, lines of hex, or the log of gp.jar; every answer in it is told. The exit code is 1
    where no candidate matched.

    Example: keywright card keys detect --candidate master.toml
    """
    candidates = [*detection.WELL_KNOWN, *(_candidate(name) for name in candidate or () if name != GP_TEST)]
    kvn, schemes = byte(of_kvn, "--of-kvn") or 0, tuple(scheme or detection.SCHEMES)

    def told(one: Challenged) -> detection.Detection:
        aids = (one.aid,) if one.aid else ()
        return detection.detect(one.answer, one.challenge, candidates, schemes=schemes, aids=aids)

    if recording:
        if card.access.link:
            raise UsageError("--recording asks no card", hint="leave --link")
        found = [told(one) for one in recorded(recording) if not kvn or one.answer[10:11] == bytes((kvn,))]
        if not found:
            of = f" for KVN {kvn:02X}" if kvn else ""
            raise UsageError(f"{recording}: there is no answered INITIALIZE UPDATE{of} in it", hint="record one anew")
        if card.access.json:
            show_json({"recording": recording, "answers": [_document(one) for one in found]})
        else:
            for line in _lines(found):
                say(line)
    else:
        found = [told(card.ask(ask_challenge(kvn, card.access.wish.aid, card.rng)))]
        card.tell(_lines(found), _document(found[0]))
    if not all(one.matches for one in found):
        raise typer.Exit(1)


def _candidate(name: str) -> detection.Candidate:
    raw, _ = raw_keys(name)
    return detection.Candidate.of(name, *raw)


def _lines(found: list[detection.Detection]) -> Iterator[str]:
    for one in found:
        yield from (line if one.matches else bad(line) for line in one.text.splitlines())


def _document(found: detection.Detection) -> dict[str, Any]:
    return {
        "kvn": f"{found.kvn:02X}",
        "scp": f"{found.answer.scp:02X}",
        "tried": found.tried,
        "matches": [
            {
                "candidate": match.candidate,
                "scheme": match.scheme,
                "bits": match.key_bytes * 8,
                "proven": list(match.proven),
                "challenge": match.challenge,
            }
            for match in found.matches
        ],
    }


def ask_challenge(kvn: int, aid: bytes, rng: Rng) -> Dialogue[Challenged]:
    """SELECT, and INITIALIZE UPDATE with a challenge of the size that the card wants. Raises StatusError."""
    fci: Fci | None = yield from select(aid)
    value = yield from get_value(Tag.CARD_DATA)
    try:
        size = CardData.parse(value or b"").challenge_bytes
    except DecodeError:
        size = 8
    challenge = rng(size)
    response = yield Command(0x80, Ins.INITIALIZE_UPDATE, kvn, 0, challenge, 0)
    data = check(response, f"INITIALIZE UPDATE (KVN {kvn:02X})")
    return Challenged(challenge, data, aid or (fci.aid if fci is not None else b""))


# ---- recordings


def recorded(name: str) -> Iterator[Challenged]:
    """Every answered INITIALIZE UPDATE of a recording; `name` is a file, or - for lines of standard input.

    Raises UsageError, DecodeError for what is no recording.
    """
    cards: dict[str, _Followed] = {}
    for piece in together(items(sys.stdin or ()) if name == "-" else of_file(Path(name))):
        found = cards.setdefault(piece.link, _Followed()).take(piece)
        if found is not None:
            yield found


@final
class _Followed:
    """One card of a recording: what is selected on each of its channels."""

    def __init__(self) -> None:
        self._assembly = Assembly()
        self._selected: dict[int, bytes] = {}

    def take(self, piece: Piece) -> Challenged | None:
        if piece.is_reset:
            self._assembly.reset()
            self._selected.clear()
        if piece.command is None:
            return None
        try:
            answer = None if piece.answer is None else Response.parse(piece.answer)
            whole = self._assembly.exchange(Command.parse(piece.command), answer)
        except DecodeError:
            return None
        return self._whole(whole) if isinstance(whole, Whole) else None

    def _whole(self, whole: Whole) -> Challenged | None:
        command, response = whole.command, whole.response
        if response is None or response.sw != SW.OK or is_secured(command.cla):
            return None
        channel = channel_of(command.cla)
        if command.ins == Ins.SELECT and command.p1 == _BY_NAME:
            self._selected[channel] = _named(response.data) or command.data
        if command.ins != Ins.INITIALIZE_UPDATE or not is_gp(command.cla):
            return None
        return Challenged(command.data, response.data, self._selected.get(channel, b""))


def _named(data: bytes) -> bytes:
    """The AID that an answer to SELECT tells."""
    try:
        return Fci.parse(unwrapped(Tag.FCI, data)).aid
    except DecodeError:
        return b""
