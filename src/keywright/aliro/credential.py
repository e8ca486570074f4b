"""What a user device keeps, as records of bytes: in an applet's memory on an element, or in a simulated device's.

    credential/N     CredentialRecord: readers that know it, timestamps, signaling
    mailbox/N        its mailbox
    access/N, revocation/N   its documents, as the issuer encoded them
    persistent/X     PersistentRecord of the reader with identifier X

Where the private key is, is not said here: `CredentialRecord.key` is a name that whoever holds keys understands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Protocol

from keywright.aliro.messages import POINT_BYTES
from keywright.codec.record import Record, raw
from keywright.codec.tlv import Template, tag
from keywright.errors import DecodeError

CREDENTIALS: Final = 8
"""Credentials a device has room for."""
PERSISTENT_KEYS: Final = 16
"""Readers whose Kpersistent a device keeps; the one whose AUTH1 is longest ago goes first.

The fast phase writes nothing, so it does not count as use.
"""


class Records(Protocol):
    """The memory a user device works on; all that one command writes is kept together, or none of it."""

    def read(self, name: str, /) -> bytes | None:
        """A record, None when there is none."""
        ...

    def write(self, name: str, value: bytes | None, /) -> None:
        """Change a record; None deletes it."""
        ...


class GroupRecord(Record, frozen=True):
    """A reader group that a credential is for."""

    identifier: Annotated[bytes, raw(16)]
    """reader_group_identifier."""
    key: Annotated[bytes, raw(POINT_BYTES)]
    """reader_group_identifier_key: the reader's own public key, or that of the Reader System Issuer CA."""


class CredentialRecord(Template, frozen=True):
    """An Access Credential; the tags are ours."""

    key: Annotated[bytes, tag(0x80)]
    """Name of the private key."""
    public_key: Annotated[bytes, tag(0x81), raw(POINT_BYTES)]
    groups: Annotated[tuple[GroupRecord, ...], tag(0xA2)]
    signaling: Annotated[int, tag(0x83, size=2)] = 0
    """Bits of `Signaling` besides those that documents and mailbox give."""
    credential_signed: Annotated[bytes | None, tag(0x84), raw(20)] = None
    """credential_signed_timestamp: when the Access Document was signed, ASCII."""
    revocation_signed: Annotated[bytes | None, tag(0x85), raw(20)] = None
    given_mailbox: Annotated[bytes | None, tag(0x86), raw(4)] = None
    """Offset and size, two bytes each, of what of the mailbox AUTH1 gives unasked."""


class PersistentRecord(Record, frozen=True):
    """What the fast phase needs of an earlier transaction with this reader."""

    credential: Annotated[bytes, raw(1)]
    """Number of the credential."""
    key: Annotated[bytes, raw(32)]
    """Kpersistent."""
    group_key_x: Annotated[bytes, raw(32)]
    """With what the salts of that transaction began."""

    def __repr__(self) -> str:
        return f"<PersistentRecord of credential {self.credential.hex()}>"


def credentials(records: Records) -> Iterator[tuple[int, CredentialRecord]]:
    """The credentials there are, with their numbers. Raises DecodeError when one cannot be read."""
    for number in range(CREDENTIALS):
        found = records.read(f"credential/{number}")
        if found is not None:
            yield number, CredentialRecord.parse(found)


def find_credential(records: Records, group_identifier: bytes) -> tuple[int, CredentialRecord, bytes] | None:
    """The credential for a reader group: its number, itself, and the group's key; None when there is none.

    Of several for one group the one with the lowest number. One that cannot be read is passed over: its damage keeps
    no other credential from working, and shows no stranger which groups there are.
    """
    for number in range(CREDENTIALS):
        try:
            credential = CredentialRecord.parse(records.read(f"credential/{number}") or b"")
        except DecodeError:
            continue
        for group in credential.groups:
            if group.identifier == group_identifier:
                return number, credential, group.key
    return None


_RECENT: Final = "persistent"


def read_persistent(records: Records, reader_identifier: bytes) -> PersistentRecord | None:
    """What is kept of this reader; what cannot be read counts as nothing, and AUTH1 replaces it."""
    found = records.read(f"{_RECENT}/{reader_identifier.hex()}")
    try:
        return None if found is None else PersistentRecord.parse(found)
    except DecodeError:
        return None


def keep_persistent(records: Records, reader_identifier: bytes, record: PersistentRecord) -> None:
    """Keep a Kpersistent in place of this reader's last one; of too many readers the one kept longest ago goes."""
    recent = [one for one in _readers(records) if one != reader_identifier]
    recent.insert(0, reader_identifier)
    for gone in recent[PERSISTENT_KEYS:]:
        records.write(f"{_RECENT}/{gone.hex()}", None)
    records.write(f"{_RECENT}/{reader_identifier.hex()}", record.build())
    records.write(_RECENT, b"".join(recent[:PERSISTENT_KEYS]))


def forget_persistent(records: Records, number: int) -> None:
    """Drop every Kpersistent of a credential."""
    kept = []
    for reader in _readers(records):
        record = read_persistent(records, reader)
        if record is None or record.credential == bytes((number,)):
            records.write(f"{_RECENT}/{reader.hex()}", None)
        else:
            kept.append(reader)
    records.write(_RECENT, b"".join(kept) or None)


def _readers(records: Records) -> list[bytes]:
    known = records.read(_RECENT) or b""
    return [known[at : at + 32] for at in range(0, len(known) // 32 * 32, 32)]
