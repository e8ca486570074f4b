"""PB-ADV and generic provisioning PDUs (MshPRT 5.2.1, 5.3.1).

The low two bits of a generic provisioning PDU's first octet (`control`) say which it is, the other six are its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, TypeAlias

from keywright.codec.record import U8, U16, U32, Record, Rest, raw
from keywright.errors import DecodeError

START: Final = 0b00
ACK: Final = 0b01
CONTINUATION: Final = 0b10
BEARER_CONTROL: Final = 0b11
LINK_OPEN: Final = 0x00 << 2 | BEARER_CONTROL
LINK_ACK: Final = 0x01 << 2 | BEARER_CONTROL
LINK_CLOSE: Final = 0x02 << 2 | BEARER_CONTROL

START_ROOM: Final = 20
"""Octets of the PDU in a Transaction Start."""
CONTINUATION_ROOM: Final = 23
"""Octets of the PDU in a Transaction Continuation."""
LAST_INDEX: Final = 63
LONGEST_PDU: Final = START_ROOM + LAST_INDEX * CONTINUATION_ROOM


class PbAdvPdu(Record, frozen=True):
    """What an AD structure of type PB-ADV holds (MshPRT 5.2.1)."""

    link_id: U32
    transaction: U8
    generic: Annotated[bytes, Rest()]


class TransactionStart(Record, frozen=True):
    """First segment of a PDU; the upper bits of control are the index of the last (MshPRT 5.3.1.1)."""

    control: U8
    total: U16
    fcs: U8
    data: Annotated[bytes, Rest()]

    @property
    def last_index(self) -> int:
        """Index of the last segment, 0 to 63."""
        return self.control >> 2


class TransactionAck(Record, frozen=True):
    """All segments have come (MshPRT 5.3.1.2)."""

    control: U8 = ACK


class TransactionContinuation(Record, frozen=True):
    """A further segment; the upper bits of control are its index (MshPRT 5.3.1.3)."""

    control: U8
    data: Annotated[bytes, Rest()]

    @property
    def index(self) -> int:
        """Index of this segment, 1 to 63."""
        return self.control >> 2


class LinkOpen(Record, frozen=True):
    """Open a link to the device with this UUID (MshPRT 5.3.1.4.1)."""

    control: U8
    uuid: Annotated[bytes, raw(16)]


class LinkAck(Record, frozen=True):
    """The link is open (MshPRT 5.3.1.4.2)."""

    control: U8 = LINK_ACK


class LinkClose(Record, frozen=True):
    """The link is closed (MshPRT 5.3.1.4.3)."""

    control: U8
    reason: U8


Generic: TypeAlias = TransactionStart | TransactionAck | TransactionContinuation | LinkOpen | LinkAck | LinkClose
_BEARER_CONTROLS: Final[dict[int, type[Generic]]] = {LINK_OPEN: LinkOpen, LINK_ACK: LinkAck, LINK_CLOSE: LinkClose}


def parse_generic(data: bytes) -> Generic:
    """A generic provisioning PDU.

    Raises DecodeError for what is none: a wrong length, a prohibited or reserved control octet, a segment without data,
    and a Transaction Start whose number of segments does not follow from its length.
    """
    if not data:
        raise DecodeError("a generic provisioning PDU has at least one octet")
    match data[0] & 0b11:
        case 0b00:
            start = TransactionStart.parse(data)
            _check_start(start)
            return start
        case 0b10:
            continuation = TransactionContinuation.parse(data)
            if not continuation.index or not 1 <= len(continuation.data) <= CONTINUATION_ROOM:
                raise DecodeError(f"segment {continuation.index} of {len(continuation.data)} octets", 1)
            return continuation
        case 0b01 if data[0] == ACK:
            return TransactionAck.parse(data)
        case 0b11 if data[0] in _BEARER_CONTROLS:
            return _BEARER_CONTROLS[data[0]].parse(data)
    raise DecodeError(f"control octet {data[0]:02X} is prohibited or reserved")


def segments(pdu: bytes) -> list[bytes]:
    """The generic provisioning PDUs that carry a provisioning PDU of 1 to 1469 octets, all but the last one full."""
    if not 1 <= len(pdu) <= LONGEST_PDU:
        raise ValueError(f"a provisioning PDU has 1 to {LONGEST_PDU} octets, not {len(pdu)}")
    rest = [pdu[at : at + CONTINUATION_ROOM] for at in range(START_ROOM, len(pdu), CONTINUATION_ROOM)]
    start = TransactionStart(len(rest) << 2 | START, len(pdu), fcs(pdu), pdu[:START_ROOM])
    return [
        start.build(),
        *(TransactionContinuation(index << 2 | CONTINUATION, data).build() for index, data in enumerate(rest, 1)),
    ]


def fcs(pdu: bytes) -> int:
    """Frame check sequence over a provisioning PDU (3GPP TS 27.010 5.2.1.6: x^8 + x^2 + x + 1, reflected)."""
    check = 0xFF
    for octet in pdu:
        check = _FCS[check ^ octet]
    return 0xFF - check


def _check_start(start: TransactionStart) -> None:
    last, total = start.last_index, start.total
    wanted = -(-max(0, total - START_ROOM) // CONTINUATION_ROOM)
    if not total or last != wanted or len(start.data) != min(total, START_ROOM):
        raise DecodeError(f"Transaction Start of {total} octets in {last + 1} segments, {len(start.data)} here", 1)


def _fcs_table() -> Sequence[int]:
    table = []
    for octet in range(256):
        check = octet
        for _ in range(8):
            check = check >> 1 ^ (0xE0 if check & 1 else 0)
        table.append(check)
    return tuple(table)


_FCS: Final = _fcs_table()
