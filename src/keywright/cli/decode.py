"""`keywright decode`: say what bytes mean."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Protocol

import typer

from keywright.cli.exchanges import full_document, full_lines
from keywright.cli.key_block_text import key_block
from keywright.cli.keyfile import session_keys, static_keys
from keywright.cli.keyring import read_ring
from keywright.cli.links import redacting
from keywright.cli.messages_in import Item, Piece, items, of_file, together
from keywright.cli.options import Json
from keywright.cli.telling import Teller, Told
from keywright.cli.text import heading, note, pairs, printable, say, show_json
from keywright.codec.hexa import unhex
from keywright.crypto.ec import EcPrivateKey
from keywright.errors import DecodeError, UsageError
from keywright.fob.explain import KNOWN
from keywright.fob.uri import is_simulated
from keywright.globalplatform.explain import Explanation, explain_objects
from keywright.iso7816.atr import Atr
from keywright.link.pcapng import write_pcapng
from keywright.link.record import EXTENDED
from keywright.link.trace import Direction, Event

_HINT: Final = "give a command (CLA INS P1 P2 ...), an answer that ends with its status word, an ATR, or data objects"
_MARKS: Final = (*"<>{#", "")
"""What a message may begin with that is no hex."""
_PASTED: Final = "pasted"
"""Name of the link in a pcapng file for messages that nobody recorded."""


def command(
    messages: Annotated[
        list[str],
        typer.Argument(
            metavar="HEX|FILE|-", help="Commands and answers, one word each; a recording; - reads lines of either."
        ),
    ],
    *,
    keys: Annotated[
        list[str] | None,
        typer.Option("--keys", metavar="FILE|gp-test", help="Static keys that take off secure messaging; repeatable."),
    ] = None,
    session: Annotated[
        list[Path] | None,
        typer.Option("--session-keys", metavar="FILE", help="Session keys (SCP11, SCP03) that do; repeatable."),
    ] = None,
    oce: Annotated[
        list[Path] | None,
        typer.Option("--oce", metavar="FILE", help="SCP11: PEM of the host's keys, ephemeral ones too; repeatable."),
    ] = None,
    pcapng: Annotated[
        Path | None, typer.Option("--pcapng", metavar="FILE", help="Write the messages to FILE for Wireshark, too.")
    ] = None,
    mesh: Annotated[
        bool, typer.Option("--mesh", help="They are advertising data or provisioning PDUs of Bluetooth Mesh.")
    ] = False,
    uwb: Annotated[
        bool, typer.Option("--uwb", help="They are UCI packets, ranging setup messages in clear, or SP0 frames of UWB.")
    ] = False,
    json: Json = False,
) -> None:
    """Say what bytes mean: commands, answers, both in turn, an ATR, data objects, a key block, or a whole recording.

    Each command is told field by field, its data by name, and each status word with what to do about it. An answer
    belongs to the command before it. A recording is what --trace wrote, a pcapng file, or lines of hex with > and < in
    front. With keys, secure messaging is taken off and checked; what may be keys is masked all the same.

    Example: keywright decode session.jsonl --keys gp-test --pcapng session.pcapng
    """
    teller = Teller(
        [candidate for name in keys or () for candidate in static_keys(name).candidates],
        [given for path in session or () for given in session_keys(path)],
        [key for path in oce or () for key in read_ring(path).private if isinstance(key, EcPrivateKey)],
    )
    tell = _frame_teller(mesh=mesh, uwb=uwb)
    if tell is not None:
        _tell_frames(tell, _read(messages), as_json=json)
        return
    block = key_block(messages[0]) if len(messages) == 1 else None
    if block is not None:
        _show_block(block, as_json=json)
        return
    read = list(_read(messages)) if pcapng is not None else _read(messages)
    if pcapng is not None:
        count = write_pcapng(pcapng, _events(read))
        note(f"wrote {pcapng}: {count} packets")
    is_first = True
    for piece in together(read):
        told = teller.tell(piece)
        if json:
            show_json(_document(piece, told))
            continue
        if not is_first:
            say()
        is_first = False
        for line in _lines(piece, told):
            say(line)
    if is_first and not json:
        raise DecodeError("there is nothing to decode", hint=_HINT)


def _show_block(block: Explanation, *, as_json: bool) -> None:
    if as_json:
        show_json(full_document(None, None, Told(block)))
        return
    for line in full_lines(None, None, Told(block)):
        say(line)


class _Said(Protocol):
    """One thing that a frame says."""

    @property
    def name(self) -> str:
        """What it is."""
        ...

    @property
    def fields(self) -> dict[str, str]:
        """Its fields by name."""
        ...


def _frame_teller(*, mesh: bool, uwb: bool) -> Callable[[bytes], Sequence[_Said]] | None:
    """What tells the frames of a radio, if these are some. Raises UsageError if they are said to be of two."""
    if mesh and uwb:
        raise UsageError("--mesh and --uwb cannot both be meant", hint="give the one whose frames these are")
    if mesh:
        from keywright.cli.mesh.explain import FrameTeller  # noqa: PLC0415 - loads the mesh room

        return FrameTeller().tell
    if uwb:
        from keywright.cli.uwb.explain import UwbTeller  # noqa: PLC0415 - loads the uwb room

        return UwbTeller().tell
    return None


def _tell_frames(tell: Callable[[bytes], Sequence[_Said]], frames: Iterable[Item], *, as_json: bool) -> None:
    """Frames of a radio; each by itself, and what segments make once they are whole."""
    for frame in frames:
        way = ">" if frame.kind == "command" else "<"
        for said in tell(frame.data):
            if as_json:
                show_json({"way": way, "name": said.name, **said.fields})
                continue
            say(f"{way} {heading(printable(said.name))}")
            for line in pairs(said.fields.items(), indent=4):
                say(line)


def _read(messages: list[str]) -> Iterable[Item]:
    if messages == ["-"]:
        return items(sys.stdin or ())
    if len(messages) == 1 and not _is_hex(messages[0]) and (path := Path(messages[0])).is_file():
        return of_file(path)
    if len(messages) == 1 and _is_path(messages[0]):
        what = "a directory" if Path(messages[0]).is_dir() else "no such file, and no hex"
        raise UsageError(f"{messages[0]}: {what}", hint=_HINT)
    return items(_joined(messages))


def _is_path(text: str) -> bool:
    """Whether this was meant as a file: it names a folder or ends like a file. What may be a key is never shown."""
    return not _is_hex(text) and text[:1] not in _MARKS and ("/" in text or "." in text)


def _is_hex(text: str) -> bool:
    try:
        return bool(unhex(text))
    except DecodeError:
        return False


def _joined(words: list[str]) -> list[str]:
    """Words of one byte each are one message that was pasted with spaces."""
    return ["".join(words)] if len(words) > 1 and all(len(word) == 2 for word in words) else words


def _document(piece: Piece, told: Told | None) -> dict[str, Any]:
    where = {} if piece.at is None else {"t": piece.at, "link": piece.link, "masked": piece.is_masked}
    full = Told(_other(piece)) if told is None else told
    return {**where, **full_document(piece.command, piece.answer, full)}


def _lines(piece: Piece, told: Told | None) -> Iterator[str]:
    if told is None and piece.is_reset and not piece.other:
        yield heading("reset")
    elif told is None:
        yield from full_lines(None, None, Told(_other(piece)))
    else:
        yield from full_lines(piece.command, piece.answer, told)


def _other(piece: Piece) -> Explanation:
    if piece.is_reset and not piece.other:
        return Explanation("reset")
    data = piece.other
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


def _events(messages: Iterable[Item]) -> Iterator[Event]:
    """As events of a recording; of a real card, or of nobody knows which, what may be keys is masked.

    A link begins with its opening, which says what it carries: so the recording can be played back.
    """
    events: list[Event] = []
    mask = redacting(events.append)
    directions: dict[str, Direction] = {"command": "command", "answer": "answer", "reset": "reset", "lost": "lost"}
    begun: set[str] = set()
    for number, item in enumerate(messages):
        direction = directions.get(item.kind)
        if direction is None:
            continue
        if direction == "reset" and item.link not in begun:
            direction = "open"
        begun.add(item.link)
        at = number / 1000 if item.at is None else item.at
        said = "" if item.note == EXTENDED and direction != "open" else item.note
        event = Event(at, "host", item.link or _PASTED, direction, item.data, said)
        (events.append if item.link and _is_simulated(item.link) else mask)(event)
    return iter(events)


def _is_simulated(link: str) -> bool:
    return is_simulated(link.partition("#")[0]) if link.startswith("sim:") else False
