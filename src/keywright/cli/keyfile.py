"""Key files: where a verb finds static keys, because they never stand on a command line.

TOML, mode 0600: `enc`, `mac` and `dek` in hex, or one `key` for all three; `kvn` (hex) may name their version.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final, NamedTuple

from keywright.codec.hexa import unhex
from keywright.crypto.aes import AesKey
from keywright.errors import DecodeError, UsageError
from keywright.globalplatform.unwrapping import Candidate, GivenSession
from keywright.scp import scp02
from keywright.scp.scp03.keys import KeySet, SessionKeys

GP_TEST: Final = "gp-test"

_WHAT: Final = "key file"
_LIMIT: Final = 4096
_DES_BYTES: Final = 16
_SESSION: Final = ("s_enc", "s_mac", "s_rmac")
_SESSION_HINT: Final = "it has lines s_enc, s_mac, s_rmac and, for SCP11, receipt (hex), or [[session]] tables of them"
_NAMES: Final = ("enc", "mac", "dek")
_HINT: Final = 'it has lines like: enc = "4041...", mac = "...", dek = "..." (hex), or one: key = "..."'


class StaticKeys(NamedTuple):
    """A key set, and the version number that goes with it (0: the card's default)."""

    keys: KeySet
    kvn: int = 0

    @property
    def des(self) -> scp02.KeySet | None:
        """The same as triple DES keys; None where they have not 16 bytes."""
        raw = [key.reveal() for key in (self.keys.enc, self.keys.mac, self.keys.dek)]
        return scp02.KeySet.of(*raw) if len(raw[0]) == _DES_BYTES else None

    @property
    def candidates(self) -> list[Candidate]:
        """What they may have opened: a session of SCP03, or of SCP02."""
        sets = (self.keys, self.des)
        return [Candidate(keys, self.kvn) for keys in sets if keys is not None]


def static_keys(name: str) -> StaticKeys:
    """The keys of a file, or the public test keys for `gp-test`.

    Raises PolicyError if others can read the file, StoreError if it is not there, UsageError if it is no key file;
    no message repeats what is in it.
    """
    if name == GP_TEST:
        return StaticKeys(KeySet.gp_test())
    path = Path(name)
    values = _table(path, _HINT)
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


def session_keys(path: Path) -> list[GivenSession]:
    """The session keys of a file: one set, or several in tables [[session]]. Raises as `static_keys`."""
    values = _table(path, _SESSION_HINT)
    tables = values.get("session", [values])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise UsageError(f"{path}: session is no list of tables", hint=_SESSION_HINT)
    return [_session(path, table) for table in tables]


def _session(path: Path, values: dict[str, object]) -> GivenSession:
    if unknown := values.keys() - {*_SESSION, "receipt"}:
        raise UsageError(f"{path}: unknown entry {min(unknown)!r}", hint=_SESSION_HINT)
    try:
        enc, mac, rmac = (
            AesKey(unhex(_text(path, values, name, _SESSION_HINT), f"{path}: {name}"), name.upper().replace("_", "-"))
            for name in _SESSION
        )
        receipt = (
            unhex(_text(path, values, "receipt", _SESSION_HINT), f"{path}: receipt") if "receipt" in values else b""
        )
    except ValueError as error:
        raise UsageError(f"{path}: {error}".replace(f"{path}: {path}", str(path)), hint=_SESSION_HINT) from None
    return GivenSession(SessionKeys(enc, mac, rmac), receipt)


def _table(path: Path, hint: str) -> dict[str, object]:
    """The entries of a private file. Raises as `static_keys`."""
    from keywright.production.private_file import read_private  # noqa: PLC0415 - loads the database, too

    text = read_private(path, _WHAT, _LIMIT)
    try:
        return tomllib.loads(text.decode())
    except ValueError as error:
        raise UsageError(f"{path}: not a {_WHAT}", hint=hint) from error


def _text(path: Path, values: dict[str, object], name: str, hint: str = _HINT) -> str:
    value = values.get(name)
    if not isinstance(value, str):
        raise UsageError(f"{path}: {name} is {'missing' if value is None else 'not a text'}", hint=hint)
    return value
