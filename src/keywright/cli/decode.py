"""`keywright decode`: say what bytes mean."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from keywright.cli.exchanges import as_document, as_lines
from keywright.cli.messages_in import Piece, pieces
from keywright.cli.options import Json
from keywright.cli.text import say, show_json
from keywright.errors import DecodeError
from keywright.fob.explain import KNOWN
from keywright.globalplatform.explain import Explanation, Transcript, explain_objects, explain_response
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.atr import Atr

_HINT = "give a command (CLA INS P1 P2 ...), an answer that ends with its status word, an ATR, or data objects"


def command(
    messages: Annotated[
        list[str],
        typer.Argument(metavar="HEX|-", help="Commands and answers, one word each; - reads lines of them."),
    ],
    *,
    json: Json = False,
) -> None:
    """Say what bytes mean: commands, answers, both in turn, an ATR, or data objects.

    An answer belongs to the command before it. `-` reads standard input: hex lines, with > and < in front if you
    like, or a trace file. What may be keys is masked.
    """
    texts = (sys.stdin or ()) if messages == ["-"] else _joined(messages)
    transcript = Transcript(KNOWN)
    is_first = True
    for piece in pieces(texts):
        told = _told(piece, transcript)
        if json:
            show_json(as_document(piece.command, piece.answer, told))
            continue
        if not is_first:
            say()
        is_first = False
        for line in as_lines(piece.command, piece.answer, told):
            say(line)
    if is_first and not json:
        raise DecodeError("there is nothing to decode", hint=_HINT)


def _joined(words: list[str]) -> list[str]:
    """Words of one byte each are one message that was pasted with spaces."""
    return ["".join(words)] if len(words) > 1 and all(len(word) == 2 for word in words) else words


def _told(piece: Piece, transcript: Transcript) -> Explanation:
    if piece.command is not None:
        answer = None if piece.answer is None else Response.parse(piece.answer)
        return transcript.explain(Command.parse(piece.command), answer)
    if piece.answer is not None:
        return explain_response(Response.parse(piece.answer), KNOWN)
    return _of_other(piece.other)


def _of_other(data: bytes) -> Explanation:
    try:
        atr = Atr.parse(data)
    except DecodeError:
        told = explain_objects(data, KNOWN)
        if told is None:
            raise DecodeError(f"{len(data)} bytes that are no message we know", hint=_HINT) from None
        return told
    lines = [
        ("bytes", data.hex(" ").upper()),
        ("protocols", ", ".join(f"T={number}" for number in atr.protocols) or "none"),
        ("convention", "direct" if atr.direct else "inverse"),
        ("interface", ", ".join(f"{name}={value:02X}" for name, value in atr.interface.items()) or "defaults"),
        ("historical", _historical(atr.historical)),
    ]
    return Explanation("answer to reset", (), tuple(lines))


def _historical(data: bytes) -> str:
    text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in data)
    return f"{data.hex(' ').upper()}  {text}" if data else "none"
