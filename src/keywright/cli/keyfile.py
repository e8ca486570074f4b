"""Key files: where a verb finds static keys, because they never stand on a command line.

TOML, mode 0600: `enc`, `mac` and `dek` in hex, or one `key` for all three; `kvn` (hex) may name their version.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final, NamedTuple

from keywright.codec.hexa import unhex
from keywright.errors import DecodeError, UsageError
from keywright.scp.scp03.keys import KeySet

GP_TEST: Final = "gp-test"

_WHAT: Final = "key file"
_LIMIT: Final = 4096
_NAMES: Final = ("enc", "mac", "dek")
_HINT: Final = 'it has lines like: enc = "4041...", mac = "...", dek = "..." (hex), or one: key = "..."'


class StaticKeys(NamedTuple):
    """A key set, and the version number that goes with it (0: the card's default)."""

    keys: KeySet
    kvn: int = 0


def static_keys(name: str) -> StaticKeys:
    """The keys of a file, or the public test keys for `gp-test`.

    Raises PolicyError if others can read the file, StoreError if it is not there, UsageError if it is no key file;
    no message repeats what is in it.
    """
    if name == GP_TEST:
        return StaticKeys(KeySet.gp_test())
    from keywright.production.private_file import read_private  # noqa: PLC0415 - loads the database, too

    path = Path(name)
    text = read_private(path, _WHAT, _LIMIT)
    try:
        values = tomllib.loads(text.decode())
    except ValueError as error:
        raise UsageError(f"{path}: not a {_WHAT}", hint=_HINT) from error
    if unknown := values.keys() - {*_NAMES, "key", "kvn"}:
        raise UsageError(f"{path}: unknown entry {min(unknown)!r}", hint=_HINT)
    if "key" in values:
        values |= dict.fromkeys(_NAMES, values["key"])
    try:
        raw = [unhex(_text(path, values, name), f"{path}: {name}") for name in _NAMES]
        kvn = unhex(_text(path, values, "kvn"), f"{path}: kvn") if "kvn" in values else b"\0"
        if len(kvn) != 1:
            raise UsageError(f"{path}: kvn is one byte in hex", hint='for example kvn = "30"')
        return StaticKeys(KeySet.of(*raw), kvn[0])
    except DecodeError as error:
        raise UsageError(str(error), hint=_HINT) from error
    except ValueError as error:
        raise UsageError(f"{path}: {error}", hint=_HINT) from None


def _text(path: Path, values: dict[str, object], name: str) -> str:
    value = values.get(name)
    if not isinstance(value, str):
        raise UsageError(f"{path}: {name} is {'missing' if value is None else 'not a text'}", hint=_HINT)
    return value
