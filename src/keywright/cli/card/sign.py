"""`keywright card sign`: tokens made and receipts checked, without a card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from keywright.cli.card import words
from keywright.cli.card.cap import signing_key
from keywright.cli.keyring import read_public_key
from keywright.cli.options import Json
from keywright.cli.text import good, pairs, say, show_json
from keywright.codec.hexa import unhex
from keywright.crypto.des import TripleDesKey
from keywright.errors import DecodeError, UsageError
from keywright.globalplatform import receipts
from keywright.globalplatform.confirmation import read_confirmation
from keywright.globalplatform.messages import Ins
from keywright.globalplatform.receipts import Done
from keywright.globalplatform.signatures import VerifyingKey, public_half
from keywright.globalplatform.tokens import (
    delete_input,
    install_input,
    sign_token,
    with_delete_token,
    with_install_token,
)
from keywright.iso7816.apdu import Command

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

_KINDS: Final = {
    "load": ("load file", "security domain"),
    "install": ("load file", "instance"),
    "delete": ("AID",),
    "move": ("old domain", "application", "new domain"),
}

KeyOption = Annotated[Path, typer.Option("--key", metavar="FILE", help="PEM file, or a key file (AES).")]


@app.command()
def token(
    command: Annotated[str, typer.Argument(metavar="HEX", help="INSTALL or DELETE, its token field empty.")],
    *,
    key: KeyOption,
    json: Json = False,
) -> None:
    """Sign a command for delegated management.

    Prints the token, and the command with it.

    Example: keywright card sign token 80E40000074F05A00000000300 --key token.pem
    """
    try:
        plain = Command.parse(unhex(command, "HEX"))
        if plain.ins not in (Ins.INSTALL, Ins.DELETE):
            raise UsageError("only INSTALL and DELETE have tokens")
        deletes = plain.ins == Ins.DELETE
        signer = signing_key(key)
        if isinstance(signer, TripleDesKey):
            raise UsageError("triple DES signs no tokens")
        made = sign_token(signer, delete_input(plain) if deletes else install_input(plain))
        data = (with_delete_token if deletes else with_install_token)(plain.data, made)
    except DecodeError as error:
        raise DecodeError(f"HEX: {error}", error.offset, hint="a whole command: CLA INS P1 P2 Lc data") from error
    signed = Command(plain.cla, plain.ins, plain.p1, plain.p2, data, plain.le, len(data) > 255).encode().hex().upper()
    if json:
        show_json({"token": made.hex().upper(), "command": signed})
        return
    for line in pairs([("token", made.hex().upper()), ("command", signed)]):
        say(line)


@app.command()
def receipt(
    answer: Annotated[str, typer.Argument(metavar="HEX", help="What the card answered, without status.")],
    kind: Annotated[str, typer.Argument(metavar="|".join(_KINDS), help="What it was asked.")],
    aids: Annotated[list[str], typer.Argument(metavar="AID...", help="The AIDs of it, in the order of the receipt.")],
    *,
    key: KeyOption,
    above: Annotated[int | None, typer.Option("--above", metavar="N", help="Counter of the last receipt seen.")] = None,
    json: Json = False,
) -> None:
    """Check a card's receipt of what it did.

    Example: keywright card sign receipt 2040..0200010342CAFE delete A000000003 --key receipt.pem
    """
    if kind not in _KINDS:
        raise UsageError(f"{kind}: no such operation", hint=f"one of {', '.join(_KINDS)}")
    expected = _KINDS[kind]
    if len(aids) != len(expected):
        raise UsageError(f"a receipt of {kind} names {len(expected)} AIDs: {', '.join(expected)}")
    done = Done(tuple(words.aid(text, name) for text, name in zip(aids, expected, strict=True)))
    said = read_confirmation(unhex(answer, "HEX"))
    data = receipts.check_receipt(_verifying(key), said, done, above=above)
    if json:
        show_json({"is_right": True, "counter": data.counter.count, "token": data.token.hex().upper() or None})
        return
    say(good(f"the receipt is right: number {data.counter.count}"))


def _verifying(path: Path) -> VerifyingKey:
    try:
        is_pem = b"-----BEGIN" in path.read_bytes()[: 1 << 16]
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    return read_public_key(path) if is_pem else public_half(signing_key(path))
