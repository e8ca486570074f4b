"""What the token's registry says of each key: one MACed data object for each, so that the token carries everything.

A record is never changed: a newer version of it is written, then the older one destroyed, so a cut leaves both, and
the newer one counts; of two that were written at once, the one in which the key may do less. What the key registry
says of the key is in it. The MAC is AES-CMAC with a key of the token that does nothing else. Whoever has the PIN can
have a record MACed, or put an older one back; what the MAC shows is damage, and records of another token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Final, Literal, TypeVar

import msgspec

from keywright.crypto.compare import equal
from keywright.crypto.kcv import Rule
from keywright.errors import StoreError
from keywright.production.keystores.key_states import KeyState
from keywright.production.keystores.registry import KeyRecord

HEAD_LABEL: Final = "keywright keystore"
ACCEPTED_LABEL: Final = "keywright accepted"
PEOPLE_LABEL: Final = "keywright people"
MAC_LABEL: Final = "keywright record-mac"
_RECORD_LABEL: Final = "keywright key "
_HEAD_DOMAIN: Final = b"keywright token head 1\x00"
_ACCEPTED_DOMAIN: Final = b"keywright token accepted 1\x00"
_PEOPLE_DOMAIN: Final = b"keywright token people 1\x00"
_RECORD_DOMAIN: Final = b"keywright token record 1\x00"
_MAC_BYTES: Final = 16
_FINALITY: Final = (
    KeyState.PRE_ACTIVE,
    KeyState.ACTIVE,
    KeyState.SUSPENDED,
    KeyState.DEACTIVATED,
    KeyState.COMPROMISED,
    KeyState.DESTROYED,
)
"""States from what may still become anything to what nothing undoes."""

_Found = TypeVar("_Found")


class ObjectRef(msgspec.Struct, frozen=True):
    """One object of a key: its row in the attribute table, its CKA_ID, and which key of a set it is."""

    kind: str
    object_id: bytes
    part: Literal["", "enc", "mac", "dek"] = ""


class TokenRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One key, or one key set, in the token: its entry of the key registry, and what the token needs to use it.

    `masks`: what keys are derived with, by name: of a master `hsm.diversify.master_masks`, of a key set
    `scp.scp03.masks` for "enc", "mac" and "rmac", and its check values over zeros. `key_bytes`: 0 for a key pair.
    """

    entry: KeyRecord
    objects: tuple[ObjectRef, ...]
    key_bytes: int = 0
    masks: dict[str, bytes] = {}
    certificate: bytes = b""
    version: Annotated[int, msgspec.Meta(ge=1)] = 1

    @property
    def name(self) -> str:
        """The key's name."""
        return self.entry.name

    @property
    def kcv(self) -> bytes:
        """The check value over bytes 01 (GPCS B.6), 3 bytes for each key; nothing for a key pair."""
        return b"".join(kcv.value for kcv in self.entry.kcvs() if kcv.rule is Rule.AES_ONES)

    def object_for(self, kind: str, part: str = "") -> bytes | None:
        """CKA_ID of the object of that kind and part; None if the key has none."""
        return next((ref.object_id for ref in self.objects if (ref.kind, ref.part) == (kind, part)), None)

    def only_object(self, kind: str) -> bytes:
        """CKA_ID of the object of a key that has one. Raises StoreError if the record has none."""
        found = self.object_for(kind)
        if found is None:
            raise StoreError(
                f"the record of {self.name!r} names no {kind} object", hint="run `keywright keystore audit`"
            )
        return found


class Head(msgspec.Struct, frozen=True):
    """What the token is as a keystore. `keystore_id`: 16 bytes as hex."""

    keystore_id: str
    test: bool
    format: Literal[1] = 1


class Accepted(msgspec.Struct, frozen=True):
    """What of an audit two persons accepted: SHA-256 of what the token does not enforce as hex, and their approval."""

    digest: str
    approval: str
    at: int


