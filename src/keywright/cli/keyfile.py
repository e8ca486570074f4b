"""Key files: where a verb finds static keys, because they never stand on a command line.

TOML, mode 0600: `enc`, `mac` and `dek` in hex, or one `key` for all three; `kvn` (hex) may name their version. With
`scheme`, a name or template of diversification, `key` is the master, and each card has its own.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final, NamedTuple

from keywright.codec.hexa import unhex
from keywright.crypto.aes import AesKey
from keywright.crypto.des import TripleDesKey
from keywright.crypto.diversification import derive_key_set
from keywright.errors import DecodeError, PolicyError, UsageError
from keywright.globalplatform.unwrapping import Candidate, GivenSession
from keywright.scp import scp02
from keywright.scp.scp03.keys import GP_TEST_KEY, KeySet, SessionKeys
from keywright.scp.scp80 import keys as scp80
from keywright.scp.scp81.keys import Psk

GP_TEST: Final = "gp-test"

_WHAT: Final = "key file"
_LIMIT: Final = 4096
_DES_BYTES: Final = 16
_KDD_BYTES: Final = 10
_SESSION: Final = ("s_enc", "s_mac", "s_rmac")
_SESSION_HINT: Final = "it has lines s_enc, s_mac, s_rmac and, for SCP11, receipt (hex), or [[session]] tables of them"
_NAMES: Final = ("enc", "mac", "dek")
_OTA_NAMES: Final = ("kic", "kid", "kik")
_OTA_HINT: Final = 'it has lines like: kic = "4041...", kid = "...", kik = "..." (hex), type = "aes", kvn = "01"'
_PSK_HINT: Final = 'it has one line: psk = "..." (16 bytes or more, hex)'
_DES_ALGORITHMS: Final = {8: 0x1, 16: 0x5, 24: 0x9}
_HINT: Final = 'it has lines like: enc = "4041...", mac = "...", dek = "..." (hex), or one: key = "..."'


class StaticKeys(NamedTuple):
    """A key set, and the version number that goes with it (0: the card's default).

    scheme: how the keys of one card are derived; then the three keys are one and the same, the master. Empty: they are
    the card's own.
    """

    keys: KeySet
    kvn: int = 0
    scheme: str = ""

    def raw_of(self, kdd: bytes) -> tuple[bytes, bytes, bytes]:
        """ENC, MAC and DEK of the card with these diversification data. Raises PolicyError, UsageError for a scheme."""
        own = self.keys
        if not self.scheme:
            return own.enc.reveal(), own.mac.reveal(), own.dek.reveal()
        if len(own.enc.reveal()) == _DES_BYTES:
            try:
                return derive_key_set(TripleDesKey(own.enc.reveal(), "master"), self.scheme, kdd)
            except PolicyError:
                pass  # a scheme for AES
        return derive_key_set(own.enc, self.scheme, kdd)

    def of(self, kdd: bytes) -> KeySet:
        """The AES key set of a card. Raises as `raw_of`."""
        return KeySet.of(*self.raw_of(kdd)) if self.scheme else self.keys

    def des_of(self, kdd: bytes) -> scp02.KeySet:
        """The triple DES key set of a card. Raises UsageError for keys that have not 16 bytes."""
        try:
            return scp02.KeySet.of(*self.raw_of(kdd))
        except ValueError as error:
            raise UsageError(str(error), hint="SCP02 takes triple DES keys of 16 bytes") from None

    @property
    def candidates(self) -> list[Candidate]:
        """What they may have opened: a session of SCP03, or of SCP02."""
        found = [Candidate(self.of, self.kvn)]
        if self.keys.enc.size == _DES_BYTES:
            found.append(Candidate(self.des_of, self.kvn))
        return found


def static_keys(name: str) -> StaticKeys:
    """The keys of a file, or the public test keys for `gp-test`.

    Raises PolicyError if others can read the file, StoreError if it is not there, UsageError if it is no key file;
    no message repeats what is in it.
    """
    if name == GP_TEST:
        return StaticKeys(KeySet.gp_test())
    path = Path(name)
    values = _table(path, _HINT)
    if unknown := values.keys() - {*_NAMES, "key", "kvn", "scheme"}:
        raise UsageError(f"{path}: unknown entry {min(unknown)!r}", hint=_HINT)
    if "key" in values:
        values |= dict.fromkeys(_NAMES, values["key"])
    try:
        raw = [unhex(_text(path, values, name), f"{path}: {name}") for name in _NAMES]
        kvn = unhex(_text(path, values, "kvn"), f"{path}: kvn") if "kvn" in values else b"\0"
        if len(kvn) != 1:
            raise UsageError(f"{path}: kvn is one byte in hex", hint='for example kvn = "30"')
        scheme = _text(path, values, "scheme") if "scheme" in values else ""
        if scheme and "key" not in values:
            raise UsageError(f"{path}: with a scheme there is one master key", hint='key = "..." and scheme = "emv"')
        return _tried(StaticKeys(KeySet.of(*raw), kvn[0], scheme))
    except DecodeError as error:
        raise UsageError(str(error), hint=_HINT) from error
    except ValueError as error:
        raise UsageError(f"{path}: {error}", hint=_HINT) from None


def raw_keys(name: str) -> tuple[tuple[bytes, bytes, bytes], int]:
    """The three keys of a file as they stand there, and their version number (0: none). Raises as `static_keys`."""
    found = static_keys(name)
    keys = found.keys
    return (keys.enc.reveal(), keys.mac.reveal(), keys.dek.reveal()), found.kvn


def _tried(found: StaticKeys) -> StaticKeys:
    """The same, its scheme known to fit the master. Raises PolicyError, UsageError."""
    found.raw_of(bytes(_KDD_BYTES))
    return found


class OtaKeys(NamedTuple):
    """A key set of SCP80, its number, and what the low half of KIc and KID says of its keys (TS 102 225 5.1.2)."""

    keys: scp80.KeySet
    kvn: int = 1
    algorithm: int = 0x2


def ota_keys(name: str) -> OtaKeys:
    """The keys of a file for packets, or the public test keys for `gp-test`. Raises as `static_keys`.

    `kic`, `kid` and `kik` in hex (`enc`, `mac` and `dek` mean the same), or one `key`; `type` is aes or des, `kvn` 1 to
    F, `mac_length` 8 or 4.
    """
    if name == GP_TEST:
        return OtaKeys(scp80.KeySet.aes(GP_TEST_KEY, GP_TEST_KEY, GP_TEST_KEY))
    path = Path(name)
    values = _table(path, _OTA_HINT)
    kind, mac_length = values.pop("type", "aes"), values.pop("mac_length", 8)
    if unknown := values.keys() - {*_NAMES, *_OTA_NAMES, "key", "kvn"}:
        raise UsageError(f"{path}: unknown entry {min(unknown)!r}", hint=_OTA_HINT)
    if kind not in ("aes", "des") or mac_length not in (4, 8):
        raise UsageError(f"{path}: type is aes or des, mac_length 8 or 4", hint=_OTA_HINT)
    for ours, theirs in zip(_OTA_NAMES, _NAMES, strict=True):
        values.setdefault(ours, values.get(theirs, values.get("key")))
    try:
        kic, kid = (unhex(_text(path, values, name, _OTA_HINT), f"{path}: {name}") for name in _OTA_NAMES[:2])
        kik = unhex(_text(path, values, "kik", _OTA_HINT), f"{path}: kik") if values["kik"] else None
        kvn = unhex(_text(path, values, "kvn").rjust(2, "0"), f"{path}: kvn") if "kvn" in values else b"\1"
        if len(kvn) != 1 or not 1 <= kvn[0] <= 0xF:
            raise UsageError(f"{path}: kvn is 1 to F in hex", hint='for example kvn = "01"')
        if kind == "aes":
            return OtaKeys(scp80.KeySet.aes(kic, kid, kik, mac_length=4 if mac_length == 4 else 8), kvn[0])
        return OtaKeys(scp80.KeySet.des(kic, kid, kik), kvn[0], _DES_ALGORITHMS.get(len(kic), 0x5))
    except DecodeError as error:
        raise UsageError(str(error), hint=_OTA_HINT) from error
    except ValueError as error:
        raise UsageError(f"{path}: {error}", hint=_OTA_HINT) from None


def pre_shared_key(path: Path) -> Psk:
    """The key of a file with one line `psk` in hex. Raises as `static_keys`."""
    values = _table(path, _PSK_HINT)
    try:
        return Psk(unhex(_text(path, values, "psk", _PSK_HINT), f"{path}: psk"))
    except ValueError as error:
        raise UsageError(f"{path}: {error}", hint=_PSK_HINT) from None


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
