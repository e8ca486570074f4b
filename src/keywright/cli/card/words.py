"""From what people type to values: AIDs, privileges, states, keys; and a card's confirmation in words."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import typer

from keywright.cli.keyring import read_private_key
from keywright.codec.hexa import unhex
from keywright.errors import DecodeError, UsageError
from keywright.globalplatform.confirmation import Confirmation
from keywright.globalplatform.dialogues.content import NO_TOKEN, Token
from keywright.globalplatform.privileges import Privilege, parse_privileges
from keywright.globalplatform.tokens import sign_token

Aid: TypeAlias = Annotated[str, typer.Argument(metavar="AID", help="AID in hex.")]
Privileges: TypeAlias = Annotated[
    str, typer.Option("--privileges", metavar="WORDS|HEX", help='Such as "card lock, global delete", or 1 or 3 bytes.')
]
Parameters: TypeAlias = Annotated[
    str, typer.Option("--parameters", metavar="HEX", help="Application specific parameters, the value of C9.")
]
Wide: TypeAlias = Annotated[
    str, typer.Option("--raw-parameters", metavar="HEX", help="The whole parameter field, as it is.")
]
TokenKey: TypeAlias = Annotated[
    Path | None, typer.Option("--token-key", metavar="FILE", help="PEM file of the key that signs the token.")
]

_AID_BYTES: Final = range(5, 17)


def aid(text: str, what: str = "AID") -> bytes:
    """An AID, 5 to 16 bytes. Raises DecodeError, UsageError."""
    data = unhex(text, what)
    if len(data) not in _AID_BYTES:
        raise UsageError(f"{what}: an AID has 5 to 16 bytes, not {len(data)}")
    return data


def privileges(text: str) -> Privilege:
    """Privileges by their names, with commas between, or as 1 or 3 bytes in hex. Raises UsageError."""
    names = {_plain(privilege.name or ""): privilege for privilege in Privilege}
    names |= {"default selected": Privilege.CARD_RESET}
    found = Privilege(0)
    for word in filter(None, (part.strip() for part in text.split(","))):
        plain = _plain(word)
        if plain in names:
            found |= names[plain]
            continue
        try:
            found |= parse_privileges(unhex(word, "--privileges"))
        except DecodeError:
            raise UsageError(f"--privileges: {word!r} is none", hint=f"one of: {', '.join(names)}; or hex") from None
    return found


def _plain(word: str) -> str:
    return re.sub(r"[\s_-]+", " ", word).strip().lower().replace("authorised", "authorized")


def token(key: Path | None) -> Token:
    """What signs a command for delegated management, if a key is given."""
    if key is None:
        return NO_TOKEN
    private = read_private_key(key)
    signer: Callable[[bytes], bytes] = lambda signed: sign_token(private, signed)  # noqa: E731 - it is a value
    return signer


def confirmed(said: Confirmation) -> dict[str, Any]:
    """A confirmation for programs."""
    return {"receipt": said.receipt.hex().upper() or None, "confirmation": said.data.hex().upper() or None}


def receipt_lines(said: Confirmation) -> list[str]:
    """The receipt, where there is one."""
    if not said.receipt:
        return []
    return [f"  receipt       {said.receipt.hex().upper()}", f"  confirmation  {said.data.hex().upper()}"]
