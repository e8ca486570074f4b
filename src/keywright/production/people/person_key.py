"""A person's private key: a file of that person's own, sealed with a passphrase, that counts wrong tries.

The count slows down whoever sits at the file's own place; who took a copy away is held up by the cost of argon2id and
the length of the passphrase alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, Literal, final

import msgspec
from msgspec import Meta

from keywright.crypto.aead import GCM_NONCE_BYTES, open_gcm, seal_gcm
from keywright.crypto.compare import equal
from keywright.crypto.curve25519 import Ed25519Key, verify_ed25519
from keywright.crypto.key import Secret
from keywright.errors import AuthenticationError, PolicyError, StoreError, UsageError
from keywright.production.canonical import canonical
from keywright.production.people.argon2id import Argon2id
from keywright.production.private_file import read_private, replace_file, write_private
from keywright.store.lock import FileLock

NAME: Final = r"^[a-z0-9][a-z0-9._-]{0,62}\Z"
"""How persons and groups are called: no two names look alike but for their case."""
MIN_CHARACTERS: Final = 12
MAX_TRIES: Final = 6
LOCKED_MS: Final = 30 * 60 * 1000

_WHAT: Final = "key file of a person"
_FILE_BYTES: Final = 1 << 16
_LOCK_WAIT_S: Final = 10.0
_HINT: Final = f"at least {MIN_CHARACTERS} characters; several words are easy to keep in mind"


@final
class PersonKey(Secret):
    """A person's name and private key, for signing."""

    __slots__ = ("_key", "name")

    def __init__(self, name: str, key: Ed25519Key) -> None:
        """Use `create_key` or `open_key`; the simulations of tests make their own."""
        self.name = name
        self._key = key

    @property
    def public(self) -> bytes:
        """The public key, Ed25519, 32 bytes."""
        return self._key.public

    def sign(self, data: bytes) -> bytes:
        """The signature over `data`, 64 bytes."""
        return self._key.sign(data)

    def __repr__(self) -> str:
        return f"<key of {self.name}>"


class _File(msgspec.Struct, frozen=True):
    format: Literal["keywright person"]
    version: Literal[1]
    name: Annotated[str, Meta(pattern=NAME)]
    public_key: Annotated[bytes, Meta(min_length=32, max_length=32)]
    argon2id: Argon2id
    nonce: Annotated[bytes, Meta(min_length=GCM_NONCE_BYTES, max_length=GCM_NONCE_BYTES)]
    secret: bytes = b""

    def bound(self) -> bytes:
        """Associated data: whose key it is."""
        return canonical({"format": self.format, "name": self.name, "public_key": self.public_key.hex()})


def _cost(salt: bytes) -> Argon2id:
    """What a guess costs who took the file away: the second choice of RFC 9106 4, for want of 2 GiB."""
    return Argon2id(salt, memory_kib=64 * 1024, iterations=3, lanes=4)


class _Tries(msgspec.Struct, frozen=True):
    """Wrong tries in a row, and when the last one was (ms since 1970, UTC)."""

    wrong: Annotated[int, Meta(ge=0)] = 0
    last_ms: int = 0


def create_key(
    path: Path,
    name: str,
    passphrase: bytes,
    rng: Callable[[int], bytes] = os.urandom,
    cost: Callable[[bytes], Argon2id] = _cost,
) -> PersonKey:
    """Make a key and its file (mode 0600, never over another); `cost` gives that of guessing, from a salt.

    Raises PolicyError for a short passphrase, StoreError if the file exists, UsageError for a name that is none.
    """
    check_name(name)
    check_passphrase(passphrase)
    key = Ed25519Key(rng(32), f"key of {name}")
    head = _File("keywright person", 1, name, key.public, cost(rng(16)), rng(GCM_NONCE_BYTES))
    sealing = head.argon2id.key(passphrase, "passphrase")
    file = msgspec.structs.replace(head, secret=seal_gcm(sealing, head.nonce, key.reveal(), head.bound()))
    write_private(path, _WHAT, msgspec.json.format(msgspec.json.encode(file), indent=1) + b"\n")
    return PersonKey(name, key)


def open_key(path: Path, passphrase: Callable[[], bytes], *, at_ms: int) -> PersonKey:
    """Open a key file; `passphrase` is asked once the file is known to be one and not locked.

    A wrong try is counted on the disk before it is tried; after 6 in a row the file stays shut for 30 minutes. Raises
    PolicyError while it is, AuthenticationError for a wrong passphrase, StoreError if the file is missing or damaged,
    or the count cannot be kept.
    """
    file = _read(path)
    _check_tries(path, _tries(path), at_ms)
    typed = passphrase()
    with _counting(path):
        before = _tries(path)
        _check_tries(path, before, at_ms)
        wrong = before.wrong % MAX_TRIES + 1
        replace_file(_count_path(path), "count of wrong tries", msgspec.json.encode(_Tries(wrong, at_ms)))
        key = _unsealed(path, file, typed, MAX_TRIES - wrong)
        replace_file(_count_path(path), "count of wrong tries", msgspec.json.encode(_Tries()))
    return key


