"""Card profiles by name or out of a TOML file: a known kind of card, and what differs from it.

    base = "yubikey"                 # one of `PROFILES`; without it, "default"
    same_state_status = 0x6A80
    scp11.ecka = "sha1"
    restrict = { load = 0x80 }

Byte strings stand in hex. What is not a field, or not one of its values, is refused with its place and what is allowed.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec

from keywright.codec.hexa import unhex
from keywright.errors import DecodeError, UsageError
from keywright.globalplatform.profile import PROFILES, CardProfile

BASE: Final = "base"
_LARGEST: Final = 1 << 16
_DIGITS: Final = 4


def card_profile(text: str) -> CardProfile:
    """The profile of a name, or of a file. Raises UsageError."""
    known = PROFILES.get(text)
    if known is not None:
        return known
    path = Path(text)
    if not path.is_file():
        close = difflib.get_close_matches(text, PROFILES, 1)
        hint = f"did you mean {close[0]}?" if close else f"a file, or one of {', '.join(PROFILES)}"
        raise UsageError(f"{text}: no card profile, and no file", hint=hint)
    try:
        with path.open("rb") as file:
            return parse_profile(file.read(_LARGEST).decode(), text)
    except UnicodeDecodeError:
        raise UsageError(f"{text}: no text") from None
    except OSError as error:
        raise UsageError(f"{text}: {error.strerror}") from None


def parse_profile(text: str, name: str) -> CardProfile:
    """The profile in a TOML text; `name` is its file's, for messages. Raises UsageError."""
    try:
        told = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{name}: {error}") from None
    base = told.pop(BASE, "default")
    if base not in PROFILES:
        raise UsageError(f"{_place(name, text, BASE)}: {base!r} is no profile", hint=f"one of {', '.join(PROFILES)}")
    changed: CardProfile = _changed(PROFILES[base], told, "", lambda key: _place(name, text, key))
    return changed


def allowed(kind: object) -> str:
    """What a field of this type may be, in words."""
    if kind is bool:
        return "true or false"
    if kind is bytes:
        return 'a string of hex digits, as "A000000151"'
    if get_origin(kind) is Literal:
        return " or ".join(shown(value) for value in get_args(kind))
    if get_origin(kind) is Annotated:
        bounds = next(one for one in get_args(kind) if isinstance(one, msgspec.Meta))
        return f"a number from {shown(bounds.ge)} to {shown(bounds.le)}"
    if get_origin(kind) is tuple:
        return "a list of numbers, as [0x34, 0x3C]"
    return "a string" if kind is str else "a number, as 0x6985"


def _changed(base: Any, told: Mapping[str, Any], above: str, place: Any) -> Any:
    hints = get_type_hints(type(base), include_extras=True)
    changes: dict[str, Any] = {}
    for key, value in told.items():
        dotted = above + key
        kind = hints.get(key) if key in base.__struct_fields__ else None
        if kind is None:
            close = difflib.get_close_matches(key, base.__struct_fields__, 1)
            hint = f"did you mean {above}{close[0]}?" if close else f"there are {', '.join(base.__struct_fields__)}"
            raise UsageError(f"{place(dotted)}: there is no {dotted}", hint=hint)
        if isinstance(getattr(base, key), msgspec.Struct):
            if not isinstance(value, dict):
                raise UsageError(f"{place(dotted)}: {dotted} has fields of its own", hint=f"write {dotted}.FIELD = ...")
            changes[key] = _changed(getattr(base, key), value, f"{dotted}.", place)
        else:
            changes[key] = _value(kind, value, dotted, place)
    return msgspec.structs.replace(base, **changes)


def _value(kind: Any, value: Any, dotted: str, place: Any) -> Any:
    try:
        if kind is bytes and isinstance(value, str):
            return unhex(value, dotted)
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, DecodeError):
        raise UsageError(
            f"{place(dotted)}: {dotted} cannot be {shown(value)}", hint=f"it may be {allowed(kind)}"
        ) from None


def shown(value: object) -> str:
    """A value as it is written in a file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"0x{value:0{_DIGITS if value > 0xFF else 2}X}"
    if isinstance(value, bytes):
        return f'"{value.hex().upper()}"'
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(shown(one) for one in value)}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _place(name: str, text: str, dotted: str) -> str:
    """FILE:LINE of a key: where its last part is written first."""
    key = re.escape(dotted.rpartition(".")[2])
    written = re.compile(rf"""(?:^|[\s.,{{"'\[]){key}["'\]]?\s*(?:[=.]|$)""")
    for number, line in enumerate(text.splitlines(), 1):
        if written.search(line.partition("#")[0]):
            return f"{name}:{number}"
    return name
