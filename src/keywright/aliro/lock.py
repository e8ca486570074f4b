"""A lock: a reader that decides, and remembers what it decided by (Aliro 1.0 chapters 7 and 8).

    lock = Lock(reader, memory, trust)
    outcome = yield from lock.unlock(fresh, Situation(now=...))

Whoever has a registered key is let in; anybody else by an Access Document of a trusted issuer. A document is kept as
it was received and verified anew at every fast transaction, so that an issuer that is no longer trusted, a validity
that has ended and an entry of the revocation list count at once. Where a kept document no longer holds, or cannot be
read, the device shows its document again in the same transaction: it may have a newer one. What a later transaction
needs is in the memory before the device is told how this one ended.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Annotated, Final, NamedTuple, final

import msgspec

from keywright.aliro import access
from keywright.aliro.access import Decision, Situation
from keywright.aliro.cache import Kept, PersistentKeys
from keywright.aliro.documents.access_data import AccessData
from keywright.aliro.documents.document import ACCESS, REVOCATION, Document
from keywright.aliro.documents.exchange import DeviceRequest, DeviceResponse, DocumentRequest
from keywright.aliro.documents.verification import DocumentRefusedError, Trust, Verified, verify
from keywright.aliro.documents.verification import Policy as DocumentPolicy
from keywright.aliro.iterations import Iterations
from keywright.aliro.keys import CURVE, DerivationKey, Kpersistent
from keywright.aliro.messages import POINT_BYTES, ReaderStatus, Signaling
from keywright.aliro.reader import Dialogue, Fresh, Opened, Plan, Reader, authenticate, finish, request_documents
from keywright.aliro.revocation import Revocations
from keywright.codec.record import Record, prefixed, raw
from keywright.crypto.ec import EcPublicKey
from keywright.errors import DecodeError, KeywrightError, StoreError
from keywright.store.memory import Memory

_KEPT: Final = "kept"
_DOCUMENT: Final = "document/"


class Settings(msgspec.Struct, frozen=True):
    """How a lock goes about it."""

    elements: tuple[str, ...] = ()
    """Identifiers of the elements of Access Documents that count here, in the order in which they are tried."""
    unlocked: int = ReaderStatus.UNSECURED
    """The reader status that says that it opened."""
    plan: Plan = Plan()
    capacity: int = 16
    """Kpersistent keys that are kept."""
    documents: DocumentPolicy = DocumentPolicy()
    access: access.Policy = access.DEFAULT


class Outcome(NamedTuple):
    """How a transaction ended."""

    granted: bool
    status: int
    """The reader status that the device was told."""
    reason: str
    """In words."""
    credential: EcPublicKey
    is_fast: bool
    decision: Decision | None = None
    """By which access rules, where a document decided."""
    ble: DerivationKey | None = None
    ursk: DerivationKey | None = None


class _KeptRecord(Record, frozen=True):
    credential: Annotated[bytes, raw(POINT_BYTES)]
    key: Annotated[bytes, raw(32)]
    credential_signed: Annotated[bytes, prefixed(1)]
    revocation_signed: Annotated[bytes, prefixed(1)]

    def __repr__(self) -> str:
        return f"<_KeptRecord of {self.credential.hex()}>"


class _KeptRecords(Record, frozen=True):
    """The one used last first."""

    kept: tuple[_KeptRecord, ...]


@final
class Lock:
    """A reader with its memory. One transaction at a time."""

    def __init__(
        self,
        reader: Reader,
        memory: Memory,
        trust: Trust,
        settings: Settings | None = None,
        *,
        registered: Mapping[EcPublicKey, str] | None = None,
    ) -> None:
        """registered: keys that are let in without a document, with what they are called; looked up at every use.

        Raises StoreError when the memory cannot be read.
        """
        self.reader = reader
        self.trust = trust
        self.settings = settings or Settings()
        self.registered: Mapping[EcPublicKey, str] = {} if registered is None else registered
        self._memory = memory
        self.iterations = Iterations(memory)
        self.revocations = Revocations(memory, self.iterations)
        self.keys = PersistentKeys(_load(memory), capacity=self.settings.capacity)

    # ---- one transaction

    def unlock(self, fresh: Fresh, situation: Situation, plan: Plan | None = None) -> Dialogue[Outcome]:
        """Authenticate a device, decide, tell it. Raises what `reader.authenticate` and `finish` raise, and StoreError.

        A device that is refused is no error: the outcome says why. When the memory fails the device is told of a
        hardware fault, nothing opens, and the StoreError goes on.
        """
        plan = plan or self.settings.plan
        decided: list[Outcome] = []

        def is_enough(opened: Opened) -> bool:
            outcome, holds = self._decide_kept(opened, situation)
            if outcome is not None and holds:
                decided.append(outcome)
            return holds

        opened = yield from authenticate(self.reader, plan, fresh, self.keys, self._find_slot, is_enough)
        try:
            outcome = decided[-1] if opened.is_fast else (yield from self._decide_standard(opened, situation))
            self._settle(outcome)
        except StoreError:
            with contextlib.suppress(KeywrightError):
                yield from finish(opened, ReaderStatus.HARDWARE)
            raise
        yield from finish(opened, outcome.status)
        return outcome

    def decide(self, opened: Opened, situation: Situation) -> Dialogue[Outcome]:
        """Decide about a device that somebody else has authenticated and will tell, as over Bluetooth.

        What a later transaction needs is kept when this returns. Raises as `unlock`.
        """
        if opened.is_fast:
            kept, holds = self._decide_kept(opened, situation)
            outcome = kept or _refused(opened, ReaderStatus.ACCESS_RIGHTS, "the document is not kept here any more")
            if not holds:  # the next time it shows its document
                self._forget((opened.credential,))
        else:
            outcome = yield from self._decide_standard(opened, situation)
        self._settle(outcome)
        return outcome

    def _settle(self, outcome: Outcome) -> None:
        """Forget whom no kept key will let in again: revoked, not known, or its document refused.

        AUTH1 of the refused transaction gave the device another Kpersistent, so nothing that is still good is lost.
        """
        if not outcome.granted and (outcome.decision is None or outcome.status == ReaderStatus.PUBLIC_KEY_NOT_TRUSTED):
            self._forget((outcome.credential,))

    def _decide_kept(self, opened: Opened, situation: Situation) -> tuple[Outcome | None, bool]:
        """By what is known of a credential that was here before, and whether that still holds.

        If not, the device has to show its document again.
        """
        name = self.registered.get(opened.credential)
        if name is not None:
            return self._outcome(opened, situation, f"registered as {name!r}"), True
        stored = self._memory.load(_DOCUMENT + opened.credential.point.hex())
        if stored is None:
            return None, False
        try:
            document = Document.parse(stored)
        except DecodeError:
            return None, False
        outcome, verified = self._by_document(opened, document, situation)
        return outcome, verified is not None

    def _decide_standard(self, opened: Opened, situation: Situation) -> Dialogue[Outcome]:
        name = self.registered.get(opened.credential)
        if name is not None:
            outcome = self._outcome(opened, situation, f"registered as {name!r}")
            if outcome.granted:
                self._keep(opened, {})
            return outcome
        if not opened.signaling & Signaling.ACCESS_DOCUMENT:
            return _refused(opened, ReaderStatus.PUBLIC_KEY_NOT_FOUND, "the key is not registered and has no document")
        wanted = [DocumentRequest(ACCESS, dict.fromkeys(self.settings.elements, False))]
        if opened.signaling & Signaling.REVOCATION_DOCUMENT:
            wanted.append(DocumentRequest(REVOCATION, dict.fromkeys(self.settings.elements, False)))
        raw_response = yield from request_documents(opened, DeviceRequest(tuple(wanted)).build())
        try:
            response = DeviceResponse.parse(raw_response)
            document, revocation = response.document(ACCESS), response.document(REVOCATION)
        except DecodeError as error:
            return _refused(opened, ReaderStatus.WRONG_FORMAT, f"DeviceResponse: {error}")
        if revocation is not None:
            self._take_revocations(revocation, situation)
        if document is None:
            return _refused(opened, ReaderStatus.ACCESS_RIGHTS, "the device gave no Access Document")
        outcome, verified = self._by_document(opened, document, situation)
        if outcome.granted and verified is not None:
            name = _DOCUMENT + opened.credential.point.hex()
            self._keep(opened, {name: document.build(), **self.iterations.changes(verified)})
            self.iterations.note(verified)
        return outcome

    def _by_document(self, opened: Opened, document: Document, situation: Situation) -> tuple[Outcome, Verified | None]:
        try:
            verified = verify(
                document,
                self.trust,
                doc_type=ACCESS,
                device_key=opened.credential,
                now=situation.now,
                iterations=self.iterations.of(ACCESS),
                policy=self.settings.documents,
            )
        except DocumentRefusedError as refused:
            return _refused(opened, refused.status, str(refused)), None
        decision = access.decide(
            verified.elements,
            self.settings.elements,
            situation,
            time_verification_required=verified.time_verification_required,
            policy=self.settings.access,
        )
        return self._outcome(opened, situation, str(decision), decision), verified

    def _outcome(self, opened: Opened, situation: Situation, reason: str, decision: Decision | None = None) -> Outcome:
        data: AccessData | None = None if decision is None else decision.data
        identifier = b"" if data is None else data.id or b""
        if self.revocations.revokes(opened.credential, identifier, now=situation.now):
            return _refused(opened, ReaderStatus.PUBLIC_KEY_NOT_TRUSTED, "the credential is revoked", decision)
        if decision is not None and not decision.granted:
            return _refused(opened, decision.status, reason, decision)
        return Outcome(
            granted=True,
            status=self.settings.unlocked,
            reason=reason,
            credential=opened.credential,
            is_fast=opened.is_fast,
            decision=decision,
            ble=opened.ble,
            ursk=opened.ursk,
        )

    # ---- what a lock is told

    def take_revocations(self, document: Document, situation: Situation) -> list[EcPublicKey]:
        """Take over a Revocation Document; the kept keys that it killed. Raises DocumentRefusedError, DecodeError."""
        verified = verify(
            document,
            self.trust,
            doc_type=REVOCATION,
            now=situation.now,
            iterations=self.iterations.of(REVOCATION),
            policy=self.settings.documents,
        )
        killed = self.revocations.apply(verified, self._identifiers(), now=situation.now)
        self._forget(killed)
        return killed

    def forget(self, credential: EcPublicKey) -> None:
        """Drop what is kept of a credential, as it was evicted or cleared; it has to show everything again."""
        self._forget((credential,))

    def forget_all(self) -> None:
        """Drop what is kept of every credential, as after an issuer's key was cleared."""
        self._forget([kept.credential for kept in self.keys])

    def _take_revocations(self, document: Document, situation: Situation) -> None:
        """One that a device brings counts if it is good; a bad one is no reason to refuse the device."""
        try:
            self.take_revocations(document, situation)
        except (DocumentRefusedError, DecodeError):
            return

    def _identifiers(self) -> dict[EcPublicKey, bytes]:
        """The id in the access data of each kept credential, as far as a document has one."""
        found = {}
        for kept in self.keys:
            stored = self._memory.load(_DOCUMENT + kept.credential.point.hex())
            found[kept.credential] = b"" if stored is None else self._identifier(stored)
        return found

    def _identifier(self, stored: bytes) -> bytes:
        try:
            document = Document.parse(stored)
        except DecodeError:  # it lets nobody in, so nothing is lost by not knowing its id
            return b""
        for item in document.items.get(ACCESS, ()):
            if item.identifier in self.settings.elements:
                try:
                    return AccessData.read(item.value).id or b""
                except DecodeError:
                    continue
        return b""

    # ---- memory

    def _find_slot(self, slot: bytes) -> EcPublicKey | None:
        from keywright.aliro.certificates import key_slot  # noqa: PLC0415 - most plans do not use it

        known = (*self.registered, *(kept.credential for kept in self.keys))
        return next((key for key in known if key_slot(key.point) == slot), None)

    def _keep(self, opened: Opened, also: Mapping[str, bytes | None]) -> None:
        """Keep the key of a transaction and what goes with it, in one commit."""
        changes: dict[str, bytes | None] = dict(also)
        before = tuple(self.keys)
        if opened.kept is not None:
            for gone in self.keys.keep(opened.kept):
                changes[_DOCUMENT + gone.point.hex()] = None
        try:
            self._memory.commit({**changes, _KEPT: _build(self.keys)})
        except StoreError:
            self.keys.restore(before)
            raise

    def _forget(self, credentials: list[EcPublicKey] | tuple[EcPublicKey, ...]) -> None:
        """Here at once, even if the memory fails; what it still holds then lets nobody in that is not verified anew."""
        gone = [one for one in credentials if self.keys.drop(one)]
        if gone:
            changes: dict[str, bytes | None] = {_DOCUMENT + one.point.hex(): None for one in gone}
            self._memory.commit({**changes, _KEPT: _build(self.keys)})


def _refused(opened: Opened, status: int, reason: str, decision: Decision | None = None) -> Outcome:
    return Outcome(
        granted=False,
        status=status,
        reason=reason,
        credential=opened.credential,
        is_fast=opened.is_fast,
        decision=decision,
    )


def _build(keys: PersistentKeys) -> bytes:
    return _KeptRecords(
        tuple(
            _KeptRecord(one.credential.point, one.key.reveal(), one.credential_signed, one.revocation_signed)
            for one in keys
        )
    ).build()


def _load(memory: Memory) -> list[Kept]:
    stored = memory.load(_KEPT) or b""
    try:
        return [
            Kept(
                EcPublicKey.from_point(CURVE, one.credential),
                Kpersistent(one.key),
                one.credential_signed,
                one.revocation_signed,
            )
            for one in _KeptRecords.parse(stored).kept
        ]
    except DecodeError as error:
        raise StoreError("the keys kept by the lock cannot be read", hint="restore its memory") from error
