"""The key that signs checkpoints, in a file of its own beside the store (mode 0600), and its public half beside that.

It is not sealed: whoever may read it could write the log anew, and what stops that is the witness. A log names its key
(`log_key`): once it has, no other is made in its place, and only `rekey` gives it one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias, final

import msgspec
from msgspec import Meta

from keywright.crypto.curve25519 import Ed25519Key
from keywright.crypto.key import Secret
from keywright.errors import PolicyError, StoreError
from keywright.production.audit.checkpoints import Store
from keywright.production.audit.log_key import key_changes, key_of
from keywright.production.audit.note import NoteKey, check_name
from keywright.production.private_file import READABLE, read_private, replace_file, write_private
from keywright.production.unit_store.rows import Change
from keywright.production.unit_store.sqlite import sync_folder

Rng: TypeAlias = Callable[[int], bytes]

SUFFIX: Final = ".audit-key"
NEXT_SUFFIX: Final = ".audit-key.next"
"""A key that the log does not name yet."""
PUBLIC_SUFFIX: Final = ".audit-key.pub"
FIRST: Final = "the first key"
"""Why a log has its first key."""
_WHAT: Final = "audit key"
_FILE_BYTES: Final = 4096
_SEED_BYTES: Final = 32
_UNNAMED: Final = re.compile(r"[^A-Za-z0-9._-]+")


class _File(msgspec.Struct, frozen=True):
    format: Literal["keywright audit key"]
    version: Literal[1]
    name: str
    secret: Annotated[bytes, Meta(min_length=_SEED_BYTES, max_length=_SEED_BYTES)]


@final
class FileSigner(Secret):
    """Signs with a key from a file."""

    __slots__ = ("_key", "name")

    def __init__(self, name: str, seed: bytes) -> None:
        """Use `open_or_make`."""
        self.name = name
        self._key = Ed25519Key(seed, f"audit key {name}")

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return self._key.public

    def sign(self, data: bytes) -> bytes:
        """The Ed25519 signature, 64 bytes."""
        return self._key.sign(data)

    def __repr__(self) -> str:
        return f"<audit key {self.name}>"


def open_or_make(beside: Path, lot: str, rng: Rng = os.urandom) -> FileSigner:
    """The audit key for a new log whose files begin with `beside`; made if there is none.

    Raises StoreError if it cannot be read or written, PolicyError if others may read it.
    """
    path = _path(beside, SUFFIX)
    if path.exists():
        return _opened(path)
    signer, data = _fresh(lot, rng)
    write_private(path, _WHAT, data)
    _publish(beside, signer)
    return signer


def signer_of(store: Store, beside: Path, lot: str, rng: Rng = os.urandom) -> FileSigner:
    """The key of a log that is there, which its first call names in the log if nobody did before.

    Raises StoreError if the log has a key and it is missing, PolicyError if another one lies in its place.
    """
    known = key_of(store)
    if known is not None:
        return signer_for(known, beside)
    signer = open_or_make(beside, lot, rng)
    store.commit(key_changes(NoteKey(signer.name, signer.public), FIRST))
    return signer


def signer_for(known: NoteKey, beside: Path) -> FileSigner:
    """The key that a log names, from its file. Raises as `signer_of`."""
    path, following = _path(beside, SUFFIX), _path(beside, NEXT_SUFFIX)
    signer = _opened(path) if path.exists() else None
    if signer is None or known != (signer.name, signer.public):
        after = _opened(following) if following.exists() else None
        if after is None or known != (after.name, after.public):
            raise _unfit(path, known, signer)
        _put_in_place(beside, after)  # a crash came between the log's new key and its place
        return after
    return signer


def rekey(
    store: Store, beside: Path, lot: str, changes: Callable[[NoteKey], Iterable[Change]], rng: Rng = os.urandom
) -> FileSigner:
    """Give a log another key: made first, then named in the log with `changes`, then put in the place of the old one.

    The old one is gone then; what it signed is still checked with its public half. Raises StoreError.
    """
    signer, data = _fresh(lot, rng)
    replace_file(_path(beside, NEXT_SUFFIX), _WHAT, data)
    key = NoteKey(signer.name, signer.public)
    store.commit(changes(key))
    _put_in_place(beside, signer)
    return signer


def _unfit(path: Path, known: NoteKey, found: FileSigner | None) -> StoreError | PolicyError:
    hint = "restore it from a backup; if it is lost: keywright audit rekey --store … --why …"
    if found is None:
        return StoreError(f"{path}: the key of this log, {known.name}, is missing", hint=hint)
    return PolicyError(f"{path}: is {found.name}, and this log is signed with another key, {known.name}", hint=hint)


def _put_in_place(beside: Path, signer: FileSigner) -> None:
    path = _path(beside, SUFFIX)
    try:
        _path(beside, NEXT_SUFFIX).replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}", hint="give the same command again") from error
    _publish(beside, signer)


def _publish(beside: Path, signer: FileSigner) -> None:
    text = f"{NoteKey(signer.name, signer.public)}\n"
    replace_file(_path(beside, PUBLIC_SUFFIX), "public audit key", text.encode(), READABLE)


def _fresh(lot: str, rng: Rng) -> tuple[FileSigner, bytes]:
    """A key, and what its file holds."""
    name = f"keywright/{_UNNAMED.sub('-', lot) or 'lot'}/{rng(4).hex()}"
    signer = FileSigner(name, seed := rng(_SEED_BYTES))
    return signer, msgspec.json.encode(_File("keywright audit key", 1, name, seed)) + b"\n"


def _path(beside: Path, suffix: str) -> Path:
    return beside.with_name(beside.name + suffix)


def _opened(path: Path) -> FileSigner:
    try:
        file = msgspec.json.decode(read_private(path, _WHAT, _FILE_BYTES), type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StoreError(f"{path}: not an audit key, or damaged", hint="restore it from a backup") from error
    return FileSigner(check_name(file.name), file.secret)