class People(msgspec.Struct, frozen=True):
    """Whose approvals count: id of the directory of people that the first one came from."""

    directory: str


Mac = Callable[[bytes], bytes]
"""AES-CMAC with the token's record key."""


def sealed_head(head: Head, mac: Mac) -> bytes:
    """The head as it is stored."""
    return _sealed(_HEAD_DOMAIN, msgspec.msgpack.encode(head), mac)


def sealed_record(record: TokenRecord, mac: Mac) -> bytes:
    """A record as it is stored."""
    return _sealed(_RECORD_DOMAIN, msgspec.msgpack.encode(record), mac)


def sealed_accepted(accepted: Accepted, mac: Mac) -> bytes:
    """What was accepted, as it is stored."""
    return _sealed(_ACCEPTED_DOMAIN, msgspec.msgpack.encode(accepted), mac)


def open_accepted(value: bytes, mac: Mac) -> Accepted:
    """What was accepted. Raises StoreError if it is damaged."""
    return _opened(_ACCEPTED_DOMAIN, value, mac, Accepted, ACCEPTED_LABEL)


def sealed_people(people: People, mac: Mac) -> bytes:
    """Whose approvals count, as it is stored."""
    return _sealed(_PEOPLE_DOMAIN, msgspec.msgpack.encode(people), mac)


def open_people(value: bytes, mac: Mac) -> People:
    """Whose approvals count. Raises StoreError if it is damaged."""
    return _opened(_PEOPLE_DOMAIN, value, mac, People, PEOPLE_LABEL)


def label_of(record: TokenRecord) -> str:
    """Label of the data object of a record."""
    return f"{_RECORD_LABEL}{record.name}"


def is_record(label: str) -> bool:
    """Whether a data object with that label is a record."""
    return label.startswith(_RECORD_LABEL)


def open_head(value: bytes, mac: Mac) -> Head:
    """The head. Raises StoreError if it is damaged."""
    return _opened(_HEAD_DOMAIN, value, mac, Head, HEAD_LABEL)


def open_record(label: str, value: bytes, mac: Mac) -> TokenRecord:
    """A record. Raises StoreError if it is damaged, or was stored for another name."""
    record = _opened(_RECORD_DOMAIN, value, mac, TokenRecord, label)
    if label_of(record) != label:
        raise _damaged(label)
    return record


def with_certificate(record: TokenRecord, certificate: bytes) -> TokenRecord:
    """The record of a CA with its certificate."""
    return msgspec.structs.replace(record, certificate=certificate)


def changed(record: TokenRecord, entry: KeyRecord) -> TokenRecord:
    """The next version of a record, with another entry of the key registry."""
    return msgspec.structs.replace(record, entry=entry, version=record.version + 1)


def newest(records: Iterable[TokenRecord]) -> dict[str, TokenRecord]:
    """The version of each record that counts, by name: the highest, and of equal ones the one that allows less."""
    found: dict[str, TokenRecord] = {}
    for record in records:
        other = found.get(record.name)
        if other is None or _precedence(other) < _precedence(record):
            found[record.name] = record
    return dict(sorted(found.items()))


def _precedence(record: TokenRecord) -> tuple[int, bool, int, bytes]:
    """Orders the versions of a record the same way for everybody who reads them; the last that counts is greatest."""
    entry = record.entry
    return record.version, entry.was_compromised, _FINALITY.index(entry.state), msgspec.msgpack.encode(record)


def _sealed(domain: bytes, body: bytes, mac: Mac) -> bytes:
    return mac(domain + body) + body


def _opened(domain: bytes, value: bytes, mac: Mac, kind: type[_Found], label: str) -> _Found:
    tag, body = value[:_MAC_BYTES], value[_MAC_BYTES:]
    if not equal(tag, mac(domain + body)):
        raise _damaged(label)
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise _damaged(label) from error


def _damaged(label: str) -> StoreError:
    return StoreError(
        f"the token's object {label!r} is damaged or not of this keystore",
        hint="restore the token from its backup",
    )