class Card(msgspec.Struct, frozen=True):
    """What a person hands to an administrator: name and public key, signed with the private one."""

    format: Literal["keywright person card"]
    version: Literal[1]
    name: Annotated[str, Meta(pattern=NAME)]
    public_key: Annotated[bytes, Meta(min_length=32, max_length=32)]
    signature: Annotated[bytes, Meta(min_length=64, max_length=64)] = bytes(64)

    def content(self) -> bytes:
        """What the signature covers."""
        return canonical({"format": self.format, "name": self.name, "public_key": self.public_key.hex()})


def card_of(key: PersonKey) -> bytes:
    """A card as the text of a file."""
    card = Card("keywright person card", 1, key.name, key.public)
    return msgspec.json.encode(msgspec.structs.replace(card, signature=key.sign(card.content()))) + b"\n"


def read_card(path: Path) -> Card:
    """The card in a file. Raises StoreError if it is none, AuthenticationError if its own key did not sign it."""
    try:
        card = msgspec.json.decode(path.read_bytes()[:_FILE_BYTES], type=Card)
    except OSError as error:
        raise StoreError(f"{path}: the card cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise StoreError(f"{path}: no card of a person", hint="it is made by: keywright person new") from error
    verify_ed25519(card.public_key, card.signature, card.content())
    return card


def name_of(path: Path) -> str:
    """Whose key file this is. Raises StoreError if it is none."""
    return _read(path).name


def check_name(name: str) -> None:
    """Raise UsageError for what cannot be the name of a person or group."""
    if not re.match(NAME, name):
        raise UsageError(f"{name!r} cannot be a name", hint="small letters, digits and . _ - , at most 63")


def check_passphrase(passphrase: bytes) -> None:
    """Raise PolicyError for one of less than 12 characters."""
    if len(passphrase.decode(errors="replace")) < MIN_CHARACTERS:
        raise PolicyError("the passphrase is too short", hint=_HINT)


def _read(path: Path) -> _File:
    data = read_private(path, _WHAT, _FILE_BYTES)
    try:
        return msgspec.json.decode(data, type=_File)
    except (msgspec.DecodeError, RecursionError) as error:
        raise StoreError(f"{path}: not a {_WHAT}, or damaged", hint="restore it from a backup") from error


def _unsealed(path: Path, file: _File, passphrase: bytes, left: int) -> PersonKey:
    try:
        raw = open_gcm(file.argon2id.key(passphrase, "passphrase"), file.nonce, file.secret, file.bound())
    except AuthenticationError as error:
        then = f"{left} more tries" if left else f"the file stays shut for {LOCKED_MS // 60_000} minutes"
        raise AuthenticationError(f"{path}: does not open: another passphrase, or damaged", hint=then) from error
    key = Ed25519Key(raw, f"key of {file.name}")
    if not equal(key.public, file.public_key):
        raise StoreError(f"{path}: damaged", hint="restore it from a backup")
    return PersonKey(file.name, key)


def _count_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.tries")


@contextmanager
def _counting(path: Path) -> Iterator[None]:
    """One at a time, so that tries at once are not counted as one."""
    try:
        lock = FileLock(f"{_count_path(path)}.lock", f"{path}", _LOCK_WAIT_S)
    except OSError as error:
        raise StoreError(
            f"{path}: wrong tries cannot be counted beside it: {error.strerror}", hint="use a folder of your own"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _tries(path: Path) -> _Tries:
    """What has been counted. Raises StoreError for a damaged count: damaging it shall be no way around it."""
    counted = _count_path(path)
    try:
        return msgspec.json.decode(counted.read_bytes(), type=_Tries)
    except FileNotFoundError:
        return _Tries()
    except (msgspec.DecodeError, OSError) as error:
        raise StoreError(
            f"{counted}: the count of wrong tries is damaged", hint="remove it before a witness"
        ) from error


def _check_tries(path: Path, tries: _Tries, at_ms: int) -> None:
    if tries.wrong >= MAX_TRIES and at_ms < tries.last_ms + LOCKED_MS:
        minutes = -(-(tries.last_ms + LOCKED_MS - at_ms) // 60_000)
        raise PolicyError(
            f"{path}: shut after {MAX_TRIES} wrong passphrases",
            hint=f"try again in {minutes} min, with the right one",
        )
