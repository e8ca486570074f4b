"""The initiator of ranging, which is the user device: it sends pre-poll, poll, final and final data of every round."""

from __future__ import annotations

from typing import Final, final

import msgspec

from keywright.crypto.aes import AesKey
from keywright.uwb.frames import (
    FINAL_DATA,
    LAST_COUNTER,
    PRE_POLL,
    FinalData,
    PrePoll,
    RangingStatus,
    ResponderRecord,
    seal_frame,
)
from keywright.uwb.grid import LAST_TIMESTAMP, Hopping
from keywright.uwb.keys import RoundKeys
from keywright.uwb.ranging.ends import NEVER, Options, RangingEnd, counter, seconds
from keywright.uwb.ranging.events import Estimated, InitiatorEvent, Missed, Refused
from keywright.uwb.ranging.radio import SP0, SP3, Reception, Transmission
from keywright.uwb.setup.terms import Terms
from keywright.uwb.twr import TICK_HZ, interval, metres, ss_twr

LEAD: Final = 0.5
"""Orders go to the radio so many slots before they are due."""
_WINDOW: Final = 8
"""A response may be off its slot by one part in so many of a slot."""


class _Round(msgspec.Struct):
    """A round under way."""

    block: int
    first: int
    """The first round used of its block."""
    number: int
    """0, or 1 for the second round of a block."""
    base_index: int
    start: int
    """Ticks of the initiator's clock, not wrapped."""
    keys: RoundKeys
    poll_at: int
    """As the radio counts."""
    heard: dict[int, ResponderRecord]

    @property
    def round(self) -> int:
        return self.first + self.number


