"""How a provisioner gets the records of a device before it invites it (MshPRT 5.4.2.6).

A dialogue: it yields Records Get, then Record Requests until each record is whole. `Provisioner` judges every answer
against its request; here is what only the answers together show. A device may give less than it is asked for, and
nothing else: totals that change, records without end and lists that repeat themselves end the dialogue by name.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Final, TypeAlias

import msgspec

from keywright.errors import WireError
from keywright.mesh.messages import LONGEST, RecordRequest, RecordResponse, RecordsGet, RecordsList
from keywright.mesh.provisioner import Provisioner, ProvisionerEvent, RecordPart, RecordsListed
from keywright.mesh.records import OVERHEAD, RecordStatus

LONGEST_PART: Final = LONGEST - OVERHEAD
"""Octets of a record that one answer can carry over PB-ADV (MshPRT 5.3.1)."""

Question: TypeAlias = RecordsGet | RecordRequest
Answer: TypeAlias = RecordsList | RecordResponse


class FetchLimits(msgspec.Struct, frozen=True):
    """How a provisioner asks, and where it stops. The standard bounds a record by 65535 octets and their number not."""

    part: int = 200
    """Octets asked for at a time. More is fewer answers, and more lost with one of them."""
    longest_record: int = 4096
    most_octets: int = 16384
    """Of all records together."""
    most_records: int = 64
    """In the list."""
    most_requests: int = 512
    """For all records together; a device that gives an octet at a time comes to an end here."""

    def __post_init__(self) -> None:
        """Raise ValueError for parts that no answer can carry."""
        if not 1 <= self.part <= LONGEST_PART:
            raise ValueError(f"parts of 1 to {LONGEST_PART} octets, not {self.part}")


def fetch_records(
    wanted: Callable[[int], bool], limits: FetchLimits | None = None
) -> Generator[Question, Answer, dict[int, bytes]]:
    """Dialogue: the contents of those records that the device has and `wanted` says yes to, by number.

    Raises WireError for answers that do not go together, and beyond the limits.
    """
    limits = limits or FetchLimits()
    listed = yield RecordsGet()
    assert isinstance(listed, RecordsList)  # the provisioner's table lets nothing else through
    if len(set(listed.records)) != len(listed.records):
        raise WireError("device sent a wrong Records List: a record twice (MshPRT 5.4.1.14)")
    if len(listed.records) > limits.most_records:
        raise WireError(
            f"device lists {len(listed.records)} records, more than {limits.most_records} (MshPRT 5.4.1.14)"
        )
    found: dict[int, bytes] = {}
    requests = 0
    for record in sorted(filter(wanted, listed.records)):
        data = b""
        total: int | None = None
        while total is None or len(data) < total:
            requests += 1
            if requests > limits.most_requests:
                raise _wrong(record, f"no end after {limits.most_requests} requests")
            response = yield RecordRequest(record, len(data), limits.part)
            assert isinstance(response, RecordResponse)  # as above
            _check(response, total, limits, sum(map(len, found.values())))
            total = response.total
            data += response.data
        found[record] = data
    return found


def ask(provisioner: Provisioner, question: Question, now: float) -> None:
    """Put a question of the dialogue to the device. Raises SequenceError once it is invited."""
    if isinstance(question, RecordRequest):
        provisioner.request(question.record, question.offset, question.most, now)
    else:
        provisioner.list_records(now)


def answer_in(event: ProvisionerEvent) -> Answer | None:
    """What the dialogue is to be sent, None for an event that is not about records."""
    match event:
        case RecordsListed():
            return RecordsList(0, event.records)
        case RecordPart():
            return event.response
        case _:
            return None


def _check(response: RecordResponse, total: int | None, limits: FetchLimits, before: int) -> None:
    match response.status:
        case RecordStatus.SUCCESS:
            pass
        case RecordStatus.OUT_OF_BOUNDS if total is None and not response.total:
            return  # An empty record: no offset of it is within bounds.
        case RecordStatus.OUT_OF_BOUNDS:
            raise _wrong(response.record, f"offset {response.offset} of {response.total} is out of bounds, it says")
        case _:
            raise _wrong(response.record, "it is in the list and not present")
    if total is not None and response.total != total:
        raise _wrong(response.record, f"its length was {total} and is {response.total}")
    if response.total > limits.longest_record:
        raise _wrong(response.record, f"{response.total} octets, more than {limits.longest_record}")
    if before + response.total > limits.most_octets:
        raise _wrong(response.record, f"all records together are more than {limits.most_octets} octets")


def _wrong(record: int, why: str) -> WireError:
    return WireError(f"record {record:04X} of the device cannot be had: {why} (MshPRT 5.4.2.6)")
