"""The credentials that a reader must no longer let in, as Revocation Documents tell it (Aliro 1.0 7.6).

Looking one up takes two lookups in a table, however many there are. The list is kept in the reader's memory, in parts
of which a document changes those that it is about; it is committed before it counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Final, Literal, TypeAlias, final

from keywright.aliro.documents.document import REVOCATION
from keywright.aliro.documents.revocation_data import OVERWRITE, RevocationData, RevocationEntry, key_hash
from keywright.aliro.documents.verification import Verified
from keywright.aliro.iterations import Iterations
from keywright.codec.record import Record, prefixed
from keywright.crypto.ec import EcPublicKey
from keywright.errors import DecodeError, StoreError
from keywright.store.memory import Memory

Named: TypeAlias = tuple[str, bytes, bytes]
"""Whose entry, the hash of a key, an id; one of the two may be empty."""

_PREFIX: Final = "revoked/"
_GONE: Final = object()
_Changes: TypeAlias = dict[Named, object]
"""What entries become: a time, None, or `_GONE`."""


class _Stored(Record, frozen=True):
    key_hash: Annotated[bytes, prefixed(1)]
    id: Annotated[bytes, prefixed(1)]
    expiry: Annotated[bytes, prefixed(1)]


class _Part(Record, frozen=True):
    entries: tuple[_Stored, ...]


@final
class Revocations:
    """A reader's list."""

    __slots__ = ("_by_hash", "_by_id", "_iterations", "_matches", "_memory", "_parts", "_shared")

    def __init__(
        self,
        memory: Memory,
        iterations: Iterations,
        *,
        erases: Literal["issuer", "all"] = "issuer",
        matches: Literal["either", "both"] = "either",
    ) -> None:
        """Take the list out of the reader's memory.

        erases: a document that overwrites or removes is about the entries of its own issuer, or about all there are.
        matches: an entry with both a key and an id is about credentials with one of them, or with both. No public
        source says either. Raises StoreError when the list cannot be read: a reader must not open without it.
        """
        self._memory = memory
        self._iterations = iterations
        self._shared = erases == "all"
        self._matches = matches
        self._parts: dict[str, dict[Named, int | None]] = {}
        self._by_hash: dict[bytes, tuple[Named, ...]] = {}
        self._by_id: dict[bytes, tuple[Named, ...]] = {}
        for name in memory.names():
            if name.startswith(_PREFIX):
                self._take(name, self._load(name))

    def __len__(self) -> int:
        """How many entries there are."""
        return sum(map(len, self._parts.values()))

    def revokes(self, key: EcPublicKey, identifier: bytes = b"", *, now: int | None = None) -> bool:
        """Whether a credential is revoked, by its key or by the id in its access data (empty: it has none).

        An entry that has expired revokes no longer; for a reader that does not know the time none expires.
        """
        hashed = key_hash(key)
        found = self._by_hash.get(hashed, ())
        if identifier:
            found += self._by_id.get(identifier, ())
        return any(self._about(one, hashed, identifier, now) for one in found)

    def _about(self, named: Named, hashed: bytes, identifier: bytes, now: int | None) -> bool:
        expiry = self._parts[_part_of(named)][named]
        if now is not None and expiry is not None and now >= expiry:
            return False
        _, of_key, of_id = named
        return self._matches == "either" or (of_key in (b"", hashed) and of_id in (b"", identifier))

    def among(self, cached: Mapping[EcPublicKey, bytes], *, now: int | None = None) -> list[EcPublicKey]:
        """Those of some credentials that are revoked: their Kpersistent must go, or the fast phase lets them in.

        cached: keys with the id in their access data, empty where it has none or is not known.
        """
        return [key for key, identifier in cached.items() if self.revokes(key, identifier, now=now)]

    def apply(
        self, verified: Verified, cached: Mapping[EcPublicKey, bytes] | None = None, *, now: int | None = None
    ) -> list[EcPublicKey]:
        """Take over a verified Revocation Document, all of it or nothing; gives `among(cached)` afterwards.

        Raises DecodeError for an element that cannot be read, StoreError when it cannot be kept; nothing has changed.
        """
        if verified.doc_type != REVOCATION:
            raise ValueError(f"a document {verified.doc_type}, not {REVOCATION}")
        data = [RevocationData.read(value) for value in verified.elements.values()]
        issuer = "" if self._shared else key_hash(verified.issuer).hex()
        changes: _Changes = {}
        for one in data:
            self._change(changes, issuer, one)
        self._commit(changes, self._iterations.changes(verified))
        self._iterations.note(verified)
        return self.among(cached or {}, now=now)

    def forget_expired(self, now: int) -> int:
        """Drop entries that have expired, and say how many."""
        return self._drop(named for named, expiry in self._all() if expiry is not None and now >= expiry)

    def forget_issuer(self, issuer: EcPublicKey) -> int:
        """Drop the entries of an issuer that is no longer trusted, and say how many."""
        whose = key_hash(issuer).hex()
        return self._drop(named for named, _ in self._all() if named[0] == whose)

    def _drop(self, dropped: Iterable[Named]) -> int:
        changes: _Changes = dict.fromkeys(dropped, _GONE)
        self._commit(changes, {})
        return len(changes)

    def _all(self) -> Iterator[tuple[Named, int | None]]:
        for part in self._parts.values():
            yield from part.items()

    def _change(self, changes: _Changes, issuer: str, data: RevocationData) -> None:
        """Append first, then remove: an entry that a document has in both lists is gone afterwards (8.36)."""
        if data.mode == OVERWRITE:
            whole = [*changes, *(named for named, _ in self._all())]
            changes.update((named, _GONE) for named in whole if named[0] == issuer)
        for entry in data.entries:
            changes[issuer, entry.key_hash, entry.id] = entry.expiry
        fresh: dict[bytes, list[Named]] = {}
        for named in changes if data.removed else ():
            for key in named[1:]:
                fresh.setdefault(key, []).append(named)
        for entry in data.removed:
            known = self._by_hash.get(entry.key_hash, ()) if entry.key_hash else self._by_id.get(entry.id, ())
            listed = (*known, *fresh.get(entry.key_hash or entry.id, ()))
            changes.update((named, _GONE) for named in listed if _is_removed(named, issuer, entry))

    def _commit(self, changes: _Changes, also: Mapping[str, bytes | None]) -> None:
        parts: dict[str, dict[Named, int | None]] = {}
        for named, expiry in changes.items():
            name = _part_of(named)
            if name not in parts:
                parts[name] = dict(self._parts.get(name, {}))
            part = parts[name]
            if expiry is _GONE:
                part.pop(named, None)
            else:
                part[named] = expiry  # type: ignore[assignment]  # what is not _GONE is a time or None
        committed = {name: _build(part) if part else None for name, part in parts.items()}
        if committed or also:
            self._memory.commit({**committed, **also})
        for name, part in parts.items():
            self._take(name, part)

    def _take(self, name: str, part: dict[Named, int | None]) -> None:
        """Put a part in the place of what was there, in the indexes too."""
        before = self._parts.pop(name, {})
        if part:
            self._parts[name] = part
        for named in before.keys() - part.keys():
            for key, index in ((named[1], self._by_hash), (named[2], self._by_id)):
                left = tuple(one for one in index.get(key, ()) if one != named)
                if left:
                    index[key] = left
                else:
                    index.pop(key, None)
        for named in part.keys() - before.keys():
            for key, index in ((named[1], self._by_hash), (named[2], self._by_id)):
                if key:
                    index[key] = (*index.get(key, ()), named)

    def _load(self, name: str) -> dict[Named, int | None]:
        issuer = name.split("/")[1]
        try:
            stored = _Part.parse(self._memory.load(name) or b"").entries
        except DecodeError as error:
            raise StoreError(f"{name[:40]}: not a part of a list of revocations") from error
        return {(issuer, one.key_hash, one.id): int.from_bytes(one.expiry) if one.expiry else None for one in stored}


def _build(part: Mapping[Named, int | None]) -> bytes:
    return _Part(
        tuple(
            _Stored(hashed, identifier, b"" if expiry is None else expiry.to_bytes(4))
            for (_, hashed, identifier), expiry in part.items()
        )
    ).build()


def _is_removed(named: Named, issuer: str, entry: RevocationEntry) -> bool:
    """Whether an entry agrees with one to be removed in everything that that one says."""
    whose, hashed, identifier = named
    return whose == issuer and entry.key_hash in (b"", hashed) and entry.id in (b"", identifier)


def _part_of(named: Named) -> str:
    """Which part of the list an entry is in: by the first byte of a hash, 256 parts for each issuer."""
    issuer, hashed, identifier = named
    first = (hashed or hashlib.sha256(identifier).digest())[0]
    return f"{_PREFIX}{issuer}/{first:02x}"
