"""The key that signs checkpoints, in a file of its own beside the store (mode 0600), and its public half beside that.

It is not sealed: whoever may read it could write the log anew, and what stops that is the witness.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, Literal, final

import msgspec
from msgspec import Meta

from keywright.crypto.curve25519 import Ed25519Key
from keywright.crypto.key import Secret
from keywright.errors import StoreError
from keywright.production.audit.note import NoteKey, check_name
from keywright.production.private_file import read_private, write_private

SUFFIX: Final = ".audit-key"
PUBLIC_SUFFIX: Final = ".audit-key.pub"
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


def open_or_make(beside: Path, lot: str, rng: Callable[[int], bytes] = os.urandom) -> FileSigner:
    """The audit key of the store whose files begin with `beside`; made if there is none.

    Raises StoreError if it cannot be read or written, PolicyError if others may read it.
    """
    path = beside.with_name(beside.name + SUFFIX)
    if path.exists():
        return _opened(path)
    name = f"keywright/{_UNNAMED.sub('-', lot) or 'lot'}/{rng(4).hex()}"
    signer = FileSigner(name, seed := rng(_SEED_BYTES))
    write_private(path, _WHAT, msgspec.json.encode(_File("keywright audit key", 1, name, seed)) + b"\n")
    public = beside.with_name(beside.name + PUBLIC_SUFFIX)
    try:
        public.write_text(f"{NoteKey(signer.name, signer.public)}\n", "utf-8")
    except OSError as error:
        raise StoreError(f"{public}: cannot be written: {error.strerror}", hint="free some space") from error
    return signer


def _opened(path: Path) -> FileSigner:
    try:
        file = msgspec.json.decode(read_private(path, _WHAT, _FILE_BYTES), type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"{path}: not an audit key, or damaged", hint="restore it from a backup") from error
    return FileSigner(check_name(file.name), file.secret)
