"""The software keystore: a sealed file that is a keystore for trying out, always marked TEST."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar, final

import msgspec

from keywright.crypto.aes import AesKey
from keywright.crypto.certificates import Issuer
from keywright.crypto.des import TripleDesKey
from keywright.crypto.diversification import derive_key_set, derive_key_sets, master_kind
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.crypto.key import Secret
from keywright.crypto.signing import algorithm_of
from keywright.errors import PolicyError, StoreError
from keywright.production.keystores import sealed
from keywright.production.keystores.fresh_keys import fresh_entries, fresh_identity, made_at, records_of
from keywright.production.keystores.key_paths import SessionKeys
from keywright.production.keystores.key_states import KeyState, KeyStateError
from keywright.production.keystores.keystore import Diversified, KeyFacts, KeyRef, Unlock
from keywright.production.keystores.registry import KeyRecord, Registry
from keywright.production.keystores.software_card_keys import SoftwareCardKeys
from keywright.production.private_file import already_there, read_private, write_private
from keywright.scp.scp03.keys import KeySet

_Found = TypeVar("_Found")

UNLOCK_SUFFIX: Final = ".unlock"
_UNLOCK_KEY: Final = "unlock key"
_UNLOCK_BYTES: Final = 4096
_TOGETHER: Final = 16
"""Fewer key sets than this are derived one by one: what a batch needs takes time to load."""


@final
class SoftwareKeystore(Secret):
    """A file sealed with AES-256-GCM under a key made by argon2id from an unlock key; always marked TEST.

    While it is open its keys are in this process's memory, so it is for trying out only. Any thread may call it.
    """

    __slots__ = (
        "_clock",
        "_factory",
        "_facts",
        "_file",
        "_issuers",
        "_marker",
        "_masters",
        "_mutex",
        "_registry",
        "_signers",
        "keystore_id",
        "test",
    )

    def __init__(self, file: sealed.SealedFile, content: sealed.Content, clock: Callable[[], float]) -> None:
        """Use `create` or `open`."""
        self.keystore_id: str = content.keystore_id
        self.test: bool = content.test
        self._file = file
        self._clock = clock
        self._mutex = threading.RLock()
        self._marker = object()
        self._load(content)

    def _load(self, content: sealed.Content) -> None:
        if content.registry is None or content.keystore_id != self.keystore_id:
            raise StoreError(f"{self._file.path}: another keystore has taken its place")
        self._registry = content.registry
        self._masters: dict[str, AesKey | TripleDesKey] = {}
        self._factory: dict[str, tuple[bytes, bytes, bytes]] = {}
        self._issuers: dict[str, Issuer] = {}
        self._signers: dict[str, EcPrivateKey] = {}
        self._facts: list[KeyFacts] = []
        for entry in content.entries:
            self._take(entry)

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        now: datetime,
        unlock: Unlock | None = None,
        rng: Callable[[int], bytes] = os.urandom,
        entries: tuple[sealed.Entry, ...] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> SoftwareKeystore:
        """Make a keystore with new issuer masters and a new CA, or with `entries`, all on the disk when this returns.

        `unlock` is `PATH.unlock` if not given; an unlock file that is not there is made, before the keystore, with a
        random key. Both files have mode 0600, appear whole or not at all, and are never overwritten: raises StoreError
        if the keystore is there.
        """
        if path.exists():
            raise already_there(path, sealed.WHAT)
        unlock = _beside(path) if unlock is None else unlock
        if isinstance(unlock, Path) and not unlock.exists():
            write_private(unlock, _UNLOCK_KEY, rng(32).hex().encode() + b"\n")
        keystore_id = rng(16).hex()
        held = fresh_entries(now, rng) if entries is None else entries
        registry = records_of(keystore_id, held, int(now.timestamp()))
        content = sealed.Content(keystore_id, True, held, registry)
        return cls(sealed.SealedFile.create(path, content, unlock_key(path, unlock), rng), content, clock)

    @classmethod
    def open(
        cls, path: Path, unlock: Unlock | None = None, *, clock: Callable[[], float] = time.time
    ) -> SoftwareKeystore:
        """Open a keystore with its unlock key; one of version 1 is replaced by one of version 2.

        Raises StoreError if a file is missing, damaged or does not fit the other, PolicyError if others may read it.
        """
        file, content = sealed.SealedFile.open(path, lambda: unlock_key(path, unlock))
        if content.registry is None:
            content = _upgraded(file, content)
        return cls(file, content, clock)

    @property
    def registry(self) -> Registry:
        """What is known of its keys, as the file has it now."""
        self._refresh()
        return self._registry

    def change_state(self, name: str, to: KeyState, *, reason: str, approval: str = "", people: str = "") -> KeyRecord:
        """Bring a key into another state; in the file when this returns. A key that is destroyed is gone from it.

        Raises KeyStateError for a change that is not allowed, StoreError for an unknown key.
        """
        del people  # It holds TEST keys: whoever opens it changes their states alone.
        if not self.test and not approval:
            raise KeyStateError("the state of a production key is changed only with an approval")
        at = int(self._clock())

        def change(content: sealed.Content) -> sealed.Content:
            registry = (content.registry or self._registry).with_state(
                name, to, at=at, reason=reason, approval=approval
            )
            gone = {record.name for record in registry.records if record.state is KeyState.DESTROYED}
            entries = tuple(entry for entry in content.entries if entry.name not in gone)
            return msgspec.structs.replace(content, registry=registry, entries=entries)

        with self._mutex:
            self._load(self._file.update(change))
            return self._registry.named(name)

    def _refresh(self) -> None:
        """Another process may have changed a state: a key that is compromised stops here at once."""
        with self._mutex:
            content = self._file.reread()
            if content is not None:
                self._load(content)

    def show(self) -> tuple[KeyFacts, ...]:
        """All keys by name, without any key."""
        return tuple(self._facts)

    def kcv(self, name: str) -> bytes:
        """Key check value of a master (3 bytes) or of a key set (9 bytes: ENC, MAC, DEK)."""
        found = {facts.name: facts.check for facts in self._facts if facts.purpose in ("master", "factory")}
        return bytes.fromhex(_named(found, name, "key with a check value"))

    def card_keys(self, ref: KeyRef, *, session_keys: SessionKeys = "inside") -> SoftwareCardKeys:
        """One unit's keys, in memory whatever `session_keys` says. Raises PolicyError as the scheme does.

        A factory set is the same for every unit, because a keystore of this kind has only fixed sets.
        """
        del session_keys
        name = ref.master if isinstance(ref, Diversified) else ref.name
        with self._mutex:
            self._refresh()
            if isinstance(ref, Diversified):
                master = self._master(ref.master, ref.scheme)
                self._registry.check_uses(name, self._clock())
                raw = derive_key_set(master, ref.scheme, ref.context, key_bytes=ref.key_bytes)
            else:
                raw = _named(self._factory, name, "factory key set")
                self._registry.check_uses(name, self._clock())
        return SoftwareCardKeys(KeySet.of(*raw), self._marker, lambda: self._check_originates(name))

    def card_keys_of(
        self, refs: Sequence[KeyRef], *, session_keys: SessionKeys = "inside"
    ) -> tuple[SoftwareCardKeys, ...]:
        """The keys of many units; those of one master, scheme and length of context are derived together."""
        alike: dict[tuple[str, str, int, int], list[Diversified]] = {}
        for ref in dict.fromkeys(refs):
            if isinstance(ref, Diversified):
                alike.setdefault((ref.master, ref.scheme, ref.key_bytes, len(ref.context)), []).append(ref)
        found: dict[KeyRef, SoftwareCardKeys] = {}
        for (master, scheme, size, length), together in alike.items():
            if len(together) >= _TOGETHER:
                found |= zip(together, self._derived(master, scheme, size, length, together), strict=True)
        return tuple(found.get(ref) or self.card_keys(ref, session_keys=session_keys) for ref in refs)

    def _derived(
        self, name: str, scheme: str, size: int, length: int, refs: Sequence[Diversified]
    ) -> Iterator[SoftwareCardKeys]:
        contexts = b"".join(ref.context for ref in refs)
        with self._mutex:
            self._refresh()
            master = self._master(name, scheme)
            self._registry.check_uses(name, self._clock())
            keys = derive_key_sets(master, scheme, contexts, key_bytes=size, context_bytes=length)
        for at in range(0, len(keys), 3 * size):
            enc, mac, dek = (bytes(keys[at + part * size : at + (part + 1) * size]) for part in range(3))
            yield SoftwareCardKeys(KeySet.of(enc, mac, dek), self._marker, lambda: self._check_originates(name))
        keys[:] = bytes(len(keys))

    def certificate(self, ca: str) -> bytes:
        """The CA's certificate, DER."""
        return _named(self._issuers, ca, "CA").certificate.der

    def issue(
        self,
        ca: str,
        *,
        common_name: str,
        subject_serial: str,
        public_key: EcPublicKey,
        serial_number: int,
        not_before: datetime,
        not_after: datetime,
    ) -> bytes:
        """A device certificate signed by the CA, DER; arguments and errors as `crypto.certificates.Issuer.issue`."""
        issuer = _named(self._issuers, ca, "CA")
        self._check_originates(ca)
        return issuer.issue(
            common_name=common_name,
            subject_serial=subject_serial,
            public_key=public_key,
            serial_number=serial_number,
            not_before=not_before,
            not_after=not_after,
        )

    def public_key(self, name: str) -> EcPublicKey:
        """Public key of an identity or issuer."""
        return _named(self._signers, name, "identity").public

    def sign(self, name: str, digest: bytes) -> bytes:
        """ECDSA with an identity or issuer over a digest, r || s."""
        key = _named(self._signers, name, "identity")
        self._check_originates(name)
        return key.sign_digest(digest, algorithm_of(key.public).hash_name)

    def check_production(self) -> None:
        """Nothing to look at: its keys are TEST, and a production recipe takes none."""

    def close(self) -> None:
        """Nothing to do: what is in memory goes with its last use."""

    def __repr__(self) -> str:
        return f"<software keystore {self.keystore_id}{' TEST' if self.test else ''}, {len(self._facts)} keys>"

    def _check_originates(self, name: str) -> None:
        with self._mutex:
            self._refresh()
            self._registry.check_originates(name, self._clock())

    def _master(self, name: str, scheme: str) -> AesKey | TripleDesKey:
        key = _named(self._masters, name, "master")
        wanted = master_kind(scheme)
        if not isinstance(key, wanted):
            fitting = [other for other, master in self._masters.items() if isinstance(master, wanted)]
            raise PolicyError(
                f"the master {name!r} is not a key for the scheme {scheme}",
                hint=f"masters that are: {', '.join(fitting) or 'none'}",
            )
        return key

    def _take(self, entry: sealed.Entry) -> None:
        if entry.purpose in ("master", "transport"):
            kind = TripleDesKey if entry.algorithm == "TDES" else AesKey
            key = kind(entry.secret, entry.name)
            if entry.purpose == "master":
                self._masters[entry.name] = key
            check = key.kcv().hex()
        elif entry.purpose == "factory":
            size = len(entry.secret) // 3
            parts = entry.secret[:size], entry.secret[size : 2 * size], entry.secret[2 * size :]
            self._factory[entry.name] = parts
            check = KeySet.of(*parts).kcvs.hex()
        elif entry.purpose in ("identity", "issuer"):
            signer = self._signers[entry.name] = EcPrivateKey.from_pkcs8(entry.secret)
            check = hashlib.sha256(signer.public.spki()).hexdigest()[:16]
        else:
            self._issuers[entry.name] = Issuer(EcPrivateKey.from_pkcs8(entry.secret), entry.certificate)
            check = hashlib.sha256(entry.certificate).hexdigest()[:16]
        self._facts.append(KeyFacts(entry.name, entry.purpose, entry.algorithm, check, self.test))


