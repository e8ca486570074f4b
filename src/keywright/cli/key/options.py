"""What the verbs of `keywright key` are told alike."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from keywright.aliro.dates import parse_timestamp
from keywright.aliro.documents.access_data import CAPABILITIES
from keywright.cli.keyring import read_public_key
from keywright.crypto.ec import EcPublicKey
from keywright.errors import DecodeError, UsageError

LockFile: TypeAlias = Annotated[Path, typer.Argument(metavar="LOCK", help="The lock's file.")]
At: TypeAlias = Annotated[
    str, typer.Option("--at", metavar="TIME", help="The lock's time, 2026-12-31T08:00:00Z or `none`: now if not given.")
]

Evictable: TypeAlias = Annotated[
    bool, typer.Option("--evictable", help="May go when there is no room for a newer one.")
]

ACTIONS: Final = {name.replace(" ", "-"): bit for bit, name in CAPABILITIES.items()}
"""What a lock is asked to do, and what a document allows, by name."""
_DAY_S: Final = 86_400


def time_in(text: str, option: str) -> int | None:
    """Seconds since 1970 for a time, `none`, or nothing (now). Raises UsageError."""
    if not text:
        return int(time.time())
    if text == "none":
        return None
    try:
        return parse_timestamp(text)
    except DecodeError as error:
        raise UsageError(f"{option} {text}: {error}", hint=f"for example {option} 2026-12-31T08:00:00Z") from error


def duration_in(text: str, option: str) -> int:
    """Seconds of a number of days (`365d`) or hours (`8h`). Raises UsageError."""
    unit = {"d": _DAY_S, "h": 3600}.get(text[-1:])
    if unit is None or not text[:-1].isdigit() or not int(text[:-1]):
        raise UsageError(f"{option} {text}: a number of days or hours", hint=f"for example {option} 365d")
    return int(text[:-1]) * unit


def public_key_in(text: str, option: str) -> EcPublicKey:
    """A public key of P-256: 65 bytes in hex, or a file with a key or certificate. Raises UsageError."""
    if text.startswith("04"):
        try:
            return EcPublicKey.from_point("P-256", bytes.fromhex(text))
        except ValueError as error:
            raise UsageError(f"{option}: not a point of P-256", hint="04 and 64 bytes in hex") from error
    found = read_public_key(Path(text))
    if not isinstance(found, EcPublicKey) or found.curve != "P-256":
        raise UsageError(f"{option} {text}: not a key on P-256", hint="Aliro knows no other")
    return found


def action_in(text: str, option: str) -> int:
    """The bit of an action. Raises UsageError."""
    if text not in ACTIONS:
        raise UsageError(f"{option} {text}: no such action", hint=f"one of {', '.join(ACTIONS)}")
    return ACTIONS[text]
