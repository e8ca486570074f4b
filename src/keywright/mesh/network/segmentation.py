"""Segmented messages in time: what is sent until it is acknowledged, and what is put together (MshPRT 3.5.3).

Neither sends: each says which segments or acknowledgements are due, and when it wants to be asked again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, final

import msgspec

from keywright.mesh.network.lower import Segment, SegmentAck

INCOMPLETE_S: Final = 10.0
"""A message of which no new segment came for this long is given up."""
_ACK_S: Final = 0.150
_PER_TTL_S: Final = 0.050


class Retransmission(msgspec.Struct, frozen=True):
    """How often and when segments are sent. The clause leaves these to the sender within limits (MshPRT 3.5.3.3)."""

    unicast_s: float = 0.2
    """Between two rounds, and `_PER_TTL_S` more for each hop."""
    unicast_rounds: int = 6
    """Rounds without a new acknowledgement before a message is given up."""
    group_s: float = 0.1
    group_rounds: int = 3
    """A group acknowledges nothing: it is sent this often."""


@final
class Outgoing:
    """One segmented message on its way."""

    def __init__(
        self, segments: Sequence[Segment], *, dst: int, ttl: int, to_group: bool, how: Retransmission, now: float
    ) -> None:
        self.dst = dst
        self.seq_zero = segments[0].seq_zero
        self.is_delivered = False
        self.is_given_up = False
        self.due: float | None = now
        self._segments = segments
        self._acknowledged = 0
        self._all = (1 << len(segments)) - 1
        self._period = how.group_s if to_group else how.unicast_s + _PER_TTL_S * ttl
        self._rounds_left = self._rounds = how.group_rounds if to_group else how.unicast_rounds
        self._to_group = to_group

    def take(self, now: float) -> Sequence[Segment]:
        """The segments to send now; notes that the message is given up, or to a group sent."""
        if self.due is None or now < self.due:
            return ()
        if not self._rounds_left:
            self.due = None
            self.is_delivered, self.is_given_up = self._to_group, not self._to_group
            return ()
        self._rounds_left -= 1
        self.due = now + self._period
        return [segment for segment in self._segments if not self._acknowledged >> segment.index & 1]

    def acknowledge(self, ack: SegmentAck, now: float) -> None:
        """Take an acknowledgement: no segment at all gives the message up, all of them deliver it."""
        if self._to_group or self.due is None:
            return
        if not ack.block:
            self.is_given_up, self.due = True, None
            return
        new = (self._acknowledged | ack.block) & self._all
        if new != self._acknowledged:
            self._acknowledged = new
            self._rounds_left = self._rounds
            self.due = now
        if new == self._all:
            self.is_delivered, self.due = True, None


@final
class Incoming:
    """One segmented message that is being put together."""

    def __init__(self, first: Segment, *, seq_auth: int, iv_index: int, is_for_me: bool, ttl: int, now: float) -> None:
        """seq_auth: sequence number of segment 0. is_for_me: sent to an address of this node, so acknowledged."""
        self.seq_auth = seq_auth
        self.iv_index = iv_index
        self.seq_zero = first.seq_zero
        self._form = first.form
        self._last = first.last
        self._long_mic = first.long_mic
        self._parts: dict[int, bytes] = {}
        self._acknowledges = is_for_me
        self._ack_after = _ACK_S + _PER_TTL_S * ttl
        self.ack_at: float | None = None
        self.until = now + INCOMPLETE_S

    def add(self, segment: Segment, now: float) -> bytes | None:
        """Take a segment; the whole message when it was the last one missing. One that contradicts is passed over."""
        if (segment.form, segment.last, segment.long_mic) != (self._form, self._last, self._long_mic):
            return None
        if segment.index not in self._parts:
            self._parts[segment.index] = segment.data
            self.until = now + INCOMPLETE_S
        if self._acknowledges and self.ack_at is None:
            self.ack_at = now + self._ack_after
        if len(self._parts) <= self._last:
            return None
        if self._acknowledges:
            self.ack_at = now
        return b"".join(self._parts[index] for index in range(self._last + 1))

    def ack(self) -> SegmentAck:
        """What has come."""
        self.ack_at = None
        block = sum(1 << index for index in self._parts)
        return SegmentAck(for_another=False, seq_zero=self.seq_zero, block=block)
