"""Lower transport PDUs: whole messages, segments of long ones, and their acknowledgements (MshPRT 3.5.2).

The first octet is SEG and, for access messages, AKF and AID, for control messages the opcode. A segment has three
octets more: SZMIC or a reserved bit, SeqZero (13 bits), SegO and SegN (5 bits each).
"""

from __future__ import annotations

import struct
from typing import Final, TypeAlias

import msgspec

from keywright.errors import DecodeError

SEGMENTED: Final = 0x80
_AKF: Final = 0x40
_AID: Final = 0x3F
_OPCODE: Final = 0x7F
ACK_OPCODE: Final = 0x00
SEQ_ZERO_MASK: Final = 0x1FFF
LAST_SEGMENT: Final = 31
ACCESS_ROOM: Final = 15
"""Octets of an unsegmented access message with its TransMIC."""
ACCESS_SEGMENT: Final = 12
CONTROL_ROOM: Final = 11
"""Octets of the parameters of an unsegmented control message."""
CONTROL_SEGMENT: Final = 8
LONGEST_ACCESS: Final = (LAST_SEGMENT + 1) * ACCESS_SEGMENT
"""Octets of the longest upper transport access PDU."""
LONGEST_CONTROL: Final = (LAST_SEGMENT + 1) * CONTROL_SEGMENT
_ACK: Final = struct.Struct(">BHI")


class Form(msgspec.Struct, frozen=True):
    """What kind of message: control with its opcode, or access under a device key (`aid` None) or an AppKey."""

    ctl: bool
    opcode: int = 0
    aid: int | None = None

    @property
    def octet(self) -> int:
        """The first octet, without SEG."""
        if self.ctl:
            return self.opcode
        return 0 if self.aid is None else _AKF | self.aid

    @property
    def room(self) -> int:
        """Octets that go without segments."""
        return CONTROL_ROOM if self.ctl else ACCESS_ROOM

    @property
    def segment_room(self) -> int:
        """Octets of each segment but the last."""
        return CONTROL_SEGMENT if self.ctl else ACCESS_SEGMENT


class Whole(msgspec.Struct, frozen=True):
    """An unsegmented message."""

    form: Form
    upper: bytes


class Segment(msgspec.Struct, frozen=True):
    """One segment."""

    form: Form
    long_mic: bool
    seq_zero: int
    index: int
    last: int
    data: bytes


class SegmentAck(msgspec.Struct, frozen=True):
    """Segment Acknowledgment (MshPRT 3.5.2.3.1)."""

    for_another: bool
    """OBO: a friend acknowledges for its low power node."""
    seq_zero: int
    block: int
    """One bit for each segment that came; 0 gives the message up."""


Transport: TypeAlias = Whole | Segment | SegmentAck


def build_whole(message: Whole) -> bytes:
    """The lower transport PDU. Raises ValueError if it needs segments."""
    if not (0 if message.form.ctl else 1) <= len(message.upper) <= message.form.room:
        raise ValueError(f"an unsegmented message has at most {message.form.room} octets, not {len(message.upper)}")
    return bytes((message.form.octet,)) + message.upper


def build_segment(segment: Segment) -> bytes:
    """The lower transport PDU of a segment."""
    head = segment.long_mic << 23 | segment.seq_zero << 10 | segment.index << 5 | segment.last
    return bytes((SEGMENTED | segment.form.octet,)) + head.to_bytes(3) + segment.data


def cut(form: Form, upper: bytes, seq: int, *, long_mic: bool = False) -> list[Segment]:
    """A message as segments; `seq`: the sequence number of the first. Raises ValueError for one that is too long."""
    room = form.segment_room
    parts = [upper[at : at + room] for at in range(0, len(upper), room)]
    if not 1 <= len(parts) <= LAST_SEGMENT + 1:
        raise ValueError(f"a message has 1 to {room * (LAST_SEGMENT + 1)} octets, not {len(upper)}")
    seq_zero = seq & SEQ_ZERO_MASK
    return [Segment(form, long_mic, seq_zero, index, len(parts) - 1, part) for index, part in enumerate(parts)]


def build_ack(ack: SegmentAck) -> bytes:
    """The lower transport PDU of an acknowledgement."""
    return _ACK.pack(ACK_OPCODE, ack.for_another << 15 | ack.seq_zero << 2, ack.block)


def parse_transport(data: bytes, *, ctl: bool) -> Transport:
    """A lower transport PDU; `ctl`: what the network PDU says. Raises DecodeError for what is none."""
    if len(data) < 2 - ctl:
        raise DecodeError(f"a lower transport PDU of {len(data)} octets")
    first = data[0]
    if ctl:
        form = Form(ctl=True, opcode=first & _OPCODE)
    else:
        form = Form(ctl=False, aid=first & _AID if first & _AKF else None)
        if form.aid is None and first & _AID:
            raise DecodeError("an AID without an application key")
    if first & SEGMENTED:
        return _segment(form, data)
    if first == ACK_OPCODE and ctl:
        return _ack(data)
    if len(data) - 1 > form.room:
        raise DecodeError(f"an unsegmented message of {len(data) - 1} octets", 1)
    return Whole(form, data[1:])


def whole_seq(seq: int, seq_zero: int) -> int:
    """The sequence number of segment 0, from that of any segment (MshPRT 3.5.3.1): the last one with these low bits."""
    return seq - ((seq & SEQ_ZERO_MASK) - seq_zero) % (SEQ_ZERO_MASK + 1)


def _segment(form: Form, data: bytes) -> Segment:
    if form.ctl and form.opcode == ACK_OPCODE:
        raise DecodeError("an acknowledgement in segments")
    head = int.from_bytes(data[1:4])
    content = data[4:]
    index, last = head >> 5 & 0x1F, head & 0x1F
    full = form.segment_room
    if not content or len(content) > full or index > last or (index < last and len(content) != full):
        raise DecodeError(f"segment {index} of {last} with {len(content)} octets", 4)
    return Segment(form, not form.ctl and bool(head >> 23), head >> 10 & SEQ_ZERO_MASK, index, last, content)


def _ack(data: bytes) -> SegmentAck:
    if len(data) != _ACK.size:
        raise DecodeError(f"a segment acknowledgement of {len(data)} octets")
    _, head, block = _ACK.unpack(data)
    return SegmentAck(bool(head >> 15), head >> 2 & SEQ_ZERO_MASK, block)
