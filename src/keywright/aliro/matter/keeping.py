"""What a lock keeps of its configuration: the reader's keys and group, and the keys in their slots.

matter/reader              the reader's configuration
matter/sub                 reader_group_sub_identifier, drawn once
matter/credential/T/I      the key of type T in slot I
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Final

import msgspec

from keywright.aliro.matter.cluster import (
    ALIRO_BLE_UWB,
    ALIRO_PROVISIONING,
    CURVE,
    GROUP_BYTES,
    POINT_BYTES,
    Slot,
)
from keywright.codec.record import U8, U16, U32, Record, raw
from keywright.codec.tlv import Template, tag
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.errors import DecodeError, StoreError
from keywright.store.memory import Memory

_READER: Final = "matter/reader"
_SUB_IDENTIFIER: Final = "matter/sub"
_CREDENTIAL: Final = "matter/credential/"


class Limits(msgspec.Struct, frozen=True):
    """What a lock has room for and speaks."""

    issuer_keys: int = 8
    endpoint_keys: int = 32
    """Evictable and non-evictable together."""
    users: int = 32
    credentials_per_user: int = 8
    expedited_versions: tuple[int, ...] = (0x0100,)
    ble_uwb_versions: tuple[int, ...] = ()
    """Empty: the lock has neither Bluetooth nor UWB, and takes no group resolving key."""

    @property
    def features(self) -> int:
        """FeatureMap, as far as it is about Aliro."""
        return ALIRO_PROVISIONING | (ALIRO_BLE_UWB if self.ble_uwb_versions else 0)


class Credential(msgspec.Struct, frozen=True):
    """A key in its slot."""

    slot: Slot
    key: EcPublicKey
    user: int
    fabric: int
    """Of who added it."""
    modified_by: int
    added: int
    """Grows with each that is added: of evictable keys the oldest goes first."""


class ReaderConfig(msgspec.Struct, frozen=True):
    """What SetAliroReaderConfig gave."""

    signing_key: EcPrivateKey
    group_identifier: bytes
    group_resolving_key: bytes | None

    def __repr__(self) -> str:
        return f"<ReaderConfig of group {self.group_identifier.hex()}>"


class StoredReader(Template, frozen=True):
    """The reader's configuration; the tags are ours."""

    signing_key: Annotated[bytes, tag(0x80)]
    group_identifier: Annotated[bytes, tag(0x81), raw(GROUP_BYTES)]
    group_resolving_key: Annotated[bytes | None, tag(0x82), raw(GROUP_BYTES)] = None


class StoredCredential(Record, frozen=True):
    """A key in its slot."""

    key: Annotated[bytes, raw(POINT_BYTES)]
    user: U16
    fabric: U8
    modified_by: U8
    added: U32


def load_reader(memory: Memory) -> ReaderConfig | None:
    """The reader's configuration, None for a blank lock. Raises StoreError when it cannot be read."""
    kept = memory.load(_READER)
    if kept is None:
        return None
    try:
        found = StoredReader.parse(kept)
        key = EcPrivateKey.from_pkcs8(found.signing_key, CURVE)
    except DecodeError as error:
        raise StoreError(f"the configuration of the reader cannot be read: {error}") from error
    return ReaderConfig(key, found.group_identifier, found.group_resolving_key)


def keep_reader(memory: Memory, reader: ReaderConfig | None) -> None:
    """Commit the reader's configuration; None takes it away."""
    if reader is None:
        memory.commit({_READER: None})
        return
    stored = StoredReader(reader.signing_key.to_pkcs8(), reader.group_identifier, reader.group_resolving_key)
    memory.commit({_READER: stored.build()})


def load_credentials(memory: Memory) -> dict[Slot, Credential]:
    """The keys in their slots. Raises StoreError when one cannot be read."""
    try:
        return dict(_credentials(memory))
    except (DecodeError, ValueError) as error:
        raise StoreError(f"a credential of the lock cannot be read: {error}") from error


def _credentials(memory: Memory) -> Iterator[tuple[Slot, Credential]]:
    for name in memory.names():
        if name.startswith(_CREDENTIAL):
            kind, index = map(int, name.removeprefix(_CREDENTIAL).split("/"))
            found = StoredCredential.parse(memory.load(name) or b"")
            slot, key = Slot(kind, index), EcPublicKey.from_point(CURVE, found.key)
            yield slot, Credential(slot, key, found.user, found.fabric, found.modified_by, found.added)


def keep_credentials(memory: Memory, changes: Mapping[Slot, Credential | None]) -> None:
    """Commit changes of slots, all of them or none; None empties one."""
    memory.commit(
        {
            f"{_CREDENTIAL}{slot.type}/{slot.index}": None if one is None else _stored(one)
            for slot, one in changes.items()
        }
    )


def _stored(one: Credential) -> bytes:
    return StoredCredential(one.key.point, one.user, one.fabric, one.modified_by, one.added).build()


def sub_identifier(memory: Memory, rng: Callable[[int], bytes]) -> bytes:
    """The reader_group_sub_identifier of a lock, drawn and committed at its first start."""
    kept = memory.load(_SUB_IDENTIFIER)
    if kept is None:
        kept = rng(GROUP_BYTES)
        memory.commit({_SUB_IDENTIFIER: kept})
    if len(kept) != GROUP_BYTES:
        raise StoreError(f"the sub-identifier of the lock has {len(kept)} bytes")
    return kept
