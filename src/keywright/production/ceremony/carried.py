"""A key on its way: a file with the key wrapped under another, and signed attributes that say what it is.

Between software keystores the key is an X9.143 key block of version D, which binds its header itself. From a token,
whose wrapping key does not leave it, the key is wrapped inside (RFC 3394), and the signature of the ceremony's host
binds the attributes to it. Who reads the file checks both against the directory of people.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from keywright.crypto.curve25519 import verify_ed25519
from keywright.crypto.kcv import Kcv
from keywright.crypto.keyblocks import Header
from keywright.errors import AuthenticationError, PolicyError, StoreError
from keywright.production.canonical import canonical
from keywright.production.people.people import Directory
from keywright.production.people.person_key import PersonKey

Form: TypeAlias = Literal["key-block", "aes-key-wrap"]

FILE_BYTES: Final = 1 << 16
_DOMAIN: Final = b"keywright key transfer 1\n"


class Carried(msgspec.Struct, frozen=True, kw_only=True):
    """What the file says. `wrapped`: a key block, or hex; `header`: of a key block, without length (see `Header`)."""

    format: Literal["keywright key transfer"] = "keywright key transfer"
    version: Literal[1] = 1
    purpose: Literal["export", "backup"]
    ceremony: str
    key: str
    algorithm: Literal["AES", "TDES"]
    bits: int
    header: str
    form: Form
    wrapped: str
    check: str
    kek: str
    kek_check: str
    zone: str
    owner: str
    test: bool
    directory: str
    signer: str
    signature: Annotated[bytes, Meta(min_length=64, max_length=64)] = bytes(64)

    def content(self) -> bytes:
        """What the signature covers: everything else."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        del fields["signature"]
        return _DOMAIN + canonical(fields)

    def signed(self, key: PersonKey) -> Carried:
        """The same, signed by the person whose key this is."""
        return msgspec.structs.replace(self, signature=key.sign(self.content()))

    def build(self) -> bytes:
        """The text of the file."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"

    @property
    def key_check(self) -> Kcv:
        """The key's check value with its rule."""
        return Kcv.parse(self.check)

    @property
    def key_header(self) -> Header:
        """What the key may do."""
        return Header.parse(self.header)[0]


def read(path: Path, directory: Directory, sha256: str = "") -> Carried:
    """The file, its signature checked. Raises StoreError if it is none, PolicyError if it is not the one with `sha256`.

    AuthenticationError for a signature that does not hold, PeopleError if no key manager of the directory signed.
    """
    try:
        data = path.read_bytes()[: FILE_BYTES + 1]
        carried = msgspec.json.decode(data, type=Carried)
    except OSError as error:
        raise StoreError(
            f"{path}: cannot be read: {error.strerror}", hint="give the file of an export or backup"
        ) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise StoreError(f"{path}: no key transfer, or damaged", hint="ask for it again") from error
    if sha256 and file_hash(data) != sha256:
        raise PolicyError(f"{path}: is not the file that was approved", hint="draft the ceremony anew, with this file")
    if carried.directory != directory.id:
        raise PolicyError(f"{path}: signed by people of another directory", hint="give the directory that has them")
    try:
        signer = directory.require(carried.signer, "key-manager")
        verify_ed25519(signer.public_key, carried.signature, carried.content())
    except AuthenticationError as error:
        raise AuthenticationError(
            f"{path}: the signature of {carried.signer} does not hold", hint="ask for it again"
        ) from error
    return carried


def file_hash(data: bytes) -> str:
    """SHA-256 of a file's bytes, hex."""
    return hashlib.sha256(data).hexdigest()
