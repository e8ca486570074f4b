"""`keywright card data` and `card personalise`: data objects read and written, applications personalised."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer

from keywright.cli.card import words
from keywright.cli.card.connection import Card
from keywright.cli.card.options import changing, managing
from keywright.cli.text import pairs
from keywright.codec.hexa import unhex
from keywright.errors import DecodeError, UsageError
from keywright.fob.explain import KNOWN
from keywright.globalplatform.describe import OBJECTS, describe_object
from keywright.globalplatform.dialogues import personalization
from keywright.globalplatform.host import Dialogue, get_data, select, store_data
from keywright.globalplatform.messages import Ins, StoreData, build_dgi, unwrapped
from keywright.globalplatform.remedies import demand
from keywright.iso7816.apdu import Command
from keywright.scp.session import Dek

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

_STRUCTURES: Final = {"dgi": StoreData.DGI, "tlv": StoreData.BER_TLV, "plain": 0}
_TAG_BYTES: Final = (1, 2)
_LIMIT: Final = 1 << 20
_MOST_BLOCKS: Final = 256
_GROUP: Final = re.compile(r"([0-9A-Fa-f]{4})\s*(!?)\s*[:=]?\s*(!?)\s*(.*)")

Tag = Annotated[str, typer.Argument(metavar="TAG", help="Tag in hex, for example 0066 or 9F7F.")]


@app.command()
@managing
def get(card: Card, tag: Tag) -> None:
    """Read a data object and say what it holds (GET DATA).

    In a session if keys are given.

    Example: keywright card data get 9F7F
    """
    number = _tag(tag)
    if card.session is None and card.access.is_anonymous:
        data = card.ask(_selected(card.access.wish.aid, number))
    else:
        data = card.manage(get_data(number))
    if data is None:
        raise UsageError(f"the card has no object {number:04X}", hint="what it has: keywright card info")
    try:
        value = unwrapped(number, data)
    except DecodeError:
        value = data
    lines = list(describe_object(number, value, {**OBJECTS, **KNOWN.objects}))
    card.tell(pairs(lines), {"tag": f"{number:04X}", "value": value.hex().upper(), "fields": [list(x) for x in lines]})


def _selected(aid: bytes, number: int) -> Dialogue[bytes | None]:
    yield from select(aid)
    return (yield from get_data(number))


def _tag(text: str) -> int:
    data = unhex(text, "TAG")
    if len(data) not in _TAG_BYTES:
        raise UsageError(f"TAG: one or two bytes are due, not {len(data)}")
    return int.from_bytes(data)


@app.command()
@changing
def put(
    card: Card,
    value: Annotated[str, typer.Argument(metavar="HEX", help="What to store: data groups, data objects, or bytes.")],
    *,
    structure: Annotated[str, typer.Option("--as", metavar="dgi|tlv|plain", help="How it is built.")] = "tlv",
) -> None:
    """Write data to the selected domain (STORE DATA).

    Example: keywright card data put 4208A000000151000001
    """
    if structure not in _STRUCTURES:
        raise UsageError(f"--as {structure}: no such structure", hint="dgi, tlv or plain")
    data = unhex(value, "HEX")
    card.confirm(f"write {len(data)} bytes")
    card.manage(store_data(data, size=card.size, structure=_STRUCTURES[structure]))
    card.tell(f"wrote {len(data)} bytes", {"written": len(data), "structure": structure})


class Group(NamedTuple):
    """A data group of a file; is_secret: its value travels under the data encryption key."""

    identifier: int
    value: bytes
    is_secret: bool


def read_groups(path: Path) -> list[Group]:
    """Data groups of a file, one a line: identifier and value in hex, `!` before a value that is secret.

    Raises UsageError naming line and column, PolicyError for a file with secrets that others can read.
    """
    groups = list(_groups(path, _text(path)))
    if not groups:
        raise UsageError(f"{path}: there is no data group in it", hint="lines like: 9102: 5F200A...")
    return groups


def _text(path: Path) -> str:
    from keywright.production.private_file import read_private  # noqa: PLC0415 - loads the database, too

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(f"{path}: cannot be read: {why}", hint="give a file of data groups") from error
    return read_private(path, "file of data groups", _LIMIT).decode() if "!" in text else text


def _groups(path: Path, text: str) -> Iterator[Group]:
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.partition("#")[0]
        if not bare.strip():
            continue
        found = _GROUP.fullmatch(bare.strip())
        if found is None:
            raise UsageError(
                f"{path}:{number}:1: a data group begins with its identifier, four hex digits", hint="9102: 5F200A..."
            )
        try:
            value = unhex(found[4])
        except DecodeError as error:
            column = bare.rindex(found[4]) + error.offset + 1 if found[4] else len(bare)
            raise UsageError(f"{path}:{number}:{column}: this is no hex digit, or half a byte") from error
        yield Group(int(found[1], 16), value, bool(found[2] or found[3]))


def _stored(groups: list[Group], dek: Dek, size: int) -> Dialogue[None]:
    """One sequence of STORE DATA, for its last block ends the personalisation; P1 of each says whether it is sealed."""
    blocks: list[tuple[int, bytes]] = []
    for is_secret, alike in groupby(groups, lambda group: group.is_secret):
        values = [(one.identifier, _sealed(one.value, dek) if is_secret else one.value) for one in alike]
        data = build_dgi(tuple(values))
        structure = StoreData.DGI | (StoreData.ENCRYPTED if is_secret else 0)
        blocks += [(structure, data[at : at + size]) for at in range(0, len(data), size)]
    if len(blocks) > _MOST_BLOCKS:
        raise UsageError(f"these groups need {len(blocks)} blocks; STORE DATA has {_MOST_BLOCKS}")
    for number, (structure, block) in enumerate(blocks):
        last = StoreData.LAST if number == len(blocks) - 1 else 0
        command = Command(0x80, Ins.STORE_DATA, structure | last, number, block)
        demand(command, (yield command), f"STORE DATA (block {number:02X})")


def _sealed(value: bytes, dek: Dek) -> bytes:
    return personalization.sealed_value(value, dek, "80")


@changing
def personalise(
    card: Card,
    application: words.Aid,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Data groups, one a line: 9102: 5F20A0... or 8010: !1234...")
    ],
) -> None:
    """Personalise an application through its domain.

    INSTALL [for personalization], then STORE DATA. A value after `!` travels under the data encryption key of the
    session; such a file must be private.

    Example: keywright card personalise A00000000301 card.dgi
    """
    name, groups = words.aid(application), read_groups(file)
    card.confirm(f"personalise {name.hex().upper()} with {len(groups)} data groups")
    card.manage(personalization.install_for_personalization(name))
    card.manage(_stored(groups, card.authenticated(), card.size))
    size = len(build_dgi(tuple((one.identifier, one.value) for one in groups)))
    document: dict[str, Any] = {"aid": name.hex().upper(), "groups": [f"{one.identifier:04X}" for one in groups]}
    card.tell(f"personalised {name.hex().upper()}: {len(groups)} data groups, {size} bytes", document)
