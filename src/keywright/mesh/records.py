"""Provisioning records: what a device has to show before it is invited (MshPRT 5.4.2.6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

from keywright.mesh.messages import ErrorCode, PduError, RecordRequest, RecordResponse, RecordsList

BASE_URI: Final = 0x0000
"""Where certificates are fetched from, in the form of URI AD data."""
DEVICE_CERTIFICATE: Final = 0x0001
FIRST_INTERMEDIATE: Final = 0x0002
LAST_INTERMEDIATE: Final = 0x0010
COMPLETE_LOCAL_NAME: Final = 0x0011
APPEARANCE: Final = 0x0012
LONGEST_RECORD: Final = 0xFFFF
OVERHEAD: Final = 8
"""Octets of a Record Response before its data, type included."""


class RecordStatus:
    """Status of Record Response (MshPRT 5.4.1.12)."""

    SUCCESS: Final = 0x00
    NOT_PRESENT: Final = 0x01
    OUT_OF_BOUNDS: Final = 0x02


@final
class Records:
    """The records of a device, and how it answers for them. `most`: octets it sends in one answer at most."""

    def __init__(self, contents: Mapping[int, bytes], most: int = 1469 - OVERHEAD) -> None:
        """Raises ValueError for an id or a length that the PDUs cannot say."""
        for record, data in contents.items():
            if not 0 <= record <= 0xFFFF or len(data) > LONGEST_RECORD:
                raise ValueError(f"record {record:04X} of {len(data)} octets cannot be shown")
        self._contents = dict(sorted(contents.items()))
        self._most = most

    def listed(self) -> RecordsList:
        """Answer to Records Get."""
        return RecordsList(0, tuple(self._contents))

    def answer(self, request: RecordRequest) -> RecordResponse:
        """Answer to Record Request. Raises PduError for a request of no octets."""
        if not request.most:
            raise PduError("Record Request for no octets", ErrorCode.INVALID_FORMAT, 5)
        data = self._contents.get(request.record)
        if data is None:
            return RecordResponse(RecordStatus.NOT_PRESENT, request.record, request.offset, 0)
        if request.offset >= len(data):
            return RecordResponse(RecordStatus.OUT_OF_BOUNDS, request.record, request.offset, len(data))
        part = data[request.offset :][: min(request.most, self._most)]
        return RecordResponse(RecordStatus.SUCCESS, request.record, request.offset, len(data), part)


NO_RECORDS: Final = Records({})
"""Of a device that has none."""
