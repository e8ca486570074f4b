"""What the line asks of whoever keeps its keys: an interface that no key comes out of.

A keystore derives, opens channels, wraps for PUT KEY, and issues. It hands out neither a master nor the keys of a unit:
those stay behind a `CardKeys`, in this process's memory or in an HSM. There is no raw CMAC, derivation, encryption or
wrapping with a static key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import msgspec

from keywright.crypto.ec import EcPublicKey
from keywright.errors import PolicyError
from keywright.globalplatform.key_fields import WrappedKey
from keywright.production.keystores.key_paths import KeyPath, SessionKeys
from keywright.production.keystores.key_refs import Diversified, FactorySet, KeyRef
from keywright.production.keystores.key_states import KeyState
from keywright.production.keystores.keystore_failure import KeystoreBusyError, KeystoreLostError, KeystoreRefusedError
from keywright.production.keystores.registry import KeyRecord, Registry
from keywright.scp.scp03.host import Verified
from keywright.scp.scp03.messages import InitializeUpdateResponse
from keywright.scp.session import HostSession

__all__ = [
    "CardKeys",
    "Diversified",
    "FactorySet",
    "KeyFacts",
    "KeyRef",
    "Keystore",
    "KeystoreBusyError",
    "KeystoreLostError",
    "KeystoreRefusedError",
    "Unlock",
    "check_same",
]

Unlock: TypeAlias = Path | Callable[[], bytes]
"""What opens a keystore: a file of mode 0600 with its unlock key or PIN, or a function that asks for it."""


class KeyFacts(msgspec.Struct, frozen=True):
    """What may be said of a key. `check`: KCV as hex (three for a key set), for a CA the start of its SHA-256."""

    name: str
    purpose: str
    algorithm: str
    check: str
    test: bool


class CardKeys(Protocol):
    """K-ENC, K-MAC and K-DEK of one unit, where they live."""

    @property
    def kcvs(self) -> bytes:
        """The three key check values joined, 9 bytes: ENC, MAC, DEK, each over bytes 01 (GPCS B.6)."""
        ...

    @property
    def size(self) -> int:
        """Length of each key in bytes."""
        ...

    def path(self, challenge_bytes: int) -> KeyPath:
        """How a channel with a host challenge of 8 (S8) or 16 bytes (S16) keeps its keys.

        Raises PolicyError, with what to choose instead, when the recipe's choice cannot be had here.
        """
        ...

    def open(
        self, host_challenge: bytes, answer: InitializeUpdateResponse, *, channel: int = 0, aid: bytes | None = None
    ) -> Verified[HostSession]:
        """Derive the session keys and check the card cryptogram, as `scp03.host.verify_card` does.

        Raises CardCryptogramError when these are not the card's keys, PolicyError as `path`.
        """
        ...

    def wrap_for(
        self, session: HostSession, *, kcv: Literal["ones", "zeros"] = "ones"
    ) -> tuple[WrappedKey, WrappedKey, WrappedKey]:
        """ENC, MAC and DEK for PUT KEY, encrypted under the K-DEK of a session.

        Raises PolicyError for a session that this keystore did not open (another's K-DEK may be known to anybody), and
        KeyStateError when the key that they come from may make nothing new.
        """
        ...

    def close(self) -> None:
        """Forget the keys; to be called once nothing is opened or wrapped with them any more. May be repeated."""
        ...


class Keystore(Protocol):
    """What the line asks of whoever keeps its keys. An unknown name is a StoreError that lists the known ones."""

    @property
    def keystore_id(self) -> str:
        """16 random bytes as hex, chosen when the keystore was made; a campaign accepts no other keystore."""
        ...

    @property
    def test(self) -> bool:
        """Whether its keys protect nothing of value."""
        ...

    def show(self) -> tuple[KeyFacts, ...]:
        """All keys by name, without any key."""
        ...

    def kcv(self, name: str) -> bytes:
        """Key check value of a master (3 bytes) or of a key set (9 bytes: ENC, MAC, DEK)."""
        ...

    def card_keys(self, ref: KeyRef, *, session_keys: SessionKeys = "inside") -> CardKeys:
        """One unit's keys. Raises PolicyError for a scheme that the master or the key size does not fit."""
        ...

    def card_keys_of(self, refs: Sequence[KeyRef], *, session_keys: SessionKeys = "inside") -> tuple[CardKeys, ...]:
        """The keys of many units, in one turn where turns cost."""
        ...

    @property
    def registry(self) -> Registry:
        """What is known of its keys now: use, owner, periods, state, parents."""
        ...

    def change_state(self, name: str, to: KeyState, *, reason: str, approval: str = "", people: str = "") -> KeyRecord:
        """Bring a key into another state, durably. `approval`: id of the one that allows it, of people of the
        directory with the id `people`.

        Raises KeyStateError for a change that is not allowed or, with production keys, not approved, or by people of
        another directory than whose approvals counted before.
        """
        ...

    def certificate(self, ca: str) -> bytes:
        """The CA's certificate, DER."""
        ...

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
        ...

    def public_key(self, name: str) -> EcPublicKey:
        """Public key of an identity or a Credential Issuer (purposes `identity`, `issuer` in `show`)."""
        ...

    def sign(self, name: str, digest: bytes) -> bytes:
        """ECDSA with an identity or an issuer over a digest, r || s: SHA-256 for a key on P-256, SHA-384 for P-384.

        An identity signs records of units and an issuer documents of credentials, nothing else; a CA never signs here.
        """
        ...

    def check_production(self) -> None:
        """Raise PolicyError when whatever holds the keys does not do for production what it must."""
        ...

    def close(self) -> None:
        """End what it holds open; nothing may be asked of it afterwards. May be repeated."""
        ...


def check_same(keystore: Keystore, expected_id: str) -> None:
    """Raise PolicyError unless this is the keystore with that id."""
    if keystore.keystore_id != expected_id:
        raise PolicyError(
            f"the keystore {keystore.keystore_id} is not the one this lot was begun with ({expected_id})",
            hint="give the lot's own keystore with --keystore; with another one its units could never be opened again",
        )
