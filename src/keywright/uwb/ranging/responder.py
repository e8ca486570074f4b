"""A responder of ranging, which is one anchor of the reader: it answers polls in its slot, and has the distance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, Literal, TypeAlias, final

import msgspec

from keywright.crypto.aes import AesKey
from keywright.errors import DecodeError, WireError
from keywright.uwb.frames import (
    FINAL_DATA,
    PRE_POLL,
    FinalData,
    PrePoll,
    RangingStatus,
    open_frame,
    parse_mhr,
    record_of,
)
from keywright.uwb.grid import Hopping
from keywright.uwb.keys import RoundKeys
from keywright.uwb.ranging.ends import NEVER, Options, RangingEnd, counter, seconds
from keywright.uwb.ranging.events import Measured, Missed, ResponderEvent, Stage
from keywright.uwb.ranging.radio import SP0, SP3, Reception, Transmission
from keywright.uwb.setup.terms import Terms
from keywright.uwb.twr import ds_twr, interval, metres

State: TypeAlias = Literal["idle", "poll", "final", "data"]

TABLE: Final[Mapping[State, tuple[str, ...]]] = {
    "idle": ("pre-poll",),
    "poll": ("pre-poll", "STS"),
    "final": ("pre-poll", "STS"),
    "data": ("pre-poll", "final data"),
}
"""What a responder takes in which state. A pre-poll always begins a round; everything else changes nothing."""

_WINDOW: Final = 8
"""A packet may be off its slot by one part in so many of a slot."""
_REMEMBERED: Final = 64
"""Blocks that were not heard, whose rounds an adaptive session may have stayed in."""
_NEAR_S: Final = 8.0
"""Pre-polls less than this apart are compared by the radio's counter, which wraps after 17 s."""
_STAGES: Final[Mapping[State, Stage]] = {"poll": "poll", "final": "final", "data": "final data"}


class _Round(msgspec.Struct):
    """A round under way."""

    block: int
    round: int
    base_index: int
    keys: RoundKeys
    pre_poll_at: int
    poll_at: int = 0
    response_at: int = 0
    final_at: int = 0
    quality: float = 1.0