def _upgraded(file: sealed.SealedFile, content: sealed.Content) -> sealed.Content:
    """A keystore of version 1 with a registry: in the file, or if that cannot be written, in memory."""

    def change(found: sealed.Content) -> sealed.Content:
        if found.registry is not None:
            return found
        registry = records_of(found.keystore_id, found.entries, made_at(found.entries, file.path))
        return msgspec.structs.replace(found, registry=registry)

    def change_with_identity(found: sealed.Content) -> sealed.Content:
        if found.registry is not None:
            return found
        return change(msgspec.structs.replace(found, entries=(*found.entries, fresh_identity())))

    try:
        return file.update(change_with_identity)
    except StoreError:
        return change(content)  # without an identity: one that is in no file would sign what nobody can check later


def _beside(path: Path) -> Path:
    return path.with_name(path.name + UNLOCK_SUFFIX)


def unlock_key(path: Path, unlock: Unlock | None) -> bytes:
    """The unlock key of the keystore at `path`, from the file beside it if nothing is said. Raises StoreError."""
    unlock = _beside(path) if unlock is None else unlock
    if not isinstance(unlock, Path):
        return unlock()
    secret = read_private(unlock, _UNLOCK_KEY, _UNLOCK_BYTES).strip()
    if not secret:
        raise StoreError(f"{unlock}: the {_UNLOCK_KEY} is empty", hint="restore it from a backup")
    return secret


def _named(keys: dict[str, _Found], name: str, what: str) -> _Found:
    try:
        return keys[name]
    except KeyError:
        known = ", ".join(sorted(keys)) or "none"
        raise StoreError(f"the keystore has no {what} {name!r}", hint=f"it has: {known}") from None
