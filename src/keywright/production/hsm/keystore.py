"""A token as the line's keystore. Nothing here has a key or the PIN: it asks the HSM client, in plain data."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, Literal, final

import msgspec

from keywright.crypto.ec import EcPublicKey
from keywright.crypto.key import Secret
from keywright.errors import PolicyError, StoreError, UsageError
from keywright.globalplatform.key_fields import WrappedKey
from keywright.production.hsm import messages as m
from keywright.production.hsm.mechanisms import Abilities
from keywright.production.hsm.records import TokenRecord
from keywright.production.hsm.session import Pkcs11Session, Pkcs11Verified
from keywright.production.hsm.uri import TokenUri
from keywright.production.hsm.watchdog import HsmClient
from keywright.production.keystores.key_paths import KeyPath, SessionKeys
from keywright.production.keystores.key_states import KeyState
from keywright.production.keystores.keystore import Diversified, KeyFacts, KeyRef, KeystoreRefusedError, Unlock
from keywright.production.keystores.registry import KeyRecord, Registry
from keywright.scp.scp03.messages import InitializeUpdateResponse
from keywright.scp.session import HostSession

BATCH: Final = 32
"""Key sets in one message: a lane is not to be taken for long."""
REFRESH_S: Final = 2.0
"""How long what was read of the registry is gone by."""
_S8: Final = 8
_SERIAL_BYTES: Final = 20


@final
class Pkcs11Keystore(Secret):
    """`Keystore` over a token. Any thread may call it; each process opens its own."""

    __slots__ = ("_client", "_clock", "_loaded", "_loaded_at", "_mutex", "_records", "_registry")

    def __init__(self, client: HsmClient, loaded: m.Loaded, clock: Callable[[], float]) -> None:
        """Use `create` or `open`."""
        self._client = client
        self._clock = clock
        self._mutex = threading.RLock()
        self._loaded = loaded
        self._take(loaded)

    @classmethod
    def create(
        cls,
        uri: TokenUri,
        unlock: Unlock | None = None,
        *,
        now: datetime,
        test: bool = True,
        owner: str = "",
        clock: Callable[[], float] = time.time,
    ) -> Pkcs11Keystore:
        """Make a keystore in an initialised token: an AES master, the gp-test set, a CA and an identity key.

        `unlock`: the file with the PIN. Raises StoreError if the token holds a keystore, PolicyError for a wrong PIN or
        a token that lacks a mechanism.
        """
        client = HsmClient(_hello(uri, unlock), lanes=uri.sessions)
        try:
            return cls(client, client.ask(m.New(int(now.timestamp()), test, owner), m.Loaded), clock)
        except BaseException:
            client.close()
            raise

    @classmethod
    def open(
        cls,
        uri: TokenUri,
        unlock: Unlock | None = None,
        *,
        clock: Callable[[], float] = time.time,
        noticed: Callable[[str], object] | None = None,
    ) -> Pkcs11Keystore:
        """Start the HSM client and read the token's registry. Raises StoreError, PolicyError.

        `noticed`: told of every time the client was started again, by a thread of its own.
        """
        client = HsmClient(_hello(uri, unlock), lanes=uri.sessions, noticed=noticed)
        try:
            return cls(client, client.ask(m.Load(), m.Loaded), clock)
        except BaseException:
            client.close()
            raise

    @property
    def keystore_id(self) -> str:
        """16 random bytes as hex, chosen when the keystore was made."""
        return self._loaded.keystore_id

    @property
    def test(self) -> bool:
        """Whether its keys protect nothing of value."""
        return self._loaded.test

    @property
    def abilities(self) -> Abilities:
        """What the token can do."""
        return self._loaded.abilities

    @property
    def registry(self) -> Registry:
        """What is known of its keys, as the token had it at most `REFRESH_S` ago."""
        with self._mutex:
            if time.monotonic() - self._loaded_at > REFRESH_S:
                self._take(self._client.ask(m.Load(), m.Loaded))
            return self._registry

    def change_state(self, name: str, to: KeyState, *, reason: str, approval: str = "", people: str = "") -> KeyRecord:
        """Bring a key into another state; in the token when this returns. A destroyed key's objects are destroyed.

        Raises KeyStateError for a change that is not allowed or, with production keys, not approved; StoreError for an
        unknown key.
        """
        question = m.ChangeState(name, to, int(self._clock()), reason, approval, people)
        with self._mutex:
            self._take(self._client.ask(question, m.Loaded))
            return self._registry.named(name)

    def _take(self, loaded: m.Loaded) -> None:
        if loaded.keystore_id != self._loaded.keystore_id:
            raise StoreError("another keystore has taken this one's place in the token", hint="look at the token")
        self._loaded = loaded
        self._loaded_at = time.monotonic()
        self._records = {record.name: record for record in loaded.records}
        self._registry = Registry(
            "test" if loaded.test else "production", tuple(record.entry for record in loaded.records)
        )

    @property
    def client(self) -> HsmClient:
        """The client process that is asked."""
        return self._client

    def show(self) -> tuple[KeyFacts, ...]:
        """All keys by name, without any key."""
        return tuple(
            KeyFacts(record.name, record.entry.purpose, record.entry.algorithm, _check(record), self.test)
            for record in self._loaded.records
        )

    def kcv(self, name: str) -> bytes:
        """Key check value of a master (3 bytes) or of a key set (9 bytes: ENC, MAC, DEK)."""
        return self._record(name, ("master", "factory"), "key with a check value").kcv

    def card_keys(self, ref: KeyRef, *, session_keys: SessionKeys = "inside") -> Pkcs11CardKeys:
        """One unit's keys. Raises PolicyError for a master, scheme or size that does not fit."""
        self._check(ref)
        self.registry.check_uses(ref.master if isinstance(ref, Diversified) else ref.name, self._clock())
        return Pkcs11CardKeys(self._client, self._loaded.abilities, ref, session_keys, self._size(ref))

    def card_keys_of(
        self, refs: Sequence[KeyRef], *, session_keys: SessionKeys = "inside"
    ) -> tuple[Pkcs11CardKeys, ...]:
        """The keys of many units; their check values are asked for together."""
        made = tuple(self.card_keys(ref, session_keys=session_keys) for ref in refs)
        for at in range(0, len(made), BATCH):
            part = made[at : at + BATCH]
            question = m.Check(tuple(keys.ref for keys in part))
            for keys, kcvs in zip(part, self._client.ask(question, tuple[bytes, ...]), strict=True):
                keys.learn(kcvs)
        return made

    def certificate(self, ca: str) -> bytes:
        """The CA's certificate, DER."""
        return self._record(ca, ("ca",), "CA").certificate

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
        """A device certificate signed in the token, DER; arguments and errors as `crypto.certificates.Issuer.issue`."""
        if not_before.tzinfo is None or not_after.tzinfo is None:
            raise ValueError("the validity of a certificate takes times with a time zone")
        question = m.Issue(
            ca,
            common_name,
            subject_serial,
            public_key.curve,
            public_key.point,
            serial_number.to_bytes(_SERIAL_BYTES),
            int(not_before.timestamp()),
            int(not_after.timestamp()),
        )
        return self._client.ask(question, bytes)

    def certificate_request(self, ca: str, common_name: str) -> bytes:
        """A request for a CA's certificate (PKCS #10), DER, signed in the token."""
        return self._client.ask(m.Request(ca, common_name), bytes)

    def sign(self, name: str, digest: bytes) -> bytes:
        """ECDSA over a digest with an identity or issuer key, r || s; P-256 takes 32 bytes (ES256), P-384 48."""
        return self._client.ask(m.Sign(name, digest), bytes)

    def public_key(self, name: str) -> EcPublicKey:
        """Public key of an identity or a CA."""
        return EcPublicKey.from_point(*self._client.ask(m.PublicKey(name), tuple[str, bytes]))

    def audit(self) -> tuple[m.Finding, ...]:
        """The token against its attribute table and registry, and every forbidden use tried."""
        return self._client.ask(m.Audit(), tuple[m.Finding, ...])

    def check_production(self) -> None:
        """Raise PolicyError when the audit finds something wrong, or something that two persons have not accepted."""
        findings = self.audit()
        wrong = [finding for finding in findings if finding.result == "wrong"]
        if wrong:
            raise KeystoreRefusedError(
                f"the audit of the token finds {len(wrong)} things wrong, first: {wrong[0].subject}, {wrong[0].check}",
                hint="run `keywright keystore audit`; no lot begins before each is explained",
            )
        if not self.is_accepted(findings):
            raise KeystoreRefusedError(
                f"the token {self.abilities.model} does not enforce all that the audit tries, and nobody accepted that",
                hint="two key managers may: keywright keystore audit --accept --people FILE --by KEY --approval FILE",
            )

    def is_accepted(self, findings: tuple[m.Finding, ...]) -> bool:
        """Whether two persons accepted what the token does not enforce, or it enforces everything."""
        digest = accepted_digest(self.abilities, findings)
        return not digest or digest in {one.digest for one in self._loaded.accepted}

    def accept(self, findings: tuple[m.Finding, ...], approval: str, people: str) -> None:
        """Keep in the token that two persons accepted what it does not enforce.

        `approval`: id of theirs, used up; `people`: id of the directory they stand in. Raises KeyStateError if it was
        used here before, or is of people whom the token does not know.
        """
        question = m.Accept(accepted_digest(self.abilities, findings), approval, int(self._clock()), people)
        with self._mutex:
            self._take(self._client.ask(question, m.Loaded))

    def close(self) -> None:
        """End the HSM client."""
        self._client.close()

    def __repr__(self) -> str:
        return f"<keystore {self.keystore_id}{' TEST' if self.test else ''} in a token, {len(self._records)} keys>"

    def _record(self, name: str, purposes: tuple[str, ...], what: str) -> TokenRecord:
        record = self._records.get(name)
        if record is None or record.entry.purpose not in purposes:
            known = ", ".join(sorted(r.name for r in self._records.values() if r.entry.purpose in purposes)) or "none"
            raise StoreError(f"the keystore has no {what} {name!r}", hint=f"it has: {known}")
        return record

    def _size(self, ref: KeyRef) -> int:
        if isinstance(ref, Diversified):
            return ref.key_bytes
        return self._record(ref.name, ("factory",), "factory key set").key_bytes

    def _check(self, ref: KeyRef) -> None:
        if not isinstance(ref, Diversified):
            self._record(ref.name, ("factory",), "factory key set")
            return
        from keywright.production.hsm.diversify import blocks_for  # noqa: PLC0415 - only to refuse early

        master = self._record(ref.master, ("master",), "master")
        if ref.key_bytes not in (16, 24, 32) or ref.key_bytes > master.key_bytes:
            raise PolicyError(f"the master {ref.master!r} does not make {ref.key_bytes}-byte keys")
        blocks_for(ref.scheme, ref.context, ref.key_bytes, master.masks)


