"""Data objects of GET DATA that are not about keys or channels: resources, applications, counters (GPCS 11.3.3.1)."""

from __future__ import annotations

from typing import Annotated

from keywright.codec.record import U16, Record
from keywright.codec.tlv import Template, tag
from keywright.errors import DecodeError


class Resources(Template, frozen=True):
    """Inside FF21 (TS 102 226 8.2.1.7.2): applications installed, free non-volatile and volatile memory in bytes."""

    applications: Annotated[int, tag(0x81)]
    non_volatile: Annotated[int, tag(0x82)]
    volatile: Annotated[int, tag(0x83)]


class ListedApplication(Template, frozen=True):
    """Inside 61 of the application list."""

    aid: Annotated[bytes, tag(0x4F)]
    label: Annotated[bytes | None, tag(0x50)] = None


class ApplicationList(Template, frozen=True):
    """Answer to GET DATA 2F00 with the tag list 5C00: the applications that belong to the security domain.

    No tag stands around them: 2F00 names an elementary file and is no tag. Cards write 61{4F} for each, or 4F alone.
    """

    applications: Annotated[tuple[ListedApplication, ...], tag(0x61)] = ()
    aids: Annotated[tuple[bytes, ...], tag(0x4F)] = ()

    @property
    def all_aids(self) -> tuple[bytes, ...]:
        """Every AID in the list, in whichever form."""
        return (*(entry.aid for entry in self.applications), *self.aids)


class TagList(Template, frozen=True):
    """Data of GET DATA that asks for some objects of a list; empty for all."""

    tags: Annotated[bytes, tag(0x5C)]


class CounterValue(Record, frozen=True):
    """Value of C2, the confirmation counter (GPCS 11.3.3.1): the number of receipts given so far."""

    count: U16


def sequence_counter(value: bytes) -> int:
    """Value of C1: 2 bytes with SCP02, 3 with SCP03. Raises DecodeError for another size."""
    if len(value) not in (2, 3):
        raise DecodeError(f"a sequence counter has 2 or 3 bytes, not {len(value)}")
    return int.from_bytes(value)
