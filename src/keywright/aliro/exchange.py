"""EXCHANGE, its channel opened: mailbox, status of the reader, documents (Aliro 1.0, by its public implementations)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, TypeAlias

import msgspec

from keywright.codec.ber import item, items
from keywright.codec.record import U8, U16, Record, Rest
from keywright.codec.tlv import Template, tag
from keywright.errors import DecodeError

LONGEST_NOTICE: Final = 250
"""Bytes of a notification (tag AE)."""


class MailboxStatus:
    """How the mailbox took a request: the end of every answer."""

    OK: Final = 0x0000
    OUT_OF_RANGE: Final = 0x0001
    MALFORMED: Final = 0x0002


class Exchange(Template, frozen=True):
    """What a reader sends: any of these."""

    mailbox: Annotated[bytes | None, tag(0xBA)] = None
    """`MailboxRequest.build()`."""
    status: Annotated[int | None, tag(0x97, size=2)] = None
    """A value of `ReaderStatus`: the transaction ends."""
    ursk_ready: Annotated[bool, tag(0x98)] = False
    """The reader has the URSK; ranging may begin."""
    notice: Annotated[bytes | None, tag(0xAE)] = None
    """For the application or the credential issuer; what is inside was not to be learnt publicly."""
    update_document: Annotated[bytes | None, tag(0x81)] = None


class Read(Record, frozen=True):
    """Bytes of the mailbox that are asked for."""

    TAG: ClassVar[int] = 0x87
    offset: U16
    size: U16


class Write(Record, frozen=True):
    """Bytes to put into the mailbox."""

    TAG: ClassVar[int] = 0x8A
    offset: U16
    data: Annotated[bytes, Rest()]


class Set(Record, frozen=True):
    """A range of the mailbox to fill with one value."""

    TAG: ClassVar[int] = 0x95
    offset: U16
    size: U16
    value: U8


Operation: TypeAlias = Read | Write | Set
_OPERATIONS: Final[dict[int, type[Operation]]] = {kind.TAG: kind for kind in (Read, Write, Set)}
_ATOMIC: Final = 0x8C


class MailboxRequest(msgspec.Struct, frozen=True):
    """Value of BA: operations in the order in which they are done.

    continues: whether the atomic session goes on after them. What an atomic session wrote is kept when it ends, all or
    nothing.
    """

    operations: tuple[Operation, ...]
    continues: bool = False

    def build(self) -> bytes:
        """Its TLVs."""
        parts = [item(_ATOMIC, bytes((self.continues,)))]
        parts += [item(operation.TAG, operation.build()) for operation in self.operations]
        return b"".join(parts)

    @classmethod
    def parse(cls, data: bytes) -> MailboxRequest:
        """Read the value of BA; 8C comes first. Raises DecodeError."""
        found = items(data)
        if not found or found[0][0] != _ATOMIC or found[0][1] not in (b"\0", b"\1"):
            raise DecodeError("a mailbox request begins with 8C 01 00 or 8C 01 01")
        operations = []
        for number, value in found[1:]:
            kind = _OPERATIONS.get(number)
            if kind is None:
                raise DecodeError(f"a mailbox request has no tag {number:X}")
            operations.append(kind.parse(value))
        return cls(tuple(operations), found[0][1] == b"\1")


class ExchangeAnswer(msgspec.Struct, frozen=True):
    """What the device answers: the bytes of each read, and a value of `MailboxStatus`."""

    reads: tuple[bytes, ...] = ()
    status: int = MailboxStatus.OK

    def build(self) -> bytes:
        """Each part behind its length of two bytes, the status last."""
        return b"".join(len(part).to_bytes(2) + part for part in (*self.reads, self.status.to_bytes(2)))

    @classmethod
    def parse(cls, data: bytes) -> ExchangeAnswer:
        """Read an answer. Raises DecodeError."""
        parts, at = [], 0
        while at < len(data):
            end = at + 2 + int.from_bytes(data[at : at + 2])
            if at + 2 > len(data) or end > len(data):
                raise DecodeError("the answer to EXCHANGE ends inside a part", at)
            parts.append(data[at + 2 : end])
            at = end
        if not parts or len(parts[-1]) != 2:
            raise DecodeError("the answer to EXCHANGE does not end with a status of two bytes", at)
        return cls(tuple(parts[:-1]), int.from_bytes(parts[-1]))
