"""The sealed file of a software keystore.

JSON, so that its ids, records and check values can be looked at; every secret in it is AES-256-GCM ciphertext whose
associated data are the keystore's id and the key's name, purpose and algorithm, so that no secret can be passed off as
another. One more tag covers the whole file, so that nothing can be left out or marked differently. The sealing key is
argon2id (RFC 9106) of the unlock key, with the parameters and salt that stand in the file.

Version 2 has the key registry; a file of version 1 is opened and replaced by one of version 2 at once.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias, final

import msgspec
from msgspec import Meta

from keywright.crypto.aead import GCM_NONCE_BYTES, open_gcm, seal_gcm
from keywright.crypto.aes import AesKey
from keywright.crypto.key import Secret
from keywright.errors import AuthenticationError, StoreError
from keywright.production.keystores.registry import Registry
from keywright.production.people.argon2id import Argon2id
from keywright.production.private_file import read_private, replace_file, write_private

WHAT: Final = "keystore"
FILE_BYTES: Final = 4 << 20
_FORMAT: Final = "keywright keystore"

Purpose = Literal["master", "factory", "ca", "identity", "issuer", "transport"]
_Nonce: TypeAlias = Annotated[bytes, Meta(min_length=GCM_NONCE_BYTES, max_length=GCM_NONCE_BYTES)]
_Id: TypeAlias = Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]


class Entry(Secret):
    """One key: name, purpose, algorithm, the secret itself, and for a CA its certificate."""

    __slots__ = ("algorithm", "certificate", "header", "name", "purpose", "secret")

    def __init__(
        self,
        name: str,
        purpose: Purpose,
        algorithm: str,
        secret: bytes,
        certificate: bytes = b"",
        header: str | msgspec.UnsetType = msgspec.UNSET,
    ) -> None:
        """`secret`: a master's key, the three keys of a set one after another, or a CA key as PKCS #8.

        `header`: what a key may do, as a key block's header says it; of keys that a ceremony made.
        """
        self.header = header
        self.name = name
        self.purpose: Purpose = purpose
        self.algorithm = algorithm
        self.secret = secret
        self.certificate = certificate

    def __repr__(self) -> str:
        return f"<{self.purpose} {self.name} {self.algorithm}>"


class Content(msgspec.Struct, frozen=True):
    """What is sealed. `keystore_id`: 16 bytes as hex; `test` marks keys that protect nothing of value.

    `registry` is None in a file of version 1.
    """

    keystore_id: str
    test: bool
    entries: tuple[Entry, ...]
    registry: Registry | None = None


class _Sealed(msgspec.Struct, frozen=True):
    name: str
    purpose: Purpose
    algorithm: str
    nonce: _Nonce
    secret: bytes
    certificate: bytes = b""
    header: str | msgspec.UnsetType = msgspec.UNSET


class _Head(msgspec.Struct, frozen=True):
    format: Literal["keywright keystore"]
    version: Literal[1, 2]


class _File1(msgspec.Struct, frozen=True):
    format: Literal["keywright keystore"]
    version: Literal[1]
    keystore_id: _Id
    test: bool
    argon2id: Argon2id
    entries: tuple[_Sealed, ...]
    nonce: _Nonce
    tag: bytes = b""


class _File(msgspec.Struct, frozen=True):
    format: Literal["keywright keystore"]
    version: Literal[2]
    keystore_id: _Id
    test: bool
    argon2id: Argon2id
    registry: Registry
    entries: tuple[_Sealed, ...]
    nonce: _Nonce
    tag: bytes = b""


def _bound(file: _File | _File1) -> bytes:
    """What the tag covers: everything else."""
    return hashlib.sha256(msgspec.json.encode(msgspec.structs.replace(file, tag=b""))).digest()


def _bound_to(keystore_id: str, entry: Entry | _Sealed) -> bytes:
    """Associated data of one entry."""
    return msgspec.json.encode((keystore_id, entry.name, entry.purpose, entry.algorithm))


@final
class SealedFile(Secret):
    """A keystore's file while it is open: its sealing key is kept, so that changes cost no argon2id."""

    __slots__ = ("_argon2id", "_key", "_rng", "_seen", "path")

    def __init__(self, path: Path, argon2id: Argon2id, key: AesKey, rng: Callable[[int], bytes]) -> None:
        """Use `create` or `open`."""
        self.path = path
        self._argon2id = argon2id
        self._key = key
        self._rng = rng
        self._seen: tuple[int, int] | None = None

    @classmethod
    def create(cls, path: Path, content: Content, unlock: bytes, rng: Callable[[int], bytes]) -> SealedFile:
        """Seal a keystore into a new file. Raises StoreError if the file exists or cannot be written."""
        argon2id = Argon2id(rng(16))
        made = cls(path, argon2id, argon2id.key(unlock), rng)
        write_private(path, WHAT, made._sealed(content))
        made._seen = _stamp(path)
        return made

    @classmethod
    def open(
        cls, path: Path, unlock: Callable[[], bytes], rng: Callable[[int], bytes] = os.urandom
    ) -> tuple[SealedFile, Content]:
        """Open a sealed file; `unlock` is asked once the file is known to be one.

        Raises StoreError if it is missing, damaged, or sealed with another unlock key, PolicyError if others may read
        it.
        """
        seen = _stamp(path)
        file = _decoded(path)
        opened = cls(path, file.argon2id, file.argon2id.key(unlock()), rng)
        opened._seen = seen
        return opened, opened._opened(file)

    def reread(self) -> Content | None:
        """The content, if the file has been changed since it was last read; None when it has not, or is gone."""
        seen = _stamp(self.path)
        if seen is None or seen == self._seen:
            return None
        content = self._opened(_decoded(self.path))
        self._seen = seen
        return content

    def update(self, change: Callable[[Content], Content]) -> Content:
        """Change the content of the file as it is now; nobody else changes it meanwhile.

        Afterwards the file is wholly the old or the new one, and the new one once this returns. Raises StoreError when
        it cannot be written; what `change` raises leaves it as it was.
        """
        with _locked(self.path):
            before = self._opened(_decoded(self.path))
            content = change(before)
            if content is not before:
                replace_file(self.path, WHAT, self._sealed(content))
            self._seen = _stamp(self.path)
        return content

    def _sealed(self, content: Content) -> bytes:
        if content.registry is None:
            raise AssertionError("version 2 has a registry")
        entries = tuple(self._seal(content.keystore_id, entry) for entry in content.entries)
        whole = _File(
            _FORMAT,
            2,
            content.keystore_id,
            content.test,
            self._argon2id,
            content.registry,
            entries,
            self._rng(GCM_NONCE_BYTES),
        )
        signed = msgspec.structs.replace(whole, tag=seal_gcm(self._key, whole.nonce, b"", _bound(whole)))
        return msgspec.json.format(msgspec.json.encode(signed), indent=1) + b"\n"

    def _seal(self, keystore_id: str, entry: Entry) -> _Sealed:
        nonce = self._rng(GCM_NONCE_BYTES)
        secret = seal_gcm(self._key, nonce, entry.secret, _bound_to(keystore_id, entry))
        return _Sealed(entry.name, entry.purpose, entry.algorithm, nonce, secret, entry.certificate, entry.header)

    def _opened(self, file: _File | _File1) -> Content:
        try:
            open_gcm(self._key, file.nonce, file.tag, _bound(file))
            entries = tuple(self._open(file.keystore_id, entry) for entry in file.entries)
        except AuthenticationError as error:
            raise StoreError(
                f"{self.path}: does not open: another unlock key, or damaged",
                hint="give the unlock key this keystore was made with, or restore it from a backup",
            ) from error
        registry = file.registry if isinstance(file, _File) else None
        return Content(file.keystore_id, file.test, entries, registry)

    def _open(self, keystore_id: str, entry: _Sealed) -> Entry:
        secret = open_gcm(self._key, entry.nonce, entry.secret, _bound_to(keystore_id, entry))
        return Entry(entry.name, entry.purpose, entry.algorithm, secret, entry.certificate, entry.header)


def _decoded(path: Path) -> _File | _File1:
    data = read_private(path, WHAT, FILE_BYTES)
    try:
        head = msgspec.json.decode(data, type=_Head)
        if head.version == 1:
            return msgspec.json.decode(data, type=_File1)
        return msgspec.json.decode(data, type=_File)
    except (msgspec.DecodeError, RecursionError) as error:
        raise StoreError(f"{path}: not a keystore, or damaged", hint="restore it from a backup") from error


def _stamp(path: Path) -> tuple[int, int] | None:
    """What tells a file from the one that replaced it; None when there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Alone at the file: a lock on the file itself, taken again when it was replaced meanwhile."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise StoreError(f"{path}: the {WHAT} cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            status = os.fstat(descriptor)
            if (status.st_ino, status.st_mtime_ns) == _stamp(path):
                yield
                return
        finally:
            os.close(descriptor)