@final
class Initiator(RangingEnd[InitiatorEvent]):
    """Endpoint: the initiator of one session."""

    def __init__(
        self, ursk: AesKey, terms: Terms, *, options: Options | None = None, ursk_until: float = NEVER
    ) -> None:
        """Ranging begins at `terms.uwb_time0`, microseconds of this endpoint's clock. ursk_until: when it must end."""
        super().__init__(ursk, terms, options or Options(), ursk_until)
        self.frame_counter = 0
        """The next one."""
        self._used = terms.grid.sts_index0 - 1
        self._under_way: _Round | None = None
        self._restart(0.0)

    # ---- time -------------------------------------------------------------------------------------------------

    def _restart(self, now: float) -> None:
        self._origin = self.terms.uwb_time0 * TICK_HZ // 1_000_000
        self._block = self._number = self._first = 0
        self._hops = self._is_first_lost = False
        self._under_way = None
        del now

    def _last_index(self) -> int:
        return self._used

    def _start_of_next(self) -> int:
        grid = self.grid
        return self._origin + grid.start_ticks(self._block, self._first + self._number * grid.round_offset)

    def _lead(self) -> int:
        return int(LEAD * self.grid.slot_ticks)

    def _next(self) -> float:
        if self._under_way is not None:
            return seconds(self._report_at(self._under_way))
        return seconds(self._start_of_next() - self._lead())

    def _report_at(self, round_: _Round) -> int:
        return round_.start + (self.grid.final_slot + 1) * self.grid.slot_ticks - self._lead()

    def _act(self, now: float) -> None:
        while not self.ended and now >= self._next():
            if self._under_way is not None:
                self._report(self._under_way)
            elif now > seconds(self._start_of_next()):
                self._skip(now)
            else:
                self._begin()

    # ---- a round ----------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        grid, block = self.grid, self._block
        if grid.is_used_up(block) or self.frame_counter >= LAST_COUNTER:
            self.end("sts-index")
            return
        shown = self._first + self._number * grid.round_offset
        base, start = grid.sts_index(block, shown), self._start_of_next()
        keys = self._keys.round_keys(base)
        poll_at = start + grid.slot_ticks
        final_index = base + grid.final_slot
        self._under_way = _Round(
            block, self._first, self._number * grid.round_offset, base, start, keys, counter(poll_at), {}
        )
        self._used = base + grid.final_slot + 1
        payload = PrePoll(self.terms.session_id, base + 1, block & 0xFFFF, int(self._hops), shown)
        self._send_frame(start, PRE_POLL, payload.build())
        self._send_sts(poll_at, base + 1)
        self._send_sts(start + grid.final_slot * grid.slot_ticks, final_index)

    def _send_frame(self, at: int, message_id: int, payload: bytes) -> None:
        under_way = self._under_way
        key = self._keys.mupsk1 if message_id == PRE_POLL or under_way is None else under_way.keys.dudsk
        octets = seal_frame(key, self._keys.uad, self.frame_counter, message_id, payload, oui=self._options.oui)
        self.frame_counter += 1
        self._out.append(Transmission(SP0, counter(at), octets).build())

    def _send_sts(self, at: int, index: int) -> None:
        if self._under_way is not None:
            self._out.append(Transmission(SP3, counter(at), self._sts(self._under_way.keys, index)).build())

    def _hear(self, heard: Reception, now: float) -> None:
        del now
        round_ = self._under_way
        if heard.kind != SP3 or round_ is None:
            return  # an initiator has nothing to hear besides responses
        slot = self.grid.slot_ticks
        since = interval(round_.poll_at, heard.at)
        responder = (since + slot // 2) // slot - 1
        if not 0 <= responder < self.grid.responders or abs(since - (responder + 1) * slot) > slot // _WINDOW:
            return  # a receiver that opens in its slots would not have heard it
        known = round_.heard.get(responder)
        if known is not None and known.status == RangingStatus.SUCCESS:
            self._happened.append(Refused(f"a second response {responder}"))
            return
        index = round_.base_index + self.grid.response_slot(responder)
        quality = self._quality(round_.keys, index, heard.octets)
        is_good = quality >= self._options.min_quality
        status = RangingStatus.SUCCESS if is_good else RangingStatus.INCORRECT
        round_.heard[responder] = ResponderRecord(responder, min(since, LAST_TIMESTAMP), 0, status)
        if not is_good:
            self._happened.append(Refused(f"response {responder}: its STS is not that of index {index}"))
            return
        reply = (responder + 1) * slot
        distance = metres(ss_twr(since, reply, heard.clock_offset))
        self._happened.append(Estimated(round_.block, round_.round, responder, distance))

    def _report(self, round_: _Round) -> None:
        grid = self.grid
        good = [record for record in round_.heard.values() if record.status == RangingStatus.SUCCESS]
        records = tuple(good)
        if self._options.reports_failures:
            records = tuple(
                round_.heard.get(number, ResponderRecord(number, 0, 0, RangingStatus.EXPIRED))
                for number in range(grid.responders)
            )
        if not good:
            self._happened.append(Missed(round_.block, round_.round, "response"))
        if not round_.number:
            self._is_first_lost = not good
        hops = self._hops_next()
        following = grid.first_round(round_.block + 1, round_.first, hops=hops) + round_.number
        data = FinalData(
            self.terms.session_id,
            round_.block & 0xFFFF,
            int(hops),
            following,
            round_.base_index + grid.final_slot,
            (grid.final_slot - 1) * grid.slot_ticks,
            records,
        )
        self._send_frame(round_.start + (grid.final_slot + 1) * grid.slot_ticks, FINAL_DATA, data.build())
        self._under_way = None
        self._advance(hops=hops)

    def _skip(self, now: float) -> None:
        """Too late for the next round: its indices pass unused, and so do those of blocks that are over."""
        over = (int(now * TICK_HZ) - self._origin) // self.grid.block_ticks
        if over > self._block:
            self._block, self._number = over - 1, self.grid.rounds_used
        self._advance(hops=True)

    def _hops_next(self) -> bool:
        match self.grid.hopping:
            case Hopping.NONE:
                return False
            case Hopping.CONTINUOUS:
                return True
            case Hopping.ADAPTIVE:
                # One decision for both rounds of a block, which keep their distance: whether the first gave anything.
                return self._is_first_lost

    def _advance(self, *, hops: bool) -> None:
        self._number += 1
        if self._number < self.grid.rounds_used:
            return
        self._number = 0
        self._hops = hops
        self._block += 1
        self._first = self.grid.first_round(self._block, self._first, hops=hops)