@final
class Pkcs11CardKeys(Secret):
    """`CardKeys` that are only named here: each use derives them in the token and destroys them there."""

    __slots__ = ("_abilities", "_client", "_kcvs", "_mutex", "_session_keys", "ref", "size")

    def __init__(
        self, client: HsmClient, abilities: Abilities, ref: KeyRef, session_keys: SessionKeys, size: int
    ) -> None:
        self._client = client
        self._abilities = abilities
        self._session_keys: SessionKeys = session_keys
        self._kcvs = b""
        self._mutex = threading.Lock()
        self.ref = ref
        self.size = size

    @property
    def kcvs(self) -> bytes:
        """The three key check values joined, 9 bytes: ENC, MAC, DEK."""
        with self._mutex:
            if not self._kcvs:
                (self._kcvs,) = self._client.ask(m.Check((self.ref,)), tuple[bytes, ...])
            return self._kcvs

    def learn(self, kcvs: bytes) -> None:
        """Take check values that were asked for together with others."""
        self._kcvs = kcvs

    def path(self, challenge_bytes: int) -> KeyPath:
        """How a channel keeps its keys. Raises PolicyError when the recipe's choice cannot be had."""
        if self._session_keys == "export":
            return KeyPath.EXPORTED
        if self._abilities.has_kdf:
            return KeyPath.KDF
        if challenge_bytes == _S8:
            return KeyPath.MASKS
        if self._session_keys == "encrypt":
            return KeyPath.ENCRYPT
        raise PolicyError(
            f"the token {self._abilities.model} has no CKM_SP800_108_COUNTER_KDF, so S16 cannot be opened with static "
            "keys that only derive",
            hint='choose session_keys = "encrypt" or "export" in the recipe\'s authenticate step',
        )

    def open(
        self, host_challenge: bytes, answer: InitializeUpdateResponse, *, channel: int = 0, aid: bytes | None = None
    ) -> Pkcs11Verified:
        """Derive the session keys inside and check the card cryptogram. Raises CardCryptogramError, PolicyError."""
        path = self.path(len(host_challenge))
        question = m.Open(self.ref, path.value, host_challenge, answer.build(), channel, aid)
        opened, place = self._client.ask_where(question, m.Opened)
        return Pkcs11Verified(self._client, place, opened.channel, channel, answer)

    def wrap_for(
        self, session: HostSession, *, kcv: Literal["ones", "zeros"] = "ones"
    ) -> tuple[WrappedKey, WrappedKey, WrappedKey]:
        """ENC, MAC and DEK for PUT KEY under the K-DEK of a session. Raises PolicyError for another's session."""
        if not isinstance(session, Pkcs11Session) or not session.is_of(self._client):
            raise PolicyError("keys are wrapped only for a session that the same keystore opened")
        enc, mac, dek = (
            WrappedKey(key.size, key.ciphertext, key.kcv) for key in session.wrapped(self.ref, zeros=kcv == "zeros")
        )
        return enc, mac, dek

    def close(self) -> None:
        """Nothing to do: no object outlives the question it was made for."""

    def __repr__(self) -> str:
        return f"<card keys of {self.ref!r} in a token>"


def accepted_digest(abilities: Abilities, findings: tuple[m.Finding, ...]) -> str:
    """SHA-256 as hex over what this token does not enforce; empty when it enforces everything."""
    named = sorted((one.subject, one.check) for one in findings if one.result == "not-enforceable")
    token = (abilities.manufacturer, abilities.model, abilities.serial)
    return hashlib.sha256(msgspec.json.encode((token, named))).hexdigest() if named else ""


def _check(record: TokenRecord) -> str:
    """What `show` tells a key by: its KCV, or the start of SHA-256 of a certificate or by its registry's rule."""
    if record.certificate:
        return hashlib.sha256(record.certificate).hexdigest()[:16]
    return record.kcv.hex() or record.entry.kcvs()[0].value.hex()


def _hello(uri: TokenUri, unlock: Unlock | None) -> m.Hello:
    if unlock is not None and not isinstance(unlock, Path):
        raise UsageError(
            "the PIN of a token is asked for by the HSM client itself",
            hint="leave --passphrase out, or give a PIN file with --unlock FILE",
        )
    return m.Hello(uri.label, str(uri.find_module()), "" if unlock is None else str(unlock))
