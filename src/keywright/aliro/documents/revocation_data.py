"""The element of a Revocation Document: which credentials a reader must no longer let in (Aliro 1.0 7.6)."""

from __future__ import annotations

import hashlib
from typing import Any, Final, Self

import msgspec

from keywright.aliro.documents.access_data import ID_BYTES, Extension, by_vendor, read_extension, read_vendors
from keywright.aliro.documents.reading import build_epoch, elements, epoch, field, known, number, sized
from keywright.codec.cbor import Cbor
from keywright.crypto.ec import EcPublicKey
from keywright.errors import DecodeError

VERSION: Final = 1
OVERWRITE: Final = 0
"""Change mode: the entries replace all there were."""
APPEND: Final = 1
"""Change mode: entries are added, then those to be removed are."""
HASH_BYTES: Final = 32
_MANY: Final = 1_000_000


class RevocationEntry(msgspec.Struct, frozen=True):
    """A credential, by the hash of its key, its id in access data, or both."""

    key_hash: bytes = b""
    """SHA-256 of the uncompressed point; empty: none."""
    id: bytes = b""
    """Up to 16 bytes; empty: none."""
    expiry: int | None = None
    """From when on the entry may be forgotten, because the credential has ended by itself; seconds since 1970."""

    def value(self) -> Cbor:
        """As CBOR."""
        return {
            **({0: self.key_hash} if self.key_hash else {}),
            **({1: self.id} if self.id else {}),
            **({} if self.expiry is None else {2: build_epoch(self.expiry)}),
        }

    @classmethod
    def read(cls, value: object) -> Self:
        """From decoded CBOR. Raises DecodeError."""
        what = "revocation entry"
        found = known(value, {0: "key hash", 1: "id", 2: "expiry"}, what)
        if not found.keys() & {0, 1}:
            raise DecodeError(f"{what}: neither a key hash nor an id")
        return cls(
            key_hash=sized(found[0], HASH_BYTES, f"{what}: key hash", least=HASH_BYTES) if 0 in found else b"",
            id=sized(found[1], ID_BYTES, f"{what}: id", least=1) if 1 in found else b"",
            expiry=epoch(found[2], f"{what}: expiry") if 2 in found else None,
        )


class RevocationData(msgspec.Struct, frozen=True):
    """The value of an element of a Revocation Document."""

    mode: int
    """OVERWRITE or APPEND."""
    entries: tuple[RevocationEntry, ...] = ()
    removed: tuple[RevocationEntry, ...] = ()
    """With APPEND only (7.6.3)."""
    extensions: tuple[Extension, ...] = ()
    version: int = VERSION

    def value(self) -> Cbor:
        """As CBOR; the entries are there also when there are none, unless some are removed."""
        extensions = by_vendor((one.vendor, [one.identifier, one.version, one.data]) for one in self.extensions)
        entries = [entry.value() for entry in self.entries]
        removed = [entry.value() for entry in self.removed]
        return {
            0: self.version,
            1: self.mode,
            **({2: entries} if entries or not removed else {}),
            **({3: removed} if removed else {}),
            **({4: extensions} if extensions else {}),
        }

    @classmethod
    def read(cls, value: object) -> Self:
        """From decoded CBOR. Raises DecodeError, also for another version."""
        what = "revocation data"
        found = known(value, {0: "version", 1: "mode", 2: "entries", 3: "removed", 4: "extensions"}, what)
        version = number(field(found, 0, what), 0xFFFFFFFF, f"{what}: version")
        if version != VERSION:
            raise DecodeError(f"{what}: version {version}, not {VERSION}")
        mode = number(field(found, 1, what), APPEND, f"{what}: change mode")
        removed = _entries(found, 3)
        if removed and mode == OVERWRITE:
            raise DecodeError(f"{what}: entries to remove from a list that is replaced")
        return cls(
            mode=mode,
            entries=_entries(found, 2),
            removed=removed,
            extensions=tuple(
                Extension(vendor, *read_extension(one, 3)) for vendor, one in read_vendors(found.get(4, {}))
            ),
            version=version,
        )


def key_hash(key: EcPublicKey) -> bytes:
    """What names a credential's key in a revocation: SHA-256 of its uncompressed point."""
    return hashlib.sha256(key.point).digest()


def _entries(found: dict[Any, Any], key: int) -> tuple[RevocationEntry, ...]:
    listed = elements(found.get(key, []), _MANY, "revocation entries", least=0)
    return tuple(RevocationEntry.read(one) for one in listed)