@final
class Responder(RangingEnd[ResponderEvent]):
    """Endpoint: one responder of a session."""

    TABLE: ClassVar = TABLE

    def __init__(
        self,
        ursk: AesKey,
        terms: Terms,
        index: int,
        *,
        second_round: bool = False,
        options: Options | None = None,
        ursk_until: float = NEVER,
    ) -> None:
        """index: which responder of its round, from 0. second_round: it belongs to the second round of a block.

        Raises ValueError if the session has no such responder.
        """
        super().__init__(ursk, terms, options or Options(), ursk_until)
        if not 0 <= index < terms.grid.responders or (second_round and not terms.grid.round_offset):
            raise ValueError(f"no responder {index}{' of a second round' if second_round else ''} in this session")
        self.state: State = "idle"
        self.index = index
        self._is_second = second_round
        self._counter = -1
        self._used = terms.grid.sts_index0 - 1
        self._round: _Round | None = None
        self._before: tuple[int, int] | None = None
        self._restart(0.0)

    # ---- time -------------------------------------------------------------------------------------------------

    def _restart(self, now: float) -> None:
        del now
        self.state = "idle"
        self._round = None
        self._anchor: tuple[int, int, float] | None = None
        """Start of the last pre-poll on the grid, when it was heard by the radio's counter, and by the clock."""
        self._over = self._overdue = NEVER
        self._before = None
        self._due_block = 0

    def _last_index(self) -> int:
        return self._used

    def _next(self) -> float:
        return min(self._over, self._overdue)

    def _act(self, now: float) -> None:
        if now >= self._over:
            self._lose(_STAGES[self.state])
        if now >= self._overdue:
            self._overdue += seconds(self.grid.block_ticks)
            self._happened.append(Missed(self._due_block, 0, "pre-poll"))
            self._due_block += 1

    def _lose(self, stage: Stage, why: str = "") -> None:
        if self._round is not None:
            self._happened.append(Missed(self._round.block, self._round.round, stage, why))
        self._round = None
        self.state = "idle"
        self._over = NEVER

    # ---- what is heard ----------------------------------------------------------------------------------------

    def _hear(self, heard: Reception, now: float) -> None:
        if heard.kind == SP3:
            self._hear_sts(heard)
        elif heard.kind == SP0:
            message_id = parse_mhr(heard.octets, oui=self._options.oui).message_id
            if message_id == PRE_POLL:
                self._begin(heard, now)
            elif message_id == FINAL_DATA:
                self._finish(heard)
            else:
                raise WireError(f"a frame with message id {message_id}")
        else:
            raise DecodeError(f"a packet of kind {heard.kind}")

    def _begin(self, heard: Reception, now: float) -> None:
        opened = open_frame(
            self._keys.mupsk1, self._keys.uad, heard.octets, PRE_POLL, after=self._counter, oui=self._options.oui
        )
        message = PrePoll.parse(opened.payload)
        grid, base = self.grid, message.poll_sts_index - 1
        if message.session_id != self.terms.session_id:
            raise WireError(f"pre-poll of session {message.session_id:08X}, here it is {self.terms.session_id:08X}")
        if base <= self._used:
            raise WireError(f"pre-poll with STS index {base}, {self._used} is used: stale, or sent again")
        block, round_, slot = grid.place(base)
        if slot or block & 0xFFFF != message.block or round_ != message.round:
            raise WireError(
                f"pre-poll says block {message.block} and round {message.round}, its STS index {base} is that of "
                f"block {block}, round {round_}, slot {slot}"
            )
        first = self._first_of(block, round_)
        self._check_time(grid.start_ticks(block, round_), heard.at, now)
        if grid.is_used_up(block):
            self.end("sts-index")
            return
        if self._round is not None:
            self._lose(_STAGES[self.state], "the next round has begun")
        self._counter = opened.frame_counter
        self._used = base + grid.final_slot + 1
        self._anchor = (grid.start_ticks(block, round_), heard.at, now)
        # The next one may come in any round of the next block.
        self._overdue = now + seconds(2 * grid.block_ticks - round_ * grid.round_ticks + grid.slot_ticks)
        self._before, self._due_block = (block, first), block + 1
        if bool(round_ - first) != self._is_second:
            return  # the other round of this block: not ours to answer
        self._round = _Round(block, round_, base, self._keys.round_keys(base), heard.at)
        self.state = "poll"
        self._over = now + seconds((grid.final_slot + 2) * grid.slot_ticks)

    def _first_of(self, block: int, round_: int) -> int:
        """The first round of a block, if a pre-poll may come in this one. Raises WireError if not."""
        grid = self.grid
        heard, first = self._before or (-1, 0)
        allowed = {grid.first_round(block, 0, hops=True)}
        if heard == block:
            allowed = {first}  # and this is the second round
        elif grid.hopping is Hopping.ADAPTIVE:
            # It may have stayed where it was, or hopped in a block that was not heard here and stayed there.
            allowed |= {first, *map(grid.hopped, range(max(heard + 1, block - _REMEMBERED), block))}
        is_first = round_ in allowed and heard != block
        is_second = grid.round_offset > 0 and round_ - grid.round_offset in allowed
        if is_first and is_second:
            # An answer in the wrong one would be taken for that of the responder whose round it is.
            raise WireError(f"pre-poll in round {round_} of block {block}, the first or the second: it cannot be told")
        if is_first:
            return round_
        if is_second:
            return round_ - grid.round_offset
        raise WireError(f"pre-poll in round {round_} of block {block}, where hopping does not lead")

    def _check_time(self, start: int, at: int, now: float) -> None:
        """A pre-poll comes as far from the last as the grid says. Raises WireError for one that was held back."""
        if self._anchor is None:
            return
        due = start - self._anchor[0]
        if now - self._anchor[2] > _NEAR_S or seconds(due) > _NEAR_S:
            return
        off = interval(self._anchor[1], at) - due
        if abs(off) > self.grid.slot_ticks // _WINDOW + int(due * self._options.max_drift):
            raise WireError(f"pre-poll {seconds(off) * 1e6:.0f} us off the grid")

    def _hear_sts(self, heard: Reception) -> None:
        round_, grid = self._round, self.grid
        if round_ is None or "STS" not in TABLE[self.state]:
            return  # a receiver that opens in its slots would not have heard it
        slot = 1 if self.state == "poll" else grid.final_slot
        since = interval(round_.pre_poll_at, heard.at)
        if abs(since - slot * grid.slot_ticks) > grid.slot_ticks // _WINDOW:
            return
        index = round_.base_index + slot
        quality = self._quality(round_.keys, index, heard.octets)
        if quality < self._options.min_quality:
            raise WireError(f"the {self.state}'s STS is not that of index {index}")
        round_.quality = min(round_.quality, quality)
        if self.state == "final":
            round_.final_at = heard.at
            self.state = "data"
            return
        round_.poll_at = heard.at
        round_.response_at = counter(heard.at + (self.index + 1) * grid.slot_ticks)
        self.state = "final"
        sts = self._sts(round_.keys, round_.base_index + grid.response_slot(self.index))
        self._out.append(Transmission(SP3, round_.response_at, sts).build())

    # ---- the distance -----------------------------------------------------------------------------------------

    def _finish(self, heard: Reception) -> None:
        round_, grid = self._round, self.grid
        if round_ is None or "final data" not in TABLE[self.state]:
            return  # of a round that is not ours, is over, or in which something got lost
        opened = open_frame(
            round_.keys.dudsk, self._keys.uad, heard.octets, FINAL_DATA, after=self._counter, oui=self._options.oui
        )
        data = FinalData.parse(opened.payload)
        index = round_.base_index + grid.final_slot
        if (data.session_id, data.block, data.final_sts_index) != (
            self.terms.session_id,
            round_.block & 0xFFFF,
            index,
        ):
            raise WireError(f"final data is not of STS index {index} of this session")
        self._counter = opened.frame_counter
        record = record_of(data, self.index, grid.responders)
        if record is None:
            self._lose("record", "the initiator has heard no response")
        elif record.status != RangingStatus.SUCCESS:
            self._lose("record", f"the initiator says status {record.status}")
        else:
            self._measure(round_, record.poll_to_response, data.poll_to_final)

    def _measure(self, round_: _Round, round1: int, poll_to_final: int) -> None:
        reply1 = interval(round_.poll_at, round_.response_at)
        round2 = interval(round_.response_at, round_.final_at)
        offset = poll_to_final / (reply1 + round2) - 1
        if abs(offset) > self._options.max_drift:
            self._lose("record", f"the clocks differ by {offset * 1e6:.0f} ppm")
            return
        if round1 > poll_to_final:
            self._lose("record", "the response came after the final")
            return
        flight = ds_twr(round1, reply1, round2, poll_to_final - round1)
        self._happened.append(
            Measured(
                round_.block,
                round_.round,
                self.index,
                flight,
                metres(flight),
                round_.quality,
                offset,
            )
        )
        self._round = None
        self.state = "idle"
        self._over = NEVER
