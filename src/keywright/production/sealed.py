"""The sealed file of a software keystore.

JSON, so that its ids, purposes and check values can be looked at; every secret in it is AES-256-GCM ciphertext whose
associated data are the keystore's id and the key's name, purpose and algorithm, so that no secret can be passed off as
another. One more tag covers the whole file, so that nothing can be left out or marked differently. The sealing key is
argon2id (RFC 9106) of the unlock key, with the parameters and salt that stand in the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from keywright.crypto.aead import GCM_NONCE_BYTES, open_gcm, seal_gcm
from keywright.crypto.aes import AesKey
from keywright.crypto.key import Secret
from keywright.errors import AuthenticationError, StoreError
from keywright.production.argon2id import Argon2id
from keywright.production.private_file import read_private, write_private

WHAT: Final = "keystore"
FILE_BYTES: Final = 1 << 20

Purpose = Literal["master", "factory", "ca"]


class Entry(Secret):
    """One key: name, purpose, algorithm, the secret itself, and for a CA its certificate."""

    __slots__ = ("algorithm", "certificate", "name", "purpose", "secret")

    def __init__(self, name: str, purpose: Purpose, algorithm: str, secret: bytes, certificate: bytes = b"") -> None:
        """`secret`: a master's key, the three keys of a set one after another, or a CA key as PKCS #8."""
        self.name = name
        self.purpose: Purpose = purpose
        self.algorithm = algorithm
        self.secret = secret
        self.certificate = certificate

    def __repr__(self) -> str:
        return f"<{self.purpose} {self.name} {self.algorithm}>"


class Content(msgspec.Struct, frozen=True):
    """What is sealed. `keystore_id`: 16 bytes as hex; `test` marks keys that protect nothing of value."""

    keystore_id: str
    test: bool
    entries: tuple[Entry, ...]


class _Sealed(msgspec.Struct, frozen=True):
    name: str
    purpose: Purpose
    algorithm: str
    nonce: Annotated[bytes, Meta(min_length=GCM_NONCE_BYTES, max_length=GCM_NONCE_BYTES)]
    secret: bytes
    certificate: bytes = b""


class _File(msgspec.Struct, frozen=True):
    format: Literal["keywright keystore"]
    version: Literal[1]
    keystore_id: Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
    test: bool
    argon2id: Argon2id
    entries: tuple[_Sealed, ...]
    nonce: Annotated[bytes, Meta(min_length=GCM_NONCE_BYTES, max_length=GCM_NONCE_BYTES)]
    tag: bytes = b""

    def bound(self) -> bytes:
        """What the tag covers: everything else."""
        return hashlib.sha256(msgspec.json.encode(msgspec.structs.replace(self, tag=b""))).digest()

    def bound_to(self, entry: Entry | _Sealed) -> bytes:
        """Associated data of one entry."""
        return msgspec.json.encode((self.keystore_id, entry.name, entry.purpose, entry.algorithm))


def write(path: Path, content: Content, unlock: bytes, rng: Callable[[int], bytes]) -> None:
    """Seal a keystore into a new file. Raises StoreError if the file exists or cannot be written."""
    argon2id = Argon2id(rng(16))
    key = argon2id.key(unlock)
    head = _File("keywright keystore", 1, content.keystore_id, content.test, argon2id, (), rng(GCM_NONCE_BYTES))
    entries = tuple(_seal(key, head, entry, rng(GCM_NONCE_BYTES)) for entry in content.entries)
    whole = msgspec.structs.replace(head, entries=entries)
    signed = msgspec.structs.replace(whole, tag=seal_gcm(key, whole.nonce, b"", whole.bound()))
    write_private(path, WHAT, msgspec.json.format(msgspec.json.encode(signed), indent=1) + b"\n")


def read(path: Path, unlock: Callable[[], bytes]) -> Content:
    """Open a sealed file; `unlock` is asked once the file is known to be one.

    Raises StoreError if it is missing, damaged, or sealed with another unlock key, PolicyError if others may read it.
    """
    data = read_private(path, WHAT, FILE_BYTES)
    try:
        file = msgspec.json.decode(data, type=_File)
    except (msgspec.DecodeError, RecursionError) as error:
        raise StoreError(f"{path}: not a keystore, or damaged", hint="restore it from a backup") from error
    key = file.argon2id.key(unlock())
    try:
        open_gcm(key, file.nonce, file.tag, file.bound())
        entries = tuple(_open(key, file, entry) for entry in file.entries)
    except AuthenticationError as error:
        raise StoreError(
            f"{path}: does not open: another unlock key, or damaged",
            hint="give the unlock key this keystore was made with, or restore it from a backup",
        ) from error
    return Content(file.keystore_id, file.test, entries)


def _seal(key: AesKey, file: _File, entry: Entry, nonce: bytes) -> _Sealed:
    secret = seal_gcm(key, nonce, entry.secret, file.bound_to(entry))
    return _Sealed(entry.name, entry.purpose, entry.algorithm, nonce, secret, entry.certificate)


def _open(key: AesKey, file: _File, entry: _Sealed) -> Entry:
    secret = open_gcm(key, entry.nonce, entry.secret, file.bound_to(entry))
    return Entry(entry.name, entry.purpose, entry.algorithm, secret, entry.certificate)
