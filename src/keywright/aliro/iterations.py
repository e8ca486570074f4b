"""The greatest validityIteration that a reader has seen of each issuer, for each type of document (Aliro 1.0 7.2.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

from keywright.aliro.documents.document import CURVE
from keywright.aliro.documents.verification import Verified
from keywright.crypto.ec import EcPublicKey
from keywright.errors import DecodeError, StoreError
from keywright.store.memory import Memory

_PREFIX: Final = "iteration/"
_BYTES: Final = 8


@final
class Iterations:
    """What a reader remembers of it, in its memory."""

    __slots__ = ("_memory", "_seen")

    def __init__(self, memory: Memory) -> None:
        """Raises StoreError when what is kept cannot be read: a reader that forgot would take void documents."""
        self._memory = memory
        self._seen: dict[str, dict[EcPublicKey, int]] = {}
        for name in memory.names():
            if name.startswith(_PREFIX):
                self._load(name)

    def _load(self, name: str) -> None:
        _, doc_type, point = name.split("/", 2)
        try:
            key = EcPublicKey.from_point(CURVE, bytes.fromhex(point))
        except (DecodeError, ValueError) as error:
            raise StoreError(f"{name[:40]}: no key of an issuer") from error
        value = self._memory.load(name) or b""
        if len(value) != _BYTES:
            raise StoreError(f"{name[:40]}: no iteration")
        self._seen.setdefault(doc_type, {})[key] = int.from_bytes(value)

    def of(self, doc_type: str) -> Mapping[EcPublicKey, int]:
        """By issuer, for documents of a type: what `documents.verify` takes."""
        return self._seen.get(doc_type, {})

    def changes(self, verified: Verified) -> dict[str, bytes | None]:
        """What taking a document changes in the memory: to be committed with what else it changes, then `note`d."""
        iteration = verified.validity.iteration
        if iteration is None or iteration <= self.of(verified.doc_type).get(verified.issuer, -1):
            return {}
        return {f"{_PREFIX}{verified.doc_type}/{verified.issuer.point.hex()}": iteration.to_bytes(_BYTES)}

    def note(self, verified: Verified) -> None:
        """Take over what `changes` said, once it is committed."""
        if self.changes(verified):
            self._seen.setdefault(verified.doc_type, {})[verified.issuer] = verified.validity.iteration or 0

    def advance(self, verified: Verified) -> None:
        """Commit and note what a document that was accepted says."""
        changes = self.changes(verified)
        if changes:
            self._memory.commit(changes)
            self.note(verified)

    def forget(self, issuer: EcPublicKey) -> None:
        """An issuer that is no longer trusted: should its key come back, it begins anew. Committed first."""
        kept = {
            f"{_PREFIX}{doc_type}/{issuer.point.hex()}": None
            for doc_type in self._seen
            if issuer in self._seen[doc_type]
        }
        if kept:
            self._memory.commit(kept)
            for seen in self._seen.values():
                seen.pop(issuer, None)
